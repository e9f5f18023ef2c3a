"""Any exception becomes a RaydubError with a stable code, so that a bad job ends as a row and never as a dead run."""

from __future__ import annotations

import errno
import traceback

from pipeline.events import Failed
from raydub.errors import Code, RaydubError, StageError


def as_raydub_error(error: BaseException, stage: str) -> RaydubError:
    """The error itself when it is a RaydubError, else a StageError whose code tells what kind of trouble it was."""
    if isinstance(error, RaydubError):
        return error
    name = type(error).__name__
    text = f"{stage}: {name}: {error}"
    # torch.OutOfMemoryError is known by its name: this module must not import torch.
    if isinstance(error, MemoryError) or name == "OutOfMemoryError":
        return StageError(
            Code.OUT_OF_MEMORY, text, hint="smaller chunk_seconds, fewer workers, or a bigger machine", retryable=True
        )
    if isinstance(error, TimeoutError):
        return StageError(Code.TIMEOUT, text, retryable=True)
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StageError(Code.DISK_FULL, text, hint="free some space and run again; finished parts are kept")
        return StageError(Code.STORAGE, text, hint="check that the work and output folders are there and writable")
    return StageError(Code.INTERNAL, text, hint="this is a bug in raydub: please report it with the log")


def failed(
    job_id: str, stage: str, error: BaseException, *, line: int | None = None, chunk: int | None = None
) -> Failed:
    """The row that tells the driver what happened."""
    known = as_raydub_error(error, stage).at(job=job_id, line=line)
    detail = "" if known is error else "".join(traceback.format_exception(error))
    return Failed(job_id, stage, type(known).__name__, known.to_dict(), chunk, detail)
