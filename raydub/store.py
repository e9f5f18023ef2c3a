"""The artefact store: everything that raydub keeps, by name and by content.

    <root>/blobs/<2 letters>/<sha256><suffix>   bytes; a blob's name is the SHA-256 of its content
    <root>/refs/<name>.json                     a small record with its own hash: what a name refers to
    <root>/tmp/                                 files being written; removed when their writer is dead
    <root>/CACHEDIR.TAG                         marks the folder as raydub's; backup programs skip it

The blob is written first and its record second, so a record never names a missing blob. A damaged record, and a blob
that does not match its name, count as absent, and the work is done again. Any number of processes may put the same
name: the last record counts, and blobs are never changed.

Names follow object-store rules: words joined by "/", no renaming, listing by prefix. A second backend needs
nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raydub import files
from raydub.errors import Code, StageError
from raydub.identity import backdate, identify, look_of, remember
from raydub.regular import read_regular

TAG = "CACHEDIR.TAG"
_SIGNED = b"Signature: 8a477f597d28d172789f06886806bc55\n"  # see bford.info/cachedir
_TAGGED = _SIGNED + b"# Work folder of raydub: intermediate results that can be made again. `raydub clean` frees it.\n"
_SEAL = "seal"
_RECORD_BYTES = 64 << 20
_FACTS = ("owners", "identities", "fetched")
"""Records of facts, not of work that was done."""
_forgotten: dict[str, int] = {}
"""See forget_before()."""


@dataclass(frozen=True)
class Artefact:
    """A verified blob. path: absolute; sha256: hex, of all its bytes; size in bytes; about: the caller's metadata."""

    path: str
    sha256: str
    size: int
    about: Mapping[str, Any] = field(default_factory=dict)


