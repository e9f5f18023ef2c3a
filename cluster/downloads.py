"""Downloads of weights with progress: a bar on a terminal, else lines."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from raydub.cluster.output import warn
from raydub.errors import Code, DependencyError

if TYPE_CHECKING:
    from raydub.models.catalogue import Entry

_EVERY = 5.0
"""Seconds between two lines."""


def fetch_absent(models: Iterable[str], *, quiet: bool = False) -> None:
    """Download those of the named weights that are in the catalogue and not on this machine; paths are ignored. Raises
    DependencyError as refuse_without_network() and models.store.pull.pull do, and WEIGHTS_HASH for a damaged file."""
    from raydub.models.catalogue import find
    from raydub.models.store.locate import is_path, present
    from raydub.models.store.pull import pull

    for model in models:
        entry = None if is_path(model) else find(model)
        if entry is not None and present(entry) is None:
            refuse_without_network(entry)
            with showing(entry.file, entry.size, quiet=quiet) as show:
                pull(entry, progress=show)


def refuse_without_network(entry: Entry) -> None:
    """Raises DependencyError for a missing file: LICENCE as pull() does, WEIGHTS_MISSING if no name of its servers
    resolves. That fails at once, where connecting would take minutes. Not checked with a proxy, which may resolve
    them."""
    from raydub.models.catalogue import licence_of
    from raydub.models.store.folders import find_file, offline
    from raydub.models.store.pull import mirrors
    from raydub.models.store.state import digest_of

    licence_of(entry.sha256)
    here = find_file(entry.file)
    if here is not None and digest_of(here) == entry.sha256:
        return
    hosts = [host for host in dict.fromkeys(urlsplit(url).hostname for url in mirrors(entry)) if host]
    if not hosts or offline() or getproxies() or any(map(_resolves, hosts)):
        return
    raise DependencyError(
        Code.WEIGHTS_MISSING,
        f"{entry.file} is missing and cannot be downloaded: {', '.join(hosts)} cannot be resolved",
        hint="import a copy from another machine with `raydub models import FILE`",
        retryable=True,
    )


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, 443))
    except OSError:
        return False


@contextmanager
def showing(name: str, size: int, *, quiet: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """A function to call with (bytes received, bytes in total) while `name` of `size` bytes is downloaded; shows
    progress on stderr. None with quiet."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar(name, size) as show:
            yield show
    else:
        yield _lines(name)


@contextmanager
def _bar(name: str, size: int) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}", markup=False), *columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=size, visible=False)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        yield show


def _lines(name: str) -> Callable[[int, int], None]:
    last = [time.monotonic() - _EVERY]

    def show(done: int, total: int) -> None:
        if done == total or time.monotonic() - last[0] >= _EVERY:
            last[0] = time.monotonic()
            warn(f"{name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB")

    return show
