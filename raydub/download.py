"""One resumable downloader for inputs and weights: a file comes whole or not at all, and what came before a break is
resumed.

Where a request may go, and how a server is reached, is the caller's: a Door. HTTP itself is urllib3's.
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
"""Called with bytes that are here, and bytes in all."""
_log = logging.getLogger(__name__)
_HEADERS = {"User-Agent": f"raydub/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_PASSING = frozenset({408, 425, 429})
_PIECE = 1 << 18
_PROGRESS_BYTES = 1 << 20
"""Bytes after which a connection that breaks off counts as progress."""


class Passing(Exception):
    """A request that failed in a way that may pass. wait: seconds that the server asked for."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class Absent(Exception):
    """This server does not give the file out, or cannot be asked. status: its answer, 0 where there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Wrong(Exception):
    """The server has something else at this address."""


class TooLarge(Wrong):
    """More bytes than were agreed to."""


class Empty(Wrong):
    """A file of no bytes."""


class WrongDigest(Wrong):
    """As many bytes as there should be, and others."""


class Door(Protocol[Place]):
    """Where requests may go. Errors of its own end the download."""

    def open(
        self, place: Place, headers: Mapping[str, str], deadline: float
    ) -> AbstractContextManager[BaseHTTPResponse]:
        """One GET and its answer: body unread and packed as it comes, redirects not followed. deadline: a
        time.monotonic() after which it may be cut off. Raises Passing and Absent."""
        ...

    def follow(self, place: Place, location: str) -> Place:
        """Where a redirect leads. Raises Absent."""
        ...


@dataclass(frozen=True)
class Wanted:
    """What is known of a file before it comes. max_bytes: more are refused. size, sha256 (hex): where they are known,
    they are made sure of. source: see Marks. refuse: why the first bytes, with their content type, cannot be of this
    file, else ""."""

    max_bytes: int
    refuse: Callable[[bytes, str], str]
    size: int | None = None
    sha256: str = ""
    source: str = ""


@dataclass
class Download(Generic[Place]):
    """The way of one file from `place`, through `door`, into `partial`. known: marks of a whole copy from before."""

    place: Place
    door: Door[Place]
    partial: Partial
    wanted: Wanted
    patience: Patience
    known: Marks | None = None
    progress: Progress | None = None
    sleep: Callable[[float], None] = time.sleep

    def complete(self) -> Marks | None:
        """Ask until `partial` is whole, and check its digest; returns its marks, or None, and nothing has come, where
        the server says that the copy from before is still the same.

        What an earlier download left may be of another file: where the digest tells so, all comes once more. Raises
        Passing (too many tries without progress), Absent, Wrong and its kinds, what the door raises, StageError
        STORAGE and DISK_FULL. What came before a Passing is kept."""
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
            _log.warning("%s: what an earlier download left does not fit; from the beginning", self.partial.path.name)
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
                _log.info("%s: %s; another try in %.1f s", self.partial.path.name, error, wait)
            self.sleep(wait)
        return self.partial.marks

    def _once(self, deadline: float) -> Marks | None:
        """One request. On return the partial file is whole."""
        start, headers = self._question()
        try:
            with self._ask({**_HEADERS, **headers}, deadline) as response:
                if response.status == 304 and self.known is not None and not start:
                    return None
                if start and (response.status == 416 or (response.status == 206 and not self._goes_on(response))):
                    self.partial.restart()
                    raise Passing("it did not go on where it broke off")
                if response.status == 200:
                    start = 0
                elif response.status != 206 or not start:
                    raise _refusal(response)
                self._receive(response, start, deadline)
        except HTTPError as error:
            raise Passing(f"it broke off after {self.partial.length} bytes: {reason(error)}") from error
        return self.partial.marks

    def _question(self) -> tuple[int, dict[str, str]]:
        """The first byte to ask for, and the headers that do. Without a mark, only a digest proves that two halves are
        of one file."""
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

    def _goes_on(self, response: BaseHTTPResponse) -> bool:
        """Is this the rest of what is here, up to the end?"""
        found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != self.partial.length:
            return False
        if self.wanted.sha256:
            return found[3] in ("*", str(self.wanted.size))
        etag = self.partial.marks.etag
        return found[3] == str(int(found[2]) + 1) and response.headers.get("ETag", etag) == etag

    def _receive(self, response: BaseHTTPResponse, start: int, deadline: float) -> None:
        """Write the body behind the first `start` bytes."""
        wanted, partial, said = self.wanted, self.partial, response.headers
        if said.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise Wrong("it comes compressed, which was not asked for")
        total = None if response.length_remaining is None else start + response.length_remaining
        marks = Marks(said.get("ETag", ""), said.get("Last-Modified", ""), wanted.source)
        if not start:
            partial.restart()
        if wanted.size is None and total is not None and total > wanted.max_bytes:
            partial.restart()
            raise TooLarge(f"it has more than {wanted.max_bytes} bytes")
        length = start
        since, before = time.monotonic(), length
        # read1 hands out what has come: when the connection breaks, nothing that came is lost.
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
            # A connection that was cut ends like one that has no more to say.
            raise Passing(f"it took too long ({length} bytes came)")
        if length == 0 and total is None and "Transfer-Encoding" not in said:
            # http.client takes headers that break off for whole ones, and then nothing follows.
            raise Passing("it broke off before the first byte")
        if length == 0:
            raise Empty("it is empty (0 bytes)")
        if wanted.size is not None and length < wanted.size:
            raise Passing(f"it broke off after {length} of {wanted.size} bytes")


def reason(error: BaseException) -> str:
    """What went wrong on the network, in words that hold nothing of the address."""
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
