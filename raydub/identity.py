"""File identity: the SHA-256 of all bytes, and when it is known without reading the file again.

A file's look (size, mtime, ctime, inode) stands for its content if no change can leave it the same. Two changes within
one tick of the file system's clock leave the same times. So a look is trusted only if it was taken more than one tick
after the file's newest time; before that the content is hashed. Times are compared for equality only.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from raydub.errors import Code, InputError
from raydub.objects.names import is_object
from raydub.present import is_copy, present
from raydub.regular import open_regular

COARSE_TICK_NS = 2_000_000_000
"""The coarsest clock of file systems in use: 2 s for FAT; 1 s for HFS+ and old NFS. All of these store whole
seconds."""
FINE_TICK_NS = 100_000_000
"""For times with a fraction of a second: the kernel's coarse clock ticks at least every 10 ms."""
_MEMO = 20_000
_LARGE = 32 << 20
_TRIES = 3


@dataclass(frozen=True)
class Seen:
    """The identity of a file. sha256: of all its bytes, hex; look: "" if the look cannot be trusted."""

    sha256: str
    look: str = ""


class Cache(Protocol):
    """A store of identities that is shared between processes."""

    def get(self, path: str, look: str) -> str | None: ...

    def put(self, path: str, look: str, sha256: str) -> None: ...


_memo: OrderedDict[tuple[str, str], str] = OrderedDict()


def identify(
    path: str | os.PathLike[str], cache: Cache | None = None, *, what: str = "input", anew: bool = False
) -> Seen:
    """The identity of a regular file, from memory or `cache` while its look is unchanged. Otherwise, and with `anew`,
    all of it is read.

    Raises OSError, and InputError INPUT_CHANGED for a file that keeps changing."""
    if _is_far(path):
        return _identify_object(os.fspath(path), cache, what, anew)
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
    """What identify() would return, if that needs no reading of the file; else None. Raises OSError."""
    name = os.fspath(path) if _is_far(path) else os.path.abspath(path)
    look = look_of(name)
    found = _known(name, look, cache)
    return None if found is None else Seen(found, look)


def look_of(path: str | os.PathLike[str]) -> str:
    """The look of a file: size, mtime, ctime and inode; of an object in a bucket, and of the copy of one, the size and
    e-tag that the object has now. Raises OSError, and for objects what raydub.objects.bucket raises."""
    if _is_far(path):
        from raydub.objects.near import head, origin_of

        pinned = origin_of(os.fspath(path))
        uri = os.fspath(path) if pinned is None else pinned.uri
        found = head(uri)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such object", uri)
        return found.look
    return _look(os.stat(present(path)))


def is_settled(state: os.stat_result) -> bool:
    """Whether any later change will change the file's times."""
    newest = max(state.st_mtime_ns, state.st_ctime_ns)
    # A time in the future says nothing about when it was set.
    return time.time_ns() - newest > tick_of(newest)


def tick_of(time_ns: int) -> int:
    """The tick of the clock that gave a file this time, in nanoseconds."""
    return FINE_TICK_NS if time_ns % 1_000_000_000 else COARSE_TICK_NS


def remember(path: str, look: str, sha256: str) -> None:
    """Remember in this process the digest of a file with this look."""
    _memo[path if is_object(path) else os.path.abspath(path), look] = sha256
    while len(_memo) > _MEMO:
        _memo.popitem(last=False)


def backdate(path: str | os.PathLike[str]) -> None:
    """Set the mtime of our own file further back than any tick, so that every later write changes its look. Raises
    OSError."""
    then = time.time_ns() - 2 * COARSE_TICK_NS
    os.utime(path, ns=(then, then))


def changed(what: str, *, again: bool = False) -> InputError:
    """INPUT_CHANGED. again: a retry starts from the current file and may succeed."""
    return InputError(
        Code.INPUT_CHANGED,
        f"{what} changed while it was in use",
        hint="run again when nothing writes to it; nothing made from the mixed content is kept",
        retryable=again,
    )


def _is_far(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address of an object, or a copy of an input."""
    text = os.fspath(path)
    return is_object(text) or is_copy(text)


def _identify_object(path: str, cache: Cache | None, what: str, anew: bool) -> Seen:
    """The identity of an object, or of an input's copy as long as the object is still the one that was copied."""
    from raydub.objects.near import copy_of, digest_of, origin_of, pin

    pinned = origin_of(path)
    now = pin(path if pinned is None else pinned.uri, what)
    if pinned is not None and now.look != pinned.look:
        raise changed(f"{what} {now.uri}", again=True)
    known = None if anew else _known(now.uri, now.look, cache)
    if known is None:
        known = digest_of(copy_of(now if pinned is None else pinned))
        remember(now.uri, now.look, known)
        if cache is not None:
            cache.put(now.uri, now.look, known)
    return Seen(known, now.look)


def _at_rest(name: str) -> os.stat_result:
    """The file's stat. For a large file that was just written it waits one tick, which takes less than hashing it
    twice."""
    state = os.stat(present(name))
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
    # Without the device number: it differs between nodes that mount the same file system.
    return f"{state.st_size}-{state.st_mtime_ns}-{state.st_ctime_ns}-{state.st_ino}"
