"""Reading and writing the objects of one bucket. All calls block and may be made from any thread.

Errors of every call: DependencyError CREDENTIALS, BUCKET_MISSING, STORE_DENIED or STORE_PROTOCOL, which are not
retried; StageError STORAGE after the retries of client.persist().
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raydub.errors import Code, InputError, RaydubError, StageError
from raydub.files import storage_error
from raydub.objects import client, errors
from raydub.objects.client import Unfinished, persist
from raydub.objects.counted import count
from raydub.objects.errors import Conflict, Outcome
from raydub.objects.names import ObjectName, parse

PIECE = 8 << 20
"""Bytes of one request of a download, and of one part of an upload."""
MULTIPART = 16 << 20
"""Files above this size are uploaded in parts."""
SINGLE = 256 << 20
"""Conditional writes up to this size are one request, so that the store checks the condition."""
_MOST_PARTS = 9000
_CHUNK = 1 << 20
_PAGE = 1000
_PROBE = ".raydub-probe"

Data = bytes | mmap.mmap


@dataclass(frozen=True)
class Meta:
    """An object as it was seen. size: bytes; version: "" if the store has none; modified: seconds since 1970 by the
    store's clock, 0.0 after a write in one request, whose answer does not say it."""

    key: str
    size: int
    etag: str
    version: str
    modified: float