class Store:
    """The artefacts of one work folder. Cheap to create, keeps nothing open, safe for threads and processes."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()

    def temp(self, suffix: str = "") -> Path:
        """A new temporary path for a file to be put. Raises StageError STORAGE or DISK_FULL."""
        self._tag()
        return Path(files.temp_beside(self.root / "tmp" / f"new{suffix}"))

    @property
    def is_tagged(self) -> bool:
        """Whether the folder is marked as made by raydub: only such folders are cleaned."""
        try:
            return read_regular(self.root / TAG, 4096) == _TAGGED
        except (OSError, ValueError):
            return False

    def put(self, name: str, data: bytes, suffix: str = "", about: Mapping[str, Any] | None = None) -> Artefact:
        """Keep bytes under a name. Not synced: they may be lost in a power cut and are then made again. Raises
        StageError STORAGE or DISK_FULL."""
        self._ref(name)  # raises for an invalid name before anything is written
        temp = self.temp(suffix)
        files.write_new(temp, data)
        return self._put(name, temp, hashlib.sha256(data).hexdigest(), suffix, about, durable=False)

    def put_file(
        self,
        name: str,
        temp: str | Path,
        about: Mapping[str, Any] | None = None,
        *,
        durable: bool = True,
        suffix: str | None = None,
    ) -> Artefact:
        """Move a file of the same file system into the store. durable: sync file and record. suffix: by default the
        file's. Raises StageError STORAGE or DISK_FULL; `temp` is removed then."""
        try:
            digest = _sha256(temp)
        except OSError as error:
            files.discard(temp)
            raise files.storage_error(error, str(temp)) from error
        end = Path(temp).suffix if suffix is None else suffix
        return self._put(name, Path(temp), digest, end, about, durable=durable)

    def get(self, name: str) -> Artefact | None:
        """The artefact of a name, its bytes verified; None if it is absent or damaged."""
        said = self.record(name)
        try:
            if said is None or not isinstance(said["about"], dict):
                return None
            path = self.blob(str(said["sha256"]), str(said["suffix"]))
            if os.stat(path).st_size != said["bytes"] or identify(path).sha256 != said["sha256"]:
                return None
            return Artefact(str(path), said["sha256"], said["bytes"], said["about"])
        except (OSError, KeyError, TypeError, ValueError, StageError):
            return None

    def put_record(self, name: str, value: Mapping[str, Any], *, durable: bool = False) -> None:
        """Keep a small JSON-ready record under a name. Raises StageError STORAGE or DISK_FULL."""
        goal, temp = self._ref(name), self.temp(".json")
        files.write_new(temp, _sealed(value))
        files.make_parent(goal)
        files.publish(temp, goal, durable=durable)

    def record(self, name: str) -> dict[str, Any] | None:
        """The record of a name; None if it is absent or damaged."""
        path = self._ref(name)
        try:
            since = _forgotten.get(str(self.root), 0)
            if since and not name.startswith(_FACTS) and os.stat(path).st_mtime_ns < since:
                return None
            value = json.loads(read_regular(path, _RECORD_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or value.pop(_SEAL, None) != key_of(value):
            return None
        return value

    def tell(self, name: str, about: Mapping[str, Any]) -> None:
        """Replace the metadata of an artefact, if it exists. Raises StageError STORAGE or DISK_FULL."""
        said = self.record(name)
        if said is not None:
            self.put_record(name, {**said, "about": dict(about)})

    def remove(self, name: str) -> None:
        """Remove a record; its blob stays. Never raises."""
        files.discard(self._ref(name))

    def names(self, prefix: str) -> list[str]:
        """All names below a prefix ("parts/abc"), sorted."""
        top = self.root / "refs"
        found = (path.relative_to(top).as_posix() for path in (top / prefix).rglob("*.json"))
        return sorted(name.removesuffix(".json") for name in found if not name.rpartition("/")[2].startswith("."))

    def sweep(self, also: Iterable[str | Path] = ()) -> list[str]:
        """Remove temporary files of dead writers in tmp/ and in the folders `also`; returns their names. Never
        raises."""
        return [name for folder in (self.root / "tmp", *also) for name in files.sweep(folder)]

    @property
    def identities(self) -> IdentityCache:
        """Identities of any files, shared between processes."""
        return IdentityCache(self)

    def _tag(self) -> None:
        tag = self.root / TAG
        if not os.path.lexists(tag):
            temp = files.temp_beside(tag)
            files.write_new(temp, _TAGGED)
            files.publish(temp, tag, durable=False)

    def _put(
        self, name: str, temp: Path, sha256: str, suffix: str, about: Mapping[str, Any] | None, *, durable: bool
    ) -> Artefact:
        path = self.blob(sha256, suffix)
        try:
            files.make_parent(path)
            size = os.stat(temp).st_size
            backdate(temp)
        except OSError as error:
            files.discard(temp)
            raise files.storage_error(error, str(path)) from error
        files.publish(temp, path, durable=durable)
        with contextlib.suppress(OSError):
            remember(str(path), look_of(path), sha256)
        told = dict(about or {})
        self.put_record(name, {"sha256": sha256, "bytes": size, "suffix": suffix, "about": told}, durable=durable)
        return Artefact(str(path), sha256, size, told)

    def blob(self, sha256: str, suffix: str) -> Path:
        """The path of the blob with this digest. Raises ValueError for an invalid digest or suffix."""
        if len(sha256) != 64 or not sha256.isalnum() or os.sep in suffix:
            raise ValueError(f"not a valid blob name: {sha256[:80]!r} {suffix[:20]!r}")
        return self.root / "blobs" / sha256[:2] / f"{sha256}{suffix}"

    def _ref(self, name: str) -> Path:
        steps = name.split("/")
        if any(step in ("", ".", "..") or "\0" in step for step in steps):
            raise ValueError(f"not a valid artefact name: {name[:80]!r}")
        return self.root.joinpath("refs", *steps[:-1], f"{steps[-1]}.json")


class IdentityCache:
    """See raydub.identity.Cache; never raises."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, path: str, look: str) -> str | None:
        """The recorded digest of a file with this look, or None."""
        said = self._store.record(_identity_name(path, look))
        if said is None or (said.get("path"), said.get("look")) != (path, look):
            return None
        return str(said["sha256"])

    def put(self, path: str, look: str, sha256: str) -> None:
        """Record the digest of a file with this look."""
        with contextlib.suppress(StageError, OSError):
            self._store.put_record(_identity_name(path, look), {"path": path, "look": look, "sha256": sha256})


def moment(root: str | Path) -> int:
    """The current time in ns by the clock of the store's file system, for forget_before(). Raises StageError STORAGE or
    DISK_FULL."""
    temp = Store(root).temp()
    files.write_new(temp, b"")
    try:
        return os.stat(temp).st_mtime_ns
    finally:
        files.discard(temp)


def forget_before(root: str | Path, since: int) -> None:
    """In this process, treat records of work in a store that were written before `since` (see moment()) as absent; 0
    for none. Records of owners, fetched files and identities stay valid."""
    _forgotten[str(Path(root).absolute())] = since


def forgotten_before(root: str | Path) -> int:
    """The time set by forget_before() for a store. Caches of its records in memory must have it in their keys."""
    return _forgotten.get(str(Path(root).absolute()), 0)


def key_of(said: Any) -> str:
    """The SHA-256 of a JSON-ready value, hex: the key of whatever the value determines."""
    return hashlib.sha256(json.dumps(said, ensure_ascii=True, sort_keys=True).encode("ascii")).hexdigest()


def verified(path: str | Path) -> Path:
    """The path of a blob after checking its content against its name. Each version is hashed once per process. Raises
    StageError STORAGE if it is damaged or missing."""
    found = Path(path)
    try:
        digest = identify(found).sha256
    except OSError as error:
        raise StageError(Code.STORAGE, f"{found} cannot be read: {error}", hint=_AGAIN, retryable=True) from error
    if not found.name.startswith(digest):
        raise StageError(Code.STORAGE, f"{found} is damaged", hint=_AGAIN)
    return found


_AGAIN = "the work folder must be reachable from every worker; run again to recreate the file"


def _identity_name(path: str, look: str) -> str:
    # By look as well: nodes that mount a file in different ways may see different looks.
    digest = hashlib.sha256(f"{look} {path}".encode("utf-8", "surrogateescape")).hexdigest()
    return f"identities/{digest[:2]}/{digest}"


def _sealed(value: Mapping[str, Any]) -> bytes:
    plain = json.loads(json.dumps(value, ensure_ascii=True))
    return json.dumps({**plain, _SEAL: key_of(plain)}, ensure_ascii=True, indent=1).encode("ascii")


def _sha256(path: str | Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
