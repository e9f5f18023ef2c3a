"""--strict: a job whose result differs from the request fails."""

from __future__ import annotations

from collections.abc import Iterable

from raydub.errors import Code, RaydubError, StageError
from raydub.manifests.job import Job
from raydub.manifests.results import JobResult

HARMLESS = frozenset({"W_EXTENDED", "W_FEW_MOUTHS", "W_NOT_EVALUATED", "W_TIMING", "W_VARIABLE_RATE"})
"""Warnings about requested behaviour (by a field or its default) and about how it was done; all other kinds count."""


def kind_of(warning: str) -> str:
    """ "W_NO_FACE: no face was seen" → "W_NO_FACE"."""
    return warning.partition(":")[0].strip()


def unasked(frames: int, synthesised: int, warnings: Iterable[str]) -> RaydubError | None:
    """The error of a job that changed no frame, or whose warnings mean that the result differs from the request."""
    why = [warning for warning in warnings if kind_of(warning) not in HARMLESS]
    if frames and not synthesised:
        why = ["no frame got a new mouth", *why]
    if not why:
        return None
    hint = "nothing was published; finished parts are kept; without --strict this is a warning"
    return StageError(Code.STRICT, "; ".join(why), hint=hint)


def strictly(job: Job, result: JobResult) -> JobResult:
    """The result under --strict of a job that an earlier run finished. Its output stays."""
    problem = unasked(result.frames, result.synthesised, result.warnings) if result.status == "ok" else None
    if problem is None:
        return result
    problem.hint = "the output was published by an earlier run; without --strict this is a warning"
    said = {"error_code": str(problem.code), "error_message": problem.message, "hint": problem.hint}
    return result.model_copy(update={"status": "failed", **said, "line": job.line})
