"""Which way up a picture is stored."""

from __future__ import annotations

import struct
from typing import Any

from media.info import Rotation


def orientation(frame: Any) -> tuple[Rotation, bool]:
    """(degrees clockwise to turn, mirror first) from the display matrix (ISO 14496-12: row vectors times a 3x3 matrix,
    16.16 fixed point); a picture turned by anything but quarter turns is left as stored."""
    data = frame.side_data.get("DISPLAYMATRIX")
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
