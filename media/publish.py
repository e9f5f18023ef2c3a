"""Files appear whole or not at all: write beside the goal, sync, rename."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path

from raydub.errors import Code, StageError


def temp_beside(path: str | Path) -> str:
    """A fresh hidden name in the folder of `path`, which is created, with its extension (muxers choose by it)."""
    goal = Path(path)
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, str(goal.parent)) from error
    return str(goal.parent / f".{goal.stem[:80]}.{uuid.uuid4().hex[:12]}.tmp{goal.suffix}")


def publish(temp: str | Path, final: str | Path) -> None:
    """fsync `temp`, rename it to `final` (same folder) and sync the folder where the file system can.

    Raises StageError STORAGE or DISK_FULL; `temp` is removed then.
    """
    try:
        with open(temp, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temp, final)
    except OSError as error:
        discard(temp)
        raise storage_error(error, str(final)) from error
    # Some network file systems refuse fsync on a folder; the rename itself stands.
    with contextlib.suppress(OSError):
        folder = os.open(os.path.dirname(os.path.abspath(final)), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_atomic(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a mixture."""
    temp = temp_beside(path)
    try:
        with open(temp, "wb") as stream:
            stream.write(content)
    except OSError as error:
        discard(temp)
        raise storage_error(error, str(path)) from error
    publish(temp, path)


def discard(path: str | Path) -> None:
    """Remove a temporary file if it is there."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def storage_error(error: OSError, path: str) -> StageError:
    """The StageError for a failed write: DISK_FULL when there is no space or quota left, else STORAGE (retryable)."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StageError(Code.DISK_FULL, f"no space left to write {path}", hint="free space or choose another folder")
    return StageError(Code.STORAGE, f"cannot write {path}: {error.strerror or error}", retryable=True)
