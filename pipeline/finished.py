"""Finished jobs. One record per output contains the request, each input's identity and the result.

finished() is the fast check for a whole manifest: it compares looks of inputs and output and reads no large file
(raydub.identity). of() is the full check, after a job's inputs were read.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from raydub import __version__
from raydub.errors import RaydubError
from raydub.identity import identify, known_identity
from raydub.manifests.job import Job
from raydub.manifests.options import RUN_FIELDS
from raydub.manifests.paths import is_remote
from raydub.manifests.speech import SPEECH_VERSION
from raydub.media.fetch import known_copy
from raydub.objects.names import is_object
from raydub.pipeline.evaluations import Evaluations, evaluated
from raydub.pipeline.events import Planned
from raydub.pipeline.ledger import PART_FORMAT
from raydub.places import PathLike, absolute
from raydub.sealed import key_of
from raydub.stages.code import DECIDING, code_digest
from raydub.stages.marks.credentials import sidecar_of
from raydub.stages.marks.signing import Signing
from raydub.stages.output import made_by
from raydub.store import Store

_QUICK = 64 << 20
"""Largest file in bytes that the fast check reads if its look cannot be trusted."""


class Finished:
    """The finished jobs of one work folder."""

    def __init__(self, work_dir: PathLike, signing: str = "", thresholds: str = "") -> None:
        """signing: see pipeline.context.WorkSettings; outputs that are signed otherwise are not finished. thresholds:
        of evaluations, see pipeline.evaluations."""
        self._store = Store(work_dir)
        self._signer = signer_of(signing)
        self._looks: dict[tuple[str, str, bool], str] = {}
        self._voices: dict[tuple[str, str], str] = {}
        self._evaluations = Evaluations(self._store, thresholds)

    def finished(self, job: Job, weights: Sequence[str]) -> dict[str, Any] | None:
        """The stored JobResult of a finished job, with zero work in this run; None if unknown without reading large
        files.

        weights: sha256 of each weights file that engine and post-processors would use now. Never raises."""
        self._code  # noqa: B018 (computed before any work, so that code edited during the run counts as changed)
        record = self._store.record(_name(job))
        try:
            if record is None or record["asked"] != self._asked(job, weights):
                return None
            inputs = job.inputs()
            if set(inputs) != set(record["inputs"]):
                return None
            if any(self._holds(path) != record["inputs"][name] for name, path in inputs.items()):
                return None
            voiced = record["voiced"] if job.script is not None else {}
            if any(self._voice(job.options.tts, voice) != said for voice, said in voiced.items()):
                return None
            if not self._is_output(job, record):
                return None
            result = self._with_evaluation(job, record)
            if job.options.evaluate and not evaluated(result):
                return None
            return _unspent(job, result)
        except (OSError, ValueError, KeyError, TypeError, RaydubError):
            return None

    def of(self, job: Job, key: str) -> dict[str, Any] | None:
        """The stored JobResult of the job with this key (keyed() of everything that determines it), if its output is
        still the published file."""
        record = self._store.record(_name(job))
        try:
            known = record is not None and key != "" and record["key"] == key and self._is_output(job, record)
            return self._with_evaluation(job, record) if known and record is not None else None
        except (OSError, KeyError, TypeError, ValueError, RaydubError):
            return None

    def stands(self, job: Job) -> bool:
        """Whether the job's output is recorded as finished and is still the published file."""
        record = self._store.record(_name(job))
        try:
            return record is not None and self._is_output(job, record)
        except (OSError, KeyError, RaydubError):
            return False

    def write(self, job: Job, weights: Sequence[str] | None, plan: Planned, result: Mapping[str, Any]) -> None:
        """Record a job whose output is published. weights: see finished(), None if unknown. Raises StageError STORAGE
        or DISK_FULL, OSError if the output is missing."""
        said = {
            "key": plan.key,
            "asked": "" if weights is None else self._asked(job, weights),
            "inputs": dict(plan.inputs),
            "voiced": dict(plan.voiced),
            "output": self._published(job, "output"),
            "result": dict(result),
        }
        beside = sidecar_of(job.output) if "c2pa" in result.get("marks", ()) else ""
        if beside:
            said["beside"] = self._published(job.model_copy(update={"output": beside}), "credentials")
        self._store.put_record(_name(job), said)

    def _published(self, job: Job, what: str) -> str:
        """SHA-256 of the published file: not of another one that has taken its place since."""
        found = identify(job.output, self._store.identities, what=what).sha256
        made = made_by(job, self._store)
        return found if not made or found in made else made[0]

    def _with_evaluation(self, job: Job, record: Mapping[str, Any]) -> dict[str, Any]:
        """The recorded result; where the job asks for an evaluation, with the one that holds now, or none."""
        result = dict(record["result"])
        if job.options.evaluate:
            none = {"verdict": None, "reasons": (), "evaluation": None}
            result |= self._evaluations.columns(str(record["key"]), str(record["output"])) or none
        return result

    def _holds(self, path: str) -> str | None:
        """SHA-256 of an input, or None if that needs reading a large file."""
        if is_remote(path) and not is_object(path):
            copy = known_copy(path, self._store.place)
            return None if copy is None else copy.sha256
        cache = self._store.identities
        if os.path.isdir(path):
            from raydub.media.watch import identify_source

            return identify_source(path, cache).sha256
        known = known_identity(path, cache)
        if known is None and not is_object(path) and os.stat(path).st_size <= _QUICK:
            known = identify(path, cache)
        return None if known is None else known.sha256

    def _is_output(self, job: Job, record: Mapping[str, Any]) -> bool:
        # By content: an output that was copied back has another time.
        cache = self._store.identities
        beside = record.get("beside")
        if beside is not None and identify(sidecar_of(job.output), cache).sha256 != beside:
            return False
        return identify(job.output, cache).sha256 == str(record["output"])

    def _asked(self, job: Job, weights: Sequence[str]) -> str:
        """A key of everything that determines the frames, except the inputs' content. Checkpoints are in it by
        digest."""
        versions = [PART_FORMAT, self._code, SPEECH_VERSION, __version__]
        inputs = job.inputs()
        faces = self._face_models(job, any(name.startswith(("face", "speakers")) for name in inputs))
        row = {**inputs, "output": absolute(job.output)}
        options = job.options.model_dump(mode="json", exclude=set(RUN_FIELDS))
        signed = [self._signer] if self._signer else []
        return key_of([versions, row, options, list(weights), faces, _speech(job), *signed])

    @functools.cached_property
    def _code(self) -> str:
        """Digest of the code on disk when this run begins: a long-lived process may have imported older code."""
        return code_digest(DECIDING)

    def _voice(self, engine: str, voice: str) -> str:
        """Digest of what determines a voice's sound now: programs, model files, imported voices."""
        known = self._voices.get((engine, voice))
        if known is None:
            from raydub.tts.engines.deciding import decided_by

            known = self._voices[engine, voice] = decided_by(engine, voice, self._store.identities)
        return known

    def _face_models(self, job: Job, with_reference: bool) -> str:
        """Identity of the face models: "auto" selects other ones when better ones are installed."""
        asked = (job.options.detector, job.options.landmarks, with_reference)
        if asked not in self._looks:
            self._looks[asked] = _face_models(*asked)
        return self._looks[asked]


