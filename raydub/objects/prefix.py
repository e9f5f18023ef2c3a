"""Small files below a prefix in a bucket, by their names: what a folder is on a disk."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from raydub.errors import Code, RaydubError, StageError
from raydub.objects.bucket import Bucket, Meta, bucket_of
from raydub.objects.errors import Conflict
from raydub.objects.names import ObjectName, parse

_AT_ONCE = 8
_log = logging.getLogger(__name__)
_marked: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Prefix:
    """All objects whose keys begin with `name.key` and a slash. Names are relative to it. Methods raise what
    raydub.objects.bucket raises."""

    name: ObjectName

    @classmethod
    def at(cls, text: str) -> Prefix:
        """The prefix at an address. Raises UsageError FIELD_VALUE."""
        return cls(parse(text, folder=True))

    @property
    def text(self) -> str:
        """Its address."""
        return self.name.text

    def read(self, name: str, since: int = 0) -> bytes | None:
        """The content of a file, None if there is none, or if it was written before `since` (ns, see moment())."""
        found = self.see(name)
        if found is None or (since and found[1].modified * 1e9 < since):
            return None
        return found[0]

    def see(self, name: str) -> tuple[bytes, Meta] | None:
        """The content of a file and what the store says of it, None if there is none."""
        return self._bucket.get(self._key(name))

    def write(self, name: str, data: bytes) -> Meta:
        """Create or replace a file."""
        return self._bucket.put(self._key(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Create a file; False if it exists. Of several writers one succeeds."""
        try:
            self._bucket.put(self._key(name), data, create=True)
        except Conflict:
            return False
        return True

    def replace(self, name: str, data: bytes, etag: str) -> Meta | None:
        """Replace a file; None if it is no longer the one with this etag."""
        try:
            return self._bucket.put(self._key(name), data, etag=etag)
        except Conflict:
            return None

    def size(self, name: str) -> int | None:
        """Bytes of a file, None if there is none."""
        meta = self._bucket.head(self._key(name))
        return None if meta is None else meta.size

    def modified(self, name: str) -> float | None:
        """When a file was written, in seconds since 1970 by the store's clock."""
        meta = self._bucket.head(self._key(name))
        return None if meta is None else meta.modified

    def names(self, below: str = "") -> Iterator[str]:
        """All names that begin with the steps `below`."""
        return (name for name, _ in self.files(below))

    def files(self, below: str = "") -> Iterator[tuple[str, Meta]]:
        """The names that begin with the steps `below`, with what the store says of them."""
        top = len(self._key(""))
        return ((meta.key[top:], meta) for meta in self._bucket.names(self._key(below).rstrip("/")))

    def touched(self) -> float | None:
        """When the newest of the files was written, by the store's clock, in seconds since 1970."""
        return max((meta.modified for _, meta in self.files()), default=None)

    def clear(self) -> None:
        """Remove all files. Never raises."""
        try:
            keys = [meta.key for _, meta in self.files()]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self._bucket.delete, keys))
        except RaydubError as error:
            _log.warning("%s could not be removed: %s", self.text, error)

    def remove(self, name: str) -> None:
        """Remove a file if it exists. Never raises."""
        try:
            self._bucket.delete(self._key(name))
        except RaydubError as error:
            _log.warning("%s/%s could not be removed: %s", self.text, name, error)

    def upload(self, name: str, path: Path, size: int) -> None:
        """Store a file whose name stands for its content; nothing is sent if it is there already."""
        if self.size(name) != size:
            self._bucket.put_file(self._key(name), path)

    def mark(self, name: str, data: bytes) -> None:
        """Create a file if it does not exist, once per process."""
        if (self.text, name) not in _marked:
            self.create(name, data)
            _marked.add((self.text, name))

    def moment(self) -> int:
        """The time by the store's clock, in ns: of a file that is written for this."""
        name = f"tmp/{uuid.uuid4().hex}"
        self.write(name, b"")
        try:
            found = self.modified(name)
        finally:
            self.remove(name)
        if found is None:
            raise StageError(Code.STORAGE, f"{self.text} forgets files at once", retryable=True)
        # Stores round to whole seconds: what was written in the same second counts as new.
        return int(found) * 1_000_000_000

    def _key(self, name: str) -> str:
        return f"{self.name.key}/{name}" if self.name.key else name

    @cached_property
    def _bucket(self) -> Bucket:
        return bucket_of(self.name)
