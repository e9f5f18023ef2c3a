"""Who opened that file, who called that address? For tests that must see that nobody did."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import socketserver
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

_IN_OPEN = 0x20
_EVENT = struct.Struct("iIII")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[list[str]]:
    """A list that, at the end of the block, holds one entry for each time any process opened `path` (inotify(7))."""
    if not sys.platform.startswith("linux"):
        pytest.skip("inotify is Linux's")
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    if watch < 0 or libc.inotify_add_watch(watch, os.fsencode(path), _IN_OPEN) < 0:
        pytest.skip("no inotify here")
    events: list[str] = []
    try:
        yield events
        with contextlib.suppress(BlockingIOError):
            while data := os.read(watch, 4096):
                position = 0
                while position < len(data):
                    position += _EVENT.size + _EVENT.unpack_from(data, position)[3]
                    events.append(str(path))
    finally:
        os.close(watch)


@contextlib.contextmanager
def canary() -> Iterator[tuple[str, list[bytes]]]:
    """(URL on 127.0.0.1, list of what was ever sent to it)."""
    calls: list[bytes] = []

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(1)
            with contextlib.suppress(OSError):
                calls.append(b"call")
                calls.append(self.request.recv(1000))
                self.request.sendall(b"HTTP/1.0 404 no\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/nice.mp4", calls
        finally:
            server.shutdown()
