"""The folder of this machine that caches objects: bounded, shared by all processes of one user, one download a file.

A file's last use is the time of an empty file beside it (`NAME.used`): the kernel may not note reading, and touching
the file itself would change its look, for which raydub.identity would read it again. Another small file beside it may
hold its digest (`NAME.sha256`, see raydub.objects.near). Both go with it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from raydub.errors import Code, StageError, UsageError
from raydub.files import discard, publish, storage_error, temp_beside
from raydub.objects.counted import count

KEPT = 600.0
"""Files that were used within this many seconds are not evicted: somebody may be about to open them."""
SHARE = 0.5
"""Without RAYDUB_CACHE_GB: the part of the disk's free space (with the cache) that the cache may take."""
SPARE = 256 << 20
"""Bytes that are left free on the disk."""

USED, DIGEST = ".used", ".sha256"
"""Suffixes of what stands beside a file of the cache."""
_LOCKS = ".locks"
_ANOTHER = "set RAYDUB_CACHE_DIR to a folder of your own"
_OTHERS = frozenset({_LOCKS, "origins", "refs", "runs", "tmp"})
"""Folders whose small or unfinished files are not evicted (raydub.objects.near)."""


def cache_root() -> Path:
    """The cache folder: RAYDUB_CACHE_DIR, or one of this user in the system's folder for temporary files. Made if
    absent. Raises StageError STORAGE if it cannot be made, or if somebody else could change what is in it."""
    chosen = os.environ.get("RAYDUB_CACHE_DIR")
    folder = Path(chosen or os.path.join(tempfile.gettempdir(), f"raydub-cache-{os.getuid()}")).absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = os.stat(folder) if chosen else os.lstat(folder)
    except OSError as error:
        message = f"the cache folder {folder} cannot be used: {error.strerror or error}"
        raise StageError(Code.STORAGE, message, hint=_ANOTHER) from error
    what = ""
    if not stat.S_ISDIR(state.st_mode):
        what = "is not a folder"
    elif not chosen and (state.st_uid != os.getuid() or state.st_mode & 0o077):
        what = "belongs to another user, or others may write to it"
    if what:
        message = f"the cache folder {folder} {what}"
        raise StageError(Code.STORAGE, message, hint=f"remove it, or {_ANOTHER}")
    return folder


def cache_bytes() -> int:
    """The most bytes that the cache may take: RAYDUB_CACHE_GB (10^9 bytes), or half of what is free on its disk and
    taken by itself. Raises UsageError FIELD_VALUE."""
    return cache_use()[1]


def cache_use() -> tuple[int, int]:
    """The bytes that the cache takes, and the most that it may take (cache_bytes)."""
    root = cache_root()
    taken = sum(size for _, size, _ in _files(root))
    return taken, _limit(root, taken)


def used(path: str | Path) -> bool:
    """Whether the cache has this file, which counts as in use from now on: it is not evicted for 10 minutes."""
    if not os.path.isfile(path):
        return False
    # Whoever evicts holds the lock alone, and has looked at the marks before.
    with _room(cache_root(), fcntl.LOCK_SH):
        found = os.path.isfile(path)
        if found:
            _mark(path)
    return found


def make_room(needed: int) -> None:
    """Evict files, those first that were used longest ago, until `needed` more bytes fit into the cache and on the
    disk. A file that somebody has open stays readable to them. Raises StageError DISK_FULL if files that were used
    within 10 minutes take the room, or others the disk."""
    root = cache_root()
    with _room(root, fcntl.LOCK_EX):
        _evict(root, needed)


