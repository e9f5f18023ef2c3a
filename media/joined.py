"""Transport streams that were joined as bytes (`cat a.ts b.ts`), read as one video on one clock.

At such a seam the tables (PAT, PMT), the packet counters and usually the clock restart. libav then takes the last frame
before the seam for a damaged one, and its time stamps go back. So the file is read through a view (media.joined_view)
in which counters continue, and clocks too if they jump: the first frame after a seam follows the last one before it by
one frame's duration. Nothing else is changed, so seeking, counting and decoding work as for one stream.

A seam is a PAT after which every stream begins a new packet, and either the clock goes back by half a second or more,
or counters do not match and the clock continues as if nothing were missing, or jumps by more than ten seconds. A gap in
a recording is not a seam: there the clock continues, and frames are missing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import numpy as np

from raydub.arrays import I32, I64, U8
from raydub.errors import Code, InputError

LAYOUTS = ((188, 0), (192, 4), (204, 0))
"""(bytes from packet to packet, place of the packet among them): plain, of Blu-ray, with error correction."""

_PACKETS = 1 << 15
_AROUND = 1 << 13
_TABLES = (0x10, 0x11, 0x12, 0x14, 0x1FFF)
WRAP = 1 << 33
_TICKS = 90_000
_BACK, _FORWARD = _TICKS // 2, 10 * _TICKS
_MOST_SEAMS = 10_000
_REORDERED = 64
_DEFAULT_STEP = 3600


@dataclass(frozen=True)
class Seam:
    """start: byte at which a new stream begins; shift: ticks of 1/90000 s to add to its clock; counters: (8192,) what
    to add to the packet counter of each identifier; jumped: did the clock restart?"""

    start: int
    shift: int
    counters: U8
    jumped: bool


@dataclass(frozen=True)
class Joined:
    """A file of several streams. length, offset: see LAYOUTS; seams: at least one, in order."""

    path: str
    length: int
    offset: int
    seams: tuple[Seam, ...]

    def note(self) -> str:
        """A sentence for a warning."""
        places = ", ".join(str(seam.start) for seam in self.seams[:5])
        more = f" and {len(self.seams) - 5} more" if len(self.seams) > 5 else ""
        clock = "clocks restart there and were continued" if any(seam.jumped for seam in self.seams) else "in order"
        return f"{len(self.seams) + 1} transport streams in sequence ({clock}), joined near byte {places}{more}"


def layout_of(head: bytes) -> tuple[int, int] | None:
    """The entry of LAYOUTS that a file with these first bytes has, None for other files."""
    for length, offset in LAYOUTS:
        if len(head) > offset + length * 2 and all(head[offset + length * n] == 0x47 for n in range(3)):
            return length, offset
    return None


def joined(path: str) -> Joined | None:
    """The seams of a file; None for files that are not joined transport streams.

    Raises InputError INPUT_UNREADABLE if the streams cannot be read as one video.
    """
    state = os.stat(path)
    return _joined(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _joined(path: str, size: int, changed: int) -> Joined | None:
    with open(path, "rb") as stream:
        layout = layout_of(stream.read(4 * 204))
        if layout is None:
            return None
        length, offset = layout
        times, tables = _clocks(stream, length, offset)
        if times is None or len(times) < 2 or len(tables) < 2:
            return None
        places = _candidates(times, tables)
        seams: list[Seam] = []
        begin, shift, counters = 0, 0, np.zeros(8192, np.uint8)
        for place in places:
            found = _seam_at(stream, length, offset, place, times, counters)
            if found is None:
                continue
            start, fresh = found
            before = times[(times[:, 0] >= begin) & (times[:, 0] < start)]
            after = times[times[:, 0] >= start]
            if not len(before) or not len(after):
                raise _apart(path, start * length)
            end, step = _end(before[-_REORDERED:, 2])
            gap = _signed(_first(after[:_REORDERED, 2]) - end)
            jumped = gap < -_BACK or gap > _FORWARD
            if jumped:
                shift -= gap
            elif abs(gap) > step:
                continue  # the clock continues and frames are missing: a loss, not a seam
            counters = fresh
            seams.append(Seam(start * length, shift % WRAP, counters, jumped))
            begin = start
            if len(seams) > _MOST_SEAMS:
                break
    return Joined(path, length, offset, tuple(seams)) if seams else None


def _apart(path: str, start: int) -> InputError:
    return InputError(
        Code.INPUT_UNREADABLE,
        f"{path} consists of several transport streams, of which the one from byte {start} on has no video",
        hint="convert each to mp4 first and join these: ffmpeg -f concat -i list.txt -c copy out.mp4",
    )


def _clocks(stream: BinaryIO, length: int, offset: int) -> tuple[I64 | None, I64]:
    """((n, 3) packet, identifier, time of every start of a picture (of a sound where there is none), (m, 2) packet and
    number of every PAT); (None, ..) when packets do not lie end to end."""
    found: list[I64] = []
    tables: list[I64] = []
    base = 0
    stream.seek(0)
    while data := stream.read(length * _PACKETS):
        rows = np.frombuffer(data, np.uint8)[: len(data) // length * length].reshape(-1, length)[:, offset:]
        if not len(rows):
            break
        if (rows[:, 0] != 0x47).any():
            return None, np.zeros((0, 2), np.int64)
        starts = np.flatnonzero(rows[:, 1] & 0x40)
        begun = rows[starts]
        pids = pids_of(begun)
        pat = starts[pids == 0]
        tables.append(np.stack([pat + base, rows[pat, 3] & 15], axis=1).astype(np.int64))
        at, heads = payload_of(begun, 14)
        timed = (heads[:, 0] == 0) & (heads[:, 1] == 0) & (heads[:, 2] == 1) & (heads[:, 7] & 0x80 != 0) & (at < 170)
        timed &= (heads[:, 3] >= 0xC0) & (heads[:, 3] < 0xF0) | (heads[:, 3] == 0xBD) | (heads[:, 3] == 0xFD)
        kinds = heads[timed, 3].astype(np.int64) >= 0xE0
        kinds &= heads[timed, 3] < 0xF0
        rest = stamps_of(heads[timed, 9:14])
        found.append(np.stack([starts[timed] + base, pids[timed].astype(np.int64) << 1 | kinds, rest], axis=1))
        base += len(rows)
    events = np.concatenate(found) if found else np.zeros((0, 3), np.int64)
    pictures = events[events[:, 1] & 1 == 1]
    chosen = pictures if len(pictures) else events
    if len(chosen):
        chosen = chosen[chosen[:, 1] == chosen[0, 1]]
    return chosen, np.concatenate(tables) if tables else np.zeros((0, 2), np.int64)


def _candidates(times: I64, tables: I64) -> list[int]:
    """Packets of the PATs that may begin a new stream, in order."""
    broken = np.flatnonzero((tables[1:, 1] - tables[:-1, 1]) % 16 > 1) + 1
    places = set(tables[broken, 0].tolist())
    jumps = (np.diff(times[:, 2]) + WRAP // 2) % WRAP - WRAP // 2
    for at in np.flatnonzero((jumps < -_BACK) | (jumps > _FORWARD)):
        between = tables[(tables[:, 0] > times[at, 0]) & (tables[:, 0] <= times[at + 1, 0]), 0]
        places.update(between[:1].tolist())
    return sorted(places)[: 2 * _MOST_SEAMS]


def _seam_at(stream: BinaryIO, length: int, offset: int, place: int, times: I64, counters: U8) -> tuple[int, U8] | None:
    """(packet with which the new stream begins, what to add to its numbers) when the PAT at `place` is a seam."""
    first = max(0, place - _AROUND)
    stream.seek(first * length)
    data = np.frombuffer(stream.read(2 * _AROUND * length), np.uint8)
    rows = data[: len(data) // length * length].reshape(-1, length)[:, offset : offset + 188]
    pids, numbers, payload = pids_of(rows), rows[:, 3] & 15, rows[:, 3] & 0x10 != 0
    start = place - first
    while start > 0 and pids[start - 1] in _TABLES:
        start -= 1
    fresh = counters.copy()
    wrong = known = 0
    for pid in np.unique(pids[start:]):
        if pid == 0x1FFF:
            continue
        after = np.flatnonzero((pids[start:] == pid) & payload[start:]) + start
        before = np.flatnonzero((pids[:start] == pid) & payload[:start])
        if not len(after):
            continue
        if rows[after[0], 1] & 0x40 == 0:
            return None  # it continues a packet that began before
        if len(before):
            step = (int(numbers[before[-1]]) + 1 - int(numbers[after[0]])) % 16
            fresh[pid] = (step + int(counters[pid])) % 16
            wrong, known = wrong + (step != 0), known + 1
    earlier, later = times[times[:, 0] < first + start], times[times[:, 0] >= first + start]
    back = len(earlier) and len(later) and _signed(int(later[0, 2]) - int(earlier[-1, 2])) < -_BACK
    if not back and (known < 2 or wrong * 2 <= known):
        return None
    return first + start, fresh


def _signed(ticks: int) -> int:
    return (ticks + WRAP // 2) % WRAP - WRAP // 2


def _unwrapped(stamps: I64) -> I64:
    return np.sort((stamps - stamps[0] + WRAP // 2) % WRAP - WRAP // 2)


def _end(stamps: I64) -> tuple[int, int]:
    """(when the picture after the last of these would be shown, how long one is shown)."""
    times = _unwrapped(stamps)
    steps = np.diff(times)
    step = int(np.median(steps[steps > 0])) if (steps > 0).any() else _DEFAULT_STEP
    return int(stamps[0]) + int(times[-1]) + step, step


def _first(stamps: I64) -> int:
    return int(stamps[0]) + int(_unwrapped(stamps)[0])


def pids_of(rows: U8) -> I32:
    return (rows[:, 1].astype(np.int32) & 0x1F) << 8 | rows[:, 2]


def payload_of(rows: U8, count: int) -> tuple[I64, U8]:
    """(where the payload of each packet begins, its first `count` bytes)."""
    at = 4 + np.where(rows[:, 3] & 0x20 != 0, 1 + rows[:, 4].astype(np.int64), 0)
    places = np.minimum(at, 188 - count)[:, None] + np.arange(count)
    return at, np.take_along_axis(rows, places, 1)


def stamps_of(five: U8) -> I64:
    """Times in the five bytes of ISO 13818-1, 2.4.3.7."""
    wide = five.astype(np.int64)
    high = (wide[:, 0] >> 1 & 7) << 30
    return high | wide[:, 1] << 22 | wide[:, 2] >> 1 << 15 | wide[:, 3] << 7 | wide[:, 4] >> 1
