"""The artefact store: everything that raydub keeps, by name and by content.

    <root>/blobs/<2 letters>/<sha256><suffix>   bytes; a blob's name is the SHA-256 of its content
    <root>/refs/<name>.json                     a small record with its own hash: what a name refers to
    <root>/tmp/                                 files being written; removed when their writer is dead
    <root>/CACHEDIR.TAG                         marks the folder as raydub's; backup programs skip it

The blob is written first and its record second, so a record never names a missing blob. A damaged record, and a blob
that does not match its name, count as absent, and the work is done again. Any number of processes may put the same
name: the last record counts, and blobs are never changed.

Names follow object-store rules: words joined by "/", no renaming, listing by prefix. So the work folder may also be a
prefix in a bucket (raydub.objects): records are read and written there, blobs are uploaded before their records, and
`root` is the folder of this machine that holds the blobs that it made or used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raydub import files
from raydub.blobs import NAME, Blob, blobs_below
from raydub.errors import RaydubError, StageError
from raydub.forgotten import forgotten_before
from raydub.identities import IdentityCache
from raydub.identity import backdate, identify, look_of, remember
from raydub.objects.names import is_object
from raydub.regular import read_regular
from raydub.sealed import sealed, unsealed

if TYPE_CHECKING:
    from raydub.objects.prefix import Prefix

TAG = "CACHEDIR.TAG"
_SIGNED = b"Signature: 8a477f597d28d172789f06886806bc55\n"  # see bford.info/cachedir
_TAGGED = _SIGNED + b"# Work folder of raydub: intermediate results that can be made again. `raydub clean` frees it.\n"
_RECORD_BYTES = 64 << 20
_FACTS = ("owners", "identities", "fetched")
"""Records of facts, not of work that was done."""
_SMALL = 1 << 20


@dataclass(frozen=True)
class Artefact:
    """A verified blob. path: absolute; sha256: hex, of all its bytes; size in bytes; about: the caller's metadata."""

    path: str
    sha256: str
    size: int
    about: Mapping[str, Any] = field(default_factory=dict)


