"""The components of a job with their licences: for the bill in its result, and for commercial=true, which refuses a job
that has one whose licence excludes commercial use, or whose licence is not known.

Checked twice: before a run starts, from the options and without downloading anything; and once a job's plan and voices
are known, for what was chosen then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from raydub import __version__
from raydub.errors import Code, DependencyError
from raydub.manifests.components import Component
from raydub.manifests.fields import voice_file
from raydub.manifests.job import Job
from raydub.manifests.options import LIP_ENGINES_BUILT_IN, Options, asks_who_speaks
from raydub.manifests.sharper import restore_weights, upscale_partner, upscale_weights
from raydub.models import licences
from raydub.models.licences import OWN, Terms
from raydub.pipeline.engines import resolved_engine

if TYPE_CHECKING:
    from raydub.models.face_detectors import DetectorSpec
    from raydub.models.face_landmarks import LandmarksSpec
    from raydub.stages.prepare import JobPlan

_EMBEDDED = "leave 'model' out and use the embedded engine"


@dataclass(frozen=True)
class Part:
    """A component of a job. field: the manifest field that chooses it."""

    component: str
    kind: str
    version: str
    terms: Terms
    field: str

    def billed(self) -> Component:
        """Its row in the bill."""
        return Component(
            component=self.component,
            kind=self.kind,
            version=self.version,
            licence=self.terms.licence,
            commercial=self.terms.commercial,
        )


def parts_of(job: Job, plan: JobPlan | None = None) -> tuple[Part, ...]:
    """The components of a job; plan: None before there is one, then what `auto` stands for is resolved here. Downloads
    nothing. Raises DependencyError for face models or weights that cannot be used."""
    parts = [*_face_parts(job, plan), *_lip_parts(job.options), *_sharper_parts(job.options)]
    known = {part.version for part in parts}
    for record in () if plan is None else plan.weights:
        if record.sha256 not in known:
            # An engine of another package names its own files.
            parts.append(_file(record.name, "weights", record.sha256, "engine", _EMBEDDED))
    parts += _speech_parts(job) if job.script is not None else ()
    return (*parts, Part("PyAV", "codecs", _release("av"), licences.CODECS, "codec"))


def refuse_non_commercial(job: Job, parts: Sequence[Part]) -> None:
    """Raise DependencyError LICENCE if the job is commercial and has a component that it may not use; it names all of
    them."""
    wrong = [part for part in parts if part.terms.commercial != "true"] if job.options.commercial else []
    if not wrong:
        return
    named = "; ".join(f"{part.kind} {part.component} ({part.terms.licence})" for part in wrong)
    hints = dict.fromkeys(f"for {part.kind}: {part.terms.instead}" for part in wrong)
    raise DependencyError(
        Code.LICENCE,
        f"commercial=true excludes {named}",
        hint="; ".join(hints),
        job=job.id,
        line=job.line,
        field=wrong[0].field,
    )


def _face_parts(job: Job, plan: JobPlan | None) -> Iterator[Part]:
    from raydub.models.face_detectors import EMBEDDING_FILE, HOG_FILE, dlib_file, resolve_detector
    from raydub.models.face_landmarks import resolve_landmarks
    from raydub.models.load import sha256_of

    faces = None if plan is None else plan.faces
    if job.options.box is None:
        asked = resolve_detector(job.options.detector) if faces is None or faces.track is None else faces.track.detector
        yield _detector_part(asked)
    yield _landmarks_part(resolve_landmarks(job.options.landmarks) if faces is None else faces.landmarks)
    if asks_who_speaks(job.options):
        from raydub.models.active_speaker import ASD_FILE, ASD_SHA256

        yield Part(ASD_FILE, "active speaker network", ASD_SHA256, licences.terms_of_file(ASD_SHA256), "face")
    pictures = [name for name in job.inputs() if name.startswith(("face", "speakers"))]
    compares = faces is not None and (faces.people if faces.track is None else faces.track.embeds)
    if pictures or compares:
        field = pictures[0].partition(":")[0] if pictures else "engine"
        yield Part(EMBEDDING_FILE, "face embedding", sha256_of(dlib_file(EMBEDDING_FILE)), licences.EMBEDDER, field)
        if pictures and job.options.detector != "hog":
            yield Part("hog", "face detector of pictures", sha256_of(HOG_FILE), licences.HOG_DETECTOR, field)


def _detector_part(spec: DetectorSpec) -> Part:
    own = {"hog": licences.HOG_DETECTOR, "mmod": licences.MMOD_DETECTOR}.get(spec.name)
    return Part(spec.name, "face detector", spec.sha256, own or licences.terms_of_file(spec.sha256), "detector")


def _landmarks_part(spec: LandmarksSpec) -> Part:
    terms = licences.PREDICTOR if spec.name == "dlib" else licences.terms_of_file(spec.sha256)
    name = "dlib's 68 points" if spec.name == "dlib" else "MediaPipe's face mesh"
    return Part(name, "landmarks", spec.sha256, terms, "landmarks")


def _lip_parts(options: Options) -> Iterator[Part]:
    from raydub.models.load import sha256_of
    from raydub.models.mouth.embedded import EMBEDDED, embedded_terms

    name = resolved_engine(options)
    if name in LIP_ENGINES_BUILT_IN:
        yield Part(name, "lip engine", __version__, OWN, "engine")
    else:
        from raydub.plugins import LIP_ENGINES, distribution, release

        point = LIP_ENGINES.point(name, LIP_ENGINES_BUILT_IN)
        terms = licences.terms_of_package(distribution(point) or "", "an engine of raydub")
        yield Part(name, "lip engine", release(point), terms, "engine")
    if options.model is not None:
        yield _asked(options.model, "lip weights", "model", _EMBEDDED)
    elif name in LIP_ENGINES_BUILT_IN:
        yield Part(EMBEDDED.name, "lip weights", sha256_of(EMBEDDED), embedded_terms(), "engine")


def _sharper_parts(options: Options) -> Iterator[Part]:
    restore, upscale, partner = restore_weights(options), upscale_weights(options), upscale_partner(options)
    if restore is not None:
        yield _asked(restore, "restorer", "restore", "restore=none; upscale=general sharpens frames, too")
    for name in (upscale, partner):
        if name is not None:
            yield _asked(name, "upscaler", "upscale", "upscale=general")


def _speech_parts(job: Job) -> Iterator[Part]:
    from raydub.plugins import SPEECH_ENGINES, distribution
    from raydub.tts.engines.files import own_kokoro, weights_of
    from raydub.tts.engines.find import release

    name = job.options.tts
    terms = licences.SPEECH_ENGINES.get(name) or licences.terms_of_package(
        distribution(SPEECH_ENGINES.point(name)) or "", "tts=kokoro or tts=espeak"
    )
    yield Part(name, "speech engine", release(name), terms, "tts")
    found: dict[str, str] = {}
    own = own_kokoro() if name == "kokoro" else None
    if own is not None:
        found[_digest(own[0])] = own[0]
    elif job.speech is not None:
        found = {one.sha256: one.name for one in job.speech.weights}
    else:
        for voice in job.options.voices_of().values() or (("",) if name == "kokoro" else ()):
            entry, file = weights_of(name, voice), voice_file(voice)
            if entry is not None:
                found[entry.sha256] = entry.name
            elif file is not None:
                found[_digest(file[0])] = file[0]
    for digest, voice in found.items():
        yield _file(voice, "voice", digest, "voice", "a voice whose licence allows it: `raydub models list`")


def _asked(model: str, kind: str, field: str, instead: str) -> Part:
    """Weights by path or by name of the catalogue."""
    return _file(model, kind, _digest(model), field, instead)


def _file(name: str, kind: str, digest: str, field: str, instead: str) -> Part:
    return Part(os.path.basename(name), kind, digest, licences.terms_of_file(digest, instead), field)


def _digest(model: str) -> str:
    from raydub.models.store.locate import known_digest

    return known_digest(model)


def _release(distribution: str) -> Any:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "?"
