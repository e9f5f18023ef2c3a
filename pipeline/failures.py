"""Convert any exception to a RaydubError with a stable code, so that it fails its job and not the run."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from raydub.errors import Code, RaydubError, StageError
from raydub.pipeline.events import Failed
from raydub.present import in_words
from raydub.stages.batching import is_out_of_memory

# File system errors that are not retried. ENOENT is: a file just written by another node may take seconds to appear on
# a network file system.
_LASTING = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.ELOOP,
}


def as_raydub_error(error: BaseException, stage: str) -> RaydubError:
    """The error itself if it is a RaydubError, else a StageError with a matching code and `retryable` set. Never
    raises, even if the exception's __str__ does."""
    if isinstance(error, RaydubError):
        return error
    text = f"{stage}: {type(error).__name__}: {words_of(error)}"
    if is_out_of_memory(error):
        hint = "use smaller chunk_seconds, fewer workers, or more memory"
        if "cuda" in text.lower():
            hint = "free memory on the GPU, run fewer workers on it, or use --device cpu"
        return StageError(Code.OUT_OF_MEMORY, text, hint=hint, retryable=True)
    if isinstance(error, TimeoutError):
        return StageError(Code.TIMEOUT, text, retryable=True)
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StageError(Code.DISK_FULL, text, hint="free some space and run again; finished parts are kept")
        return StageError(
            Code.STORAGE,
            text,
            hint="check that the work and output folders exist and are writable",
            retryable=error.errno not in _LASTING,
        )
    return StageError(Code.INTERNAL, text, hint="this is a bug in raydub: please report it with the log")


def stalled(seconds: float) -> StageError:
    """STALLED after `seconds` without progress."""
    return StageError(
        Code.STALLED,
        f"no progress for {seconds:.0f} s: the workers or their nodes were lost, or no node can run the work",
        hint="restore the nodes and run again (finished parts are kept), or set a longer --stall-timeout",
    )


@contextmanager
def while_loading(what: str) -> Iterator[None]:
    """For code that creates a worker or loads a model: unexpected errors there (devices, libraries) are retryable.
    RaydubErrors (missing or refused weights) pass unchanged."""
    try:
        yield
    except RaydubError:
        raise
    except Exception as error:
        known = as_raydub_error(error, f"loading {what}")
        if known.code is Code.INTERNAL:
            known.retryable = True
            known.hint = "run again; if it fails again, check the machine's drivers and memory, and the log"
        raise known from error


def failed(
    job_id: str,
    stage: str,
    error: BaseException,
    *,
    line: int | None = None,
    chunk: int | None = None,
    attempt: int = 1,
) -> Failed:
    """The event for the driver. Plain text and numbers: the exception itself is not sent."""
    known = as_raydub_error(error, stage).at(job=job_id, line=line)
    known.message = in_words(known.message)
    surprise = error if known is not error else known.__cause__ if known.code is Code.INTERNAL else None
    detail = _trace(surprise) if surprise is not None else ""
    return Failed(job_id, stage, type(known).__name__, known.to_dict(), chunk, detail, attempt)


def words_of(error: BaseException) -> str:
    """The exception's message, even if its __str__ raises."""
    try:
        return str(error)
    except Exception as worse:
        return f"(its message cannot be read: {type(worse).__name__})"


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception as worse:
        return f"{type(error).__name__} (its traceback cannot be read: {type(worse).__name__})"
