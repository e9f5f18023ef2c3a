"""Which jobs are finished, told at a glance: without opening, probing or hashing their inputs.

The ledger knows a job by the content of its inputs, and finding that out is the work of prepare. A receipt is the short
cut: it says what was asked, how each input looked from outside (size, times of change), and which output came of it.
Where all is still so, the job is finished; where anything differs, nothing is said, and prepare and the ledger decide.

Two things make such a look unsafe, as in git's index. A file that changed while the run went on would be taken for the
one that was read: the look at the start of the run counts, and there is no receipt where the look at the end differs. A
file that is written again within one tick of its file system's clock (up to 2 s) looks as before: what changed so
recently is compared by content.

An input's times are compared for being the same, never for being earlier or later.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manifests.job import Job
from manifests.paths import is_remote
from manifests.speech import SPEECH_VERSION
from media.fetch import remote_state
from media.fetch_uri import redact
from media.publish import sweep
from pipeline.ledger import PART_FORMAT, output_digest
from pipeline.records import read_record, write_record
from raydub import __version__
from raydub.errors import RaydubError
from stages.types import STAGE_VERSION

RECEIPT_FORMAT = 2
"""Raised when receipts say something else than before, so that old ones are not believed."""

TICK_NS = 2_000_000_000
"""The coarsest clock of a file system in use: FAT's 2 s. HFS+ and old NFS have 1 s, the others less than 10 ms."""

Look = dict[str, Any]
"""How a file looks from outside: `stat` (size, mtime_ns, ctime_ns; of a folder: a hash over its pictures'), and a hash
of its `content` where it changed less than TICK_NS ago, else ""."""


class Receipts:
    """The receipts of one work folder. Ask finished() before a run reads the inputs, and write() with the same object
    when a job is done."""

    def __init__(self, work_dir: str | Path) -> None:
        self._folder = Path(work_dir) / "receipts"
        self._seen: dict[tuple[str, str], dict[str, Look] | None] = {}
        self._detectors: dict[tuple[str, bool], str] = {}
        self._swept = False

    def finished(self, job: Job, weights: Sequence[str]) -> dict[str, Any] | None:
        """The stored JobResult of a finished job, with nothing spent on it in this run; None: not known.

        weights: sha256 of each weights file that engine and finishers would use now. Costs two or three looks at files,
        some 0.1 ms. Never raises.
        """
        looks = _looks(job, self._folder.parent)
        self._seen[job.id, job.output] = looks
        record = read_record(self._path(job))
        if looks is None or record is None or record.get("asked") != self._asked(job, weights):
            return None
        if not _unchanged(job, record["inputs"], looks):
            return None
        output = _output_look(job.output)
        known = output == record["output"] and not record["output"]["fresh"]
        # An output that was copied back with another time is the same one, to the ledger too.
        if output is None or not (known or output_digest(job.output) == record["digest"]):
            return None
        if not known or any(look["content"] for look in record["inputs"].values()):
            self._store(job, {**record, "inputs": looks, "output": output})
        spent = {"attempts": 0, "wall_seconds": 0.0, "seconds": {}, "spoken": 0}
        return {**record["result"], "id": job.id, "line": job.line, **spent}

    def write(self, job: Job, weights: Sequence[str], result: Mapping[str, Any]) -> bool:
        """Record that a job is finished. result: its JobResult, JSON-ready. Returns False, and writes nothing, for a
        job that did not end well, or whose inputs are not as finished() saw them. Never raises: without a receipt the
        next run only takes longer."""
        before, now = self._seen.get((job.id, job.output)), _looks(job, self._folder.parent)
        output, digest = _output_look(job.output), output_digest(job.output)
        if result.get("status") != "ok" or before is None or now is None or output is None or digest is None:
            return False
        if not _unchanged(job, before, now):
            return False
        asked = self._asked(job, weights)
        if not self._swept:
            sweep(self._folder)
            self._swept = True
        said = {"asked": asked, "inputs": now, "output": output, "digest": digest, "result": dict(result)}
        return self._store(job, said)

    def _store(self, job: Job, said: Mapping[str, Any]) -> bool:
        try:
            write_record(self._path(job), said, durable=False)
        except (RaydubError, ValueError):
            return False
        return True

    def _path(self, job: Job) -> Path:
        return self._folder / f"{_hash(os.path.abspath(job.output))[:32]}.json"

    def _asked(self, job: Job, weights: Sequence[str]) -> str:
        """All that decides the frames besides the inputs' content. Checkpoints are in it by their digest, which says
        more than a look at the file."""
        from stages.types import PLAN_VERSION

        versions = [RECEIPT_FORMAT, PART_FORMAT, STAGE_VERSION, PLAN_VERSION, SPEECH_VERSION, __version__]
        inputs = job.inputs()
        detector = self._detector(job.options.detector, any(name.startswith(("face", "speakers")) for name in inputs))
        row = {**inputs, "output": os.path.abspath(job.output)}
        said = [versions, row, job.options.model_dump(mode="json"), list(weights), detector, _speech(job)]
        return _hash(json.dumps(said, sort_keys=True))

    def _detector(self, name: str, with_reference: bool) -> str:
        """What the face models are: "auto" means another detector once a better one is installed."""
        known = self._detectors.get((name, with_reference))
        if known is None:
            known = self._detectors[name, with_reference] = _face_models(name, with_reference)
        return known


