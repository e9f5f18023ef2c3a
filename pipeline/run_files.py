"""The small files of one run, in the work folder: on a disk, or in a bucket.

Names are "info.json", "failed/<job>", "attempts/<job>/<work>/<number>". An attempt is ended by a second file, so that
nothing needs to be renamed or removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Protocol

from raydub.files import storage_error, write_atomic
from raydub.objects.names import is_object, join

ENDED, OVERRAN = ".ended", ".overran"
_TRIES = 30


class RunFiles(Protocol):
    """Methods raise StageError STORAGE or DISK_FULL, and for a bucket what raydub.objects.bucket raises."""

    def create(self, name: str, data: bytes) -> bool:
        """Create a file; False if it exists, or existed and was ended."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file."""
        ...

    def read(self, name: str) -> bytes | None:
        """The content of a file, None if there is none."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def end(self, name: str) -> None:
        """Mark an attempt as ended."""
        ...

    def attempts(self, below: str) -> dict[str, bool]:
        """The attempts whose names begin with the steps `below`, and whether each has ended."""
        ...

    def touched(self) -> float | None:
        """When the newest of the files was written, in seconds since 1970; None without files."""
        ...

    def remove(self) -> None:
        """Remove all files, for good. Never raises."""
        ...


def run_files(work_dir: str | os.PathLike[str], run_id: str) -> RunFiles:
    """The files of a run."""
    text = os.fspath(work_dir)
    return FarFiles(join(text, f"runs/{run_id}")) if is_object(text) else LocalFiles(Path(text) / "runs" / run_id)


class LocalFiles:
    """See RunFiles. An attempt is the file <work>.<number>, renamed at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, name: str, data: bytes) -> bool:
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                return False
            try:
                # Another process may have created and ended this attempt in the meantime: its number is taken.
                if path.with_name(path.name + ENDED).exists():
                    path.unlink()
                    return False
                os.write(handle, data)
            finally:
                os.close(handle)
        except OSError as error:
            raise storage_error(error, str(path.parent)) from error
        return True

    def write(self, name: str, data: bytes) -> None:
        write_atomic(self._path(name), data)

    def read(self, name: str) -> bytes | None:
        path = self._path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, str(path)) from error

    def exists(self, name: str) -> bool:
        return self._path(name).exists()

    def end(self, name: str) -> None:
        path = self._path(name)
        with contextlib.suppress(FileNotFoundError):  # the folder of an ended run does not exist any more
            try:
                os.rename(path, path.with_name(path.name + ENDED))
            except FileNotFoundError:
                raise
            except OSError as error:
                raise storage_error(error, str(path)) from error

    def attempts(self, below: str) -> dict[str, bool]:
        steps = below.split("/")
        found: dict[str, bool] = {}
        if len(steps) == 3:  # numbers have no gaps, and a job may have thousands of others
            number = 1
            while (begun := self.exists(f"{below}/{number}")) or self._path(f"{below}/{number}{ENDED}").exists():
                found[f"{below}/{number}"] = not begun
                number += 1
            return found
        for path in self.folder.joinpath(*steps).glob("*" if len(steps) == 2 else "*/*"):
            said = path.name.removesuffix(ENDED)
            work, _, number_text = said.rpartition(".")
            if number_text.isdecimal():
                found[f"attempts/{path.parent.name}/{work}/{number_text}"] = path.name != said
        return found

    def touched(self) -> float | None:
        with contextlib.suppress(OSError):
            paths = [self.folder, *self.folder.glob("*"), *self.folder.glob("attempts/*")]
            return max(path.stat().st_mtime for path in paths)
        return None

    def remove(self) -> None:
        # Tried again for a while: a worker of Ray may still record its last attempt.
        for _ in range(_TRIES):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            time.sleep(0.1)

    def _path(self, name: str) -> Path:
        if name.startswith("attempts/"):
            head, _, number = name.rpartition("/")
            name = f"{head}.{number}"
        return self.folder / name


class FarFiles:
    """See RunFiles. An attempt that has ended has a second object beside it."""

    def __init__(self, uri: str) -> None:
        from raydub.objects.prefix import Prefix

        self._prefix = Prefix.at(uri)

    def create(self, name: str, data: bytes) -> bool:
        return self._prefix.create(name, data)

    def write(self, name: str, data: bytes) -> None:
        self._prefix.write(name, data)

    def read(self, name: str) -> bytes | None:
        return self._prefix.read(name)

    def exists(self, name: str) -> bool:
        return self._prefix.size(name) is not None

    def end(self, name: str) -> None:
        self._prefix.write(name + ENDED, b"")

    def attempts(self, below: str) -> dict[str, bool]:
        names = set(self._prefix.names(below))
        return {name: name + ENDED in names for name in sorted(names) if name.rpartition("/")[2].isdecimal()}

    def touched(self) -> float | None:
        return self._prefix.touched()

    def remove(self) -> None:
        self._prefix.clear()
