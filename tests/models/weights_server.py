"""A server of weights that behaves as well or as badly as a test wants, and catalogue entries for what it holds."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from raydub.models.catalogue import Entry
from raydub.partial import Patience
from tests.media import web

QUICK = Patience(tries=3, first_wait=0.0, connect_seconds=5.0, idle_seconds=5.0)


def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of weights for this test alone, which may ask servers of this machine and has accepted
    nothing."""
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("RAYDUB_OFFLINE", "RAYDUB_MIRROR", "RAYDUB_ACCEPT_LICENSE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "weights"


def weights(size: int = 300_000, seed: int = 1) -> bytes:
    """Bytes that are no page, no pointer and nowhere repeat."""
    block = b"".join(hashlib.sha256(f"{seed} {i}".encode()).digest() for i in range(size // 32 + 1))
    return block[:size]


def entry_for(content: bytes, *urls: str, name: str = "net", licence: str = "MIT") -> Entry:
    """An entry whose file is `content`."""
    return Entry(name, f"{name}.pth", "a test", urls, len(content), hashlib.sha256(content).hexdigest(), licence)


class Request(web.Request):
    """One request; the answer is up to the test."""

    def do_GET(self) -> None:
        site: Any = self.server
        site.shop.hits.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        site.shop.answers[self.path](self)

    def hang_up(self) -> None:
        """Break the connection off as a failing network does, without a farewell."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class Shelf:
    """One file, with ranges and an ETag. cuts: after so many bytes the answer breaks off, one number per answer; pause:
    called between two blocks."""

    def __init__(self, content: bytes, etag: str = '"one"', cuts: tuple[int, ...] = ()) -> None:
        self.content, self.etag, self.cuts = content, etag, list(cuts)
        self.ranges = True
        self.pause: Callable[[int], None] | None = None

    def __call__(self, request: Request) -> None:
        marks = {"ETag": self.etag} if self.etag else {}
        start, status = 0, 200
        asked = request.headers.get("Range")
        if asked and self.ranges and request.headers.get("If-Range") in (None, self.etag):
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(self.content):
                request.send(416, b"", {"Content-Range": f"bytes */{len(self.content)}"})
                return
            marks["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        body = self.content[start:]
        cut = self.cuts.pop(0) if self.cuts else None
        if self.pause is not None:
            request.send(status, b"", marks, len(body))
            for i in range(0, len(body), 1 << 16):
                self.pause(start + i)
                request.wfile.write(body[i : i + (1 << 16)])
        else:
            request.send(status, body[:cut], marks, len(body))
        if cut is not None:
            request.hang_up()


class Shop:
    """hits: (path, Range, If-Range) of every request so far; answers: what to do, by path."""

    def __init__(self) -> None:
        self.hits: list[tuple[str, str | None, str | None]] = []
        self.answers: dict[str, Callable[[Request], None]] = {}
        self.port = 0

    def put(self, path: str, answer: Callable[[Request], None]) -> str:
        """Answer so at this path; returns its address."""
        self.answers[path] = answer
        return f"http://127.0.0.1:{self.port}{path}"


class _Site(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are what these tests are about."""


@contextmanager
def open_shop() -> Iterator[Shop]:
    """A server that is there while the block runs."""
    shop = Shop()
    site: Any = _Site(("127.0.0.1", 0), Request)
    site.shop, shop.port = shop, site.server_address[1]
    thread = threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield shop
    finally:
        site.shutdown()
        site.server_close()
        thread.join(10)
