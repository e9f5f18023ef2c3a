"""Downloads into the folder of the weights: once per machine, whole and verified or not at all."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raydub.errors import Code, DependencyError
from raydub.files import publish
from raydub.models.catalogue import Entry, licence_of
from raydub.models.store.fetch import Absent, Partial, Passing, Progress, Wrong, fetch
from raydub.models.store.folders import OFFLINE_VARIABLE, find_file, offline, own_folder, storage_errors
from raydub.models.store.state import digest_of, write_note

if TYPE_CHECKING:
    from requests import Session

MIRROR_VARIABLE = "RAYDUB_MIRROR"
_SPARE = 64 << 20
"""Bytes that a download leaves free on the disk."""
_WORTH = 1 << 20
"""Bytes after which a connection that breaks off counts as a good one."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """tries: at one mirror in a row, without a mebibyte gained; first_wait: seconds before the second, doubled each
    time up to longest_wait; connect, read: seconds to reach a mirror, and between two bytes of it."""

    tries: int = 4
    first_wait: float = 1.0
    longest_wait: float = 30.0
    connect: float = 15.0
    read: float = 60.0


def pull(
    entry: Entry, *, accepted: Collection[str] = (), progress: Progress | None = None, patience: Patience | None = None
) -> Path:
    """The file of an entry, downloaded if it is not here; a file that is here but is not the published one is replaced
    once the right one has come. Its companions come before it, so that whoever sees the file sees all of them.

    Only one process of a machine downloads a file; the others wait for it. Raises DependencyError: LICENCE,
    WEIGHTS_MISSING (offline, or no mirror answers: retryable), WEIGHTS_HASH, WEIGHTS_REFUSED, DISK_FULL, STORAGE.
    """
    for companion in entry.companions:
        _pull_one(companion, accepted, None, patience)
    return _pull_one(entry, accepted, progress, patience)


def _pull_one(entry: Entry, accepted: Collection[str], progress: Progress | None, patience: Patience | None) -> Path:
    from filelock import FileLock

    licence_of(entry.sha256, accepted)
    here = find_file(entry.file)
    if here is not None and digest_of(here) == entry.sha256:
        return here
    _refuse_unreachable(entry)
    folder = own_folder()
    target = folder / entry.file
    with storage_errors(folder), FileLock(folder / f".{entry.file}.lock", mode=0o666):
        # Whoever held the lock before us has probably done our work.
        if target.is_file() and digest_of(target) == entry.sha256:
            return target
        partial = Partial(folder / f".{entry.file}.{entry.sha256[:12]}.partial", entry.size)
        _room_for(entry, folder, partial.length)
        _from_mirrors(entry, partial, progress, patience or Patience())
        publish(partial.path, target)
        partial.restart()
        write_note(target, entry.sha256)
    return target


def mirrors(entry: Entry) -> tuple[str, ...]:
    """Where the file is looked for: RAYDUB_MIRROR first, then the catalogue's places in their order."""
    base = os.environ.get(MIRROR_VARIABLE, "").strip()
    return ((f"{base.rstrip('/')}/{entry.file}",) if base else ()) + entry.urls


def _refuse_unreachable(entry: Entry) -> None:
    if offline():
        raise DependencyError(
            Code.WEIGHTS_MISSING,
            f"{entry.file} is not here, and {OFFLINE_VARIABLE} forbids to download it",
            hint=f"`raydub models import {entry.file}` with a copy, or `raydub models pull {entry.name}` while online",
        )
    if not mirrors(entry):
        raise DependencyError(
            Code.WEIGHTS_MISSING,
            f"{entry.file} is not here, and no address of it is known",
            hint=f"`raydub models import` takes a copy of your own; {MIRROR_VARIABLE} names a server that has it",
        )


def _room_for(entry: Entry, folder: Path, have: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < entry.size - have + _SPARE:
        raise DependencyError(
            Code.DISK_FULL,
            f"{entry.file} needs {(entry.size - have) / 1e6:.0f} MB in {folder}, and {free / 1e6:.0f} MB are free",
            hint="free some, or choose another folder for weights with RAYDUB_WEIGHTS",
        )


def _from_mirrors(entry: Entry, partial: Partial, progress: Progress | None, patience: Patience) -> None:
    import requests

    said: list[str] = []
    codes: list[Code] = []
    with requests.Session() as session:
        for url in mirrors(entry):
            _log.info("%s: from %s", entry.file, url)
            try:
                _from_mirror(session, url, entry, partial, progress, patience)
                return
            except Wrong as error:
                codes.append(Code.WEIGHTS_HASH if error.digest else Code.WEIGHTS_REFUSED)
                said.append(f"{url}: {error}")
            except (Passing, Absent) as error:
                said.append(f"{url}: {error}")
            _log.warning("%s", said[-1])
    code = next((c for c in (Code.WEIGHTS_HASH, Code.WEIGHTS_REFUSED) if c in codes), Code.WEIGHTS_MISSING)
    raise DependencyError(
        code,
        f"{entry.file} could not be downloaded: {'; '.join(said)}",
        hint=f"try again later, name another server in {MIRROR_VARIABLE}, or `raydub models import` a copy",
        retryable=not codes,
    )


def _from_mirror(
    session: Session, url: str, entry: Entry, partial: Partial, progress: Progress | None, patience: Patience
) -> None:
    """Complete `partial` and check its digest. What came from elsewhere may be of another file: then once more, from
    the first byte."""
    inherited = partial.length > 0
    _complete(session, url, partial, progress, patience)
    if partial.digest() != entry.sha256 and inherited:
        _log.warning("%s: what an earlier download left does not fit; from the beginning", entry.file)
        partial.restart()
        _complete(session, url, partial, progress, patience)
    found = partial.digest()
    if found != entry.sha256:
        partial.restart()
        raise Wrong(f"its sha256 is {found[:16]}…, expected {entry.sha256[:16]}…: removed", digest=True)


def _complete(session: Session, url: str, partial: Partial, progress: Progress | None, patience: Patience) -> None:
    failures, wait = 0, patience.first_wait
    while partial.length < partial.size:
        before = partial.length
        try:
            fetch(session, url, partial, (patience.connect, patience.read), progress)
        except Passing as error:
            gained = partial.length - before >= _WORTH
            failures, wait = (0, patience.first_wait) if gained else (failures + 1, wait)
            if failures >= patience.tries:
                raise
            _log.info("%s: %s; again", url, error)
            time.sleep(min(max(wait, error.wait), patience.longest_wait))
            wait *= 2