def _speech(job: Job) -> str:
    """What would speak the job's script now: another release of an engine speaks otherwise."""
    if job.script is None:
        return ""
    from tts.engines.find import release

    try:
        return f"{job.options.tts} {release(job.options.tts)}"
    except RaydubError as error:
        return f"none: {error.code}"


def _face_models(name: str, with_reference: bool) -> str:
    from models.faces import EMBEDDING_FILE, PREDICTOR_FILE, dlib_file, resolve_detector
    from stages.track.config import TRACK_VERSION

    try:
        files = [dlib_file(PREDICTOR_FILE), *([dlib_file(EMBEDDING_FILE)] if with_reference else [])]
        # 100 MB that no one changes in place: a look will do.
        looks = [(file.name, os.stat(file).st_size, os.stat(file).st_mtime_ns) for file in files]
        return json.dumps([TRACK_VERSION, resolve_detector(name).model_dump(mode="json"), looks])
    except (RaydubError, OSError) as error:
        return f"none: {type(error).__name__}"


def _looks(job: Job, work_dir: Path) -> dict[str, Look] | None:
    """Each input by name; None where one of them cannot be looked at (absent, or no file at all)."""
    try:
        return {
            name: _remote_look(path, work_dir) if is_remote(path) else _look(path)
            for name, path in job.inputs().items()
        }
    except (OSError, ValueError, RaydubError):
        return None


def _unchanged(job: Job, before: Mapping[str, Look], now: Mapping[str, Look]) -> bool:
    """Are the inputs as they were? Where the former look came too soon after a change, the content decides."""
    paths = job.inputs()
    if set(before) != set(now):
        return False
    try:
        return all(
            before[name]["stat"] == now[name]["stat"]
            and (not before[name]["content"] or before[name]["content"] == (now[name]["content"] or _content(path)))
            for name, path in paths.items()
        )
    except (OSError, ValueError, RaydubError):
        return False


def _remote_look(address: str, work_dir: Path) -> Look:
    """A web address looks as its local copy does: a finished job costs no question to the server. The run that fetches
    the copy leaves no receipt, because it cannot be told which version each of its jobs saw; the next one does."""
    state = remote_state(address, work_dir)
    if state is None:
        raise FileNotFoundError(f"no copy of {redact(address)}")
    return {"stat": dict(state), "content": ""}


def _look(path: str) -> Look:
    state = os.stat(path)
    files = _pictures(path) if os.path.isdir(path) else None
    if files is None:
        stat: Any = [state.st_size, state.st_mtime_ns, state.st_ctime_ns]
        newest = state.st_mtime_ns
    else:
        states = [(os.path.basename(file), os.stat(file)) for file in files]
        listed = [[name, state.st_size, state.st_mtime_ns, state.st_ctime_ns] for name, state in states]
        stat, newest = _hash(json.dumps(listed)), max(state.st_mtime_ns for _, state in states)
    return {"stat": stat, "content": _content(path) if _is_fresh(newest) else ""}


def _is_fresh(mtime_ns: int) -> bool:
    # A time in the future says nothing about when it was set.
    return mtime_ns > time.time_ns() - TICK_NS


def _pictures(folder: str) -> list[str]:
    from media.images import list_images
    from media.info import ProbeLimits

    return list_images(folder, ProbeLimits())


def _content(path: str) -> str:
    from media.opening import content_identity

    files = _pictures(path) if os.path.isdir(path) else [path]
    return _hash("\n".join(content_identity(file) for file in files))


def _output_look(path: str) -> Look | None:
    """An output that was published just now has no look yet that could be relied on: then its digest is compared, and
    the look is noted for the next time."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return {"stat": [state.st_size, state.st_mtime_ns], "fresh": _is_fresh(state.st_mtime_ns)}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
