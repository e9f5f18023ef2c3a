"""From a web address to a local file: fetched whole or not at all, kept, gone on with after a break, asked for again
only with a condition. Everything that opens media gets the local file; ffmpeg never sees an address.
"""

from __future__ import annotations

import email.utils
import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raydub.errors import Code, InputError
from raydub.media.fetch_http import Reply, Trouble, ask
from raydub.media.fetch_policy import FetchPolicy
from raydub.media.fetch_store import Copy, Marks, Store
from raydub.media.fetch_uri import Uri, parse_uri

_log = logging.getLogger(__name__)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_GOT_ON = 1 << 20
_UNMARKED_FRESH_SECONDS = 600.0
"""How long a copy counts as the server's latest where the server marks no versions: asking would be fetching."""


@dataclass(frozen=True)
class Fetched:
    """A local copy. unchecked: the server no longer gives this file out, or does not answer, and an earlier copy stands
    in; says why, "" normally."""

    path: str
    unchecked: str = ""


def fetch(
    text: str, work_dir: str | Path, policy: FetchPolicy, *, sleep: Callable[[float], None] = time.sleep
) -> Fetched:
    """The local copy of the file at `text`, an http or https address that the policy allows.

    Raises InputError: URI_SCHEME, URI_DENIED, FIELD_VALUE (the address), INPUT_MISSING (the server has no such file),
    INPUT_EMPTY, INPUT_LIMIT, FETCH_FAILED; StageError STORAGE, DISK_FULL, TIMEOUT (for the lock). Messages never hold
    the query of an address. What was fetched before a failure is kept and gone on with.
    """
    uri = parse_uri(text, policy)
    store = Store(work_dir, uri)
    with store.lock(policy.total_seconds):
        known = store.latest()
        if known and not known.marks.etag and not known.marks.modified and _young(known):
            return Fetched(known.path)
        try:
            return Fetched(_persist(uri, store, known, policy, sleep).path)
        except _Withheld as error:
            if known is None:
                raise InputError(Code.FETCH_FAILED, error.message, hint=error.hint) from error.__cause__
            _log.warning("%s; the copy that was fetched before is used", error.message)
            return Fetched(known.path, error.message)


def known_copy(text: str, work_dir: str | Path) -> Copy | None:
    """The latest copy of what is at an address, without asking anybody; None where there is none."""
    try:
        # A look at the cache needs no leave: what the policy forbids is refused where it would be fetched.
        uri = parse_uri(text, FetchPolicy(schemes=("https", "http"), allow_private=True))
        return Store(work_dir, uri).latest()
    except (InputError, OSError):
        return None


class _Withheld(Exception):
    """The server does not give the file out, or not now. Becomes FETCH_FAILED where no copy stands in."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def _young(copy: Copy) -> bool:
    return 0 <= time.time() - copy.checked < _UNMARKED_FRESH_SECONDS


def _persist(uri: Uri, store: Store, known: Copy | None, policy: FetchPolicy, sleep: Callable[[float], None]) -> Copy:
    """Ask until the file is here, within the policy's bounds."""
    deadline = time.monotonic() + policy.total_seconds
    failures = 0
    while True:
        before = store.partial()[0]
        try:
            copy = _once(uri, store, known, policy, deadline)
            if copy is not None:
                return copy
            trouble = Trouble(f"{uri.host} did not go on where it broke off")
        except Trouble as error:
            trouble = error
        failures = 1 if store.partial()[0] - before >= _GOT_ON else failures + 1
        wait = min(policy.first_wait * 2 ** (failures - 1), policy.longest_wait) * random.uniform(0.5, 1.0)
        wait = max(wait, min(trouble.wait or 0.0, policy.longest_wait))
        if failures >= policy.tries or time.monotonic() + wait >= deadline:
            message = f"{uri.shown} could not be fetched: {trouble}"
            raise _Withheld(message, "check the address and the server; run again") from trouble
        _log.info("%s: %s; another try in %.1f s", uri.shown, trouble, wait)
        sleep(wait)


