"""Local copies of objects in buckets: one path per object and version, fetched at its first use on this machine.

    <cache>/raydub-near/objects/<key>/<name>              an input, pinned to the version that its plan was made with
    <cache>/raydub-near/objects/<key>/<name>.sha256       its digest, and how the file looked when it was fetched
    <cache>/raydub-near/stores/<key>/blobs/<2>/<sha256>   a blob of a work folder in a bucket
    <cache>/raydub-near/origins/<key>.json                what these keys stand for

Paths differ between machines. Text that goes to another machine is translated: away() replaces the paths of copies by
what they stand for, and here() does the reverse on the other side.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from raydub.errors import Code, InputError, StageError
from raydub.files import discard, write_atomic
from raydub.objects.bucket import Meta, bucket_of
from raydub.objects.copies import MARK, NEAR
from raydub.objects.names import ObjectName, parse, prefix
from raydub.objects.ranges import RangeFile, whole_or_ranges
from raydub.objects.room import DIGEST, USED, cache_bytes, cache_root, fetch_once, used

_ROOM_SECONDS = 300
_LONG_AGO = 946_684_800_000_000_000  # 2000-01-01, in ns
_NAME = re.compile(r"blobs/[0-9a-f]{2}/[0-9a-f]{64}[^/\0]*")
_OBJECT, _BLOB, _TEXT = "object:", "blob:", "text:"


@dataclass(frozen=True)
class Origin:
    """An object as it was when it was pinned. uri: canonical; version: of the bucket, "" if it has none."""

    uri: str
    etag: str
    size: int
    version: str = ""

    @classmethod
    def of(cls, name: ObjectName, meta: Meta) -> Origin:
        """The object with this name that the store describes so."""
        return cls(name.text, meta.etag, meta.size, meta.version)

    def meta(self) -> Meta:
        """What the store said of it, without the time."""
        return Meta(parse(self.uri).key, self.size, self.etag, self.version, 0.0)

    @property
    def look(self) -> str:
        """Equal if and only if the content is: see raydub.identity."""
        return f"{self.size} {self.etag or self.version}"


def pin(uri: str, what: str = "input") -> Origin:
    """The object at an address as it is now. Raises InputError INPUT_MISSING, and what Bucket.head raises."""
    found = head(uri)
    if found is None:
        hint = "check the address" + ("; folders of pictures are read from disks only" if what == "video" else "")
        raise InputError(Code.INPUT_MISSING, f"{what} {uri} does not exist", hint=hint)
    return found


def head(uri: str) -> Origin | None:
    """The object at an address as it is now, None if there is none. Raises what Bucket.head raises."""
    name = parse(uri)
    meta = bucket_of(name).head(name.key)
    return None if meta is None else Origin.of(name, meta)


def origin_of(path: str) -> Origin | None:
    """The object that an input's copy stands for; None for any other path."""
    if not path.startswith(str(_root() / "objects") + os.sep):
        return None
    return _origin(Path(path).parent.name)


def copy_of(origin: Origin) -> str:
    """The path of an input's copy, which need not be there yet."""
    key = _key(json.dumps(asdict(origin), sort_keys=True))
    name = parse(origin.uri).key.rpartition("/")[2]
    stem, suffix = os.path.splitext(name)
    short = os.fsencode(stem)[:80].decode("utf-8", "ignore") + suffix[:20]
    short += "_" if suffix in (DIGEST, USED) else ""  # these stand beside files of the cache
    _note(key, asdict(origin))
    return str(_root() / "objects" / key / short)


def folder_of(uri: str) -> Path:
    """The folder on this machine that belongs to the work folder at an address."""
    text = prefix(uri)
    key = _key(text)
    _note(key, {"store": text})
    return _root() / "stores" / key


def ranged(path: str, share: float) -> RangeFile | None:
    """An input's copy that is not there as a file over ranges of the object; None if it should be fetched whole. share:
    of it that this machine will read."""
    origin = origin_of(path)
    if origin is None or whole_or_ranges(origin.size, share, _room(int(time.monotonic() / _ROOM_SECONDS))) == "whole":
        return None
    return RangeFile(bucket_of(origin.uri), origin.meta())


@lru_cache(maxsize=1)
def _room(_: int) -> int:
    """The size of the cache, which takes a walk through it to know."""
    return cache_bytes()


def digest_of(path: str) -> str:
    """The SHA-256 of an input's copy, fetched if needed."""
    for _ in range(2):
        ensure(path)
        digest = _digest_kept(path)
        if digest is not None:
            return digest
    raise StageError(Code.STORAGE, f"{path} keeps disappearing", hint="give the cache more room: RAYDUB_CACHE_GB")


