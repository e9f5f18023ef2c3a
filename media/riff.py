"""Check that a RIFF file (AVI, WAV) is complete: its chunks must lie end to end.

libav skips to the next chunk that it recognises and reports nothing, so frames are missing. This walk reads chunk
headers only. Frame counts in headers are ignored: programs that drop frames or crash leave wrong ones. An index that
lists more frames than there are means damage: it is written at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from raydub.media.headers import Headers, cut_off, damaged

_MAX_CHUNKS = 10_000
_MAX_INDEX = 1 << 28
# Chunks that hold no frame: changes of palette, and texts.
_NO_FRAME = (b"pc", b"tx")


def check_riff(path: str, what: str) -> int | None:
    """Number of non-empty frames of an AVI's first video stream; None if it is not known, and for sound. A length of 0
    or all ones (a recording whose header was never filled in) ends the checks.

    Raises InputError INPUT_TRUNCATED if a RIFF is longer than the file, INPUT_UNREADABLE if the chunks of an AVI do not
    lie end to end, or are fewer than its index lists.
    """
    size, name = os.path.getsize(path), f"{what} {path}"
    with open(path, "rb", buffering=0) as stream:
        headers = Headers(stream)
        streams: list[bytes] = []
        position = frames = 0
        while position + 12 <= size:
            head = headers.at(position, 12)
            if head[:4] not in (b"RIFF", b"RIFX"):
                break
            length = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
            if _streamed(length):
                return None
            if head[8:12] == b"WAVE" and (missing := _wave_missing(headers, position + 12, size)):
                raise cut_off(name, missing)
            stop = position + 8 + length
            if stop > size + 1:  # some writers count a pad byte that they do not write
                raise cut_off(name, stop - size)
            if head[8:11] == b"AVI" and head[:4] == b"RIFF":
                found = _check_avi(headers, position + 12, stop, streams, name)
                if found is None:
                    return None
                frames += found
            position = stop + (length & 1)
    return frames if b"vids" in streams else None


def _streamed(length: int) -> bool:
    """The length of a recording whose header was never filled in."""
    return length in (0, 0xFFFFFFFF) or length >= 0x7FFFFFFF - 64


def _wave_missing(headers: Headers, position: int, size: int) -> int:
    """Bytes that are missing at the end of the chunk of samples."""
    for _ in range(_MAX_CHUNKS):
        head = headers.at(position, 8)
        length = int.from_bytes(head[4:8], "little")
        if len(head) < 8 or (head[:4] == b"data" and _streamed(length)):
            return 0
        position += 8 + length + (length & 1)
        if head[:4] == b"data":
            return max(0, position - size - 1)
    return 0


def _check_avi(headers: Headers, start: int, stop: int, streams: list[bytes], name: str) -> int | None:
    """Frames in one RIFF of an AVI. Files beyond a GiB have several; only the first fills `streams` and has an idx1."""
    found = filled = listed = 0
    for kind, inside, end in _chunks(headers, start, stop, name):
        form = headers.at(inside, 4) if kind == b"LIST" else b""
        if form == b"hdrl":
            streams += _streams(headers, inside + 4, end, name)
        elif form == b"movi":
            if end == inside:
                return None  # never filled in
            found, filled = _frames(headers, inside + 4, end, streams, name)
        elif kind == b"idx1" and end - inside < _MAX_INDEX:
            listed = _listed(headers.at(inside, end - inside), streams)
    if listed > found:
        raise damaged(name, start, f"its index lists {listed} frames, {found} were found")
    return filled


def _chunks(headers: Headers, position: int, stop: int, name: str) -> Iterator[tuple[bytes, int, int]]:
    """(kind, first byte inside, byte after it) of the chunks that must fill position..stop."""
    before = 0
    while position + 8 <= stop:
        head = headers.at(position, 8)
        if before & 1 and not _plausible(head[:4]) and _plausible(headers.at(position - 1, 4)):
            position -= 1  # a writer that does not pad to even lengths
            head = headers.at(position, 8)
        if not _plausible(head[:4]):
            raise damaged(name, position, "a chunk was expected")
        length = int.from_bytes(head[4:8], "little")
        end = position + 8 + length
        if end > stop + 1:
            raise damaged(name, position, "a chunk is longer than its parent")
        yield head[:4], position + 8, end
        inside = head[:4] == b"LIST" and headers.at(position + 8, 4) == b"rec "
        before = 0 if inside else length
        position = position + 12 if inside else end + (length & 1)


def _plausible(kind: bytes) -> bool:
    return kind.isascii() and kind.replace(b" ", b"_").decode().isprintable() and len(kind) == 4


def _streams(headers: Headers, start: int, stop: int, name: str) -> Iterator[bytes]:
    """The kind of every stream in order, b"vids" for pictures."""
    for kind, inside, end in _chunks(headers, start, stop, name):
        if kind == b"LIST" and headers.at(inside, 4) == b"strl":
            yield next(
                (headers.at(at, 4) for part, at, _ in _chunks(headers, inside + 4, end, name) if part == b"strh"), b""
            )


def _frames(headers: Headers, start: int, stop: int, streams: list[bytes], name: str) -> tuple[int, int]:
    """Frames of the first picture stream, and how many of them are not empty (an empty one repeats the one before)."""
    wanted, count, filled = _number(streams), 0, 0
    for kind, inside, end in _chunks(headers, start, stop, name):
        if kind[:2] == wanted:
            count += kind[2:] not in _NO_FRAME
            filled += kind[2:] not in _NO_FRAME and end > inside
        elif kind[:2].isdigit():
            if streams and int(kind[:2]) >= len(streams):
                raise damaged(
                    name, inside - 8, f"a chunk of stream {int(kind[:2])}, but there are {len(streams)} streams"
                )
        elif kind[:2] != b"ix" and not kind.replace(b" ", b"a").isalpha():
            raise damaged(name, inside - 8, "an unknown chunk")
    return count, filled


def _number(streams: list[bytes]) -> bytes:
    return b"%02d" % streams.index(b"vids") if b"vids" in streams else b"none"


def _listed(index: bytes, streams: list[bytes]) -> int:
    """Frames of the first picture stream in an idx1; entries for the same place count once."""
    entries = np.frombuffer(index[: len(index) // 16 * 16], "<u4").reshape(-1, 4)
    kinds = np.ascontiguousarray(entries[:, 0]).view("S4")
    wanted = _number(streams)
    chosen = [at for at, kind in enumerate(kinds.tolist()) if kind[:2] == wanted and kind[2:] not in _NO_FRAME]
    return len(np.unique(entries[chosen, 2]))