def _once(uri: Uri, store: Store, known: Copy | None, policy: FetchPolicy, deadline: float) -> Copy | None:
    """One question. None: it has to be asked anew, from the start."""
    start, marks = store.partial()
    headers: dict[str, str] = {}
    if start:
        headers = {"Range": f"bytes={start}-", "If-Range": marks.strong}
    elif known is not None and known.marks.etag:
        headers = {"If-None-Match": known.marks.etag}
    elif known is not None and known.marks.modified:
        headers = {"If-Modified-Since": known.marks.modified}
    with ask(uri, headers, policy, deadline) as reply:
        if reply.status == 304 and known is not None and not start:
            store.confirm(known)
            return known
        if start and reply.status == 416:
            store.drop_partial()
            return None
        if reply.status == 206 and start:
            total = _goes_on(reply, start, marks)
            if total is None:
                store.drop_partial()
                return None
        elif reply.status == 200:
            start, marks = 0, Marks(reply.headers.get("etag", ""), reply.headers.get("last-modified", ""))
            total = _length(reply)
        else:
            raise _refusal(uri, reply)
        if reply.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise InputError(Code.FETCH_FAILED, f"{uri.shown} comes compressed, which was not asked for")
        _receive(uri, store, reply, marks, start, total, policy)
    return store.finish(marks)


def _receive(
    uri: Uri, store: Store, reply: Reply, marks: Marks, start: int, total: int | None, policy: FetchPolicy
) -> None:
    """Write the body behind what is there. On return the partial file is whole."""
    if total is not None and total > policy.max_bytes:
        store.drop_partial()
        raise _too_large(uri, policy)
    size = start
    with store.writing(marks, start) as stream:
        for piece in reply.pieces:
            if size == 0 and _is_page(piece, reply):
                store.drop_partial()
                message = f"{uri.shown} is a web page, not media"
                raise InputError(Code.FETCH_FAILED, message, hint="does it ask for a login? name the file itself")
            size += len(piece)
            if size > policy.max_bytes:
                break
            stream.write(piece)
    if size > policy.max_bytes:
        store.drop_partial()
        raise _too_large(uri, policy)
    if total is not None and size != total:
        store.drop_partial()
        raise Trouble(f"{uri.host} sent {size} of {total} bytes")
    if size == 0:
        store.drop_partial()
        raise InputError(Code.INPUT_EMPTY, f"{uri.shown} is empty (0 bytes)")


def _goes_on(reply: Reply, start: int, marks: Marks) -> int | None:
    """The whole file's length where the answer goes on at byte `start` of the same version, else None."""
    found = _RANGE.fullmatch(reply.headers.get("content-range", "").strip())
    if found is None or int(found[1]) != start or found[3] == "*" or int(found[2]) + 1 != int(found[3]):
        return None
    etag = reply.headers.get("etag", marks.etag)
    return int(found[3]) if etag == marks.etag else None


def _length(reply: Reply) -> int | None:
    text = reply.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and "transfer-encoding" not in reply.headers else None


def _is_page(piece: bytes, reply: Reply) -> bool:
    start = piece[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html")) or (
        start.startswith(b"<") and reply.headers.get("content-type", "").startswith("text/html")
    )


def _refusal(uri: Uri, reply: Reply) -> Exception:
    """The error for an answer without a file."""
    said = f"{uri.shown}: the server answered {reply.status}"
    if reply.status in _PASSING:
        return Trouble(f"the server answered {reply.status}", _retry_after(reply.headers.get("retry-after", "")))
    if reply.status in (404, 410):
        return InputError(Code.INPUT_MISSING, f"{uri.shown} does not exist (the server answered {reply.status})")
    if reply.status in (401, 403):
        return _Withheld(said, "is the link signed, and its time over? get a fresh one")
    return InputError(Code.FETCH_FAILED, said, hint="check the address")


def _retry_after(text: str) -> float | None:
    """Seconds from now, out of seconds or a date."""
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _too_large(uri: Uri, policy: FetchPolicy) -> InputError:
    return InputError(Code.INPUT_LIMIT, f"{uri.shown} has more than {policy.max_bytes} bytes")