def fetch_once(path: str | Path, download: Callable[[Path], None], *, size: int = 0) -> Path:
    """`path`, which is in the cache folder, after `download` has written it if it was not there. download: is given a
    temporary file of `size` bytes, which may be written anew; it must not call fetch_once for the same path.

    Of several processes one downloads, and the others wait. Raises what `download` raises, and as make_room."""
    goal = Path(path)
    root = cache_root()
    if _hit(goal):
        return goal
    with _alone(root / _LOCKS / hashlib.sha256(os.fsencode(goal)).hexdigest()):
        if _hit(goal):
            return goal
        count(misses=1)
        temp = Path(temp_beside(goal))
        try:
            with _room(root, fcntl.LOCK_EX):
                _evict(root, size)
                _reserve(temp, size)
            download(temp)
            _mark(goal)
            publish(temp, goal, durable=False)
        finally:
            discard(temp)
    return goal


def _limit(root: Path, taken: int) -> int:
    said = os.environ.get("RAYDUB_CACHE_GB")
    if said is None:
        return int(SHARE * (shutil.disk_usage(root).free + taken))
    with contextlib.suppress(ValueError, OverflowError):
        if float(said) > 0:
            return int(float(said) * 1e9)
    raise UsageError(Code.FIELD_VALUE, f"RAYDUB_CACHE_GB={said!r} is not a number above 0", hint="give gigabytes")


def _hit(path: Path) -> bool:
    found = used(path)
    count(hits=int(found))
    return found


def _mark(path: str | Path) -> None:
    marker = f"{os.fspath(path)}{USED}"
    with contextlib.suppress(OSError):
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        os.utime(marker)


def _reserve(path: Path, size: int) -> None:
    """A file of `size` bytes that takes them from the disk now, so that two downloads do not count on the same room."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if size and hasattr(os, "posix_fallocate"):
                try:
                    os.posix_fallocate(handle, 0, size)
                except OSError as error:
                    # Not every file system can; then the limit is exceeded by what is being downloaded.
                    if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                        raise
        finally:
            os.close(handle)
    except OSError as error:
        discard(path)
        raise storage_error(error, str(path)) from error


def _evict(root: Path, needed: int) -> None:
    files = sorted(_files(root))
    taken = sum(size for _, size, _ in files)
    limit = _limit(root, taken)
    over = taken + needed - limit
    short = needed + SPARE - shutil.disk_usage(root).free
    if over <= 0 and short <= 0:
        return
    since = time.time() - KEPT
    for when, size, path in files:
        if (over <= 0 and short <= 0) or when > since:
            break
        for name in (path, f"{path}{USED}", f"{path}{DIGEST}"):
            discard(name)
        over, short = over - size, short - size
    if over > 0 or (short > 0 and shutil.disk_usage(root).free < needed + SPARE):
        message = f"the cache folder {root} has no room for {needed} bytes more (limit {limit} bytes)"
        hint = "raise RAYDUB_CACHE_GB, or set RAYDUB_CACHE_DIR to a folder on a larger disk"
        raise StageError(Code.DISK_FULL, message, hint=hint)


def _files(root: Path) -> list[tuple[float, int, str]]:
    """Last use, bytes on the disk and path of each file in the cache. Files may come and go meanwhile."""
    found: list[tuple[float, int, str]] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _OTHERS]
        for name in names:
            if name.endswith((USED, DIGEST)):
                continue
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                state = os.lstat(path)
                when = state.st_mtime
                with contextlib.suppress(OSError):
                    when = max(when, os.lstat(f"{path}{USED}").st_mtime)
                found.append((when, state.st_blocks * 512, path))
    return found


@contextlib.contextmanager
def _room(root: Path, how: int) -> Iterator[None]:
    """Hold the lock of the whole cache among all processes and threads of this machine, shared or alone."""
    handle = _lock_file(root / _LOCKS / "room")
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of one file. The file of the lock is removed afterwards."""
    while True:
        handle = _lock_file(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Whoever held it before has removed its file; the next one makes another.
            if os.fstat(handle).st_nlink:
                try:
                    yield
                finally:
                    discard(path)
                return
        finally:
            os.close(handle)


def _lock_file(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise storage_error(error, str(path)) from error
