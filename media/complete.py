"""Check that a file is complete according to its own container. Reads headers only, decodes nothing.

libav reads a truncated file as a shorter video, skips damage up to the next element that it recognises, and reports
success in both cases. The checks walk the container: top-level boxes (ISO 14496-12), EBML elements (media.matroska),
RIFF chunks (media.riff), MPEG packets (media.mpeg), others (media.seams). A length that is declared unknown (live
recordings) is accepted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from av.container import InputContainer

from raydub.errors import Code, InputError
from raydub.media.headers import cut_off
from raydub.media.info import ProbeLimits
from raydub.media.iso import check_tables
from raydub.media.joined import joined
from raydub.media.matroska import check_matroska
from raydub.media.mpeg import check_program_stream, check_transport_stream
from raydub.media.opening import check_file, open_input
from raydub.media.riff import check_riff
from raydub.media.seams import check_single

_MAX_BOXES = 1_000_000


@dataclass(frozen=True)
class Condition:
    """frames: number of frames of the first video stream, None if the container does not state it. losses: a sentence
    on what a recording lacks, or "". notes: for the user, each as "W_WORD: sentence"."""

    frames: int | None = None
    losses: str = ""
    notes: tuple[str, ...] = ()


def check_complete(path: str, container_format: str, what: str, pid: int | None = None) -> Condition:
    """Check the structure of a file of this container. pid: the MPEG-TS packets to check.

    Raises InputError INPUT_TRUNCATED if it states more bytes than the file has, INPUT_UNREADABLE if its elements are
    inconsistent, INPUT_LIMIT for a Matroska file with millions of empty elements.
    """
    kind = container_format.split(",")[0]
    check_single(path, kind, what)
    if kind == "matroska":
        return Condition(frames=check_matroska(path, what))
    elif kind in ("avi", "wav"):
        return Condition(frames=check_riff(path, what))
    elif kind == "mpegts":
        film = joined(path)
        notes = (f"W_JOINED: the {what} is {film.note()}",) if film is not None else ()
        return Condition(losses=check_transport_stream(path, what, pid), notes=notes)
    elif kind == "mpeg":
        return Condition(losses=check_program_stream(path, what))
    elif kind == "mov":
        with open(path, "rb") as stream:
            missing = _iso_missing(stream, os.path.getsize(path))
        if missing > 0:
            raise cut_off(f"{what} {path}", missing)
        check_tables(path, what)
    return Condition()


def open_complete(path: str, limits: ProbeLimits, what: str) -> InputContainer:
    """Open a media file after all checks of this module. The caller closes it. Raises InputError as open_input and
    check_complete do."""
    check_file(path, limits, what)
    check_header(path, limits, what)
    if looks_truncated(path):
        check_complete(path, "mov", what)
    container = open_input(path, limits, what)
    try:
        check_complete(path, container.format.name, what)
    except BaseException:
        container.close()
        raise
    return container


def check_header(path: str, limits: ProbeLimits, what: str) -> None:
    """Raise InputError INPUT_LIMIT for an ISO file whose index is huge, or says that it inflates to something huge
    (QuickTime's `cmov`): libav loads all of it into memory. Call this before libav opens the file."""
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
    """Do the boxes of an ISO file run past its end? For files that libav may not open at all."""
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