class Bucket:
    """The objects of one bucket, by their keys."""

    def __init__(self, name: ObjectName) -> None:
        self.scheme = name.scheme
        self.name = name.bucket
        self._once = client.make(name, retries=False)
        self._many = client.make(name, retries=True)
        self._known = False

    def __repr__(self) -> str:
        return f"Bucket({self.scheme}://{self.name})"

    def text(self, key: str) -> str:
        """The whole name of an object."""
        return ObjectName(self.scheme, self.name, key).text

    def head(self, key: str) -> Meta | None:
        """What the store says about an object, None if there is none."""
        import obstore

        try:
            return persist(lambda: self._meta(obstore.head(self._once, key)), self.text(key), "read")
        except Unfinished:
            self._ensure()
            return None
        except RaydubError as error:
            if not error.retryable:
                # An answer to HEAD has no body; the one to a GET says what is refused, and why.
                self._read(key, 0, 1, "")
            raise

    def get(self, key: str, *, etag: str = "") -> tuple[bytes, Meta] | None:
        """All bytes of an object, None if there is none. Raises InputError INPUT_CHANGED if it is not the one with this
        etag, or no longer there."""
        return self._read(key, 0, None, etag)

    def get_range(self, key: str, start: int, stop: int, *, etag: str = "") -> bytes:
        """The bytes from `start` up to `stop`, fewer at the object's end. Raises InputError INPUT_CHANGED as get, and
        INPUT_MISSING without an etag."""
        if stop <= start:
            return b""
        found = self._read(key, start, stop, etag)
        if found is None:
            raise InputError(Code.INPUT_MISSING, f"{self.text(key)} does not exist", hint="check the address")
        return found[0]

    def download(self, key: str, path: str | Path, meta: Meta, *, parts: int = 4) -> str:
        """Write the object that `meta` describes to `path`, by `parts` requests at a time. Returns its SHA-256, hex.

        Raises InputError INPUT_CHANGED if it is another object now, StageError STORAGE or DISK_FULL for the file,
        which then has anything in it. Memory: about 2 * parts * 8 MiB."""
        digest = hashlib.sha256()
        starts = iter(range(0, meta.size, PIECE))
        waiting: deque[tuple[int, Future[bytes]]] = deque()
        handle = _opened(path)
        try:
            with ThreadPoolExecutor(parts) as pool:
                try:
                    _truncate(handle, path, meta.size)
                    while True:
                        while len(waiting) <= parts and (start := next(starts, None)) is not None:
                            stop = min(start + PIECE, meta.size)
                            waiting.append((start, pool.submit(self._piece, key, start, stop, meta.etag)))
                        if not waiting:
                            break
                        start, piece = waiting.popleft()
                        content = piece.result()
                        digest.update(content)
                        _write_at(handle, path, content, start)
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
        finally:
            os.close(handle)
        return digest.hexdigest()

    def put(self, key: str, data: bytes, *, create: bool = False, etag: str = "") -> Meta:
        """Write an object. create: only if there is none; etag: only if it is still the one with this etag. Raises
        Conflict otherwise.

        An attempt whose answer is lost may have been carried out, and the next one then conflicts with it. So after
        such a conflict the object is read back, and counts as written here if it holds exactly `data`: what two
        writers must not both believe to have written has to contain something of its writer."""
        return self._write(key, data, create, etag)

    def put_file(self, key: str, path: str | Path, *, create: bool = False, etag: str = "") -> Meta:
        """Write a file as an object: in parts above 16 MiB, which readers see only when all are there. Raises as put,
        and StageError STORAGE for the file.

        Stores check `create` and `etag` only for a write in one request, which is what files up to 256 MiB get.
        Beyond that the object is looked at before the parts are sent and after they are joined: of several writers at
        the same time the last one wins, and the others get Conflict unless they ask before it is done."""
        try:
            with open(path, "rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size > (SINGLE if create or etag else MULTIPART):
                    return self._write_parts(key, path, size, create, etag)
                if size == 0:
                    return self._write(key, b"", create, etag)
                with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    return self._write(key, content, create, etag)
        except OSError as error:
            raise StageError(Code.STORAGE, f"cannot read {os.fspath(path)}: {error.strerror or error}") from error

    def names(self, prefix: str = "") -> Iterator[Meta]:
        """All objects in a folder and its folders ("" for the bucket), in the order of the store."""
        import obstore

        last: str | None = None
        pages: Any = None

        def page() -> Any:
            nonlocal pages
            try:
                if pages is None:
                    pages = obstore.list(self._many, prefix or None, offset=last, chunk_size=_PAGE)
                return next(pages, None)
            except BaseException:
                pages = None
                raise

        try:
            while listed := persist(page, self.text(prefix), "list"):
                for raw in listed:
                    last = raw["path"]
                    yield _seen(raw)
        except Unfinished as unfinished:
            raise errors.raised(errors.missing_bucket(unfinished.failure), self.text(prefix), "list") from None
        if last is None:
            # To the client a web page is an empty listing.
            self._known = False
            self._ensure()

    def delete(self, key: str) -> None:
        """Remove an object; it need not exist."""
        import obstore

        try:
            persist(lambda: obstore.delete(self._once, key), self.text(key), "delete")
        except Unfinished:
            self._ensure()

    def copy(self, source: str, goal: str) -> None:
        """Copy an object within the bucket, at the store. Raises InputError INPUT_MISSING."""
        import obstore

        self._ensure()
        try:
            persist(lambda: obstore.copy(self._once, source, goal), self.text(goal), "write")
        except Unfinished as unfinished:
            raise errors.raised(unfinished.failure, self.text(source), "read") from None

    def _meta(self, raw: Any) -> Meta:
        # A web page has no e-tag, and every object has one.
        if not raw["e_tag"]:
            raise errors.NotTheProtocol("an answer without an e-tag")
        self._known = True
        return _seen(raw)

    def _ensure(self) -> None:
        """Raise the error of a bucket that does not exist, or of an endpoint that is no store: their answers to HEAD
        and to listings look like those of an absent object and of an empty bucket."""
        if self._known:
            return
        try:
            self._read(_PROBE, 0, 1, "")
        except RaydubError as error:
            # Without the permission to list, an absent object is answered by 403.
            if error.code is not Code.STORE_DENIED:
                raise
        self._known = True

    def _piece(self, key: str, start: int, stop: int, etag: str) -> bytes:
        content = self.get_range(key, start, stop, etag=etag)
        if len(content) != stop - start:
            raise errors.changed(self.text(key))
        return content

    def _read(self, key: str, start: int, stop: int | None, etag: str) -> tuple[bytes, Meta] | None:
        import obstore

        name = self.text("" if key == _PROBE else key)
        content = bytearray()
        seen: Meta | None = None

        def read() -> Meta:
            nonlocal seen
            begin = start + len(content)
            options: Any = {}
            if stop is not None:
                options["range"] = (begin, stop)
            elif begin:
                options["range"] = {"offset": begin}
            if etag or seen is not None:
                options["if_match"] = etag or (seen.etag if seen else "")
            answer = obstore.get(self._once, key, options=options)
            meta = self._meta(answer.meta)
            # Not every store checks If-Match.
            if (etag and meta.etag != etag) or (seen is not None and meta.etag != seen.etag):
                raise _Another
            seen = meta
            for chunk in answer.stream(min_chunk_size=_CHUNK):
                content.extend(chunk)
                count(bytes_read=len(chunk))
            if len(content) != answer.range[1] - start:
                raise errors.BrokenOff
            return meta

        while True:
            try:
                meta = persist(read, name, "read")
                return bytes(content), meta
            except _Another:
                outcome = Outcome.CONFLICT
            except Unfinished as unfinished:
                outcome, code = unfinished.failure.outcome, unfinished.failure.code
                if outcome is Outcome.ABSENT and not self._known and key != _PROBE and code != "NoSuchKey":
                    self._ensure()
            if outcome is Outcome.BEYOND and seen is None:
                return b"", Meta(key, start, etag, "", 0.0)
            if etag:
                raise errors.changed(name)
            if outcome is Outcome.ABSENT:
                return None
            # Replaced between two requests of one reading: begin again with the new object.
            content.clear()
            seen = None

    def _write(self, key: str, data: Data, create: bool, etag: str) -> Meta:
        import obstore

        mode: Any = "create" if create else "overwrite"
        if etag:
            mode = {"e_tag": etag}
            if self.scheme == "gs":
                # GCS checks generations when writing.
                mode["version"] = self._generation(key, etag)

        def send() -> Any:
            count(bytes_written=len(data))
            return obstore.put(self._once, key, data, mode=mode, use_multipart=False)

        try:
            result = persist(send, self.text(key), "write")
        except Unfinished as unfinished:
            failure = unfinished.failure
            if failure.outcome is Outcome.ABSENT and not etag:
                raise errors.raised(errors.missing_bucket(failure), self.text(key), "write") from None
            ours = self._holds(key, data) if unfinished.uncertain else None
            if ours is None:
                raise Conflict(self.text(key)) from None
            return ours
        return self._meta({"path": key, "size": len(data), "last_modified": None, **result})

    def _generation(self, key: str, etag: str) -> str:
        found = self.head(key)
        if found is None or found.etag != etag:
            raise Conflict(self.text(key))
        return found.version

    def _holds(self, key: str, data: Data) -> Meta | None:
        """The object, if it has exactly this content."""
        found = self.head(key)
        if found is None or found.size != len(data):
            return None
        for start in range(0, found.size, PIECE):
            if self.get_range(key, start, start + PIECE, etag=found.etag) != data[start : start + PIECE]:
                return None
        return found

    def _write_parts(self, key: str, path: str | Path, size: int, create: bool, etag: str) -> Meta:
        import obstore

        before = self.head(key) if create or etag else None
        if (create and before is not None) or (etag and (before is None or before.etag != etag)):
            raise Conflict(self.text(key))
        part = max(PIECE, -(-size // _MOST_PARTS))

        def send() -> Any:
            count(requests=-(-size // part) + 1, bytes_written=size)
            return obstore.put(self._many, key, Path(path), use_multipart=True, chunk_size=part, max_concurrency=4)

        try:
            result = persist(send, self.text(key), "write")
        except Unfinished as unfinished:
            raise errors.raised(errors.missing_bucket(unfinished.failure), self.text(key), "write") from None
        after = self.head(key)
        if after is None or after.size != size or (result["e_tag"] and after.etag != result["e_tag"]):
            if create or etag:
                raise Conflict(self.text(key))
            raise StageError(Code.STORAGE, f"{self.text(key)} is not what was written to it", retryable=True)
        return after


class _Another(Exception):
    """The store sent another object than the one that was asked for."""


_buckets: dict[tuple[int, str, str, str], Bucket] = {}
_lock = threading.Lock()


def bucket_of(name: ObjectName | str) -> Bucket:
    """The bucket of an object or a folder: one client for each scheme, bucket and endpoint in this process. Everything
    else comes from the environment when it is first used. Raises UsageError FIELD_VALUE as names.parse, DependencyError
    CREDENTIALS as client.make."""
    found = parse(name, folder=True) if isinstance(name, str) else name
    place = (os.getpid(), found.scheme, found.bucket, client.endpoint(found.scheme))
    with _lock:
        if place not in _buckets:
            _buckets[place] = Bucket(found)
        return _buckets[place]


def _seen(raw: Any) -> Meta:
    when = raw["last_modified"]
    version = raw["version"] or ""
    return Meta(
        key=raw["path"],
        size=raw["size"],
        etag=raw["e_tag"] or "",
        version="" if version == "null" else version,
        modified=when.timestamp() if when else 0.0,
    )


def _opened(path: str | Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise storage_error(error, str(path)) from error


def _truncate(handle: int, path: str | Path, size: int) -> None:
    try:
        os.ftruncate(handle, size)
    except OSError as error:
        raise storage_error(error, str(path)) from error


def _write_at(handle: int, path: str | Path, content: bytes, start: int) -> None:
    view = memoryview(content)
    try:
        while view:
            done = os.pwrite(handle, view, start)
            view, start = view[done:], start + done
    except OSError as error:
        raise storage_error(error, str(path)) from error
