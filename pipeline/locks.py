"""Locks on outputs, so that two drivers never write the same output, whatever their work folders are.

A hidden folder beside the outputs contains empty files with one locked byte per output (fcntl, POSIX record locks). The
kernel releases the locks when the driver dies, so there are no leases; NFS supports them. The last driver to end
removes the files. Outputs in buckets are claimed by leases instead (pipeline.leases).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from raydub.errors import Code, RaydubError, StageError
from raydub.files import make_parent, storage_error
from raydub.objects.names import is_object
from raydub.pipeline.attempts import new_run_id
from raydub.pipeline.leases import FOLDER, Leases

_FILES = 64
"""The kernel searches all locks of a file for each new one: 10,000 take 11 s in one file, 0.6 s in 64."""
_HELD = (errno.EACCES, errno.EAGAIN)
_ABSENT = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_PLACES = 1 << 62  # the files stay empty: bytes beyond the end can be locked

_log = logging.getLogger(__name__)


class RunLock:
    """The locks of this process. At most one instance per process: the locks belong to the process, and closing any
    handle of a file releases all its locks in it. Child processes do not inherit them."""

    def __init__(self) -> None:
        self._handles: dict[Path, int] = {}
        self._told: set[str] = set()
        self.owner = new_run_id()
        """The id of the run, by which its workers know its leases."""
        self._leases = Leases(self.owner)

    def lock(self, outputs: Iterable[str]) -> dict[str, RaydubError | None]:
        """Lock each output. Returns the outputs that could not be locked: with None if another live driver holds the
        lock, with the error (STORAGE, DISK_FULL) if the folder cannot be written to.

        On file systems without locks it logs a warning and treats the output as locked.
        """
        wanted = list(outputs)
        refused = self._leases.claim(filter(is_object, wanted))
        for output in wanted:
            if is_object(output):
                continue
            try:
                if not self._try(output):
                    refused[output] = None
            except StageError as error:
                refused[output] = error
            except OSError as error:
                folder = str(Path(output).parent)
                if error.errno not in _ABSENT:
                    refused[output] = storage_error(error, folder)
                elif folder not in self._told:
                    self._told.add(folder)
                    _log.warning(
                        "%s has no file locks (%s): do not run two drivers on the same outputs", folder, error.strerror
                    )
        return refused

    def lost(self) -> bool:
        """Whether another run may have taken over outputs of this one. Only in buckets, where locks are leases."""
        return bool(self._leases.lost())

    def close(self) -> None:
        """Release all locks."""
        self._leases.close()
        folders = {path.parent for path in self._handles}
        while self._handles:
            path, handle = self._handles.popitem()
            with contextlib.suppress(OSError):
                # Nobody else holds a lock in this file; a process that has just opened it will check that it still
                # exists.
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_size == 0:  # ours are empty; never remove another file
                    os.unlink(path)
            os.close(handle)
        for folder in folders:
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _try(self, output: str) -> bool:
        path, at = place_of(output)
        while True:
            known = self._handles.get(path)
            make_parent(path)
            if path.parent.is_symlink():
                # A symlink could make us create and remove files elsewhere.
                raise StageError(Code.STORAGE, f"{path.parent} is a symlink", hint="remove it, and run again")
            try:
                handle = known if known is not None else os.open(path, _OPEN, 0o666)
            except FileNotFoundError:
                continue  # another driver has just removed the folder
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
            except OSError as error:
                if known is None:
                    # We hold no lock in this file, so closing it releases none.
                    os.close(handle)
                if error.errno in _HELD:
                    return False
                raise
            if known is not None or _is_there(path, handle):
                self._handles[path] = handle
                return True
            os.close(handle)  # removed between opening and locking: lock the new file of that name


def place_of(output: str) -> tuple[Path, int]:
    """(file, byte) of an output's lock. The same for all paths of one file, and for names that differ in case only,
    because some file systems treat them as equal."""
    real = Path(os.path.realpath(output))
    digest = hashlib.sha256(real.name.casefold().encode("utf-8", "surrogatepass")).digest()
    return real.parent / FOLDER / f"{digest[8] % _FILES:02x}", int.from_bytes(digest[:8]) % _PLACES


def _is_there(path: Path, handle: int) -> bool:
    try:
        there, ours = os.stat(path), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
