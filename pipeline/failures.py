"""Any exception becomes a RaydubError with a stable code, so that a bad job ends as a row and never as a dead run."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from raydub.errors import Code, RaydubError, StageError
from raydub.pipeline.events import Failed
from raydub.stages.batching import is_out_of_memory

# Errors of the file system that no second try will mend. ENOENT is none of them: a file that another node has just
# written can take seconds to appear on a network file system.
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
    """The error itself when it is a RaydubError, else a StageError whose code tells what kind of trouble it was, and
    whether a second try may help. Whatever is wrong with the exception itself (a __str__ that raises), this does not
    raise."""
    if isinstance(error, RaydubError):
        return error
    text = f"{stage}: {type(error).__name__}: {words_of(error)}"
    if is_out_of_memory(error):
        return StageError(
            Code.OUT_OF_MEMORY, text, hint="smaller chunk_seconds, fewer workers, or a bigger machine", retryable=True
        )
    if isinstance(error, TimeoutError):
        return StageError(Code.TIMEOUT, text, retryable=True)
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StageError(Code.DISK_FULL, text, hint="free some space and run again; finished parts are kept")
        return StageError(
            Code.STORAGE,
            text,
            hint="check that the work and output folders are there and writable",
            retryable=error.errno not in _LASTING,
        )
    return StageError(Code.INTERNAL, text, hint="this is a bug in raydub: please report it with the log")


def stalled(seconds: float) -> StageError:
    """Nothing moved for so long."""
    return StageError(
        Code.STALLED,
        f"nothing moved for {seconds:.0f} s: the workers or their nodes are gone, or none of them is up to the work",
        hint="bring nodes back and run again: finished parts are kept; --stall-timeout changes the patience",
    )


@contextmanager
def while_loading(what: str) -> Iterator[None]:
    """For code that builds a worker or loads a model. A device that did not answer, a library that stumbled at start:
    a surprise there is worth another try. RaydubErrors (absent or refused weights) pass as they are."""
    try:
        yield
    except RaydubError:
        raise
    except Exception as error:
        known = as_raydub_error(error, f"loading {what}")
        if known.code is Code.INTERNAL:
            known.retryable = True
            known.hint = "run again; if it stays, look at the machine's drivers and memory, and at the log"
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
    """The row that tells the driver what happened. Plain text and numbers: the exception itself does not travel."""
    known = as_raydub_error(error, stage).at(job=job_id, line=line)
    surprise = error if known is not error else known.__cause__ if known.code is Code.INTERNAL else None
    detail = _trace(surprise) if surprise is not None else ""
    return Failed(job_id, stage, type(known).__name__, known.to_dict(), chunk, detail, attempt)


def words_of(error: BaseException) -> str:
    """The exception's own words, whatever its class makes of str()."""
    try:
        return str(error)
    except Exception as worse:
        return f"(its message cannot be had: {type(worse).__name__})"


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception as worse:
        return f"{type(error).__name__} (its traceback cannot be had: {type(worse).__name__})"
