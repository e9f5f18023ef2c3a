"""Reading the objects of one bucket. All calls block and may be made from any thread.

Errors of every call: DependencyError CREDENTIALS, BUCKET_MISSING, STORE_DENIED or STORE_PROTOCOL, which are not
retried; StageError STORAGE after the retries of client.persist().
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raydub.errors import Code, InputError, RaydubError
from raydub.files import storage_error
from raydub.objects import client, errors
from raydub.objects.client import Unfinished, persist
from raydub.objects.counted import count
from raydub.objects.errors import Failure, Outcome
from raydub.objects.names import ObjectName

PIECE = 8 << 20
"""Bytes of one request of a download."""
_CHUNK = 1 << 20
_PAGE = 1000
_PROBE = ".raydub-probe"


@dataclass(frozen=True)
class Meta:
    """An object as it was seen. size: bytes; version: "" if the store has none; modified: seconds since 1970 by the
    store's clock, 0.0 after a write in one request, whose answer does not say it."""

    key: str
    size: int
    etag: str
    version: str
    modified: float


class Reader:
    """The objects of one bucket, by their keys, to be read."""

    def __init__(self, name: ObjectName) -> None:
        self.scheme = name.scheme
        self.name = name.bucket
        self._once = client.make(name, retries=False)
        self._many = client.make(name, retries=True)
        self._known = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.scheme}://{self.name})"

    def text(self, key: str) -> str:
        """The whole name of an object."""
        return ObjectName(self.scheme, self.name, key).text

    def head(self, key: str) -> Meta | None:
        """What the store says about an object, None if there is none."""
        import obstore

        try:
            return persist(lambda: self._meta(obstore.head(self._once, key)), self.text(key), "read")
        except Unfinished as unfinished:
            if unfinished.failure.outcome is not Outcome.ABSENT:
                raise errors.raised(unfinished.failure, self.text(key), "read") from None
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
                    # Consoles mark a folder by an empty object `folder/`, which the client shows without the slash.
                    if last != prefix:
                        yield _seen(raw)
        except Unfinished as unfinished:
            raise errors.raised(errors.missing_bucket(unfinished.failure), self.text(prefix), "list") from None
        if last is None:
            self._ensure()  # to the client a web page is an empty listing

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
        end = -1

        def read() -> Meta:
            nonlocal seen, end
            begin = start + len(content)
            if seen is not None and begin == end:
                # The last attempt failed behind the last byte.
                return seen
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
            seen, end = meta, answer.range[1]
            for chunk in answer.stream(min_chunk_size=_CHUNK):
                content.extend(chunk)
                count(bytes_read=len(chunk))
            if start + len(content) != end:
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
                if outcome is Outcome.ABSENT and key == _PROBE and not code:
                    # Any web server answers 404; stores say of what.
                    failure = Failure(Outcome.HOPELESS, unfinished.failure.status, reason="its 404 has no code")
                    raise errors.raised(failure, name, "read") from None
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


class _Another(Exception):
    """The store sent another object than the one that was asked for."""


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