class Store:
    """The artefacts of one work folder. Cheap to create, keeps nothing open, safe for threads and processes.

    root: a folder, or the address of a prefix in a bucket; `place` names it for all machines. Methods that read or
    write a bucket also raise what raydub.objects.bucket raises."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._far: Prefix | None = None
        if is_object(os.fspath(root)):
            from raydub.objects.near import folder_of
            from raydub.objects.prefix import Prefix

            self._far = Prefix.at(os.fspath(root))
            self.root, self.place = folder_of(self._far.text), self._far.text
        else:
            self.root = Path(root).absolute()
            self.place = str(self.root)

    def temp(self, suffix: str = "") -> Path:
        """A new temporary path for a file to be put. Raises StageError STORAGE or DISK_FULL."""
        self._tag()
        return Path(files.temp_beside(self.root / "tmp" / f"new{suffix}"))

    @property
    def is_tagged(self) -> bool:
        """Whether the folder is marked as made by raydub: only such folders are cleaned."""
        if self._far is not None:
            return self._far.read(TAG) == _TAGGED
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
        """The artefact of a name, its bytes verified; None if it is absent or damaged. In a bucket the size is checked
        now, and the bytes of a copy that is here; those of others when they are fetched (raydub.present)."""
        said = self.record(name)
        try:
            if said is None or not isinstance(said["about"], dict):
                return None
            path = self.blob(str(said["sha256"]), str(said["suffix"]))
            if self._far is not None:
                if self._far.size(self._blob_name(path)) != said["bytes"]:
                    return None
                if os.path.lexists(path) and identify(path).sha256 != said["sha256"]:
                    files.discard(path)  # only the copy here is damaged
                return Artefact(str(path), said["sha256"], said["bytes"], said["about"])
            if os.stat(path).st_size != said["bytes"] or identify(path).sha256 != said["sha256"]:
                return None
            return Artefact(str(path), said["sha256"], said["bytes"], said["about"])
        except (OSError, KeyError, TypeError, ValueError):
            return None
        except StageError:
            if self._far is not None:
                raise  # the bucket does not answer: nothing is known
            return None

    def put_record(self, name: str, value: Mapping[str, Any], *, durable: bool = False) -> None:
        """Keep a small JSON-ready record under a name. Raises StageError STORAGE or DISK_FULL."""
        goal = self._ref(name)
        if self._far is not None:
            self._tag()
            from raydub.objects.near import away

            self._far.write(f"refs/{name}.json", sealed(away(value)))
            return
        temp = self.temp(".json")
        files.write_new(temp, sealed(value))
        files.make_parent(goal)
        files.publish(temp, goal, durable=durable)

    def record(self, name: str) -> dict[str, Any] | None:
        """The record of a name; None if it is absent or damaged."""
        path = self._ref(name)
        since = 0 if name.startswith(_FACTS) else forgotten_before(self.place)
        if self._far is not None:
            value = unsealed(self._far.read(f"refs/{name}.json", since) or b"")
        else:
            try:
                if since and os.stat(path).st_mtime_ns < since:
                    return None
                value = unsealed(read_regular(path, _RECORD_BYTES))
            except (OSError, ValueError):
                return None
        if self._far is None or value is None:
            return value
        from raydub.objects.near import here

        try:
            found: dict[str, Any] = here(value)
        except (ValueError, KeyError, TypeError, RaydubError):
            return None  # of another version, or not ours
        return found

    def tell(self, name: str, about: Mapping[str, Any]) -> None:
        """Replace the metadata of an artefact, if it exists. Raises StageError STORAGE or DISK_FULL."""
        said = self.record(name)
        if said is not None:
            self.put_record(name, {**said, "about": dict(about)})

    def remove(self, name: str) -> None:
        """Remove a record; its blob stays. Never raises."""
        path = self._ref(name)
        if self._far is not None:
            self._far.remove(f"refs/{name}.json")
        files.discard(path)

    def names(self, prefix: str) -> list[str]:
        """All names below a prefix ("parts/abc"), sorted."""
        if self._far is not None:
            inside = self._far.names(f"refs/{prefix}/" if prefix else "refs/")
            return sorted(name[5:].removesuffix(".json") for name in inside if name.endswith(".json"))
        top = self.root / "refs"
        found = (path.relative_to(top).as_posix() for path in (top / prefix).rglob("*.json"))
        return sorted(name.removesuffix(".json") for name in found if not name.rpartition("/")[2].startswith("."))

    def raw(self, name: str) -> bytes:
        """The bytes of a record as they are, b"" for an absent one."""
        path = self._ref(name)
        if self._far is not None:
            return self._far.read(f"refs/{name}.json") or b""
        try:
            return read_regular(path, _RECORD_BYTES)
        except OSError:
            return b""

    def blobs(self) -> Iterator[Blob]:
        """All blobs. Nothing else in the folder is one."""
        if self._far is not None:
            now = self._far.moment() / 1e9
            for name, meta in self._far.files("blobs"):
                if NAME.fullmatch(name.rpartition("/")[2]):
                    yield Blob(name, meta.size, now - meta.modified)
            return
        yield from blobs_below(self.root)

    def discard(self, blob: Blob) -> None:
        """Remove a blob. Never raises."""
        if self._far is not None:
            self._far.remove(blob.name)
        files.discard(self.root / blob.name)

    def sweep(self, also: Iterable[str | Path] = ()) -> list[str]:
        """Remove temporary files of dead writers in tmp/ and in the folders `also`; returns their names. Never
        raises."""
        return [name for folder in (self.root / "tmp", *also) for name in files.sweep(folder)]

    @property
    def identities(self) -> IdentityCache:
        """Identities of any files, shared between processes."""
        return IdentityCache(self, self.local)

    @property
    def local(self) -> Store:
        """A store of this machine's own: this one, or for a bucket a folder in the cache."""
        return self if self._far is None else Store(self.root)

    def _tag(self) -> None:
        if self._far is not None:
            self._far.mark(TAG, _TAGGED)
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
            if self._far is not None and size > _SMALL:
                from raydub.objects.room import make_room

                make_room(0)  # the file itself is on the disk already
            backdate(temp)
        except OSError as error:
            files.discard(temp)
            raise files.storage_error(error, str(path)) from error
        files.publish(temp, path, durable=durable)
        with contextlib.suppress(OSError):
            remember(str(path), look_of(path), sha256)
        if self._far is not None:
            self._far.upload(self._blob_name(path), path, size)
        told = dict(about or {})
        self.put_record(name, {"sha256": sha256, "bytes": size, "suffix": suffix, "about": told}, durable=durable)
        return Artefact(str(path), sha256, size, told)

    def blob(self, sha256: str, suffix: str) -> Path:
        """The path of the blob with this digest. Raises ValueError for an invalid digest or suffix."""
        if len(sha256) != 64 or not sha256.isalnum() or os.sep in suffix:
            raise ValueError(f"not a valid blob name: {sha256[:80]!r} {suffix[:20]!r}")
        return self.root / "blobs" / sha256[:2] / f"{sha256}{suffix}"

    def _blob_name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _ref(self, name: str) -> Path:
        steps = name.split("/")
        if any(step in ("", ".", "..") or "\0" in step for step in steps):
            raise ValueError(f"not a valid artefact name: {name[:80]!r}")
        return self.root.joinpath("refs", *steps[:-1], f"{steps[-1]}.json")


def moment(root: str | os.PathLike[str]) -> int:
    """The current time in ns by the clock of the store's file system, for forget_before(). Raises StageError STORAGE or
    DISK_FULL."""
    store = Store(root)
    if store._far is not None:
        return store._far.moment()
    temp = store.temp()
    files.write_new(temp, b"")
    try:
        return os.stat(temp).st_mtime_ns
    finally:
        files.discard(temp)


def _sha256(path: str | Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
