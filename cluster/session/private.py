"""A private temporary folder for one Ray session.

Ray makes its session folders and sockets accessible to all users, so its folder is inside one that only this user can
enter. A lock tells folders of living owners from those of killed ones, which the next session removes.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raydub.errors import Code, DependencyError

PREFIX = "raydub-ray-"
_LOCK = "raydub.lock"
_NAME = re.compile(rf"{PREFIX}[a-z0-9_]{{8}}")  # as mkdtemp() makes it
# A unix socket's path has at most 107 bytes; "/r/session_<date>_<pid>/sockets/plasma_store" takes _BELOW.
_BELOW = 68
_SOCKET_PATH = 107
_YOUNG = 60.0  # seconds


class PrivateFolder:
    """A folder of mode 0700, locked by this process. Call remove() at the end. Raises DependencyError
    CLUSTER_UNREACHABLE if none can be created."""

    def __init__(self, places: Iterable[str] | None = None) -> None:
        made = None
        for place in dict.fromkeys(places or (tempfile.gettempdir(), "/tmp", "/var/tmp")):
            if len(os.fsencode(os.path.join(place, PREFIX))) + 8 + _BELOW > _SOCKET_PATH:
                continue
            _sweep(Path(place))
            with suppress(OSError):
                made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
                self._lock = os.open(made / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                break
        if made is None:
            raise DependencyError(
                Code.CLUSTER_UNREACHABLE,
                "Ray does not start: no writable temporary folder has a path short enough for sockets",
                hint="free some space in /tmp, or set TMPDIR to a short path, or use --no-ray",
            )
        self.path = made

    def remove(self) -> None:
        """Remove the folder with its content. Never raises."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            os.close(self._lock)
            self._lock = -1


@contextmanager
def private_folder() -> Iterator[Path]:
    """A PrivateFolder for the block."""
    made = PrivateFolder()
    try:
        yield made.path
    finally:
        made.remove()


def _sweep(place: Path) -> None:
    """Remove the folders of this user whose owner is dead. Folders that were not made here have no lock: a user may
    name a folder of his own like this."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):
            about = folder.lstat()
            ours = _NAME.fullmatch(folder.name) and stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
            # A new one may not be locked yet.
            if not ours or stat.S_IMODE(about.st_mode) != 0o700 or time.time() - about.st_mtime < _YOUNG:
                continue
            try:
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                folder.rmdir()  # its owner was killed before it made the lock; fails if anything is in it
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
