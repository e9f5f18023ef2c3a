"""Fetch the file at a web address: completely or not at all, cached, resumed after a break, revalidated by conditional
requests. Media are opened from the local file only; libav never gets an address.

Complete files are kept in the work folder's store as `fetched/<key of the address>`, with the validators of the server.
Partial downloads are in `<work_dir>/fetching/<key of the address>/`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raydub.download import Absent, Download, Empty, Passing, TooLarge, Wanted, Wrong
from raydub.errors import Code, InputError, RaydubError
from raydub.identity import identify
from raydub.media.fetch_http import JudgedDoor
from raydub.media.fetch_policy import FetchPolicy
from raydub.media.fetch_uri import Uri, parse_uri
from raydub.objects.names import is_object
from raydub.partial import Marks, alone
from raydub.store import Store

_log = logging.getLogger(__name__)
_UNMARKED_FRESH_SECONDS = 600.0
"""How long a copy counts as current if the server sends no validators: checking it would mean downloading it."""


@dataclass(frozen=True)
class Fetched:
    """A local copy. unchecked: why it could not be revalidated (the server refuses access or does not answer), ""
    normally."""

    path: str
    unchecked: str = ""


@dataclass(frozen=True)
class Copy:
    """A complete fetched file. checked: when the server last confirmed it, seconds since 1970."""

    path: str
    size: int
    sha256: str
    marks: Marks
    checked: float


def fetch(
    text: str, work_dir: str | Path, policy: FetchPolicy, *, sleep: Callable[[float], None] = time.sleep
) -> Fetched:
    """The local copy of the file at `text`, an http or https address that the policy allows.

    Raises InputError: URI_SCHEME, URI_DENIED, FIELD_VALUE (the address), INPUT_MISSING (the server has no such file),
    INPUT_EMPTY, INPUT_LIMIT, FETCH_FAILED; StageError STORAGE, DISK_FULL, TIMEOUT (for the lock). Messages never
    contain the query of an address. A partial download is kept and resumed.
    """
    uri = parse_uri(text, policy)
    store = Store(work_dir)
    folder = store.root / "fetching" / uri.key
    with alone(folder / "partial", folder / "lock", policy.total_seconds) as partial:
        known = _latest(store, uri)
        if known and not known.marks.etag and not known.marks.modified and _young(known):
            return Fetched(known.path)
        job = Download(
            uri,
            JudgedDoor(policy),
            partial,
            Wanted(policy.max_bytes, _is_page),
            policy,
            known=known.marks if known else None,
            sleep=sleep,
        )
        try:
            marks = job.complete()
        except (Passing, Absent, Wrong) as error:
            failure, passing = _failure(uri, error)
            if known is None or not passing:
                raise failure from error
            _log.warning("%s; using the copy fetched earlier", failure.message)
            return Fetched(known.path, failure.message)
        if marks is None and known is not None:
            store.tell(_name(uri), _about(known.marks))
            return Fetched(known.path)
        about = _about(marks or Marks())
        kept = store.put_file(_name(uri), partial.path, about, suffix=uri.suffix)
        partial.restart()
        return Fetched(kept.path)


def known_copy(text: str, work_dir: str | Path) -> Copy | None:
    """The latest local copy of the file at an address, without network access; None if there is none."""
    try:
        # Reading the cache needs no permission; fetch() applies the policy.
        uri = parse_uri(text, FetchPolicy(schemes=("https", "http"), allow_private=True))
        return _latest(Store(work_dir), uri)
    except (InputError, OSError):
        return None


def _latest(store: Store, uri: Uri) -> Copy | None:
    """The latest complete copy, None if there is none or its bytes have changed."""
    said = store.record(_name(uri))
    try:
        if said is None:
            return None
        marks = Marks(str(said["about"]["etag"]), str(said["about"]["modified"]))
        path = store.blob(str(said["sha256"]), str(said["suffix"]))
        copy = Copy(str(path), int(said["bytes"]), str(said["sha256"]), marks, float(said["about"]["checked"]))
        if is_object(store.place):
            return copy if store.get(_name(uri)) is not None else None
        whole = path.stat().st_size == copy.size
        return copy if whole and identify(path, store.identities).sha256 == copy.sha256 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _name(uri: Uri) -> str:
    return f"fetched/{uri.key}"


def _about(marks: Marks) -> dict[str, object]:
    return {"etag": marks.etag, "modified": marks.modified, "checked": time.time()}


def _young(copy: Copy) -> bool:
    return 0 <= time.time() - copy.checked < _UNMARKED_FRESH_SECONDS


def _is_page(head: bytes, kind: str) -> str:
    start = head[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    page = start.startswith((b"<!doctype html", b"<html")) or (start.startswith(b"<") and kind.startswith("text/html"))
    return "it is a web page, not media" if page else ""


def _failure(uri: Uri, error: Passing | Absent | Wrong) -> tuple[RaydubError, bool]:
    """The error to raise, and whether an earlier copy may be used instead: access is refused, or the failure is
    temporary."""
    if isinstance(error, Passing):
        hint = "check the address and the server; run again"
        return InputError(Code.FETCH_FAILED, f"{uri.shown} could not be fetched: {error}", hint=hint), True
    message = f"{uri.shown}: {error}"
    if isinstance(error, Absent):
        if error.status in (404, 410):
            return InputError(Code.INPUT_MISSING, f"{uri.shown} does not exist ({error})"), False
        withheld = error.status in (401, 403)
        hint = "if the link is signed, it may have expired: get a new one" if withheld else "check the address"
        return InputError(Code.FETCH_FAILED, message, hint=hint), withheld
    code = {TooLarge: Code.INPUT_LIMIT, Empty: Code.INPUT_EMPTY}.get(type(error), Code.FETCH_FAILED)
    hint = "if the server asks for a login, use a direct link to the file" if code is Code.FETCH_FAILED else ""
    return InputError(code, message, hint=hint), False