def ensure(path: str) -> None:
    """Fetch the copy at `path` if it is not there, or was changed since. Nothing for paths that are no copy, such as
    temporary files. Blobs are only looked for: who reads one verifies it (raydub.blobs)."""
    try:
        kind, key, *rest = Path(path).relative_to(_root()).parts
    except ValueError:
        return
    an_object = kind == "objects" and len(rest) == 1
    a_blob = kind == "stores" and len(rest) == 3 and rest[0] == "blobs"
    if (an_object or a_blob) and used(path):
        if a_blob or _digest_kept(path) is not None:
            return
        discard(path)
    if an_object:
        _fetch_object(Path(path), _origin(key))
    elif a_blob:
        _fetch_blob(Path(path), _said(key)["store"], "/".join(rest))


def shown(text: str) -> str:
    """A text with addresses in place of the paths of inputs' copies."""
    top = re.escape(str(_root() / "objects"))
    for key in set(re.findall(rf"{top}{os.sep}([0-9a-f]{{32}}){os.sep}", text)):
        with suppress(StageError):
            origin = _origin(key)
            text = text.replace(copy_of(origin), origin.uri)
    return text


def away(value: Any) -> Any:
    """A JSON value with the paths of copies in its texts replaced by what they stand for."""
    return _texts(value, _away)


def here(value: Any) -> Any:
    """The reverse of away(), with the paths of this machine."""
    return _texts(value, _here)


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with all its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _texts(one, change) for name, one in value.items()}
    return [_texts(one, change) for one in value] if isinstance(value, (list, tuple)) else value


def _away(text: str) -> str:
    if text.startswith(MARK):
        return f"{MARK}{_TEXT}{text}"
    if NEAR not in text or not text.startswith(str(_root())):
        return text
    kind, key, *rest = Path(text).relative_to(_root()).parts
    if kind == "objects":
        return f"{MARK}{_OBJECT}{json.dumps(asdict(_origin(key)))}"
    if kind == "stores" and rest and rest[0] == "blobs":
        return f"{MARK}{_BLOB}{json.dumps([_said(key)['store'], '/'.join(rest)])}"
    return text


def _here(text: str) -> str:
    if not text.startswith(MARK):
        return text
    kind, colon, rest = text.removeprefix(MARK).partition(":")
    if kind + colon == _TEXT:
        return rest
    said = json.loads(rest)
    if kind + colon == _OBJECT:
        return copy_of(Origin(**said))
    store, name = said
    if not _NAME.fullmatch(name):
        raise ValueError(f"not the name of a blob: {name[:80]!r}")
    return str(folder_of(store) / name)


def _fetch_object(path: Path, origin: Origin) -> None:
    def download(temp: Path) -> None:
        meta = origin.meta()
        digest = bucket_of(origin.uri).download(meta.key, temp, meta)
        # Times of the past, so that any later write is seen.
        os.utime(temp, ns=(_LONG_AGO, _LONG_AGO))
        state = os.stat(temp)
        write_atomic(f"{path}{DIGEST}", f"{digest} {state.st_size} {state.st_mtime_ns}".encode())

    path.parent.mkdir(parents=True, exist_ok=True)
    fetch_once(path, download, size=origin.size)


def _digest_kept(path: str) -> str | None:
    """The digest of an input's copy; None if the file is not there, or not as it was fetched."""
    with suppress(OSError, ValueError):
        digest, size, when = Path(f"{path}{DIGEST}").read_text(encoding="ascii").split()
        state = os.stat(path)
        if (state.st_size, state.st_mtime_ns) == (int(size), int(when)):
            return digest
    return None


def _fetch_blob(path: Path, store: str, name: str) -> None:
    place = parse(f"{store}/{name}")

    bucket = bucket_of(place)
    meta = bucket.head(place.key)
    if meta is None:
        raise StageError(Code.STORAGE, f"{place.text} is missing", hint=_AGAIN)

    def download(temp: Path) -> None:
        if not path.name.startswith(bucket.download(place.key, temp, meta)):
            # Absent from now on: a damaged one would be found again by every run.
            bucket.delete(place.key)
            raise StageError(Code.STORAGE, f"{place.text} is damaged", hint=_AGAIN)

    path.parent.mkdir(parents=True, exist_ok=True)
    fetch_once(path, download, size=meta.size)


_AGAIN = "it was removed or changed by somebody else; run again to make it again"


def _root() -> Path:
    return _folder(str(cache_root()))


@lru_cache(maxsize=8)
def _folder(root: str) -> Path:
    return Path(root + NEAR.rstrip(os.sep))


def _note(key: str, said: dict[str, Any]) -> None:
    """Write down what a key stands for, once per process."""
    _notes(str(_root()), key, json.dumps(said))


@lru_cache(maxsize=10_000)
def _notes(root: str, key: str, said: str) -> None:
    write_atomic(Path(root) / "origins" / f"{key}.json", said.encode())


@lru_cache(maxsize=10_000)
def _known(root: str, key: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((Path(root) / "origins" / f"{key}.json").read_bytes())
    except (OSError, ValueError) as error:
        message = f"{root} does not know what {key[:80]} is a copy of: {error}"
        raise StageError(Code.STORAGE, message, hint="remove the cache folder and run again") from error
    return found


def _said(key: str) -> dict[str, Any]:
    return _known(str(_root()), key)


def _origin(key: str) -> Origin:
    return Origin(**_said(key))


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
