"""A partially downloaded file: its timeouts, and the bytes received so far. The bytes outlive the process; one process
at a time appends."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from raydub.errors import Code, StageError
from raydub.files import discard, storage_error, write_atomic

_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Patience:
    """Timeouts and retries of a download. connect_seconds: for the connection with its TLS handshake; idle_seconds:
    between two pieces of data; total_seconds: for one file with all tries; least_rate: a transfer below this many bytes
    per second over idle_seconds counts as stuck. tries: requests in a row that may fail without progress; first_wait,
    longest_wait: seconds between tries, doubling; longest_wait also limits a server's Retry-After. redirects: the most
    that are followed.
    """

    connect_seconds: float = 10.0
    idle_seconds: float = 30.0
    total_seconds: float = math.inf
    least_rate: int = 1024
    tries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 30.0
    redirects: int = 5


@dataclass(frozen=True)
class Marks:
    """Headers by which a server identifies a version of a file; "" if absent. source: the caller's name for the server;
    marks of different sources are never compared."""

    etag: str = ""
    modified: str = ""
    source: str = ""

    @property
    def strong(self) -> str:
        """The mark for If-Range (RFC 9110, 13.1.5), "" if there is none."""
        return "" if self.etag.startswith("W/") else self.etag or self.modified


class Partial:
    """The bytes at `path`, with their marks in a file beside it. For the holder of the lock only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._notes = path.with_name(f"{path.name}.json")

    @property
    def length(self) -> int:
        """Bytes received so far."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    @property
    def marks(self) -> Marks:
        """The marks of the version that the bytes belong to; empty if unknown."""
        try:
            return Marks(**json.loads(self._notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Marks()

    def restart(self, marks: Marks | None = None) -> None:
        """Discard the bytes. marks: of the version that follows. Raises StageError STORAGE or DISK_FULL."""
        discard(self.path)
        discard(self._notes)
        if marks is not None:
            write_atomic(self._notes, json.dumps(asdict(marks)).encode())

    def append(self, block: bytes) -> None:
        """Append without buffering, so that nothing is lost when the process is killed. Raises StageError STORAGE or
        DISK_FULL."""
        try:
            with self.path.open("ab", buffering=0) as stream:
                view = memoryview(block)
                while view:
                    view = view[stream.write(view) :]
        except OSError as error:
            raise storage_error(error, str(self.path)) from error

    def digest(self) -> str:
        """SHA-256 of the bytes, hex. Raises StageError STORAGE."""
        try:
            with self.path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise storage_error(error, str(self.path)) from error


@contextmanager
def alone(path: Path, lock: Path, seconds: float = math.inf) -> Iterator[Partial]:
    """The partial file at `path`, locked for this process while the block runs. The kernel releases the lock when the
    process ends. On file systems without locks each process downloads into its own file, which is removed after the
    block.

    Raises StageError TIMEOUT after `seconds`, STORAGE, DISK_FULL."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise storage_error(error, str(lock)) from error
    try:
        with suppress(OSError):  # it belongs to another user, whose process has set the mode already
            os.fchmod(handle, 0o666)
        if _locked(handle, seconds, path):
            yield Partial(path)
            return
        partial = Partial(path.with_name(f"{path.name}-{uuid.uuid4().hex[:12]}"))
        try:
            yield partial
        finally:
            partial.restart()
    finally:
        os.close(handle)


def _locked(handle: int, seconds: float, path: Path) -> bool:
    """True once the lock is held, False if the file system has no locks."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                message = f"another process has been downloading to {path} for {seconds:.0f} s"
                raise StageError(Code.TIMEOUT, message, retryable=True) from None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise storage_error(error, str(path)) from error
        time.sleep(_POLL_SECONDS)
