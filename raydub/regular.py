"""Open inputs without blocking, regular files only; and detect non-files, which no output may replace.

Opening a named pipe blocks until a writer opens it. A device may be endless (/dev/zero), wait for input (a terminal) or
have side effects (a tape). So the kind of file is checked before opening and again on the open handle, in case the file
was replaced in between.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader

from raydub.present import present

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


class NotRegularError(OSError):
    """The path is not a regular file. strerror says what it is, such as "is a named pipe, not a file"."""

    def __init__(self, path: str, mode: int) -> None:
        super().__init__(errno.EINVAL, f"is {kind_of(mode)}, not a file", path)


def kind_of(mode: int) -> str:
    """The kind of a file by its st_mode: "a file", "a folder", "a named pipe", "a socket", .."""
    return _KINDS.get(stat.S_IFMT(mode), "a file" if stat.S_ISREG(mode) else "something else")


def in_the_way(path: str | os.PathLike[str], folder: int | None = None) -> str | None:
    """The kind of a non-file at `path` (relative to the folder handle `folder`): "a folder", "a named pipe", "a
    device", .. Links are followed. None for a regular file, a missing file or a dangling link."""
    try:
        mode = os.stat(path, dir_fd=folder).st_mode
    except OSError:
        return None
    return None if stat.S_ISREG(mode) else kind_of(mode)


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open the regular file at `path` (links are followed) for reading bytes. An object in a bucket is fetched first.

    Never blocks on a pipe, socket or device. Raises NotRegularError for anything but a regular file, other OSErrors as
    open() does (also ELOOP, ENAMETOOLONG), ValueError for a path with a NUL."""
    path = present(path)
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise NotRegularError(str(path), mode)
    handle = os.open(path, _FLAGS)
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise NotRegularError(str(path), mode)
        os.set_blocking(handle, True)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: str | os.PathLike[str], limit: int | None = None) -> bytes:
    """All bytes of the regular file at `path`, at most `limit` of them. Raises as open_regular."""
    with open_regular(path) as stream:
        return stream.read(-1 if limit is None else limit)
