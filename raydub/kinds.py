"""Kinds of files: what is no regular file, and what no output may replace."""

from __future__ import annotations

import errno
import os
import stat

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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
