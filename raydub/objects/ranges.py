"""Reading an object in part: a seekable file over ranges, with blocks that all processes of a machine share.

For a reader that wants little of a large object. The whole object, once, is cheaper as soon as most of it is wanted:
see whole_or_ranges().
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from raydub.errors import Code, StageError
from raydub.files import discard
from raydub.objects.bucket import Bucket, Meta
from raydub.objects.room import cache_root, fetch_once

BLOCK = 1 << 20
"""Bytes of a block, and of a request."""
AHEAD = 2
"""Blocks that are fetched beforehand while somebody reads on in order."""
SMALL = 64 << 20
"""Objects up to this size are always fetched whole."""
ENOUGH = 0.15
"""The part of an object from which on all of it is fetched: then that costs less CPU than ranges (bench/objects.py)."""
_HELD = 8


def whole_or_ranges(size: int, share: float, room: int) -> Literal["whole", "ranges"]:
    """How a machine should read an object of `size` bytes of which it is expected to use `share` (0 to 1), with a cache
    of `room` bytes.

    Whole, if it is small or enough of it is wanted, and it takes at most half of the cache."""
    if size > room // 2:
        return "ranges"
    return "whole" if size <= SMALL or share >= ENOUGH else "ranges"


class RangeFile(io.RawIOBase):
    """The object that `meta` describes as a binary file, for av.open() and others that read and seek. One thread at a
    time. Raises InputError INPUT_CHANGED when it is another object by then, and what Bucket raises."""

    def __init__(self, bucket: Bucket, meta: Meta) -> None:
        super().__init__()
        self.name = bucket.text(meta.key)
        self._bucket = bucket
        self._meta = meta
        self._folder = (
            cache_root() / "blocks" / hashlib.sha256(f"{self.name} {meta.etag} {meta.size}".encode()).hexdigest()
        )
        self._position = 0
        self._last = -1
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._coming: dict[int, Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="ahead")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._meta.size}[whence]
        if start + offset < 0:
            raise ValueError("a position before the start")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        number, begin = divmod(self._position, BLOCK)
        if self._position >= self._meta.size or not view:
            return 0
        piece = memoryview(self._block(number))[begin : begin + len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._held.clear()
        super().close()

    def _block(self, number: int) -> bytes:
        found = self._held.get(number)
        if found is None:
            coming = self._coming.pop(number, None)
            found = self._load(number) if coming is None or coming.cancel() else coming.result()
            self._held[number] = found
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
            if number == self._last + 1 and number > 0:
                self._fetch_ahead(number + 1)
        self._held.move_to_end(number)
        self._last = number
        return found

    def _fetch_ahead(self, number: int) -> None:
        wanted = [place for place in range(number, number + AHEAD) if place * BLOCK < self._meta.size]
        for place in [place for place in self._coming if place not in wanted]:
            self._coming.pop(place).cancel()
        for place in wanted:
            if place not in self._held and place not in self._coming:
                self._coming[place] = self._pool.submit(self._load, place)

    def _load(self, number: int) -> bytes:
        start = number * BLOCK
        stop = min(start + BLOCK, self._meta.size)
        path = self._folder / str(number)

        def download(temp: Path) -> None:
            content = self._bucket.get_range(self._meta.key, start, stop, etag=self._meta.etag)
            # Blocks are not synced to the disk, so after a power failure one may be anything.
            temp.write_bytes(content + hashlib.sha256(content).digest())

        for _ in range(2):
            with open(fetch_once(path, download, size=stop - start), "rb") as stream:
                kept = stream.read()
            content = kept[:-32]
            if len(content) == stop - start and hashlib.sha256(content).digest() == kept[-32:]:
                return content
            discard(path)
        raise StageError(Code.STORAGE, f"the cache folder does not keep {path} as it was written", retryable=True)
