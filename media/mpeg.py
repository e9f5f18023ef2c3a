"""Check that an MPEG stream is complete. Program streams (ISO 11172-1, 13818-1) are chains of packets; transport
streams have packet counters.

libav skips to the next packet that it recognises and reports nothing, so frames are missing. Program streams are stored
files: a break in the chain is damage, and an error. Transport streams are recordings of broadcasts: losses are normal,
and joined ones restart their counters at every joint. Losses are therefore returned as a sentence for a warning;
damaged frames are found when they are decoded.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from raydub.media.headers import Headers, cut_off, damaged
from raydub.media.joined import joined, layout_of, payload_of, pids_of
from raydub.media.joined_view import View

_WINDOW = 1 << 20
_PACK, _END = 0xBA, 0xB9
_PACKETS = 1 << 16
_NULL_PID = 0x1FFF


def check_program_stream(path: str, what: str) -> str:
    """Walk all packets. Returns a sentence if the file does not begin with one, else "". Raises InputError
    INPUT_TRUNCATED if the last packet is longer than the file, INPUT_UNREADABLE for a break in the chain."""
    size, name = os.path.getsize(path), f"{what} {path}"
    with open(path, "rb", buffering=0) as stream:
        headers = Headers(stream, _WINDOW)
        if headers.at(0, 4) == b"RIFF":
            return ""  # a Video CD's file: packets lie in sectors
        first = headers.at(0, _WINDOW).find(b"\0\0\1\xba")
        if first < 0:
            return ""
        position = first
        while position < size:
            position = _after(headers, position, size, name)
        if position > size:
            raise cut_off(name, position - size)
    return f"it begins in the middle of a packet; its first {first} bytes are not used" if first else ""


def _after(headers: Headers, position: int, size: int, name: str) -> int:
    """The byte after the packet, or the run of zeros, at `position`."""
    head = headers.at(position, 14)
    if head[:3] != b"\0\0\1":
        following = _after_zeros(headers, position, size)
        if following <= position:
            raise damaged(name, position, "a packet was expected")
        return following
    if len(head) < 4:
        return size + 4 - len(head)
    code = head[3]
    if code < _END:
        raise damaged(name, position, "a packet was expected")
    if code == _END:
        return position + 4
    if code == _PACK:
        if len(head) < 12:
            return position + 12
        if head[4] >> 6 == 1:
            return position + 14 + (head[13] & 7 if len(head) == 14 else 0)
        if head[4] >> 4 != 2:
            raise damaged(name, position, "an unknown pack header")
        return position + 12
    return position + 6 + int.from_bytes(head[4:6], "big") if len(head) >= 6 else position + 6


def _after_zeros(headers: Headers, position: int, size: int) -> int:
    """Where the zeros that stand at `position` end: at the end of the file or at a start code's own two; `position`
    itself when there are none."""
    start = position
    while position < size:
        block = headers.at(position, 4096)
        rest = block.lstrip(b"\0")
        position += len(block) - len(rest)
        if rest:
            return position - 2 if rest[0] == 1 and position - 2 > start else start
    return size


def check_transport_stream(path: str, what: str, pid: int | None) -> str:
    """A sentence on lost packets with identifier `pid` (None: any), "" if none are lost. Raises InputError
    INPUT_TRUNCATED if the last packet is incomplete."""
    size = os.path.getsize(path)
    film = joined(path)
    with View(film) if film is not None else open(path, "rb") as stream:
        layout = layout_of(stream.read(4 * 204))
        if layout is None:
            return ""
        length, offset = layout
        gaps, first = _losses(stream, length, offset, size, pid)
    if gaps:
        return f"it has {gaps} gaps or broken packets, the first near byte {first}"
    if size % length:
        raise cut_off(f"{what} {path}", length - size % length)
    return ""


def _losses(stream: BinaryIO | View, length: int, offset: int, size: int, pid: int | None) -> tuple[int, int]:
    """(how many places, byte of the first) where packets are broken, or not numbered one after the other."""
    counters = np.full((_NULL_PID + 1, 2), -1, np.int16)  # last number; 1 when the next may be any
    gaps, first, position = 0, -1, 0
    while position < size:
        stream.seek(position)
        data = np.frombuffer(stream.read(length * _PACKETS), np.uint8)
        packets = data[: len(data) // length * length].reshape(-1, length)[:, offset : offset + 188]
        stray = np.flatnonzero(packets[:, 0] != 0x47)
        whole = packets[: stray[0]] if len(stray) else packets
        for place in _jumps(whole, pid, counters):
            gaps, first = gaps + 1, position + int(place) * length if first < 0 else first
        position += len(whole) * length
        if len(packets) == 0:
            break
        if len(stray):
            gaps, first = gaps + 1, position if first < 0 else first
            position = _synchronised(stream, position + 1, length, offset)
            counters[:] = -1
            if position < 0:
                break
    return gaps, first


def _jumps(packets: npt.NDArray[np.uint8], pid: int | None, counters: npt.NDArray[np.int16]) -> npt.NDArray[Any]:
    """Places of packets that are marked as broken, whose counter does not follow, or that begin no PES packet as
    announced. Updates `counters` for the next packets."""
    pids = pids_of(packets)
    chosen = np.flatnonzero(pids == pid if pid is not None else pids != _NULL_PID)
    if not len(chosen):
        return chosen
    chosen = chosen[np.argsort(pids[chosen], kind="stable")]
    rows, pids = packets[chosen], pids[chosen]
    numbers = (rows[:, 3] & 15).astype(np.int16)
    payload = rows[:, 3] & 0x10 != 0
    marked = (rows[:, 3] & 0x20 != 0) & (rows[:, 4] > 0) & (rows[:, 5] & 0x80 != 0)
    begins = np.ones(len(pids), bool)
    begins[1:] = pids[1:] != pids[:-1]
    before, free = np.roll(numbers, 1), np.roll(marked, 1)
    before[begins], free[begins] = counters[pids[begins], 0], counters[pids[begins], 1] == 1
    step = (numbers - before) & 15
    follows = (step == 0) | (payload & (step == 1)) | marked | free | (before < 0)
    ends = np.roll(begins, -1)
    counters[pids[ends], 0], counters[pids[ends], 1] = numbers[ends], marked[ends]
    wrong = ~follows | (rows[:, 1] & 0x80 != 0)
    if pid is not None:
        wrong |= payload & (rows[:, 1] & 0x40 != 0) & (rows[:, 3] & 0xC0 == 0) & ~_begins(rows)
    return np.sort(chosen[wrong])


def _begins(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Does the payload of each packet begin as a PES packet must?"""
    _, heads = payload_of(rows, 3)
    return np.asarray((heads == np.array([0, 0, 1], np.uint8)).all(axis=1), np.bool_)


def _synchronised(stream: BinaryIO | View, position: int, length: int, offset: int) -> int:
    """The next place where three packets stand in a row; -1 when there is none."""
    while True:
        stream.seek(position)
        data = np.frombuffer(stream.read(_WINDOW), np.uint8)
        if len(data) < offset + 2 * length + 1:
            return -1
        last = len(data) - offset - 2 * length
        marks = [data[offset + n * length : offset + n * length + last] == 0x47 for n in range(3)]
        found = np.flatnonzero(marks[0] & marks[1] & marks[2])
        if len(found):
            return position + int(found[0])
        position += last
