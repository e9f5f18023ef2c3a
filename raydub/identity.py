"""What a file is: the SHA-256 of every byte of it, and how to know that without reading the file again.

A file's look (size, times of change, inode) stands for its content as long as no change can hide from it. A change
hides when it comes within one tick of the file system's clock after the last one: then both leave the same times. So a
look is relied on only when it was taken later than one tick after the file's newest time; before that the content is
hashed. Times are compared for being the same, never for being earlier or later.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from raydub.errors import Code, InputError
from raydub.regular import open_regular

COARSE_TICK_NS = 2_000_000_000
"""The coarsest clock of a file system in use: FAT's 2 s; HFS+ and old NFS have 1 s. All these write whole seconds."""
FINE_TICK_NS = 100_000_000
"""For times with a fraction of a second: the kernel's coarse clock ticks every 10 ms or faster."""
_MEMO = 20_000
_LARGE = 32 << 20
_TRIES = 3


@dataclass(frozen=True)
class Seen:
    """One look at a file. sha256: of all its bytes, hex; look: "" where a change could hide from it."""

    sha256: str
    look: str = ""


class Cache(Protocol):
    """Where identities are kept between processes."""

    def get(self, path: str, look: str) -> str | None: ...

    def put(self, path: str, look: str, sha256: str) -> None: ...


_memo: OrderedDict[tuple[str, str], str] = OrderedDict()


def identify(
    path: str | os.PathLike[str], cache: Cache | None = None, *, what: str = "input", anew: bool = False
) -> Seen:
    """The identity of a regular file: from memory or `cache` while its look is the same, else, and with `anew`, by
    reading all of it.

    Raises OSError, and InputError INPUT_CHANGED for a file that does not come to rest."""
    name = os.path.abspath(path)
    for _ in range(_TRIES):
        state = _at_rest(name)
        look = _look(state)
        settled = is_settled(state)
        known = None if anew else _known(name, look, cache)
        if known is not None:
            return Seen(known, look)
        with open_regular(name) as stream:
            if _look(os.fstat(stream.fileno())) != look:
                continue
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if look_of(name) == look:
            if settled:
                remember(name, look, digest)
                if cache is not None:
                    cache.put(name, look, digest)
            return Seen(digest, look if settled else "")
    raise changed(f"{what} {path}")


def known_identity(path: str | os.PathLike[str], cache: Cache | None = None) -> Seen | None:
    """What identify() would say, where that takes no reading; else None. Raises OSError."""
    name = os.path.abspath(path)
    look = look_of(name)
    found = _known(name, look, cache)
    return None if found is None else Seen(found, look)


def look_of(path: str | os.PathLike[str]) -> str:
    """How a file looks from outside. Raises OSError."""
    return _look(os.stat(path))


def is_settled(state: os.stat_result) -> bool:
    """Could no further change leave the file with these same times?"""
    newest = max(state.st_mtime_ns, state.st_ctime_ns)
    # A time in the future says nothing about when it was set.
    return time.time_ns() - newest > tick_of(newest)


def tick_of(time_ns: int) -> int:
    """Nanoseconds within which the clock that gave a file this time may give it again."""
    return FINE_TICK_NS if time_ns % 1_000_000_000 else COARSE_TICK_NS


def remember(path: str, look: str, sha256: str) -> None:
    """Note in this process what a file with this look holds."""
    _memo[os.path.abspath(path), look] = sha256
    while len(_memo) > _MEMO:
        _memo.popitem(last=False)


def backdate(path: str | os.PathLike[str]) -> None:
    """Give a file of our own a time of change that lies further back than any tick: whoever writes to it later changes
    its look, however soon that is. Raises OSError."""
    then = time.time_ns() - 2 * COARSE_TICK_NS
    os.utime(path, ns=(then, then))


def changed(what: str, *, again: bool = False) -> InputError:
    """INPUT_CHANGED. again: a second try starts from what is there now, and may do."""
    return InputError(
        Code.INPUT_CHANGED,
        f"{what} changed while it was in use",
        hint="run again once nobody writes to it: nothing that was made of the mixture is kept",
        retryable=again,
    )


def _at_rest(name: str) -> os.stat_result:
    """The file's state; a large file that was written a moment ago gets a tick's time, which is less than hashing it
    once more would take."""
    state = os.stat(name)
    if state.st_size > _LARGE and not is_settled(state):
        newest = max(state.st_mtime_ns, state.st_ctime_ns)
        left = newest + tick_of(newest) - time.time_ns()
        if 0 < left <= COARSE_TICK_NS:
            time.sleep(left / 1e9 + 0.001)
            return os.stat(name)
    return state


def _known(name: str, look: str, cache: Cache | None) -> str | None:
    found = _memo.get((name, look))
    if found is None and cache is not None:
        found = cache.get(name, look)
        if found is not None:
            remember(name, look, found)
    return found


def _look(state: os.stat_result) -> str:
    # Without the device's number: nodes that mount one file system number it differently.
    return f"{state.st_size}-{state.st_mtime_ns}-{state.st_ctime_ns}-{state.st_ino}"
