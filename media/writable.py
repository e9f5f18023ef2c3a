"""Check that a file can be written at a path, by trying, before work starts whose result goes there."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from pathlib import Path

from raydub.anywhere import remove, write
from raydub.errors import Code, StageError
from raydub.files import refuse_special
from raydub.objects.names import is_object, join
from raydub.places import absolute

_WORDS = {
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
    errno.EROFS: "it is on a read-only file system",
    errno.ENOTDIR: "a part of its path is a file",
}


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that a file can be created or replaced at `path`. Leaves nothing behind. Raises StageError STORAGE,
    DISK_FULL."""
    check_folder(os.path.dirname(absolute(path)))
    check_replaceable(path)


def check_folder(path: str | os.PathLike[str]) -> None:
    """Make and remove an empty file in the folder `path`, or in its nearest existing parent; or an object in a bucket.
    Raises StageError STORAGE, DISK_FULL, and for a bucket what raydub.objects.bucket raises."""
    if is_object(os.fspath(path)):
        probe_name = join(os.fspath(path), f".raydub-{uuid.uuid4().hex[:12]}.tmp")
        write(probe_name, b"")
        remove(probe_name)
        return
    wanted = folder = Path(os.path.abspath(path))
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    probe = folder / f".raydub-{uuid.uuid4().hex[:12]}.tmp"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        os.unlink(probe)
    except OSError as error:
        raise _unwritable(f"in the folder {wanted}", folder, error) from error


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Check that `path` is free or may be replaced: not a folder, pipe, socket or device, nor a link to one, and not
    another user's file in a sticky folder (/tmp). Raises StageError STORAGE."""
    if is_object(os.fspath(path)):
        return
    goal = Path(os.path.abspath(path))
    refuse_special(goal)
    try:
        there, above, me = os.lstat(goal), os.stat(goal.parent), os.geteuid()
        if above.st_mode & stat.S_ISVTX and me not in (0, there.st_uid, above.st_uid):
            raise PermissionError(errno.EPERM, "it belongs to another user")
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(str(goal), goal.parent, error) from error


def _unwritable(what: str, folder: Path, error: OSError) -> StageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StageError(
            Code.DISK_FULL, f"no space left to write {what}", hint=f"free space in {folder} or choose another folder"
        )
    why = error.strerror or str(error)
    why = _WORDS.get(error.errno or 0, why)
    return StageError(Code.STORAGE, f"cannot write {what}: {why}", hint="choose another folder")
