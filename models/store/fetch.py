"""One answer of one mirror into a partial file: resumed where it stopped, hashed on the way, never longer than allowed.

Redirects are followed here, so that none leads from https to http. Proxies, and certificates of one's own, are what
`requests` finds in the environment (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from raydub import __version__
from raydub.models.store.folders import read_json, write_json
from raydub.models.verdict import no_weights

if TYPE_CHECKING:
    from requests import Response, Session

Progress = Callable[[int, int], None]
"""Called with bytes that are here, and bytes in all."""
_BLOCK = 1 << 20
_REDIRECTS = 8
_SLOWEST = 1024
"""Bytes a second below which a mirror counts as silent."""
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Passing(Exception):
    """The mirror may do better in a moment. wait: seconds that it asked for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Absent(Exception):
    """This mirror does not have the file, or cannot be reached."""


class Wrong(Exception):
    """This mirror has something else under that name. digest: it has the right size, but not the digest."""

    def __init__(self, reason: str, digest: bool = False) -> None:
        super().__init__(reason)
        self.digest = digest


@dataclass
class Partial:
    """The bytes of a file that have come so far; they outlive the process. Only the holder of the file's lock may use
    one. OSErrors pass."""

    path: Path
    size: int

    def __post_init__(self) -> None:
        self._hash: Any = None
        self.length = self.path.stat().st_size if self.path.is_file() else 0
        if self.length > self.size:
            self.restart()

    def restart(self) -> None:
        """Forget what has come."""
        self.path.unlink(missing_ok=True)
        self._marks.unlink(missing_ok=True)
        self.length, self._hash = 0, hashlib.sha256()

    def append(self, block: bytes) -> None:
        """Write on. Unbuffered: what was written is still there when the process is killed."""
        # Hashing what an earlier process has left comes before the file grows.
        digest = self._hashed()
        with self.path.open("ab", buffering=0) as stream:
            view = memoryview(block)
            while view:
                view = view[stream.write(view) :]
        digest.update(block)
        self.length += len(block)

    def digest(self) -> str:
        """Hex sha256 of what has come."""
        return str(self._hashed().hexdigest())

    def mark(self, url: str, etag: str) -> None:
        """Note which version of which mirror these bytes are of."""
        write_json(self._marks, {"url": url, "etag": etag})

    def etag_at(self, url: str) -> str:
        """The version that was noted, if it was of this mirror and can be used to go on."""
        said = read_json(self._marks)
        etag = str(said.get("etag", "")) if said.get("url") == url else ""
        return "" if etag.startswith("W/") else etag

    @property
    def _marks(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def _hashed(self) -> Any:
        if self._hash is None:
            self._hash = hashlib.sha256()
            if self.length:
                with self.path.open("rb") as stream:
                    self._hash = hashlib.file_digest(stream, "sha256")
        return self._hash


def fetch(
    session: Session, url: str, partial: Partial, timeout: tuple[float, float], progress: Progress | None = None
) -> None:
    """Ask for the bytes that are missing and append them. timeout: seconds to connect, and between two bytes.

    Returns when all are there. Raises Passing, Absent or Wrong; the partial file then holds what is worth keeping.
    OSErrors of the disk pass."""
    import requests

    headers = {"Accept-Encoding": "identity", "User-Agent": f"raydub/{__version__}"}
    if partial.length:
        headers["Range"] = f"bytes={partial.length}-"
        etag = partial.etag_at(url)
        headers |= {"If-Range": etag} if etag else {}
    try:
        with _answer(session, url, headers, timeout) as response:
            _check_status(response, partial)
            _take(response, url, partial, timeout, progress)
    except requests.exceptions.SSLError as error:
        raise Absent(f"its certificate is not to be trusted: {_first_line(error)}") from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Passing(_first_line(error)) from error
    except requests.RequestException as error:
        raise Absent(_first_line(error)) from error


def _answer(session: Session, url: str, headers: dict[str, str], timeout: tuple[float, float]) -> Response:
    for _ in range(_REDIRECTS):
        if urlsplit(url).scheme not in ("http", "https"):
            raise Absent(f"{url} is neither http nor https")
        response = session.get(url, headers=headers, timeout=timeout, stream=True, allow_redirects=False)
        target = session.get_redirect_target(response)
        if target is None:
            return response
        response.close()
        further = urljoin(url, target)
        if urlsplit(url).scheme == "https" and urlsplit(further).scheme != "https":
            raise Absent(f"it redirects from https to {urlsplit(further).scheme or 'nothing'}")
        url = further
    raise Absent("it redirects without end")


def _check_status(response: Response, partial: Partial) -> None:
    """After this the body is the missing bytes; if it is the whole file instead, what had come is forgotten."""
    status = response.status_code
    if status == 416:
        partial.restart()
        raise Passing("it cannot go on where we stopped (HTTP 416)")
    if status == 429 or status >= 500:
        after = response.headers.get("Retry-After", "")
        raise Passing(f"HTTP {status}", float(after) if after.isdigit() else 0.0)
    if status not in (200, 206):
        raise Absent(f"HTTP {status}")
    if status == 200 and partial.length:
        partial.restart()
    if status == 206:
        said = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if said is None or int(said.group(1)) != partial.length or said.group(2) not in ("*", str(partial.size)):
            partial.restart()
            raise Passing(f"another range than was asked for: {response.headers.get('Content-Range')!r}")


def _take(
    response: Response, url: str, partial: Partial, timeout: tuple[float, float], progress: Progress | None
) -> None:
    import urllib3

    kind = response.headers.get("Content-Type", "").lower()
    if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise Wrong("it sends the file packed")
    said = response.headers.get("Content-Length", "")
    missing = partial.size - partial.length
    try:
        head = b"" if partial.length else response.raw.read(512, decode_content=False)
        reason = no_weights(head) if head else None
        if reason or "text/html" in kind:
            raise Wrong(reason or "a web page, not weights")
        if said.isdigit() and int(said) != missing:
            raise Wrong(f"it has {partial.length + int(said)} bytes, not {partial.size}")
        partial.mark(url, response.headers.get("ETag", ""))
        # read1 hands out what has come: when the connection breaks, nothing that came is lost.
        since, before = time.monotonic(), partial.length
        block = head or response.raw.read1(_BLOCK, decode_content=False)
        while block:
            if partial.length + len(block) > partial.size:
                partial.restart()
                raise Wrong(f"it has more than {partial.size} bytes")
            partial.append(block)
            if progress is not None:
                progress(partial.length, partial.size)
            if time.monotonic() - since > timeout[1]:
                if partial.length - before < _SLOWEST * timeout[1]:
                    raise Passing(f"it sends less than {_SLOWEST} bytes a second")
                since, before = time.monotonic(), partial.length
            block = response.raw.read1(_BLOCK, decode_content=False)
    # HTTPError here is urllib3's base class: a connection that breaks off, a pause that is too long.
    except urllib3.exceptions.HTTPError as error:
        raise Passing(_first_line(error)) from error
    if partial.length < partial.size:
        raise Passing(f"it broke off after {partial.length} of {partial.size} bytes")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
