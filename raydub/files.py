"""Atomic writes: write a temporary file in the same folder, sync, rename.

The temporary name identifies the writing process, so that files of killed writers can be told from those in use.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from pathlib import Path

from raydub.errors import Code, StageError
from raydub.kinds import in_the_way
from raydub.process import born, place

_TEMPORARY = re.compile(r"\.([0-9a-f]{12})_(\d+)_(\d*)_[0-9a-f]{8}\.tmp")
_LEFT_BEHIND = 86400.0
"""Age in seconds after which a temporary file of another machine counts as abandoned."""


def temp_beside(path: str | os.PathLike[str]) -> str:
    """A fresh hidden name in the folder of `path`, which is created, with its extension (muxers choose by it)."""
    goal = Path(path)
    make_parent(goal)
    # File names are limited to 255 bytes.
    stem = os.fsencode(goal.stem)[:80].decode("utf-8", "ignore")
    return str(goal.parent / f".{stem}{writer_tag()}{goal.suffix}")


def writer_tag() -> str:
    """A unique suffix for a temporary name of this process."""
    birth = born(os.getpid()).rpartition(":")[2]
    return f".{_place()}_{os.getpid()}_{birth}_{uuid.uuid4().hex[:8]}.tmp"


def publish(temp: str | Path, final: str | os.PathLike[str], *, durable: bool = True) -> None:
    """fsync `temp`, rename it to `final` (same folder) and sync the folder if the file system supports it.
    durable=False skips the syncs, for files that are verified when read and can be made again.

    Raises StageError STORAGE (also if `final` exists and is not a file) or DISK_FULL; `temp` is removed then.
    """
    try:
        refuse_special(final)
        if durable:
            # Some systems refuse to sync a file that is open for reading only.
            handle = os.open(temp, os.O_RDWR)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        os.replace(temp, final)
    except OSError as error:
        discard(temp)
        raise storage_error(error, str(final)) from error
    except BaseException:  # a signal handler may raise one
        discard(temp)
        raise
    if not durable:
        return
    # Some network file systems refuse fsync on a folder; the rename is done anyway.
    with contextlib.suppress(OSError):
        folder = os.open(os.path.dirname(os.path.abspath(final)), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def refuse_special(path: str | os.PathLike[str], folder: int | None = None) -> None:
    """Raise StageError STORAGE if `path` (relative to the folder handle `folder`) is, or links to, a folder, pipe,
    socket or device: a rename would replace it."""
    found = in_the_way(path if folder is None else os.path.basename(path), folder)
    if found is not None:
        message = f"cannot write {os.fspath(path)}: it is {found}, not a file"
        raise StageError(Code.STORAGE, message, hint="choose another name")


def write_atomic(path: str | os.PathLike[str], content: bytes, mode: int = 0o666) -> None:
    """Write `content` to `path` so that a reader sees the old or the new file, never a mixture. Raises StageError
    STORAGE or DISK_FULL; the old file stays then."""
    temp = temp_beside(path)
    try:
        write_new(temp, content, mode)
        publish(temp, path)
    except BaseException:
        discard(temp)
        raise


def write_new(path: str | Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file that does not exist yet. Raises StageError STORAGE or DISK_FULL and leaves no file then."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(handle, view) :]
        finally:
            os.close(handle)
    except OSError as error:
        discard(path)
        raise storage_error(error, str(path)) from error


def make_parent(path: str | os.PathLike[str]) -> None:
    """Make the folder of `path`. Raises StageError STORAGE or DISK_FULL."""
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, str(folder)) from error


def discard(path: str | Path) -> None:
    """Remove a temporary file if it exists."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def sweep(folder: str | Path) -> list[str]:
    """Remove temporary files and folders of dead writers from a folder (not from subfolders). Keeps those of live
    processes, and those of other machines that were modified within a day. Returns the names. Never raises."""
    swept = []
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            said = _TEMPORARY.search(entry.name)
            if said and _is_left_behind(entry, *said.groups()):
                shutil.rmtree(entry.path, ignore_errors=True) if entry.is_dir() else discard(entry.path)
                swept.append(entry.name)
    return swept


def storage_error(error: OSError, path: str) -> StageError:
    """The StageError for a failed write: DISK_FULL when there is no space or quota left, else STORAGE (retryable)."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StageError(Code.DISK_FULL, f"no space left to write {path}", hint="free space or choose another folder")
    return StageError(Code.STORAGE, f"cannot write {path}: {error.strerror or error}", retryable=True)


def _is_left_behind(entry: os.DirEntry[str], where: str, pid: str, birth: str) -> bool:
    if where == _place() and birth:
        return born(int(pid)).rpartition(":")[2] != birth
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT_BEHIND
    except OSError:
        return False


def _place() -> str:
    return hashlib.sha256(place().encode()).hexdigest()[:12]
