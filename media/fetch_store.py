"""Fetched files: whole ones are kept in the work folder's store as `fetched/<key of the address>`, with the marks of
the server (ETag, Last-Modified). What is on its way lies in `<work_dir>/fetching/<key of the address>/`:

partial, .json     what came so far of the next copy, and its marks
lock               held by the process that is fetching; the kernel lets it go with the process
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raydub.errors import Code, StageError
from raydub.files import discard, storage_error, write_atomic
from raydub.identity import identify
from raydub.media.fetch_uri import Uri
from raydub.store import Store as Artefacts

_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Marks:
    """By what a server tells one version of a file from another; "" where it does not."""

    etag: str = ""
    modified: str = ""

    @property
    def strong(self) -> str:
        """The mark under which the rest of a file may be asked for (RFC 9110, 13.1.5), "" when there is none."""
        return "" if self.etag.startswith("W/") else self.etag or self.modified


@dataclass(frozen=True)
class Copy:
    """A whole fetched file. checked: when the server last stood by it, seconds since 1970."""

    path: str
    size: int
    sha256: str
    marks: Marks
    checked: float


class Store:
    """The folder of one address. Not for two threads at once; between processes `lock` keeps order."""

    def __init__(self, work_dir: str | Path, uri: Uri) -> None:
        self.folder = Path(work_dir) / "fetching" / uri.key
        self._artefacts = Artefacts(work_dir)
        self._name = f"fetched/{uri.key}"
        self._suffix = uri.suffix
        self._partial = self.folder / "partial"

    @contextmanager
    def lock(self, seconds: float) -> Iterator[None]:
        """Alone in the folder. Where the file system knows no locks, several fetch at once, each into a file of its
        own, and the last one's state stays. Raises StageError TIMEOUT after `seconds`, STORAGE, DISK_FULL."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise storage_error(error, str(self.folder)) from error
        try:
            if not _locked(handle, seconds, self.folder):
                self._partial = self.folder / f"partial-{uuid.uuid4().hex[:12]}"
            yield
        finally:
            if self._partial.name != "partial":
                self.drop_partial()
            os.close(handle)

    def latest(self) -> Copy | None:
        """The latest whole copy, None where there is none, or other bytes than came."""
        said = self._artefacts.record(self._name)
        try:
            if said is None:
                return None
            marks = Marks(str(said["about"]["etag"]), str(said["about"]["modified"]))
            path = self._artefacts.blob(str(said["sha256"]), str(said["suffix"]))
            copy = Copy(str(path), int(said["bytes"]), str(said["sha256"]), marks, float(said["about"]["checked"]))
            whole = path.stat().st_size == copy.size
            return copy if whole and identify(path, self._artefacts.identities).sha256 == copy.sha256 else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def confirm(self, copy: Copy) -> None:
        """The server stood by this copy just now."""
        self._artefacts.tell(self._name, {**asdict(copy.marks), "checked": time.time()})

    def partial(self) -> tuple[int, Marks]:
        """How many bytes of the next copy are here, and its marks; (0, no marks) where they cannot be gone on with."""
        try:
            size = self._partial.stat().st_size
            marks = Marks(**json.loads(self._partial.with_suffix(".json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return 0, Marks()
        return (size, marks) if size and marks.strong else (0, Marks())

    @contextmanager
    def writing(self, marks: Marks, start: int) -> Iterator[Any]:
        """A stream that goes on with the partial file at byte `start` (0: anew). Raises StageError STORAGE or
        DISK_FULL."""
        if start == 0:
            self.drop_partial()
            write_atomic(self._partial.with_suffix(".json"), json.dumps(asdict(marks)).encode())
        try:
            with open(self._partial, "ab") as stream:
                yield stream
        except OSError as error:
            raise storage_error(error, str(self._partial)) from error

    def drop_partial(self) -> None:
        """Forget the partial file."""
        discard(self._partial)
        discard(self._partial.with_suffix(".json"))

    def finish(self, marks: Marks) -> Copy:
        """The partial file is whole: keep it. Raises StageError STORAGE, DISK_FULL."""
        now = time.time()
        kept = self._artefacts.put_file(
            self._name, self._partial, {**asdict(marks), "checked": now}, suffix=self._suffix
        )
        discard(self._partial.with_suffix(".json"))
        return Copy(kept.path, kept.size, kept.sha256, marks, now)


def _locked(handle: int, seconds: float, folder: Path) -> bool:
    """True once the lock is ours, False where there are no locks."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                message = f"another process has been fetching into {folder} for {seconds:.0f} s"
                raise StageError(Code.TIMEOUT, message, retryable=True) from None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise storage_error(error, str(folder)) from error
        time.sleep(_POLL_SECONDS)
