"""What --strict makes of a job that ended: one whose result is not what was asked for becomes a failure."""

from __future__ import annotations

from collections.abc import Iterable

from raydub.errors import Code, RaydubError, StageError
from raydub.manifests.job import Job
from raydub.manifests.results import JobResult

HARMLESS = frozenset({"W_EXTENDED", "W_TIMING", "W_VARIABLE_RATE"})
"""Warnings about what raydub did as it was told to, by a field or its default; every other kind counts."""


def kind_of(warning: str) -> str:
    """ "W_NO_FACE" of "W_NO_FACE: no face was seen"."""
    return warning.partition(":")[0].strip()


def unasked(frames: int, synthesised: int, warnings: Iterable[str]) -> RaydubError | None:
    """The error of a job that changed no frame, or with warnings that tell of another result than was asked for."""
    why = [warning for warning in warnings if kind_of(warning) not in HARMLESS]
    if frames and not synthesised:
        why = ["no frame got a new mouth", *why]
    if not why:
        return None
    hint = "nothing was published; what was made is kept: without --strict the job ends with a warning"
    return StageError(Code.STRICT, "; ".join(why), hint=hint)


def strictly(job: Job, result: JobResult) -> JobResult:
    """The result of a job that an earlier run finished, as --strict sees it. Its output stays where it is."""
    problem = unasked(result.frames, result.synthesised, result.warnings) if result.status == "ok" else None
    if problem is None:
        return result
    problem.hint = "an earlier run published it; without --strict that is enough"
    said = {"error_code": str(problem.code), "error_message": problem.message, "hint": problem.hint}
    return result.model_copy(update={"status": "failed", **said, "line": job.line})
