"""Open inputs without blocking, regular files only.

Opening a named pipe blocks until a writer opens it. A device may be endless (/dev/zero), wait for input (a terminal) or
have side effects (a tape). So the kind of file is checked before opening and again on the open handle, in case the file
was replaced in between.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader

from raydub.kinds import NotRegularError
from raydub.present import present

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


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
