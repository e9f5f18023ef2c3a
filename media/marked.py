"""Mark images that raydub writes under names of its own choice, so that it recognises them later: a text chunk with a
digest of all other bytes, which no longer matches once the image is edited."""

from __future__ import annotations

import hashlib
import os
import zlib

from raydub.regular import read_regular

_HEAD = 33
"""Bytes of a PNG before its second chunk."""
_NAME = b"raydub\0"
_PNG, _JPEG = b"\x89PNG", b"\xff\xd8\xff\xe0"


def marked(picture: bytes) -> bytes:
    """A PNG, or a JPEG that begins with JFIF's header, with the mark in a text chunk or comment."""
    at, mark = _place(picture), _mark(picture)
    return picture[:at] + mark + picture[at:]


def is_marked(path: str | os.PathLike[str]) -> bool:
    """Is this an unchanged image made by marked()? False if it cannot be read."""
    try:
        picture = read_regular(path)
    except OSError:
        return False
    if not picture.startswith((_PNG, _JPEG)):
        return False
    at, length = _place(picture), len(_mark(picture))
    without = picture[:at] + picture[at + length :]
    return picture[at : at + length] == _mark(without)


def _place(picture: bytes) -> int:
    return _HEAD if picture.startswith(_PNG) else 4 + int.from_bytes(picture[4:6], "big")


def _mark(picture: bytes) -> bytes:
    said = _NAME + hashlib.sha256(picture).hexdigest().encode()
    if picture.startswith(_PNG):
        return len(said).to_bytes(4, "big") + b"tEXt" + said + zlib.crc32(b"tEXt" + said).to_bytes(4, "big")
    return b"\xff\xfe" + (len(said) + 2).to_bytes(2, "big") + said
