"""Two drivers never write one output at the same time.

A few files in the work folder, one locked byte per output (fcntl, POSIX record locks). The kernel lets go of the locks
when the driver dies, however it dies, so there is nothing to clean up and no lease to expire; NFS servers know them.
Drivers with different work folders do not see each other: both write whole files under temporary names then, and the
last one stays.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from media.publish import storage_error

FOLDER = "locks"
_FILES = 64
"""The kernel searches all locks of a file for each new one: 10,000 take 11 s in one file, 0.6 s in 64."""
_HELD = (errno.EACCES, errno.EAGAIN)
_ABSENT = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_PLACES = 1 << 62  # the files stay empty: bytes beyond the end can be locked

_log = logging.getLogger(__name__)


class RunLock:
    """The outputs that this process is writing. At most one per process and work folder: to the kernel a process is one
    owner, and closing any handle of a file ends all of its locks. Child processes do not inherit them."""

    def __init__(self, work_dir: str | Path) -> None:
        self._folder = Path(work_dir) / FOLDER
        self._handles: dict[int, int] = {}

    def lock(self, outputs: Iterable[str]) -> set[str]:
        """Lock each output; returns those that another live driver holds, which are not locked.

        Where the file system has no locks, says so in the log and returns none. Raises StageError STORAGE or DISK_FULL.
        """
        held = set()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for output in outputs:
                if not self._try(output):
                    held.add(output)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise storage_error(error, str(self._folder)) from error
            _log.warning(
                "%s has no file locks (%s): do not run two drivers on the same outputs", self._folder, error.strerror
            )
            return set()
        return held

    def close(self) -> None:
        """Let go of everything."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _try(self, output: str) -> bool:
        number, at = place_of(output)
        handle = self._handles.get(number)
        if handle is None:
            path = self._folder / f"{number:02x}"
            handle = self._handles[number] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
        except OSError as error:
            if error.errno in _HELD:
                return False
            raise
        return True


def place_of(output: str) -> tuple[int, int]:
    """(file, byte) that stand for an output; two ways to name one file give the same."""
    digest = hashlib.sha256(os.path.realpath(output).encode("utf-8", "surrogatepass")).digest()
    return digest[8] % _FILES, int.from_bytes(digest[:8]) % _PLACES
