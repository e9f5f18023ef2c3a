"""A web server on this machine that does what a test tells it to, and counts who asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from raydub.media.fetch_policy import FetchPolicy

OWN = FetchPolicy(schemes=("https", "http"), allow_private=True, first_wait=0.0, tries=3)
"""For servers of the test itself."""
OPEN = FetchPolicy(schemes=("https", "http"), first_wait=0.0, tries=3)
"""As for users who allow http and nothing more."""


class Request(BaseHTTPRequestHandler):
    """One request; the answer is up to the test."""

    def do_GET(self) -> None:
        site: Any = self.server
        site.web.hits.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        site.web.answer(self)

    def log_message(self, *_: Any) -> None:
        pass

    def send(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, length: int = -1) -> None:
        """A whole answer; length: what Content-Length says, -1 for the truth, -2 for nothing."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length != -2:
            self.send_header("Content-Length", str(length if length >= 0 else len(body)))
        self.end_headers()
        self.wfile.write(body)


class Web:
    """hits: (path, headers) of every request so far; answer: may be exchanged at any time."""

    def __init__(self, answer: Callable[[Request], None]) -> None:
        self.hits: list[tuple[str, dict[str, str]]] = []
        self.answer = answer
        self.port = 0

    def url(self, path: str = "/clip.mp4", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"


class _Site(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are what these tests are about."""


@contextmanager
def serving(answer: Callable[[Request], None], context: Any = None) -> Iterator[Web]:
    """A server that is there while the block runs; context: an ssl.SSLContext for https."""
    web = Web(answer)
    site: Any = _Site(("127.0.0.1", 0), Request)
    if context is not None:
        site.socket = context.wrap_socket(site.socket, server_side=True)
    site.web, web.port = web, site.server_address[1]
    thread = threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        site.shutdown()
        site.server_close()
        thread.join(10)


class Shelf:
    """Answers with one file, as good servers do: ranges and conditions. cut: bytes after which the next answer breaks
    off, once; None: never."""

    def __init__(self, content: bytes, etag: str = '"one"', modified: str = "") -> None:
        self.content, self.etag, self.modified = content, etag, modified
        self.cut: int | None = None

    def __call__(self, request: Request) -> None:
        marks = {"ETag": self.etag} if self.etag else {}
        marks |= {"Last-Modified": self.modified} if self.modified else {}
        asked = {name.lower(): value for name, value in request.headers.items()}
        if self.etag and asked.get("if-none-match") == self.etag:
            request.send(304, b"", marks)
            return
        if self.modified and asked.get("if-modified-since") == self.modified:
            request.send(304, b"", marks)
            return
        start, status = 0, 200
        if "range" in asked and asked.get("if-range") in (self.etag, self.modified) and asked["if-range"]:
            start, status = int(asked["range"].removeprefix("bytes=").rstrip("-")), 206
            marks["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        body, cut = self.content[start:], self.cut
        self.cut = None
        request.send(status, body[:cut], marks, len(body))
