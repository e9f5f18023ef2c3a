"""Is a Matroska file whole? Its elements must lie end to end (RFC 8794, RFC 9559).

libav skips over damage to the next cluster that it recognises and reports nothing, so that frames are missing. This
walk reads element headers only, down to the blocks of each cluster. Elements of unknown size (live recordings) end it.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from raydub.errors import Code, InputError

_SEGMENT = 0x18538067
_CLUSTER = 0x1F43B675
_UNKNOWN = -1
_EMPTY_BYTES = 4
_MAX_EMPTY = 1_000_000


def check_matroska(path: str, what: str) -> None:
    """Raise InputError INPUT_TRUNCATED when the segment runs past the file's end, INPUT_UNREADABLE when its elements do
    not fit together, INPUT_LIMIT when they are millions of empty ones."""
    size = os.path.getsize(path)
    with open(path, "rb", buffering=1 << 18) as stream:
        position = 0
        while position < size:
            element = _header(stream, position, size)
            if element is None:
                return  # junk behind the segment is harmless; before it, libav could not have opened the file
            identifier, start, stop = element
            if stop == _UNKNOWN:
                return
            if identifier == _SEGMENT:
                if stop > size:
                    raise InputError(
                        Code.INPUT_TRUNCATED,
                        f"{what} {path} is cut off: {stop - size} bytes are missing",
                        hint="copy or download the file again",
                    )
                broken = _broken(stream, start, stop, f"{what} {path}")
                if broken is not None:
                    raise InputError(Code.INPUT_UNREADABLE, f"{what} {path} is damaged near byte {broken}")
                return
            position = stop


def _broken(stream: BinaryIO, start: int, stop: int, name: str) -> int | None:
    """Where the elements from start on fail to fill the space up to `stop` exactly, or None.

    Raises InputError INPUT_LIMIT for a segment of millions of elements that hold nothing."""
    position, cluster, empty = start, start, 0
    while position < stop:
        # Elements of a cluster end where the cluster does; a cluster within a cluster does not count as one.
        inside_cluster = position < cluster
        limit = cluster if inside_cluster else stop
        element = _header(stream, position, limit)
        if element is None:
            return position
        identifier, inside, end = element
        if end == _UNKNOWN:
            return None
        if end > limit:
            return position
        if end - inside <= _EMPTY_BYTES:
            empty += 1
            if empty > _MAX_EMPTY:
                raise InputError(Code.INPUT_LIMIT, f"{name} has more than {_MAX_EMPTY} elements that hold nothing")
        if identifier == _CLUSTER and not inside_cluster:
            cluster, position = end, inside
        else:
            position = end
    return None


def _header(stream: BinaryIO, position: int, limit: int) -> tuple[int, int, int] | None:
    """(identifier, first byte of the content, byte after it or _UNKNOWN) of the element at `position`."""
    stream.seek(position)
    head = stream.read(min(12, limit - position))
    identifier = _number(head, keep_marker=True)
    if identifier is None or identifier[1] > 4:
        return None
    length = _number(head[identifier[1] :], keep_marker=False)
    if length is None:
        return None
    start = position + identifier[1] + length[1]
    return identifier[0], start, _UNKNOWN if length[0] == _UNKNOWN else start + length[0]


def _number(data: bytes, keep_marker: bool) -> tuple[int, int] | None:
    """(value, bytes used) of a variable-length integer; value _UNKNOWN for the reserved size; None if it is none."""
    if not data or data[0] == 0:
        return None
    used = 9 - data[0].bit_length()
    if len(data) < used:
        return None
    value = int.from_bytes(data[:used], "big")
    if keep_marker:
        return value, used
    mask = (1 << (7 * used)) - 1
    value &= mask
    return (_UNKNOWN if value == mask else value), used
