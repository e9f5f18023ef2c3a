"""Evaluate a file by its path, whoever made it. Whatever is wrong with it becomes a reason, not an error."""

from __future__ import annotations

from dataclasses import replace

from raydub.arrays import Bools
from raydub.errors import Code, InputError, RaydubError
from raydub.identity import Cache, identify
from raydub.manifests.evaluation import Evaluation
from raydub.media.activity import Loudness, voiced_frames
from raydub.media.audio import speech_blocks
from raydub.media.fetch_uri import redact
from raydub.media.info import VideoInfo
from raydub.media.probe import probe_video
from raydub.present import present
from raydub.stages.evaluate.evaluate import Facts, evaluate
from raydub.stages.evaluate.film import Film, Source
from raydub.stages.evaluate.thresholds import Thresholds
from raydub.stages.evaluate.verdict import always
from raydub.stages.faces import FacePlan, WantedFace
from raydub.stages.track.config import FaceChoice, TrackConfig

_OF_FILE = (InputError, OSError, ValueError)
"""Errors that a file causes."""


def evaluate_file(
    output: str,
    facts: Facts,
    thresholds: Thresholds,
    source: Source | str | None = None,
    faces: FacePlan | None = None,
    expected: str | None = None,
    cache: Cache | None = None,
) -> Evaluation:
    """The evaluation of the film at `output`. source: as the job read it, or a path; faces: how its faces are found,
    None for the largest face; expected: SHA-256 that the output had when its run ended.

    Raises only for what is wrong here, not with the film: DependencyError for absent face models."""
    try:
        info = probe_video(present(output))
    except _OF_FILE as error:
        return unreadable(output, facts, thresholds, said(error))
    reasons = list(facts.reasons)
    if expected is not None and info.identity != expected:
        reasons.append(always("output_changed", 1.0, "look", "another file is there than the run made", 0.0))
    if isinstance(source, str):
        try:
            source = Source(probe_video(present(source)))
        except _OF_FILE as error:
            reasons.append(always("source_readable", 0.0, "look", f"the source cannot be read: {said(error)}"))
            source = None
    told = replace(facts, reasons=tuple(reasons))
    if told.voiced is None and told.speech is not None:
        told = _with_speech(told, info)
    try:
        found = evaluate(Film(info, source, faces or largest_face()), told, thresholds)
        return found.model_copy(update={"output": redact(output)})
    except InputError as error:
        return unreadable(output, told, thresholds, error.message, cache)


def unreadable(output: str, facts: Facts, thresholds: Thresholds, why: str, cache: Cache | None = None) -> Evaluation:
    """The evaluation of a film that cannot be read: no figures, and the reason."""
    try:
        digest = identify(output, cache, what="output").sha256
    except (*_OF_FILE, RaydubError):
        digest = ""
    reasons = (*facts.reasons, always("readable", 0.0, "bad", f"the output cannot be read: {why}"))
    return Evaluation(
        id=facts.id,
        output=redact(output),
        output_sha256=digest,
        source=facts.source,
        speech=facts.speech,
        frames=0,
        duration=0.0,
        verdict="bad",
        reasons=reasons,
        thresholds=thresholds.digest,
    )


def largest_face(face: str = "largest") -> FacePlan:
    """How faces are found in films of unknown makers. face: as in the field of a manifest. Raises UsageError
    FIELD_VALUE, DependencyError."""
    choice = FaceChoice.parse(face)
    track = TrackConfig.plan(choice)
    return FacePlan(wanted=(WantedFace(choice=choice),), track=track, landmarks=track.landmarks)


def said(error: Exception) -> str:
    """The error in one sentence."""
    return error.message if isinstance(error, RaydubError) else str(error).splitlines()[0][:300]


def _with_speech(facts: Facts, info: VideoInfo) -> Facts:
    """With the frames in which the speech file is heard."""
    assert facts.speech is not None
    try:
        return replace(facts, voiced=_voiced(facts.speech, info))
    except InputError as error:
        if error.code is Code.SPEECH_SILENT:
            return facts
        note = always("speech_readable", 0.0, "look", f"the speech cannot be read: {error.message}")
        return replace(facts, reasons=(*facts.reasons, note))


def _voiced(path: str, info: VideoInfo) -> Bools:
    loudness = Loudness()
    for block in speech_blocks(present(path)):
        loudness.push(block)
    return voiced_frames(loudness.activity(), info.rate, info.n_frames)
