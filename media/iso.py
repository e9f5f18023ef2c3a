"""Check that the sample tables of an ISO file (mp4, mov) agree. They state size and time of every sample (ISO 14496-12,
8.6 and 8.7).

libav reads as many samples as the tables list, and does not report a damaged table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from raydub.media.headers import Headers, damaged

_FOLDERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_MAX_BOXES = 100_000
_MAX_TABLE = 1 << 28


def check_tables(path: str, what: str) -> None:
    """Raise InputError INPUT_UNREADABLE if a track's tables of times (stts, ctts) list more samples than its table of
    sizes (stsz). Fewer are accepted: some writers leave the last ones out."""
    with open(path, "rb", buffering=0) as stream:
        headers = Headers(stream)
        sizes = -1
        timed: dict[bytes, tuple[int, int]] = {}
        for kind, start, stop in _boxes(headers, 0, os.path.getsize(path)):
            if kind == b"trak":
                sizes, timed = -1, {}
            elif kind == b"stsz":
                sizes = int.from_bytes(headers.at(start + 8, 4), "big")
            elif kind in (b"stts", b"ctts") and stop - start < _MAX_TABLE:
                count = int.from_bytes(headers.at(start + 4, 4), "big")
                table = np.frombuffer(headers.at(start + 8, min(8 * count, (stop - start - 8) // 8 * 8)), ">u4")
                timed[kind] = (int(table[::2].sum(dtype=np.uint64)), start)
            else:
                continue
            for table_kind, (number, place) in timed.items():
                if number > sizes > 0:
                    wrong = f"its table {table_kind.decode()} lists {number} samples, but there are {sizes}"
                    raise damaged(f"{what} {path}", place, wrong)


def _boxes(headers: Headers, position: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, first byte inside, byte after it) of all boxes down to the tables, in the file's order."""
    ends = [stop]
    for _ in range(_MAX_BOXES):
        while position + 8 > ends[-1]:
            position = ends.pop()
            if not ends:
                return
        head = headers.at(position, 16)
        length, start = int.from_bytes(head[:4], "big"), position + 8
        if length == 1:
            length, start = int.from_bytes(head[8:16], "big"), position + 16
        end = position + length if length else ends[-1]
        if end < start or end > ends[-1]:
            return
        yield head[4:8], start, end
        if head[4:8] in _FOLDERS and len(ends) <= len(_FOLDERS):
            ends.append(end)
            position = start
        else:
            position = end
