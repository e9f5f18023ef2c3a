"""Put the marks of an output into its file, which is not published yet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from raydub.files import discard, temp_beside, write_new
from raydub.media.xmp_place import MKV_TAG, place_xmp
from raydub.stages.marks.credentials import SIDECAR, sidecar_of, sign_beside, sign_inside
from raydub.stages.marks.statement import Statement

if TYPE_CHECKING:
    from raydub.stages.marks.certificate import Signer


def tags_for(said: Statement, output: str) -> dict[str, str]:
    """The tags with which the output is written; in mkv they contain the XMP packet too."""
    tags = said.tags()
    if said.marked and _is_mkv(output):
        tags[MKV_TAG] = said.xmp().decode()
    return tags


def mark(path: str, said: Statement) -> None:
    """Put the XMP packet into a finished mp4 or mov. Raises StageError STITCH_FAILED, OSError."""
    if said.marked and not _is_mkv(path):
        place_xmp(path, said.xmp())


def sign(path: str, output: str, said: Statement, signer: Signer, origin: str) -> str | None:
    """Sign the file `path`, which will be `output`. origin: the job's video, whose credentials are kept. Returns the
    temporary file of credentials that go beside it, None for those inside. Raises StageError STITCH_FAILED, STORAGE,
    DISK_FULL; OSError."""
    title = os.path.basename(output)
    if sidecar_of(output):
        beside = temp_beside(f"{path}{SIDECAR}")
        write_new(beside, sign_beside(path, title, said, signer, origin))
        return beside
    signed = temp_beside(path)
    try:
        sign_inside(path, signed, title, said, signer, origin)
        os.replace(signed, path)
    except BaseException:
        discard(signed)
        raise
    return None


def marks_of(said: Statement) -> tuple[str, ...]:
    """The marks of an output, in the words of the results."""
    found = (("xmp", said.marked), ("c2pa", bool(said.signer)), ("label", said.label is not None))
    return tuple(name for name, there in found if there)


def _is_mkv(path: str) -> bool:
    return path.lower().endswith(".mkv")
