"""Read container headers without the media between them, and errors for inconsistent ones."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from raydub.errors import Code, InputError

_BLOCK = 1 << 20

AGAIN = "copy or download the file again"


class Headers:
    """Small reads from a large file, `window` bytes at a time: adjacent headers cost one read, and media between
    headers are not read."""

    def __init__(self, stream: BinaryIO, window: int = 4096) -> None:
        self._stream = stream
        self._window = window
        self._start = 0
        self._held = b""

    def at(self, position: int, count: int) -> bytes:
        """`count` bytes from byte `position` on, fewer at the end of the file."""
        offset = position - self._start
        if offset < 0 or offset + count > len(self._held):
            self._stream.seek(position)
            self._held = self._stream.read(max(count, self._window))
            self._start, offset = position, 0
        return self._held[offset : offset + count]

    def checksum(self, start: int, stop: int) -> int:
        """CRC-32 (ISO 3309) of the bytes start..stop-1."""
        value = 0
        self._stream.seek(start)
        while start < stop:
            block = self._stream.read(min(_BLOCK, stop - start))
            if not block:
                break
            value, start = zlib.crc32(block, value), start + len(block)
        return value


def cut_off(name: str, missing: int) -> InputError:
    """The error for a file that is shorter than its headers say. name: what it is, and its path."""
    return InputError(Code.INPUT_TRUNCATED, f"{name} is cut off: at least {missing} bytes are missing", hint=AGAIN)


def damaged(name: str, position: int, wrong: str) -> InputError:
    """The error for inconsistent headers at byte `position`."""
    return InputError(Code.INPUT_UNREADABLE, f"{name} is damaged near byte {position}: {wrong}", hint=AGAIN)
