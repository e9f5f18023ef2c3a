"""Which way up a picture is stored."""

from __future__ import annotations

import struct
from typing import Any, Literal

from media.info import Rotation


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
    """(degrees clockwise to turn, mirror first) by the orientation tag (0x0112 of IFD 0, Exif 2.3) of a JPEG or PNG
    file's content; (0, False) where there is none that can be read."""
    # In the headers only: the picture itself may hold these bytes by chance.
    at = max(data.find(b"Exif\0\0", 0, 1 << 16) + 6, data.find(b"eXIf", 0, 1 << 16) + 4)
    if at < 6 + 2:
        return 0, False
    block = data[at : at + (1 << 16)]
    order: Literal["little", "big"] = "little" if block[:2] == b"II" else "big"
    table = int.from_bytes(block[4:8], order)
    for entry in range(table + 2, table + 2 + 12 * int.from_bytes(block[table : table + 2], order), 12):
        if block[entry : entry + 2] == (0x0112).to_bytes(2, order):
            return _EXIF.get(int.from_bytes(block[entry + 8 : entry + 10], order), (0, False))
    return 0, False
