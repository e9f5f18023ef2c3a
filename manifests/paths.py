"""Paths in manifests: resolve inputs, and confine outputs to the output root."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from raydub.errors import Code, InputError, UsageError
from raydub.kinds import kind_of
from raydub.manifests.values import no_utf8
from raydub.media.fetch_policy import FetchPolicy, store_hint
from raydub.media.fetch_uri import parse_uri
from raydub.objects.names import is_object, join, parse
from raydub.places import folded, refuse_work_folder
from raydub.texts import has_utf8

__all__ = [
    "OUTPUT_SUFFIXES",
    "confine_output",
    "folded",
    "is_remote",
    "local_path",
    "resolve_file",
    "resolve_input",
    "resolve_media",
    "scheme_of",
]

OUTPUT_SUFFIXES = (".mp4", ".mov", ".mkv")
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
# Characters that make a name display differently (Unicode TR 36, bidirectional text spoofing).
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LATER_SCHEMES = frozenset({"s3", "gs", "gcs", "abfs", "az", "hdfs", "http", "https", "ftp", "sftp"})
_MAX_PATH, _MAX_NAME, _SHOWN = 4000, 250, 200


def scheme_of(text: str) -> str | None:
    """The URI scheme in lower case, or None for a plain path."""
    found = _SCHEME.match(text)
    return found.group(1).lower() if found else None


def is_remote(text: str) -> bool:
    """Whether `text` is a network address, of an object in a bucket too. file:// is local."""
    return scheme_of(text) not in (None, "file")


def local_path(text: str, field: str) -> str:
    """`text` as a plain path: itself, or the path of a file:// URI.

    Raises UsageError: FIELD_VALUE for invalid paths, NOT_BUILT for object stores and the web, INPUT_FORMAT for any
    other scheme."""
    if not text.strip():
        raise UsageError(Code.FIELD_VALUE, "the path is empty", field=field)
    scheme = scheme_of(text)
    if scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise UsageError(
                Code.INPUT_FORMAT,
                f"{text[:_SHOWN]!r} names another host",
                field=field,
                hint="write file:///path or a plain path",
            )
        text = unquote(parts.path, errors="surrogateescape")
    elif scheme in _LATER_SCHEMES:
        raise UsageError(
            Code.NOT_BUILT,
            f"{scheme}:// is not read or written by this version",
            field=field,
            hint=store_hint("") if field != "output" else "write to a local path and copy the file from there",
        )
    elif scheme is not None:
        raise UsageError(Code.INPUT_FORMAT, f"{scheme}:// is unknown", field=field, hint="give a path or a file:// URI")
    if not has_utf8(text):
        raise no_utf8(field, text)
    if len(text.encode()) > _MAX_PATH or any(len(name.encode()) > _MAX_NAME for name in text.split("/")):
        raise UsageError(Code.FIELD_VALUE, f"the path {text[:60]!r}.. is too long", field=field)
    if any(unicodedata.category(c) == "Cc" for c in text):
        raise UsageError(Code.FIELD_VALUE, f"the path {text!r} holds a control character", field=field)
    return text


def resolve_media(text: str, folder: PurePath, field: str, policy: FetchPolicy | None = None) -> str:
    """Resolve an input: a path as by resolve_input(), the address of an object, or a web address unchanged, checked
    against `policy` (by default the environment's) without a request.

    Raises UsageError URI_SCHEME, URI_DENIED, FIELD_VALUE, and what local_path raises."""
    if is_object(text):
        return parse(text, field).text
    if not is_remote(text):
        return resolve_input(text, folder, field)
    try:
        parse_uri(text, policy or FetchPolicy.from_environment())
    except InputError as error:
        raise UsageError(error.code, error.message, field=field, hint=error.hint) from None
    return text


def resolve_input(text: str, folder: PurePath, field: str) -> str:
    """An input's absolute path; relative ones start at `folder`, the manifest's, and are addresses if that is in a
    bucket. It does not need to exist."""
    path = local_path(text, field)
    if is_object(str(folder)) and not path.startswith(os.sep):
        return join(str(folder), path.removeprefix("./"), field)
    return os.path.normpath(os.path.join(folder, path))


def resolve_file(text: str, folder: PurePath, field: str) -> str:
    """The same for weights and voices, which may also be addresses of objects. Raises UsageError NOT_BUILT for the
    web."""
    return parse(text, field).text if is_object(text) else resolve_input(text, folder, field)


def confine_output(text: str, root: PurePath, field: str = "output") -> str:
    """The absolute path of an output, checked to be inside `root` after following existing symlinks; or its address, if
    `root` is in a bucket.

    Raises UsageError OUTPUT_ESCAPES (leaves the root, `..`, a control character, a work folder), OUTPUT_FORMAT (suffix,
    a folder) and what local_path raises. Symlinks may change later: publishing checks again.
    """
    way_out = "give a path inside the output root, or choose another root with --output-root"
    if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in _TURNING for c in text):
        raise UsageError(
            Code.OUTPUT_ESCAPES,
            f"the path {text[:_SHOWN]!r} holds a control character",
            field=field,
            hint="use plain file names",
        )
    far = is_object(str(root))
    if is_object(text) and not far:
        message = f"{text[:_SHOWN]!r} is in a bucket, but the output root {str(root)!r} is not"
        raise UsageError(Code.OUTPUT_ESCAPES, message, field=field, hint="name the bucket's folder with --output-root")
    path = parse(text, field).text if is_object(text) else local_path(text, field)
    if ".." in Path(path).parts:
        raise UsageError(Code.OUTPUT_ESCAPES, f"{path!r} contains '..'", field=field, hint=way_out)
    suffix = Path(path).suffix.lower()
    if suffix not in OUTPUT_SUFFIXES or path.endswith("/"):
        raise UsageError(
            Code.OUTPUT_FORMAT,
            f"{path!r} has the suffix {suffix or 'none'!r}",
            field=field,
            hint=f"expected one of {', '.join(OUTPUT_SUFFIXES)}",
        )
    if far:
        return _in_bucket(path, str(root), field, way_out)
    try:
        real_root = Path(root).resolve()
        real = (real_root / path).resolve()
    except (OSError, RuntimeError) as error:
        raise UsageError(
            Code.OUTPUT_ESCAPES, f"{path!r} cannot be resolved: {error}", field=field, hint=way_out
        ) from error
    if real_root not in real.parents:
        raise UsageError(
            Code.OUTPUT_ESCAPES, f"{path!r} is outside the output root {str(real_root)!r}", field=field, hint=way_out
        )
    refuse_work_folder(real, field)
    if not has_utf8(str(real)):
        raise no_utf8(field, str(real))
    mode = _mode(real)
    if mode is not None and not stat.S_ISREG(mode):
        hint = "give the name of a file in it" if stat.S_ISDIR(mode) else "choose another name"
        raise UsageError(Code.OUTPUT_FORMAT, f"{path!r} is {kind_of(mode)}", field=field, hint=hint)
    return str(real)


def _in_bucket(path: str, root: str, field: str, way_out: str) -> str:
    if path.startswith(os.sep):
        message = f"{path!r} is a path, but the output root {root!r} is in a bucket"
        raise UsageError(Code.OUTPUT_ESCAPES, message, field=field, hint=way_out)
    address = path if is_object(path) else join(root, path.removeprefix("./"), field)
    if not address.startswith(f"{root}/"):
        raise UsageError(
            Code.OUTPUT_ESCAPES, f"{path!r} is outside the output root {root!r}", field=field, hint=way_out
        )
    refuse_work_folder(address, field)
    return address


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError:
        return None
