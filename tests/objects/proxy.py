"""A proxy in front of an object store that counts requests and bytes per key, and breaks some of them by seeded chance.

    python -m tests.objects.proxy --to http://127.0.0.1:5000 --port 5001 --errors 0.05 --resets 0.02 --truncated 0.01 \
        --seed 1 --json counts.json

The Host header goes through unchanged, because signatures cover it: clients use the proxy's address as their endpoint.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import signal
import socket
import struct
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

FAULTS = ("errors", "resets", "truncated", "html", "slow", "hung")
_HTML = b"<!DOCTYPE html><html><body>Please sign in to this network</body></html>"
_ERROR = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>injected</Message></Error>'
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"})
_CHUNK = 64 << 10


class Proxy:
    """Starts with the block and ends with it. chances: of each of FAULTS; only: a part of the path that a request must
    have to be broken.

    Tests decide before chance does: `rule` by method and path, and `script` for the next requests. Both give a fault,
    "" for none, or the status and code of an answer: "403 AccessDenied". "errors:before" and "resets:before" are not
    carried out by the store, ":after" are."""

    def __init__(
        self, to: str, *, port: int = 0, seed: int = 0, only: str = "", host: str = "127.0.0.1", **chances: float
    ) -> None:
        self.to = urlsplit(to)
        self.chances = {fault: float(chances.pop(fault, 0.0)) for fault in FAULTS}
        assert not chances, chances
        self.only = only
        self.script: deque[str] = deque()
        self.rule: Callable[[str, str], str] = lambda method, path: ""
        self.keys: dict[str, Counter[str]] = defaultdict(Counter)
        self.faults: Counter[str] = Counter()
        self.slow_pause = 0.02
        self.hung_seconds = 5.0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        outer = self

        class Handler(_Handler):
            proxy = outer

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault(self, method: str, path: str) -> tuple[str, bool]:
        """The fault of the next request ("" for none), and whether the store carries the request out before."""
        with self._lock:
            if self.only not in path:
                return "", True
            after = self._random.random() < 0.5
            found = self.rule(method, path)
            if found or self.script:
                found, _, when = (found or self.script.popleft()).partition(":")
                after = when != "before"
            else:
                roll, found = self._random.random(), ""
                for fault, chance in self.chances.items():
                    roll -= chance
                    if roll < 0:
                        found = fault
                        break
            if found:
                self.faults[found] += 1
            return found, after

    def note(self, path: str, **counts: int) -> None:
        """Add to the counts of a key."""
        with self._lock:
            self.keys[unquote(path.partition("?")[0]).lstrip("/")].update(counts)

    def report(self) -> dict[str, Any]:
        """requests, bytes_read and bytes_written (of bodies) in all and per bucket/key, and the faults."""
        with self._lock:
            keys = {key: dict(counts) for key, counts in sorted(self.keys.items())}
            total: Counter[str] = Counter()
            for counts in keys.values():
                total.update(counts)
            return {"total": dict(total), "faults": dict(self.faults), "keys": keys}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        proxy = self.proxy
        body = self._body()
        proxy.note(self.path, requests=1, bytes_written=len(body), **{self.command: 1})
        fault, after = proxy.fault(self.command, self.path)
        if fault[:1].isdigit():
            status, _, code = fault.partition(" ")
            return self._send(int(status), [("Content-Type", "application/xml")], _ERROR % code.encode())
        if fault == "html":
            return self._send(200, [("Content-Type", "text/html")], _HTML)
        if fault == "hung":
            time.sleep(proxy.hung_seconds)
            return self._cut(b"", reset=False)
        if fault == "errors" and not (after and self.command in ("PUT", "POST")):
            return self._send(500, [("Content-Type", "application/xml")], _ERROR % b"InternalError")
        if fault == "resets" and not after:
            return self._cut(b"", reset=True)
        status, headers, answer = self._ask(body)
        if fault == "errors":
            return self._send(500, [("Content-Type", "application/xml")], _ERROR % b"InternalError")
        if fault in ("resets", "truncated"):
            # HEAD and most answers to PUT have no body that could break off: then there is no answer.
            sent = self._head(status, headers, len(answer)) + answer[: len(answer) // 2] if answer else b""
            proxy.note(self.path, bytes_read=len(answer) // 2)
            return self._cut(sent, reset=fault == "resets")
        proxy.note(self.path, bytes_read=len(answer))
        self._send(status, headers, answer, slow=fault == "slow")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self.proxy.to.hostname or "", self.proxy.to.port, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP | {"content-length", "expect"}:
                    upstream.putheader(name, value)
            upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body)
            answer = upstream.getresponse()
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
            return answer.status, headers, answer.read()
        finally:
            upstream.close()

    def _head(self, status: int, headers: list[tuple[str, str]], size: int) -> bytes:
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"]
        # An answer to HEAD says the length of the body that it does not have.
        if self.command != "HEAD" and status not in (204, 304):
            headers = [item for item in headers if item[0].lower() != "content-length"]
            headers.append(("Content-Length", str(size)))
        lines += [f"{name}: {value}" for name, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes, slow: bool = False) -> None:
        self.wfile.write(self._head(status, headers, len(body)))
        if self.command == "HEAD":
            return
        step = _CHUNK if slow else max(len(body), 1)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            if slow:
                time.sleep(self.proxy.slow_pause)

    def _cut(self, sent: bytes, *, reset: bool) -> None:
        """Send this much and close the connection: with a TCP reset, or as if the answer were complete."""
        self.wfile.write(sent)
        self.wfile.flush()
        self.close_connection = True
        if reset:
            time.sleep(0.01)  # a reset overtakes what the other side has not read yet
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.wfile.close()
            self.connection.close()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):  # the client went away, or the connection was reset above
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True, help="URL of the store")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="break only requests with this in their path")
    parser.add_argument("--json", type=Path, help="file for the counts, written each second and at the end")
    for fault in FAULTS:
        parser.add_argument(f"--{fault}", type=float, default=0.0, metavar="CHANCE")
    given = parser.parse_args()
    ended = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: ended.set())
    chances = {fault: getattr(given, fault) for fault in FAULTS}
    with Proxy(given.to, port=given.port, host=given.host, seed=given.seed, only=given.only, **chances) as proxy:
        print(proxy.url, flush=True)  # noqa: T201
        while True:
            done = ended.wait(1.0)
            if given.json:
                temp = given.json.with_suffix(".tmp")
                temp.write_text(json.dumps(proxy.report(), indent=1, ensure_ascii=False))
                temp.replace(given.json)
            if done:
                return


if __name__ == "__main__":
    main()
