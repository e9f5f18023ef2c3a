"""Download files into the weights folder: once per machine, complete and verified or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from raydub.download import Absent, Download, Passing, Progress, Wanted, Wrong, WrongDigest
from raydub.errors import Code, DependencyError
from raydub.files import publish
from raydub.models.catalogue import Entry, licence_of
from raydub.models.store.folders import OFFLINE_VARIABLE, find_file, offline, own_folder, storage_errors
from raydub.models.store.state import digest_of, write_note
from raydub.models.verdict import no_weights
from raydub.partial import Partial, Patience, alone
from raydub.trust import trust

MIRROR_VARIABLE = "RAYDUB_MIRROR"
CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SPARE = 64 << 20
"""Bytes that must stay free on the disk."""
_log = logging.getLogger(__name__)


def pull(
    entry: Entry, *, accepted: Collection[str] = (), progress: Progress | None = None, patience: Patience | None = None
) -> Path:
    """The file of an entry, downloaded if it is absent; an existing file that is not the published one is replaced
    after the download. Companions are downloaded first, so that the file is never visible without them.

    Only one process of a machine downloads a file; the others wait for it. Raises DependencyError: LICENCE,
    WEIGHTS_MISSING (offline, or no mirror answers: retryable), WEIGHTS_HASH, WEIGHTS_REFUSED, DISK_FULL, STORAGE.
    """
    for companion in entry.companions:
        _pull_one(companion, accepted, None, patience)
    return _pull_one(entry, accepted, progress, patience)


def _pull_one(entry: Entry, accepted: Collection[str], progress: Progress | None, patience: Patience | None) -> Path:
    licence_of(entry.sha256, accepted)
    here = find_file(entry.file)
    if here is not None and digest_of(here) == entry.sha256:
        return here
    _refuse_unreachable(entry)
    folder = own_folder()
    target = folder / entry.file
    path = folder / f".{entry.file}.{entry.sha256[:12]}.partial"
    with storage_errors(folder), alone(path, folder / f".{entry.file}.lock") as partial:
        # Another process may have downloaded it while we waited for the lock.
        if target.is_file() and digest_of(target) == entry.sha256:
            return target
        _room_for(entry, folder, partial.length)
        _from_mirrors(entry, partial, progress, patience or Patience())
        publish(partial.path, target)
        partial.restart()
        write_note(target, entry.sha256)
    return target


def mirrors(entry: Entry) -> tuple[str, ...]:
    """The addresses of the file: RAYDUB_MIRROR first, then those of the catalogue in their order."""
    base = os.environ.get(MIRROR_VARIABLE, "").strip()
    return ((f"{base.rstrip('/')}/{entry.file}",) if base else ()) + entry.urls


def _refuse_unreachable(entry: Entry) -> None:
    if offline():
        raise DependencyError(
            Code.WEIGHTS_MISSING,
            f"{entry.file} is not on this machine, and {OFFLINE_VARIABLE} forbids downloading it",
            hint=f"`raydub models import {entry.file}` with a copy, or `raydub models pull {entry.name}` while online",
        )
    if not mirrors(entry):
        raise DependencyError(
            Code.WEIGHTS_MISSING,
            f"{entry.file} is not on this machine, and has no known address",
            hint=f"import your own copy with `raydub models import`, or set {MIRROR_VARIABLE} to a server that has it",
        )


def _room_for(entry: Entry, folder: Path, have: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < entry.size - have + _SPARE:
        raise DependencyError(
            Code.DISK_FULL,
            f"{entry.file} needs {(entry.size - have) / 1e6:.0f} MB in {folder}, but only {free / 1e6:.0f} MB are free",
            hint="free space, or choose another weights folder with RAYDUB_WEIGHTS",
        )


def _from_mirrors(entry: Entry, partial: Partial, progress: Progress | None, patience: Patience) -> None:
    said: list[str] = []
    codes: list[Code] = []
    for url in mirrors(entry):
        source = hashlib.sha256(url.encode()).hexdigest()[:16]
        wanted = Wanted(entry.size, _is_no_file, entry.size, entry.sha256, source)
        _log.info("%s: from %s", entry.file, url)
        try:
            Download(url, _OpenDoor(patience), partial, wanted, patience, progress=progress).complete()
            return
        except Wrong as error:
            codes.append(Code.WEIGHTS_HASH if isinstance(error, WrongDigest) else Code.WEIGHTS_REFUSED)
            said.append(f"{url}: {error}")
        except (Passing, Absent) as error:
            said.append(f"{url}: {error}")
        _log.warning("%s", said[-1])
    code = next((c for c in (Code.WEIGHTS_HASH, Code.WEIGHTS_REFUSED) if c in codes), Code.WEIGHTS_MISSING)
    raise DependencyError(
        code,
        f"{entry.file} could not be downloaded: {'; '.join(said)}",
        hint=f"try again later, set {MIRROR_VARIABLE} to another server, or import a copy with `raydub models import`",
        retryable=not codes,
    )


def _is_no_file(head: bytes, kind: str) -> str:
    return no_weights(head) or ("a web page, not weights" if "text/html" in kind else "")


class _OpenDoor:
    """See raydub.download.Door. Connects to any address, through the proxies of the environment: the addresses are
    those of the catalogue or the user, and digests verify the content."""

    def __init__(self, patience: Patience) -> None:
        self._timeout = urllib3.Timeout(connect=patience.connect_seconds, read=patience.idle_seconds)

    def follow(self, place: str, location: str) -> str:
        """Any redirect but from https to http."""
        further = urljoin(place, location)
        if urlsplit(place).scheme == "https" and urlsplit(further).scheme != "https":
            raise Absent(f"it redirects from https to {urlsplit(further).scheme or 'nothing'}")
        return further

    @contextmanager
    def open(self, place: str, headers: Mapping[str, str], deadline: float) -> Iterator[urllib3.BaseHTTPResponse]:
        """GET `place`."""
        if urlsplit(place).scheme not in ("http", "https"):
            raise Absent(f"{place} is neither http nor https")
        try:
            with _pool_for(place) as pool:
                response = pool.request(
                    "GET", place, headers=dict(headers), timeout=self._timeout,
                    retries=False, redirect=False, preload_content=False, decode_content=False,
                )  # fmt: skip
                try:
                    yield response
                finally:
                    response.close()
        except urllib3.exceptions.SSLError as error:
            raise Absent(f"its certificate is not trusted: {str(error)[:200]}") from error
        except urllib3.exceptions.LocationValueError as error:
            raise Absent(f"it is not a valid address: {str(error)[:200]}") from error


def _pool_for(url: str) -> urllib3.PoolManager:
    """Direct, or through the proxy of the environment (or the system) for this address."""
    trusted = trust(next((os.environ[name] for name in CERTIFICATE_VARIABLES if os.environ.get(name)), ""))
    parts, proxies = urlsplit(url), getproxies()
    proxy = "" if proxy_bypass(parts.netloc.rpartition("@")[2]) else proxies.get(parts.scheme) or proxies.get("all", "")
    if not proxy:
        return urllib3.PoolManager(ssl_context=trusted)
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    login = urllib3.util.parse_url(proxy).auth
    said = urllib3.make_headers(proxy_basic_auth=unquote(login)) if login else None
    return urllib3.ProxyManager(proxy, proxy_headers=said, ssl_context=trusted)
