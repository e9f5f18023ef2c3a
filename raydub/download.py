"""A resumable downloader for inputs and weights. A file is complete or absent; an interrupted transfer is resumed.

A Door, given by the caller, decides which addresses may be requested and how connections are made. HTTP is done by
urllib3.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util.retry import Retry

from raydub import __version__
from raydub.partial import Marks, Partial, Patience

Place = TypeVar("Place")
Progress = Callable[[int, int], None]
"""Called with (bytes received, bytes in total)."""
_log = logging.getLogger(__name__)
_HEADERS = {"User-Agent": f"raydub/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_PASSING = frozenset({408, 425, 429})
_PIECE = 1 << 18
_PROGRESS_BYTES = 1 << 20
"""A connection that broke off after this many bytes counts as progress."""


class Passing(Exception):
    """A request failed temporarily. wait: seconds that the server asked for."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class Absent(Exception):
    """The server does not serve the file, or it may not be asked. status: the HTTP status, 0 if there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Wrong(Exception):
    """The content at this address is not the wanted file."""


class TooLarge(Wrong):
    """The file is larger than allowed."""


class Empty(Wrong):
    """The file is empty."""


class WrongDigest(Wrong):
    """The size is right and the SHA-256 is not."""


class Door(Protocol[Place]):
    """Decides which addresses may be requested, and connects to them. Other errors that it raises end the download."""

    def open(
        self, place: Place, headers: Mapping[str, str], deadline: float
    ) -> AbstractContextManager[BaseHTTPResponse]:
        """One GET and its response, with the body unread and not decompressed, redirects not followed. deadline:
        time.monotonic() after which the connection may be closed. Raises Passing and Absent."""
        ...

    def follow(self, place: Place, location: str) -> Place:
        """The target of a redirect. Raises Absent."""
        ...


@dataclass(frozen=True)
class Wanted:
    """What is known about a file before the download. max_bytes: larger files are refused. size, sha256 (hex): checked
    if given. source: see Marks. refuse: called with the first bytes and the content type; returns why they cannot be
    this file, else ""."""

    max_bytes: int
    refuse: Callable[[bytes, str], str]
    size: int | None = None
    sha256: str = ""
    source: str = ""


@dataclass
class Download(Generic[Place]):
    """Download one file from `place`, through `door`, into `partial`. known: marks of an existing complete copy."""

    place: Place
    door: Door[Place]
    partial: Partial
    wanted: Wanted
    patience: Patience
    known: Marks | None = None
    progress: Progress | None = None
    sleep: Callable[[float], None] = time.sleep

    def complete(self) -> Marks | None:
        """Request until `partial` is complete, and check its digest. Returns its marks, or None if the server says that
        the existing copy is current (nothing is downloaded then).

        If the digest does not match and part of the file came from an earlier download, it is downloaded again from the
        start. Raises Passing (too many tries without progress; what was received is kept), Absent, Wrong and its
        subclasses, what the door raises, StageError STORAGE and DISK_FULL."""
        size, sha256 = self.wanted.size, self.wanted.sha256
        if size is not None and self.partial.length > size:
            self.partial.restart()
        inherited = self.partial.length > 0
        while True:
            marks = self._persist()
            if marks is None or not sha256:
                return marks
            found = self.partial.digest()
            if found == sha256:
                return marks
            self.partial.restart()
            if not inherited:
                raise WrongDigest(f"its sha256 is {found[:16]}…, expected {sha256[:16]}…: removed")
            _log.warning("%s: the earlier partial file does not match; starting again", self.partial.path.name)
            inherited = False

    def _persist(self) -> Marks | None:
        patience = self.patience
        deadline = time.monotonic() + patience.total_seconds
        failures = 0
        while self.wanted.size is None or self.partial.length < self.wanted.size:
            before = self.partial.length
            try:
                return self._once(deadline)
            except Passing as error:
                failures = 1 if self.partial.length - before >= _PROGRESS_BYTES else failures + 1
                wait = min(patience.first_wait * 2 ** (failures - 1), patience.longest_wait) * random.uniform(0.5, 1.0)
                wait = max(wait, min(error.wait, patience.longest_wait))
                if failures >= patience.tries or time.monotonic() + wait >= deadline:
                    raise
                _log.info("%s: %s; retrying in %.1f s", self.partial.path.name, error, wait)
            self.sleep(wait)
        return self.partial.marks

    def _once(self, deadline: float) -> Marks | None:
        """One request. On return the partial file is whole."""
        start, headers = self._question()
        try:
            with self._ask({**_HEADERS, **headers}, deadline) as response:
                if response.status == 304 and self.known is not None and not start:
                    return None
                if start and (response.status == 416 or (response.status == 206 and not self._continues(response))):
                    self.partial.restart()
                    raise Passing("the server did not resume where the transfer broke off")
                if response.status == 200:
                    start = 0
                elif response.status != 206 or not start:
                    raise _refusal(response)
                self._receive(response, start, deadline)
        except HTTPError as error:
            raise Passing(f"it broke off after {self.partial.length} bytes: {reason(error)}") from error
        return self.partial.marks

    def _question(self) -> tuple[int, dict[str, str]]:
        """The first byte to request, and the request headers. Without a mark, resuming needs a digest: nothing else
        proves that both halves are of one file."""
        marks = self.partial.marks
        strong = marks.strong if marks.source == self.wanted.source else ""
        start = self.partial.length if strong or self.wanted.sha256 else 0
        if start:
            return start, {"Range": f"bytes={start}-", **({"If-Range": strong} if strong else {})}
        if self.known is not None and self.known.etag:
            return 0, {"If-None-Match": self.known.etag}
        if self.known is not None and self.known.modified:
            return 0, {"If-Modified-Since": self.known.modified}
        return 0, {}

    @contextmanager
    def _ask(self, headers: Mapping[str, str], deadline: float) -> Iterator[BaseHTTPResponse]:
        place = self.place
        for _ in range(self.patience.redirects + 1):
            with self.door.open(place, headers, deadline) as response:
                location = response.get_redirect_location()
                if not location:
                    yield response
                    return
            place = self.door.follow(place, location)
        raise Absent(f"it redirects more than {self.patience.redirects} times")

    def _continues(self, response: BaseHTTPResponse) -> bool:
        """Whether the response is the rest of the partial file, up to its end."""
        found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != self.partial.length:
            return False
        if self.wanted.sha256:
            return found[3] in ("*", str(self.wanted.size))
        etag = self.partial.marks.etag
        return found[3] == str(int(found[2]) + 1) and response.headers.get("ETag", etag) == etag

    def _receive(self, response: BaseHTTPResponse, start: int, deadline: float) -> None:
        """Append the body after the first `start` bytes."""
        wanted, partial, said = self.wanted, self.partial, response.headers
        if said.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise Wrong("the server sent a compressed body, which was not requested")
        total = None if response.length_remaining is None else start + response.length_remaining
        marks = Marks(said.get("ETag", ""), said.get("Last-Modified", ""), wanted.source)
        if not start:
            partial.restart()
        if wanted.size is None and total is not None and total > wanted.max_bytes:
            partial.restart()
            raise TooLarge(f"it has more than {wanted.max_bytes} bytes")
        length = start
        since, before = time.monotonic(), length
        # read1 returns what has arrived, so that nothing is lost when the connection breaks.
        while piece := response.read1(_PIECE, decode_content=False):
            if length == 0:
                why = wanted.refuse(piece, said.get("Content-Type", "").lower())
                if not why and wanted.size is not None and total not in (None, wanted.size):
                    why = f"it has {total} bytes, not {wanted.size}"
                if why:
                    raise Wrong(why)
                partial.restart(marks)
            length += len(piece)
            if length > wanted.max_bytes:
                partial.restart()
                raise TooLarge(f"it has more than {wanted.max_bytes} bytes")
            partial.append(piece)
            if self.progress is not None:
                self.progress(length, total or wanted.size or length)
            now = time.monotonic()
            if now >= deadline:
                break
            if now - since >= self.patience.idle_seconds:
                if length - before < self.patience.least_rate * (now - since):
                    raise Passing(f"it sends less than {self.patience.least_rate} bytes a second")
                since, before = now, length
        if length != total and time.monotonic() >= deadline:
            # A connection closed at the deadline looks like the end of the body.
            raise Passing(f"it took too long ({length} bytes received)")
        if length == 0 and total is None and "Transfer-Encoding" not in said:
            # http.client accepts truncated headers; the body is then empty.
            raise Passing("it broke off before the first byte")
        if length == 0:
            raise Empty("it is empty (0 bytes)")
        if wanted.size is not None and length < wanted.size:
            raise Passing(f"it broke off after {length} of {wanted.size} bytes")


def reason(error: BaseException) -> str:
    """A description of a network error that does not contain the address."""
    while isinstance(error, HTTPError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _refusal(response: BaseHTTPResponse) -> Passing | Absent:
    message = f"the server answered {response.status}"
    if response.status not in _PASSING and response.status < 500:
        return Absent(message, response.status)
    try:
        wait = Retry().get_retry_after(response)
    except (InvalidHeader, ValueError, OverflowError):
        wait = None
    return Passing(message, wait or 0.0)
