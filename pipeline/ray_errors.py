"""Convert Ray's exceptions to raydub's errors."""

from __future__ import annotations

from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError, RayTaskError, UserCodeException

from raydub.errors import Code, RaydubError, StageError
from raydub.pipeline.failures import as_raydub_error, stalled


def as_run_error(error: BaseException, stage: str, stall_seconds: float) -> RaydubError:
    """STALLED for an execution without progress, WORKER_LOST for lost processes, nodes and objects; errors raised in a
    worker keep their code."""
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
            hint="check the nodes' memory and logs; run again: finished parts are kept",
            retryable=True,
        )
    return as_raydub_error(error, stage)


def is_loss(error: BaseException) -> bool:
    """Whether the error comes from the cluster, so that a new execution may succeed."""
    return isinstance(error, RayError) and not isinstance(error, (RayTaskError, UserCodeException))
