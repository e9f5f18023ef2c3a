"""Find files that end early, and files that were joined as bytes (`cat a.mp4 b.mp4`).

Containers with one table of contents cannot be joined like that: libav reads the first file, or parts of the second,
and reports nothing. Nor does it report that WAV, W64, AIFF, CAF, FLV, ASF, IVF or Ogg end early. Joined transport
streams are read as one video (media.joined), as are program streams, Matroska, AVI, and streams without a container.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from raydub.errors import Code, InputError
from raydub.media.headers import Headers, cut_off

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_KEY = bytes.fromhex("060e2b34")
_HEADER_PARTITION = bytes.fromhex("060e2b34020501010d0102010102")
_FLV_TAGS = (8, 9, 18)
_MOST = 50_000_000


def check_single(path: str, kind: str, what: str) -> None:
    """Raise InputError INPUT_UNREADABLE if a second file begins, INPUT_TRUNCATED if the last element is incomplete or
    the file is shorter than its header states. kind: libav's first name of the container."""
    walk = _WALKS.get(kind)
    if walk is None:
        return
    size, name = os.path.getsize(path), f"{what} {path}"
    with open(path, "rb", buffering=0) as stream:
        second, missing = walk(Headers(stream), size)
    if second:
        raise InputError(
            Code.INPUT_UNREADABLE,
            f"{name} consists of several joined files: another begins at byte {second}, which cannot be read",
            hint="join them with ffmpeg -f concat -i list.txt -c copy, or cut the file at that byte",
        )
    if missing > 0:
        raise cut_off(name, missing)


