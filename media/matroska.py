"""Check that a Matroska file is complete: its elements must lie end to end, each in an allowed place (RFC 8794, RFC
9559).

libav skips damage up to the next cluster that it recognises and reports nothing, so frames are missing. This walk reads
element headers only, down to the blocks of each cluster, and all bytes of clusters with a checksum (CRC-32, which
ffmpeg and mkvmerge can write and libav ignores). Segments and clusters of unknown size (live recordings) end where the
next element of a higher level begins, and may be truncated anywhere.
"""

from __future__ import annotations

import os

from raydub.errors import Code, InputError
from raydub.media.headers import Headers, cut_off, damaged

_EBML = 0x1A45DFA3
_SEGMENT = 0x18538067
_CLUSTER = 0x1F43B675
_TRACKS = 0x1654AE6B
_GROUP = 0xA0
_BLOCKS = (0xA3, 0xA1)
_CHECKSUM = 0xBF
_ANYWHERE = {0xEC, _CHECKSUM}  # 0xEC: Void
_PICTURE = 1
_LACING = 6
# What may stand in a segment (SeekHead, Info, Tracks, Chapters, Cluster, Cues, Attachments, Tags), ...
_IN_SEGMENT = {0x114D9B74, 0x1549A966, _TRACKS, 0x1043A770, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1254C367} | _ANYWHERE
# ... in a cluster (Timestamp, SilentTracks, Position, PrevSize, SimpleBlock, BlockGroup, EncryptedBlock), ...
_IN_CLUSTER = {0xE7, 0x5854, 0xA7, 0xAB, 0xA3, _GROUP, 0xAF} | _ANYWHERE
# ... and in a group (Block, BlockVirtual, BlockAdditions, BlockDuration, ReferencePriority, ReferenceBlock,
# ReferenceVirtual, CodecState, DiscardPadding, Slices, ReferenceFrame).
_IN_GROUP = {0xA1, 0xA2, 0x75A1, 0x9B, 0xFA, 0xFB, 0xFD, 0xA4, 0x75A2, 0x8E, 0xC8} | _ANYWHERE
_ALLOWED = (_IN_SEGMENT, _IN_CLUSTER, _IN_GROUP)
_UNKNOWN = -1
_EMPTY_BYTES = 4
_MAX_EMPTY = 1_000_000


def check_matroska(path: str, what: str) -> int | None:
    """Number of frames of the first video track over all segments; None if it is not known.

    Raises InputError INPUT_TRUNCATED if a segment runs past the end of the file, INPUT_UNREADABLE if its elements are
    inconsistent or the checksum of a cluster is wrong, INPUT_LIMIT for millions of empty elements.
    """
    size, name = os.path.getsize(path), f"{what} {path}"
    frames: int | None = None
    with open(path, "rb", buffering=0) as stream:
        headers = Headers(stream)
        position = segments = 0
        while position < size:
            element = _header(headers, position, size)
            if element is None or (segments and element[0] not in (_EBML, _SEGMENT) and element[0] not in _ANYWHERE):
                break  # junk behind the segment is harmless; before it, libav could not have opened the file
            identifier, start, stop = element
            if identifier == _SEGMENT:
                if stop > size:
                    raise cut_off(name, stop - size)
                end = size if stop == _UNKNOWN else stop
                found, position = _walk(headers, start, end, stop == _UNKNOWN, name)
                frames = found if not segments else None if found is None or frames is None else frames + found
                segments += 1
                continue
            if stop == _UNKNOWN:
                break
            position = stop
    return frames


def _walk(headers: Headers, position: int, stop: int, live: bool, name: str) -> tuple[int | None, int]:
    """(frames of the first picture track, byte after the segment). The elements from `position` on must fill the space
    up to `stop` exactly; a live segment may be cut off at its end, or be followed by another file."""
    ends, empty = [stop], 0
    tracks: dict[int, tuple[int, bool]] = {}
    picture, frames, laced = 0, 0, False
    while True:
        while len(ends) > 1 and position >= ends[-1]:
            ends.pop()
        if position >= stop:
            return frames if picture and not laced else None, stop
        element = _header(headers, position, ends[-1])
        if element is None:
            if live and stop - position < 12:
                return frames if picture and not laced else None, stop
            raise damaged(name, position, "an element was expected")
        identifier, inside, end = element
        if live and identifier == _EBML:
            return frames if picture and not laced else None, position  # another recording was joined to this one
        if live and identifier in _IN_SEGMENT and identifier not in _ANYWHERE:
            del ends[1:]
        level = len(ends) - 1
        if identifier not in _ALLOWED[level]:
            raise damaged(name, position, f"element {identifier:X} is unknown or in the wrong place")
        if end == _UNKNOWN:
            if identifier != _CLUSTER:
                raise damaged(name, position, f"element {identifier:X} has an unknown length")
            live, end = True, stop
        if end > ends[-1]:
            if live and ends[-1] == stop:
                return frames if picture and not laced else None, stop
            raise damaged(name, position, "an element is longer than its parent")
        if end - inside <= _EMPTY_BYTES:
            empty += 1
            if empty > _MAX_EMPTY:
                raise InputError(Code.INPUT_LIMIT, f"{name} has more than {_MAX_EMPTY} empty elements")
        if identifier in _BLOCKS:
            head = headers.at(inside, min(12, end - inside))
            track = _number(head, keep_marker=False)
            if track is None or (tracks and track[0] not in tracks) or len(head) < track[1] + 3:
                raise damaged(name, position, "a block of an unknown track")
            if track[0] == picture:
                frames += end - inside > track[1] + 3
                if head[track[1] + 2] & _LACING:
                    if not tracks[picture][1]:
                        raise damaged(name, position, "a block with several frames in a track without lacing")
                    laced = True
        elif identifier == _TRACKS:
            tracks |= _tracks(headers, inside, end)
            picture = next((number for number, (kind, _) in tracks.items() if kind == _PICTURE), 0)
        elif identifier == _CHECKSUM and level == 1 and end - inside == 4:
            said = int.from_bytes(headers.at(inside, 4), "little")
            if (ends[1] < stop or not live) and headers.checksum(end, ends[1]) != said:
                raise damaged(name, position, "the checksum of a cluster is wrong")
        if identifier in (_CLUSTER, _GROUP):
            ends.append(end)
            position = inside
        else:
            position = end


def _tracks(headers: Headers, start: int, stop: int) -> dict[int, tuple[int, bool]]:
    """Number (TrackNumber, by which blocks name it) to kind (TrackType) and whether its blocks may hold
    several frames (FlagLacing) of each TrackEntry; {} when one has no number."""
    found: dict[int, tuple[int, bool]] = {}
    for entry, inside, end in _children(headers, start, stop):
        if entry == 0xAE:
            parts = {part: headers.at(at, min(8, upto - at)) for part, at, upto in _children(headers, inside, end)}
            if 0xD7 not in parts:
                return {}
            kind, lacing = (int.from_bytes(parts.get(part, b"\1"), "big") for part in (0x83, 0x9C))
            found[int.from_bytes(parts[0xD7], "big")] = (kind, lacing != 0)
    return found


def _children(headers: Headers, position: int, stop: int) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    while position < stop and len(found) < 10_000:
        element = _header(headers, position, stop)
        if element is None or not element[1] <= element[2] <= stop:
            break
        found.append(element)
        position = element[2]
    return found


def _header(headers: Headers, position: int, limit: int) -> tuple[int, int, int] | None:
    """(identifier, first byte of the content, byte after it or _UNKNOWN) of the element at `position`."""
    head = headers.at(position, min(12, limit - position))
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
