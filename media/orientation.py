"""Which way up a picture is stored."""

from __future__ import annotations

import struct
from typing import Any, Literal

from raydub.media.info import Rotation


def orientation(frame: Any) -> tuple[Rotation, bool]:
    """(degrees clockwise to turn, mirror first) from the display matrix (ISO 14496-12: row vectors times a 3x3 matrix,
    16.16 fixed point); a picture turned by anything but quarter turns is left as stored."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV knows no name for some kinds of side data (EXIF among them) and then shows none of it.
        return _quarter(-frame.rotation), False
    if data is None:
        return 0, False
    raw = bytes(data)
    if len(raw) < 36:
        return 0, False
    a, b, _, c, d = struct.unpack("=5i", raw[:20])
    one = 1 << 15
    sign = tuple((value > one) - (value < -one) for value in (a, b, c, d))
    turns: dict[tuple[int, ...], tuple[Rotation, bool]] = {
        (1, 0, 0, 1): (0, False),
        (0, 1, -1, 0): (90, False),
        (-1, 0, 0, -1): (180, False),
        (0, -1, 1, 0): (270, False),
        (-1, 0, 0, 1): (0, True),
        (0, -1, -1, 0): (90, True),
        (1, 0, 0, -1): (180, True),
        (0, 1, 1, 0): (270, True),
    }
    return turns.get(sign, (0, False))


def _quarter(degrees: int) -> Rotation:
    turns: dict[int, Rotation] = {90: 90, 180: 180, 270: 270}
    return turns.get(degrees % 360, 0)


_EXIF: dict[int, tuple[Rotation, bool]] = {
    1: (0, False), 2: (0, True), 3: (180, False), 4: (180, True),
    5: (270, True), 6: (90, False), 7: (90, True), 8: (270, False),
}  # fmt: skip


def exif_orientation(data: bytes) -> tuple[Rotation, bool]:
    """(degrees clockwise to turn, mirror first) by the orientation tag (0x0112 of IFD 0, Exif 2.3) in the content of a
    JPEG, PNG, WebP or TIFF file; (0, False) where there is none that can be read."""
    block = _exif_block(data)
    if block[:4] not in (b"II*\0", b"MM\0*"):
        return 0, False
    order: Literal["little", "big"] = "little" if block[:2] == b"II" else "big"
    table = int.from_bytes(block[4:8], order)
    for entry in range(table + 2, table + 2 + 12 * int.from_bytes(block[table : table + 2], order), 12):
        if int.from_bytes(block[entry : entry + 2], order) == _ORIENTATION:
            kind = int.from_bytes(block[entry + 2 : entry + 4], order)
            length = _EXIF_LENGTHS.get(kind, 0)
            return _EXIF.get(int.from_bytes(block[entry + 8 : entry + 8 + length], order), (0, False))
    return 0, False


_ORIENTATION = 0x0112
_EXIF_LENGTHS = {1: 1, 3: 2, 4: 4}  # BYTE, SHORT, LONG; the standard says SHORT
_EXIF_MARK = b"Exif\0\0"


def _exif_block(data: bytes) -> bytes:
    """The TIFF structure that holds the tags: found by the file's own structure, for a picture may hold any bytes."""
    if data.startswith(b"\xff\xd8"):
        return _in_jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _in_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _in_webp(data).removeprefix(_EXIF_MARK)
    return data  # a TIFF file is such a structure itself


def _in_jpeg(data: bytes) -> bytes:
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in (0xDA, 0xD9):  # the picture itself, or the end
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xE1 and data[position + 4 : position + 10] == _EXIF_MARK:
            return data[position + 10 : position + 2 + length]
        position += 2 + max(length, 2)
    return b""


def _in_png(data: bytes) -> bytes:
    position = 8
    while position + 8 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"eXIf":
            return data[position + 8 : end]
        position = end + 4
    return b""


def _in_webp(data: bytes) -> bytes:
    position = 12
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == b"EXIF":
            return data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    return b""