def _iso(headers: Headers, size: int) -> tuple[int, int]:
    """(byte of the second file or 0, 0): the end of the file is checked elsewhere."""
    position = films = start = 0
    for _ in range(_MOST):
        head = headers.at(position, 16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8 or not head[4:8].isalnum():
            break
        start = position if head[4:8] == b"ftyp" else start
        films += head[4:8] == b"moov"
        if films > 1:
            return start or position, 0
        position += length
        if position >= size:
            break
    return 0, 0


def _flv(headers: Headers, size: int) -> tuple[int, int]:
    head = headers.at(0, 9)
    position = int.from_bytes(head[5:9], "big") + 4
    while position + 11 <= size:
        head = headers.at(position, 11)
        if head[:4] == b"FLV\x01":
            return position, 0
        if head[0] & 31 not in _FLV_TAGS:
            return 0, 0
        position += 11 + int.from_bytes(head[1:4], "big") + 4
    # Some writers leave the last length out.
    return 0, position - 4 - size


def _asf(headers: Headers, size: int) -> tuple[int, int]:
    position = 0
    while position + 24 <= size:
        head = headers.at(position, 24)
        if position and head[:16] == _ASF:
            return position, 0
        length = int.from_bytes(head[16:24], "little")
        if length < 24:
            return 0, 0  # a live recording
        position += length
    return 0, position - size


def _ivf(headers: Headers, size: int) -> tuple[int, int]:
    position = int.from_bytes(headers.at(6, 2), "little")
    if position < 32:
        return 0, 0
    while position + 12 <= size:
        head = headers.at(position, 12)
        if head[:4] == b"DKIF":
            return position, 0
        position += 12 + int.from_bytes(head[:4], "little")
    return 0, position - size


def _iff(headers: Headers, size: int) -> tuple[int, int]:
    """AIFF: one FORM."""
    length = int.from_bytes(headers.at(4, 4), "big")
    stop = 8 + length
    places = (stop, stop + (stop & 1))
    # Lengths that were never filled in: 0, or the maximum.
    missing = stop - size if 0 < length < 0x7FFFFFFF - 64 else 0
    return next((at for at in places if headers.at(at, 4) == b"FORM"), 0), missing


def _wave(headers: Headers, size: int) -> tuple[int, int]:
    """WAV: one RIFF, whose end media.riff looks at; RF64 has its lengths in a chunk of their own (EBU Tech 3306)."""
    if headers.at(0, 4) == b"RF64":
        return 0, _rf64_missing(headers, size)
    length = int.from_bytes(headers.at(4, 4), "little")
    places = (8 + length, 8 + length + (length & 1))
    second = next((at for at in places if headers.at(at, 4) == b"RIFF" and headers.at(at + 8, 4) == b"WAVE"), 0)
    return (second if headers.at(0, 4) == b"RIFF" else 0), 0


def _rf64_missing(headers: Headers, size: int) -> int:
    head = headers.at(12, 36)
    said = int.from_bytes(head[16:24], "little") if head[:4] == b"ds64" else 0
    position = 12
    for _ in range(1000):
        chunk = headers.at(position, 8)
        length = int.from_bytes(chunk[4:8], "little")
        if len(chunk) < 8:
            return 0
        if chunk[:4] == b"data":
            return position + 8 + (said if length == 0xFFFFFFFF else length) - size
        position += 8 + length + (length & 1)
    return 0


def _w64(headers: Headers, size: int) -> tuple[int, int]:
    length = int.from_bytes(headers.at(16, 8), "little")
    places = (length, -(-length // 8) * 8)
    # The sound may be followed by padding that some writers count and do not write.
    missing = length - size if 40 < length < 1 << 62 and length - size >= 8 else 0
    return next((at for at in places if at >= 40 and headers.at(at, 16) == _W64), 0), missing


def _caf(headers: Headers, size: int) -> tuple[int, int]:
    position = 8
    while position + 12 <= size:
        head = headers.at(position, 12)
        if head[:4] == b"caff":
            return position, 0
        length = int.from_bytes(head[4:12], "big", signed=True)
        if length < 0:
            return 0, 0
        position += 12 + length
    return 0, position - size


def _ogg(headers: Headers, size: int) -> tuple[int, int]:
    """Ogg: pages end to end (RFC 3533). Several streams one after the other are legal."""
    position = 0
    while position + 27 <= size:
        head = headers.at(position, 27 + 255)
        if head[:4] != b"OggS":
            return 0, 0  # libav looks for the next page
        lengths = head[27 : 27 + head[26]]
        position += 27 + len(lengths) + sum(lengths)
    return 0, position - size if position > size else 0


def _mxf(headers: Headers, size: int) -> tuple[int, int]:
    """MXF: keys and lengths end to end (SMPTE 377), one partition of kind "header"."""
    position = 0
    while position + 17 <= size:
        head = headers.at(position, 25)
        if head[:4] != _KEY:
            return 0, 0  # a run-in, or something that libav skips
        if position and head[:14] == _HEADER_PARTITION:
            return position, 0
        count = head[16] & 127 if head[16] & 128 else 0
        length = int.from_bytes(head[17 : 17 + count], "big") if count else head[16]
        if count > 8 or (not count and head[16] & 128):
            return 0, 0
        position += 17 + count + length
    return 0, position - size


def _mp3(headers: Headers, size: int) -> tuple[int, int]:
    """MP3: the first frame of most files tells their bytes ("Xing", "Info"), to which some writers add their tags."""
    head = headers.at(0, 10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    frame = headers.at(start, 64)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if frame[:1] != b"\xff" or at < 0 or len(frame) < at + 16 or frame[at + 7] & 3 != 3:
        return 0, 0
    said = int.from_bytes(frame[at + 12 : at + 16], "big")
    missing = start + said - size
    return 0, missing if missing > start + 512 + said // 100 else 0


_WALKS: dict[str, Callable[[Headers, int], tuple[int, int]]] = {
    "mov": _iso,
    "flv": _flv,
    "asf": _asf,
    "ivf": _ivf,
    "aiff": _iff,
    "wav": _wave,
    "w64": _w64,
    "caf": _caf,
    "ogg": _ogg,
    "mp3": _mp3,
    "mxf": _mxf,
}
