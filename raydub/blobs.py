"""Blobs: files whose name is the SHA-256 of their content."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raydub.errors import Code, StageError
from raydub.files import discard
from raydub.identity import identify
from raydub.objects.copies import NEAR
from raydub.present import present

NAME = re.compile(r"[0-9a-f]{64}(\..*)?")


@dataclass(frozen=True)
class Blob:
    """A blob that exists. name: below the work folder; age: seconds since it was written, by the store's clock."""

    name: str
    size: int
    age: float

    @property
    def digest(self) -> bytes:
        """Its SHA-256, hex."""
        return self.name.rpartition("/")[2][:64].encode()


def blobs_below(root: Path) -> Iterator[Blob]:
    """The blobs in the folder `blobs` of a work folder. Nothing else in it is one, and no link is followed."""
    with contextlib.suppress(FileNotFoundError):
        tops = [entry for entry in os.scandir(root / "blobs") if entry.is_dir(follow_symlinks=False)]
        for top in sorted(entry.path for entry in tops):
            with os.scandir(top) as entries:
                found = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
            for entry in found:
                if NAME.fullmatch(entry.name):
                    state = entry.stat(follow_symlinks=False)
                    # By ctime: blobs get an mtime in the past (raydub.identity.backdate).
                    age = time.time() - state.st_ctime
                    yield Blob(Path(entry.path).relative_to(root).as_posix(), state.st_size, age)


def verified(path: str | Path) -> Path:
    """The path of a blob after checking its content against its name. Each version is hashed once per process. Raises
    StageError STORAGE if it is damaged or missing."""
    for again in (NEAR in os.fspath(path), False):
        found = Path(present(path))
        try:
            digest = identify(found).sha256
        except OSError as error:
            raise StageError(Code.STORAGE, f"{found} cannot be read: {error}", hint=_AGAIN, retryable=True) from error
        if found.name.startswith(digest):
            return found
        if not again:
            break
        discard(found)  # only the copy on this machine is known to be damaged
    raise StageError(Code.STORAGE, f"{found} is damaged", hint=_AGAIN)


_AGAIN = "the work folder must be reachable from every worker; run again to recreate the file"
