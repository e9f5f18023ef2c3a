"""What Ray raises, as raydub's errors."""

from __future__ import annotations

from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError, RayTaskError, UserCodeException

from raydub.errors import Code, RaydubError, StageError
from raydub.pipeline.failures import as_raydub_error, stalled


def as_run_error(error: BaseException, stage: str, stall_seconds: float) -> RaydubError:
    """STALLED for an execution without progress, WORKER_LOST for lost processes, nodes and objects; what a worker
    itself raised keeps its code."""
    if isinstance(error, ExecutionTimeoutError):
        return stalled(stall_seconds)
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        return as_raydub_error(error.cause, stage)
    if isinstance(error, UserCodeException) and error.__cause__ is not None:
        return as_run_error(error.__cause__, stage, stall_seconds)
    if isinstance(error, RayError):
        text = next((line for line in str(error).splitlines() if line.strip()), "")
        return StageError(
            Code.WORKER_LOST,
            f"{stage}: {type(error).__name__}: {text[:300]}",
            hint="look at memory and at the nodes' logs; run again: finished parts are kept",
            retryable=True,
        )
    return as_raydub_error(error, stage)


def is_loss(error: BaseException) -> bool:
    """Is it the cluster's trouble, so that a new execution may get further?"""
    return isinstance(error, RayError) and not isinstance(error, (RayTaskError, UserCodeException))
