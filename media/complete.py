"""Is the file as long as its own container says? Reads box and chunk headers only, no media.

libav reads a file that was cut off as a shorter film and reports success. The containers themselves tell: top-level
boxes (ISO 14496-12), EBML elements (media.matroska), RIFF chunks, 188-byte packets (ISO 13818-1) and PES packet
lengths (ISO 11172-1). A length that is declared unknown (live recordings) is accepted.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from media.info import ProbeLimits
from media.matroska import check_matroska
from raydub.errors import Code, InputError

_TAIL = 1 << 20
_MAX_BOXES = 1_000_000
_MAX_CHUNKS = 10_000


def check_complete(path: str, container_format: str, what: str) -> None:
    """Raise InputError INPUT_TRUNCATED when the container promises more bytes than the file has."""
    size = os.path.getsize(path)
    if container_format.startswith("matroska"):
        check_matroska(path, what)
    checks = {"mov": _iso_missing, "avi": _riff_missing, "wav": _riff_missing}
    checks |= {"mpegts": _ts_missing, "mpeg": _ps_missing}
    check = checks.get(container_format.split(",")[0])
    if check is None:
        return
    with open(path, "rb") as stream:
        missing = check(stream, size)
    if missing > 0:
        raise InputError(
            Code.INPUT_TRUNCATED,
            f"{what} {path} is cut off: at least {missing} bytes are missing",
            hint="copy or download the file again",
        )


def check_header(path: str, limits: ProbeLimits, what: str) -> None:
    """Raise InputError INPUT_LIMIT for an ISO film whose index is huge, or says that it inflates to something huge
    (QuickTime's `cmov`): libav takes the whole of it into memory at once. To be called before libav sees the file."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        position = 0
        for _ in range(_MAX_BOXES):
            if position >= size:
                return
            stream.seek(position)
            header = stream.read(64)
            length, start = int.from_bytes(header[:4], "big"), 8
            if length == 1:
                length, start = int.from_bytes(header[8:16], "big"), 16
            length = length or size - position
            if len(header) < 8 or length < 8:
                return
            if header[4:8] == b"moov":
                inflated = header.find(b"cmvd")
                claims = int.from_bytes(header[inflated + 4 : inflated + 8], "big") if inflated >= start else 0
                claims = max(min(length, size), claims)
                if claims > limits.max_header_bytes:
                    message = f"{what} {path} has an index of {claims} bytes, more than {limits.max_header_bytes}"
                    raise InputError(Code.INPUT_LIMIT, message)
            position += length


def looks_truncated(path: str) -> bool:
    """For a file that libav cannot open at all: an ISO file whose boxes run past its end was cut off."""
    with open(path, "rb") as stream:
        head = stream.read(12)
        return (
            head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")
            and _iso_missing(stream, os.path.getsize(path)) > 0
        )


def _iso_missing(stream: BinaryIO, size: int) -> int:
    position = 0
    for _ in range(_MAX_BOXES):
        if position + 8 > size:
            return 0
        stream.seek(position)
        header = stream.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 0:  # the box runs to the end of the file
            return 0
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8 or not all(32 <= byte < 127 or byte == 0xA9 for byte in header[4:8]):
            return 0  # junk after the last box is harmless
        position += length
        if position > size:
            return position - size
    return 0


def _riff_missing(stream: BinaryIO, size: int) -> int:
    position = 0
    while position + 12 <= size:
        stream.seek(position)
        head = stream.read(12)
        if head[:4] not in (b"RIFF", b"RIFX"):
            return 0
        length = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
        if _streamed(length):
            return 0
        if head[8:12] == b"WAVE" and (missing := _wave_missing(stream, position + 12, size)):
            return missing
        if position + 8 + length > size + 1:  # some writers count a pad byte that they do not write
            return position + 8 + length - size
        position += 8 + length + (length & 1)
    return 0


def _streamed(length: int) -> bool:
    """The length of a recording whose header was never filled in."""
    return length in (0, 0xFFFFFFFF) or length >= 0x7FFFFFFF - 64


def _wave_missing(stream: BinaryIO, position: int, size: int) -> int:
    """Bytes that the samples' own chunk has less than it says."""
    for _ in range(_MAX_CHUNKS):
        stream.seek(position)
        head = stream.read(8)
        length = int.from_bytes(head[4:8], "little")
        if len(head) < 8 or (head[:4] == b"data" and _streamed(length)):
            return 0
        position += 8 + length + (length & 1)
        if head[:4] == b"data":
            return max(0, position - size - 1)
    return 0


def _ts_missing(stream: BinaryIO, size: int) -> int:
    head = stream.read(4 * 204)
    for packet, offset in ((188, 0), (192, 4), (204, 0)):
        if all(head[offset + packet * n : offset + packet * n + 1] == b"\x47" for n in range(3)):
            return (packet - size % packet) % packet
    return 0


def _ps_missing(stream: BinaryIO, size: int) -> int:
    """Walk the packs in the last MiB: the last packet must end within the file."""
    start = max(0, size - _TAIL)
    stream.seek(start)
    tail = stream.read()
    position = tail.find(b"\x00\x00\x01\xba")
    while 0 <= position <= len(tail) - 6:
        if tail[position : position + 3] != b"\x00\x00\x01":
            position = tail.find(b"\x00\x00\x01\xba", position + 1)  # padding, or a false start: next pack
            continue
        code = tail[position + 3]
        if code == 0xB9:
            return 0
        if code == 0xBA:
            mpeg2 = tail[position + 4] >> 6 == 1
            if mpeg2 and position + 14 > len(tail):
                return position + 14 - len(tail)
            position += 14 + (tail[position + 13] & 7) if mpeg2 else 12
        else:
            position += 6 + int.from_bytes(tail[position + 4 : position + 6], "big")
        if position > len(tail):
            return position - len(tail)
    return 0
