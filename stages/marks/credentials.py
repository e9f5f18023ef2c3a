"""Sign an output with C2PA credentials: inside mp4 and mov; beside mkv, which C2PA has no place in, as `NAME.mkv.c2pa`
with a hash of all bytes of the video.

Nothing is asked over the network. Memory stays small for files of any length: the library keeps its copies on disk, in
the system's folder for temporary files, and hashes the media of large files in blocks of a mebibyte (a Merkle tree). It
reads the media as a whole otherwise, which every reader understands, while at least one does not know such trees in
files that are not fragmented (c2pa-ts 0.9.4).
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from raydub.errors import Code, StageError
from raydub.media.xmp_place import has_uuid
from raydub.present import present
from raydub.regular import open_regular
from raydub.stages.marks.certificate import Signer
from raydub.stages.marks.claim import ingredient, manifest
from raydub.stages.marks.statement import Statement

FORMS = {".mp4": "video/mp4", ".mov": "video/quicktime", ".mkv": "video/x-matroska"}
"""Media types by extension of outputs."""
SIDECAR = ".c2pa"
JUMBF = bytes.fromhex("D8FEC3D61B0E483C92975828877EC481")
"""The uuid of the box with credentials in ISO files (C2PA technical specification, A.5)."""
_KEPT_MB = 16
_BLOCK_KB = 1024
WHOLE = 128 << 20
"""Largest file, in bytes, whose media are hashed as a whole: as much memory is used."""


def context(anchors: str | None = None, size: int = 0) -> Any:
    """A c2pa.Context with our settings. anchors: PEM of the certificates to trust, None to trust none in particular;
    size: of a file that is signed, in bytes."""
    import c2pa

    blocks = {"merkle_tree_chunk_size_in_kb": _BLOCK_KB} if size > WHOLE else {}
    said: dict[str, Any] = {
        "core": {"backing_store_memory_threshold_in_mb": _KEPT_MB, **blocks},
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": anchors is not None},
    }
    return c2pa.Context.from_dict(said if anchors is None else {**said, "trust": {"trust_anchors": anchors}})


def sidecar_of(output: str) -> str:
    """Where the credentials of an output lie, "" for those that contain them."""
    return output + SIDECAR if output.lower().endswith(".mkv") else ""


def sign_inside(path: str, signed: str, title: str, said: Statement, signer: Signer, origin: str = "") -> None:
    """Write the film `path` with its credentials to `signed`. title: the output's file name; origin: the job's video,
    whose own credentials are kept. The library verifies what it has signed. Raises StageError STITCH_FAILED, and
    OSError."""
    import c2pa

    inherited = _inheritable(origin)
    form = FORMS[os.path.splitext(path)[1].lower()]
    ours = context(size=os.path.getsize(path))
    with open(path, "rb") as source, open(signed, "w+b") as goal:
        try:
            said_of = manifest(said, title, form, inherits=bool(inherited))
            with signer.open() as own, c2pa.Builder(said_of, context=ours) as builder:
                _inherit(builder, said, origin, inherited)
                builder.sign(own, form, source, goal)
        except (c2pa.C2paError, ValueError) as error:
            raise _failed(title, error) from None


def sign_beside(path: str, title: str, said: Statement, signer: Signer, origin: str = "") -> bytes:
    """The credentials of the film `path`, for a file beside it. Otherwise as sign_inside."""
    import c2pa

    inherited = _inheritable(origin)
    form = FORMS[os.path.splitext(path)[1].lower()]
    with open(path, "rb") as source:
        whole = hashlib.file_digest(source, "sha256").digest()
        source.seek(0)
        try:
            said_of = manifest(said, title, form, whole, inherits=bool(inherited))
            with signer.open() as own, c2pa.Builder(said_of, context=context()) as builder:
                _inherit(builder, said, origin, inherited)
                builder.set_no_embed()
                made: bytes = builder.sign(own, form, source, _Nowhere())
        except (c2pa.C2paError, ValueError) as error:
            raise _failed(title, error) from None
    return made


def form_with_credentials(path: str) -> str:
    """The media type of an mp4 or mov with credentials, "" for anything else. An object in a bucket is fetched."""
    try:
        path = str(present(path))
        if not os.path.isfile(path) or not has_uuid(path, JUMBF):
            return ""
        with open(path, "rb") as file:
            return "video/quicktime" if file.read(12)[4:12] == b"ftypqt  " else "video/mp4"
    except OSError:
        return ""


def _inheritable(origin: str) -> str:
    """The media type of a source whose credentials can be read, "" for others: damaged ones are left behind."""
    import c2pa

    form = form_with_credentials(origin)
    if not form:
        return ""
    try:
        with open_regular(origin) as source, c2pa.Reader(form, source, context=context()):
            return form
    except (c2pa.C2paError, ValueError):
        return ""


def _inherit(builder: Any, said: Statement, origin: str, form: str) -> None:
    """Add the source with its credentials, whatever they are worth: the library notes whether they hold."""
    if form:
        with open_regular(origin) as source:
            builder.add_ingredient_from_stream(json.dumps(ingredient(said)), form, source)


def _failed(title: str, error: Exception) -> StageError:
    hint = "run again: finished parts are kept; large files need room in the folder for temporary files (TMPDIR)"
    return StageError(Code.STITCH_FAILED, f"the credentials of {title} cannot be made: {error}", hint=hint)


class _Nowhere:
    """A stream that keeps nothing: the library writes its copy of the film to it."""

    def __init__(self) -> None:
        self._position = self._end = 0

    def read(self, count: int = -1) -> bytes:
        """Nothing."""
        return b""

    def write(self, data: bytes) -> int:
        """Count the bytes."""
        self._position += len(data)
        self._end = max(self._end, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move as in a file."""
        self._position = (0, self._position, self._end)[whence] + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def flush(self) -> None:
        """Do nothing."""
