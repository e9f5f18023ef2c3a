"""Reading and writing the objects of one bucket. All calls block and may be made from any thread; for their errors see
raydub.objects.reading.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from raydub.errors import Code, StageError
from raydub.objects import client, errors
from raydub.objects.client import Unfinished, persist
from raydub.objects.counted import count
from raydub.objects.errors import Conflict, Outcome
from raydub.objects.names import ObjectName, parse
from raydub.objects.reading import Meta, Reader

__all__ = ["Bucket", "Conflict", "Meta", "bucket_of"]

PART = 8 << 20
"""Bytes of one part of an upload."""
MULTIPART = 16 << 20
"""Files above this size are uploaded in parts."""
SINGLE = 256 << 20
"""Conditional writes up to this size are one request, so that the store checks the condition."""
_MOST_PARTS = 9000

Data = bytes | mmap.mmap


class Bucket(Reader):
    """The objects of one bucket, by their keys."""

    def put(self, key: str, data: bytes, *, create: bool = False, etag: str = "") -> Meta:
        """Write an object. create: only if there is none; etag: only if it is still the one with this etag. Raises
        Conflict otherwise.

        An attempt whose answer is lost may have been carried out, and the next one then conflicts with it. So after
        such a conflict the object is read back, and counts as written here if it holds exactly `data`: what two
        writers must not both believe to have written has to contain something of its writer."""
        return self._write(key, data, create, etag)

    def put_file(
        self,
        key: str,
        path: str | Path,
        *,
        create: bool = False,
        etag: str = "",
        last: Callable[[], None] = lambda: None,
    ) -> Meta:
        """Write a file as an object: in parts above 16 MiB, which readers see only when all are there. last: called
        before the last part is sent; what it raises leaves the object as it is. Raises as put, and StageError STORAGE
        for the file.

        Stores check `create` and `etag` only for a write in one request, which is what files up to 256 MiB get.
        Beyond that the object is looked at before the first part, before the last one, and when they are joined: of
        several writers that send their last part at the same time the last one wins, and the others get Conflict unless
        they ask before it is done."""
        try:
            with open(path, "rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size > (SINGLE if create or etag else MULTIPART):
                    return self._write_parts(key, stream, size, create, etag, last)
                if size == 0:
                    return self._write(key, b"", create, etag)
                with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    return self._write(key, content, create, etag)
        except OSError as error:
            raise StageError(Code.STORAGE, f"cannot read {os.fspath(path)}: {error.strerror or error}") from error

    def delete(self, key: str) -> None:
        """Remove an object; it need not exist."""
        import obstore

        self._ensure()
        try:
            persist(lambda: obstore.delete(self._once, key), self.text(key), "delete")
        except Unfinished as unfinished:
            if unfinished.failure.outcome is not Outcome.ABSENT:
                raise errors.raised(unfinished.failure, self.text(key), "delete") from None

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
        for start in range(0, found.size, PART):
            if self.get_range(key, start, start + PART, etag=found.etag) != data[start : start + PART]:
                return None
        return found

    def _write_parts(
        self, key: str, stream: BinaryIO, size: int, create: bool, etag: str, last: Callable[[], None]
    ) -> Meta:
        import obstore

        part = max(PART, -(-size // _MOST_PARTS))

        def refuse() -> None:
            there = self.head(key) if create or etag else None
            if (create and there is not None) or (etag and (there is None or there.etag != etag)):
                raise Conflict(self.text(key))

        def refuse_late() -> None:
            last()
            refuse()

        late: list[Future[None]] = []

        def parts() -> Iterator[bytes]:
            stream.seek(0)
            for start in range(0, size, part):
                if start + part >= size:
                    # The client may not be called by the thread that is in a call of it.
                    with ThreadPoolExecutor(1) as aside:
                        late.append(aside.submit(refuse_late))
                    late[-1].result()
                yield stream.read(part)

        def send() -> Any:
            count(requests=-(-size // part) + 1, bytes_written=size)
            try:
                return obstore.put(self._many, key, parts(), use_multipart=True, chunk_size=part, max_concurrency=4)
            except Exception:
                if late:
                    late[-1].result()  # the reason, even where the upload could not be given up either
                raise

        refuse()
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


_buckets: dict[tuple[str, str, str], Bucket] = {}
_process = 0
_lock = threading.Lock()


def bucket_of(name: ObjectName | str) -> Bucket:
    """The bucket of an object or a folder: one client for each scheme, bucket and endpoint in this process. Everything
    else comes from the environment when it is first used. Raises UsageError FIELD_VALUE as names.parse, DependencyError
    CREDENTIALS as client.make."""
    global _process
    found = parse(name, folder=True) if isinstance(name, str) else name
    place = (found.scheme, found.bucket, client.endpoint(found.scheme))
    with _lock:
        if _process not in (0, os.getpid()):
            raise RuntimeError("a forked process cannot use the clients of its parent: spawn it")
        if place not in _buckets:
            _buckets[place] = Bucket(found)
            _process = os.getpid()
        return _buckets[place]
