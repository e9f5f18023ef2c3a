"""A joined transport stream (media.joined) read as one: packet counters and clocks are changed while reading."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from raydub.media.joined import WRAP, Joined, Seam, payload_of, pids_of, stamps_of


class View:
    """A joined file as one stream, for reading at any place. Use as a context manager, or close()."""

    def __init__(self, film: Joined) -> None:
        self.name = film.path
        self._film = film
        self._starts = [seam.start for seam in film.seams]
        self._stream = open(film.path, "rb")  # noqa: SIM115 (closed by close())
        self._size = os.fstat(self._stream.fileno()).st_size
        self._at = 0

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def seek(self, to: int, whence: int = 0) -> int:
        """As that of files."""
        self._at = max(0, to + (0, self._at, self._size)[whence])
        return self._at

    def read(self, count: int = -1) -> bytes:
        """As that of files."""
        stop = self._size if count < 0 else min(self._size, self._at + count)
        if stop <= self._at:
            return b""
        if stop <= self._starts[0]:
            self._stream.seek(self._at)
            data = self._stream.read(stop - self._at)
        else:
            length = self._film.length
            first = self._at // length * length
            self._stream.seek(first)
            whole = np.frombuffer(self._stream.read(-(-(stop - first) // length) * length), np.uint8).copy()
            rows = whole[: len(whole) // length * length].reshape(-1, length)
            for number, seam in enumerate(self._film.seams):
                end = self._starts[number + 1] if number + 1 < len(self._starts) else self._size
                low, high = max(0, (seam.start - first) // length), max(0, (end - first) // length)
                if low < high and low < len(rows):
                    _edit(rows[low:high, self._film.offset : self._film.offset + 188], seam)
            data = whole[self._at - first : stop - first].tobytes()
        self._at += len(data)
        return data


def _edit(rows: Any, seam: Seam) -> None:
    rows[:, 3] = rows[:, 3] & 0xF0 | (rows[:, 3] & 15) + seam.counters[pids_of(rows)] & 15
    if not seam.shift:
        return
    clocks = np.flatnonzero((rows[:, 3] & 0x20 != 0) & (rows[:, 4] >= 7) & (rows[:, 5] & 0x10 != 0))
    if len(clocks):
        wide = rows[clocks, 6:11].astype(np.int64)
        ticks = wide[:, 0] << 25 | wide[:, 1] << 17 | wide[:, 2] << 9 | wide[:, 3] << 1 | wide[:, 4] >> 7
        ticks = (ticks + seam.shift) % WRAP
        parts = [
            ticks >> 25,
            ticks >> 17 & 255,
            ticks >> 9 & 255,
            ticks >> 1 & 255,
            (ticks & 1) << 7 | wide[:, 4] & 127,
        ]
        rows[clocks, 6:11] = np.stack(parts, axis=1)
    begun = np.flatnonzero((rows[:, 1] & 0x40 != 0) & (rows[:, 3] & 0x10 != 0))
    if not len(begun):
        return
    at, heads = payload_of(rows[begun], 19)
    packets = (heads[:, 0] == 0) & (heads[:, 1] == 0) & (heads[:, 2] == 1) & (heads[:, 6] & 0xC0 == 0x80) & (at <= 169)
    for mask, flag, place in ((0x80, 0x80, 9), (0xC0, 0xC0, 14)):
        chosen = packets & (heads[:, 7] & mask == flag)
        if chosen.any():
            old = heads[chosen, place : place + 5]
            ticks = (stamps_of(old) + seam.shift) % WRAP
            fresh = np.stack(
                [
                    old[:, 0] & 0xF1 | (ticks >> 30 & 7) << 1,
                    ticks >> 22 & 255,
                    (ticks >> 15 & 127) << 1 | 1,
                    ticks >> 7 & 255,
                    (ticks & 127) << 1 | 1,
                ],
                axis=1,
            )
            places = at[chosen][:, None] + place + np.arange(5)
            rows[begun[chosen][:, None], places] = fresh.astype(np.uint8)