def keyed(content: str, signing: str) -> str:
    """The key of a job whose plan has this content key, in a run that signs like this."""
    signer = signer_of(signing)
    return key_of([content, signer]) if signer else content


def signer_of(signing: str) -> str:
    """The fingerprint of the certificate that signs, "" for none."""
    found = Signing.of(signing)
    return "" if found is None else found.sha256


def recorded_digest(output: PathLike, work_dir: PathLike) -> str | None:
    """SHA-256 of a finished output as it was published, by the records of a work folder; None if it has none, or if
    the folder cannot be read."""
    try:
        return next((str(one["output"]) for one in _records(output, work_dir) if "output" in one), None)
    except (OSError, ValueError, RaydubError):
        return None


def job_dir_of(output: PathLike, work_dir: PathLike) -> str | None:
    """The folder of the finished job with this output, as recorded in a work folder; None if there is none."""
    for record in _records(output, work_dir):
        found = record.get("result")
        if isinstance(found, dict) and found.get("job_dir"):
            return str(found["job_dir"])
    return None


def _records(output: PathLike, work_dir: PathLike) -> Iterator[Mapping[str, Any]]:
    store = Store(work_dir)
    text = os.fspath(output)
    for path in dict.fromkeys((absolute(text), text if is_object(text) else os.path.realpath(text))):
        record = store.record(_name_of(path))
        if record is not None:
            yield record


def _unspent(job: Job, result: Mapping[str, Any]) -> dict[str, Any]:
    spent = {"attempts": 0, "wall_seconds": 0.0, "seconds": {}, "spoken": 0}
    return {**result, "id": job.id, "line": job.line, **spent}


def _name(job: Job) -> str:
    return _name_of(absolute(job.output))


def _name_of(output: str) -> str:
    key = key_of(output)
    return f"done/{key[:2]}/{key}"


def _speech(job: Job) -> str:
    """The speech engine and its release. Voices are recorded separately, because they are known only after speaking."""
    if job.script is None:
        return ""
    from raydub.tts.engines.find import release

    try:
        return f"{job.options.tts} {release(job.options.tts)}"
    except RaydubError as error:
        return f"none: {error.code}"


def _face_models(detector: str, landmarks: str, with_reference: bool) -> str:
    from raydub.models.face_detectors import EMBEDDING_FILE, PREDICTOR_FILE, dlib_file, resolve_detector
    from raydub.models.face_landmarks import MESH_SHA256, best_landmarks

    try:
        chosen = best_landmarks() if landmarks == "auto" else landmarks
        own = [dlib_file(PREDICTOR_FILE)] if chosen == "dlib" else []
        files = [*own, *([dlib_file(EMBEDDING_FILE)] if with_reference else [])]
        # 100 MB that are not changed in place: size and mtime are enough.
        looks = [(file.name, os.stat(file).st_size, os.stat(file).st_mtime_ns) for file in files]
        return json.dumps([resolve_detector(detector).model_dump(mode="json"), chosen, MESH_SHA256, looks])
    except (RaydubError, OSError) as error:
        return f"none: {type(error).__name__}"
