"""A small server with the part of Google Cloud Storage's XML API that obstore's client uses, with the preconditions on
generations, which emulators lack. One bucket, in memory, one token."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

TOKEN = "tests-token-not-for-logs"
PAGE = 5


@dataclass(frozen=True)
class Stored:
    content: bytes
    generation: int

    @property
    def headers(self) -> dict[str, str]:
        return {
            "ETag": f'"{hashlib.md5(self.content).hexdigest()}"',
            "Last-Modified": formatdate(1_800_000_000, usegmt=True),
            "x-goog-generation": str(self.generation),
        }


class Gcs:
    """Starts with the block and ends with it."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.lock = threading.RLock()
        self.generation = 1_700_000_000_000_000

        class Handler(_Handler):
            gcs = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Gcs:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def store(self, key: str, content: bytes) -> Stored:
        with self.lock:
            self.generation += 1
            self.objects[key] = Stored(content, self.generation)
            return self.objects[key]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gcs: Gcs

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        bucket, _, key = address.path.lstrip("/").partition("/")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._error(401, "AuthenticationRequired")
        if unquote(bucket) != self.gcs.bucket:
            return self._error(404, "NoSuchBucket")
        with self.gcs.lock:
            getattr(self, f"_{self.command.lower()}")(unquote(key), query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _get(self, key: str, query: dict[str, str], body: bytes) -> None:
        if not key:
            return self._list(query)
        found = self.gcs.objects.get(key)
        if found is None:
            return self._error(404, "NoSuchKey")
        wanted = self.headers.get("If-Match")
        if wanted and wanted != found.headers["ETag"]:
            return self._error(412, "PreconditionFailed")
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return self._answer(200, found.content, **found.headers)
        start, size = int(asked[1]), len(found.content)
        stop = min(int(asked[2]) + 1 if asked[2] else size, size)
        if start >= size:
            return self._error(416, "InvalidRange")
        span = f"bytes {start}-{stop - 1}/{size}"
        return self._answer(206, found.content[start:stop], **found.headers, **{"Content-Range": span})

    _head = _get

    def _put(self, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploadId" in query:
            if query["uploadId"] not in self.gcs.uploads:
                return self._error(404, "NoSuchUpload")
            self.gcs.uploads[query["uploadId"]][int(query["partNumber"])] = body
            return self._answer(200, b"", ETag=f'"{hashlib.md5(body).hexdigest()}"')
        found = self.gcs.objects.get(key)
        wanted = self.headers.get("x-goog-if-generation-match")
        if wanted is not None and int(wanted) != (found.generation if found else 0):
            return self._error(412, "PreconditionFailed")
        return self._answer(200, b"", **self.gcs.store(key, body).headers)

    def _post(self, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploads" in query:
            name = f"upload-{len(self.gcs.uploads)}"
            self.gcs.uploads[name] = {}
            said = f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
            return self._answer(200, said.encode())
        parts = self.gcs.uploads.pop(query["uploadId"], None)
        if parts is None:
            return self._error(404, "NoSuchUpload")
        stored = self.gcs.store(key, b"".join(content for _, content in sorted(parts.items())))
        tag = escape(stored.headers["ETag"])
        said = f"<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"
        return self._answer(200, said.encode(), **{"x-goog-generation": str(stored.generation)})

    def _delete(self, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploadId" in query:
            self.gcs.uploads.pop(query["uploadId"], None)
        elif self.gcs.objects.pop(key, None) is None:
            return self._error(404, "NoSuchKey")
        return self._answer(204, b"")

    def _list(self, query: dict[str, str]) -> None:
        after = max(query.get("continuation-token", ""), query.get("start-after", ""))
        keys = sorted(key for key in self.gcs.objects if key.startswith(query.get("prefix", "")) and key > after)
        entries = ""
        for key in keys[:PAGE]:
            stored = self.gcs.objects[key]
            entries += f"<Contents><Key>{escape(key)}</Key><Size>{len(stored.content)}</Size>"
            entries += "<LastModified>2027-01-15T08:00:00.000Z</LastModified>"
            entries += f"<ETag>{escape(stored.headers['ETag'])}</ETag></Contents>"
        if len(keys) > PAGE:
            entries += f"<NextContinuationToken>{escape(keys[PAGE - 1])}</NextContinuationToken>"
        self._answer(200, f"<ListBucketResult>{entries}</ListBucketResult>".encode())

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode())

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
