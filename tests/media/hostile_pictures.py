"""Pictures that claim more than they hold, a few KB each: see tests/media/hostile_bombs.py."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

SIDE = 16000
"""Pixels along each side of the giants: 256 million pixels, 768 MB as RGB."""


def png(path: Path, width: int, height: int, *extra: tuple[bytes, bytes]) -> Path:
    """A one-bit grey PNG of that size, black; extra: (type, content) of chunks before the picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    deflate = zlib.compressobj(9)
    line = bytes(1 + (width + 7) // 8)
    packed = b"".join(deflate.compress(line) for _ in range(height)) + deflate.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    body = b"".join(chunk(*pair) for pair in extra) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return written(path, b"\x89PNG\r\n\x1a\n" + header + body)


def text_chunks(megabytes: int) -> list[tuple[bytes, bytes]]:
    """PNG chunks that are small and inflate to many megabytes of text and of colour profile."""
    packed = zlib.compress(bytes([65]) * (megabytes << 20), 9)
    return [(b"zTXt", b"Comment\0\0" + packed), (b"iCCP", b"p\0\0" + packed), (b"iTXt", b"c\0\1\0\0\0" + packed)] * 8


def giant_jpeg(data: bytes, side: int = SIDE) -> bytes:
    """Every JPEG in `data` says side x side in its frame header (ITU-T T.81 B.2.2)."""
    at = data.find(b"\xff\xc0\x00\x11\x08")
    while at >= 0:
        data = data[: at + 5] + struct.pack(">HH", side, side) + data[at + 9 :]
        at = data.find(b"\xff\xc0\x00\x11\x08", at + 9)
    return data


def tiff(side: int) -> bytes:
    """A TIFF header for side x side RGB pixels in one PackBits strip of nothing."""
    entries = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 32773), (262, 3, 2), (273, 4, 200), (277, 3, 3),
               (278, 4, side), (279, 4, 400)]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return (b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)).ljust(200, b"\0") + b"\x81\0" * 200


def bitmap(side: int) -> bytes:
    """A BMP header for side x side pixels, 8 bit, run-length coded, and a few runs."""
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 1200, 0, 0, 54 + 1024) + info + bytes(1024) + b"\xff\0" * 40 + b"\0\1"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
