"""Where the XMP packet of a film is (XMP specification, part 3): in mp4 a `uuid` box at the end of the file; in mov the
box `XMP_` in moov/udta; in mkv, for which the specification has no place, the tag XMP.

libav copies unknown boxes neither in nor out, so they are written into the finished file here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import BinaryIO

import av
import av.error

from raydub.errors import Code, StageError
from raydub.files import discard, temp_beside
from raydub.media.opening import open_made
from raydub.media.xmp import MAX_PACKET

MKV_TAG = "XMP"
_UUID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
_OFFSETS = {b"stco": 4, b"co64": 8}
"""Boxes with the places of chunks in the file: bytes of an entry."""
_FOLDERS = frozenset({b"trak", b"mdia", b"minf", b"stbl"})
_MAX_BOXES = 100_000
_MAX_MOOV = 1 << 30


def place_xmp(path: str, packet: bytes) -> None:
    """Put a packet into a film that mux.assemble() has written, .mp4 or .mov, which has none yet. Samples stay the same
    bytes. Raises StageError STITCH_FAILED for a file that is not as assemble() writes it, and OSError."""
    if os.path.splitext(path)[1].lower() != ".mov":
        with open(path, "ab") as film:
            film.write(_box(b"uuid", _UUID + packet))
        return
    with open(path, "rb") as film:
        size = os.path.getsize(path)
        found = {kind: (start, stop) for kind, start, stop in _boxes(film, 0, size)}
        if b"moov" not in found or found[b"moov"][1] - found[b"moov"][0] > _MAX_MOOV:
            raise StageError(Code.STITCH_FAILED, f"{path} has no index that could take a mark")
        start, stop = found[b"moov"]
        film.seek(start)
        grown = _with_xmp(film.read(stop - start), packet)
        shift = len(grown) - (stop - start) if found.get(b"mdat", (0, 0))[0] > start else 0
        temp = temp_beside(path)
        try:
            with open(temp, "wb") as new:
                film.seek(0)
                new.write(film.read(start))
                new.write(_moved(grown, shift))
                film.seek(stop)
                shutil.copyfileobj(film, new, 1 << 20)
            os.replace(temp, path)
        except BaseException:
            discard(temp)
            raise


def read_xmp(path: str) -> bytes:
    """The packet of a film, b"" where it has none or cannot be read. Raises OSError if the file is absent."""
    with open(path, "rb") as film:
        size = os.path.getsize(path)
        if film.read(4) == b"\x1aE\xdf\xa3":
            return _of_tags(path)
        for kind, start, stop in _boxes(film, 0, size):
            if kind == b"uuid" and _at(film, start + 8, 16) == _UUID:
                return _at(film, start + 24, min(stop - start - 24, MAX_PACKET))
            if kind == b"moov":
                for inner, at, end in _boxes(film, start + 8, stop):
                    for name, first, last in _boxes(film, at + 8, end) if inner == b"udta" else ():
                        if name == b"XMP_":
                            return _at(film, first + 8, min(last - first - 8, MAX_PACKET))
    return b""


def has_uuid(path: str, uuid: bytes) -> bool:
    """Whether an ISO file has a box of this kind at its top level. Raises OSError."""
    with open(path, "rb") as film:
        boxes = _boxes(film, 0, os.path.getsize(path))
        return any(kind == b"uuid" and _at(film, start + 8, 16) == uuid for kind, start, _ in boxes)


def _of_tags(path: str) -> bytes:
    try:
        with open_made(path) as film:
            return str(film.metadata.get(MKV_TAG, ""))[:MAX_PACKET].encode()
    except (av.error.FFmpegError, OSError, ValueError):
        return b""


def _box(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def _with_xmp(moov: bytes, packet: bytes) -> bytes:
    """The box moov with the packet in its udta, which is made where there is none."""
    mark, position = _box(b"XMP_", packet), 8
    while position + 8 <= len(moov):
        length = int.from_bytes(moov[position : position + 4], "big")
        if length < 8:
            break
        if moov[position + 4 : position + 8] == b"udta":
            inside = moov[position + 8 : position + length]
            # QuickTime ends the list of a udta with four zero bytes, which some writers leave out.
            inside = inside[:-4] if inside.endswith(bytes(4)) and _ends_in_zeros(inside) else inside
            udta = _box(b"udta", inside + mark)
            return _box(b"moov", moov[8:position] + udta + moov[position + length :])
        position += length
    return _box(b"moov", moov[8:] + _box(b"udta", mark))


def _ends_in_zeros(inside: bytes) -> bool:
    """Whether a list of boxes is followed by four bytes that belong to none."""
    position = 0
    while position + 8 <= len(inside):
        length = int.from_bytes(inside[position : position + 4], "big")
        if length < 8:
            return False
        position += length
    return len(inside) - position == 4


def _moved(moov: bytes, shift: int) -> bytes:
    """The box moov of a file whose media begin `shift` bytes later."""
    moved, ends, position = bytearray(moov), [len(moov)], 8
    while ends:
        if position + 8 > ends[-1]:
            position = ends.pop()
            continue
        length, kind = int.from_bytes(moov[position : position + 4], "big"), moov[position + 4 : position + 8]
        if length < 8 or position + length > ends[-1]:
            raise StageError(Code.STITCH_FAILED, "the index of the film is not as it was written", retryable=True)
        if kind in _FOLDERS:
            ends.append(position + length)
            position += 8
            continue
        if kind in _OFFSETS:
            width, count = _OFFSETS[kind], int.from_bytes(moov[position + 12 : position + 16], "big")
            for at in range(position + 16, position + 16 + width * count, width):
                place = int.from_bytes(moov[at : at + width], "big") + shift
                if place >> (8 * width):
                    raise StageError(Code.STITCH_FAILED, "the film is too large by some bytes to take a mark")
                moved[at : at + width] = place.to_bytes(width, "big")
        position += length
    return bytes(moved)


def _boxes(film: BinaryIO, position: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, first byte, byte after it) of the boxes at one level."""
    for _ in range(_MAX_BOXES):
        head = _at(film, position, min(16, stop - position))
        if len(head) < 8:
            return
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        length = length or stop - position
        if length < 8 or position + length > stop:
            return
        yield head[4:8], position, position + length
        position += length


def _at(film: BinaryIO, position: int, count: int) -> bytes:
    film.seek(position)
    return film.read(max(0, count))
