"""Detect changed inputs: work starts from the content that its plan was made with, and its results are published only
if that content is still there.

FrameReader watches its video itself. Code that reads another input creates a Watch first and calls check() before
publishing anything made of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from raydub.errors import Code, InputError
from raydub.identity import Cache, Seen, changed, identify, look_of
from raydub.media.images import list_images
from raydub.media.info import ProbeLimits


@dataclass(frozen=True)
class Input:
    """A file, or a folder of images, as it was when a plan was made. what: for messages, such as "video"; identity,
    look: see identify_source()."""

    what: str
    path: str
    identity: str
    look: str = ""


class Watch:
    """Checks inputs against their identities, then remembers their metadata.

    Raises InputError INPUT_CHANGED, INPUT_MISSING.
    """

    def __init__(self, inputs: Iterable[Input], cache: Cache | None = None) -> None:
        self._held: list[tuple[Input, str]] = []
        for one in inputs:
            now = one.look if one.look and one.look == look_of_source(one.path, one.what) else ""
            if not now:
                seen = identify_source(one.path, cache, one.what)
                if seen.sha256 != one.identity:
                    raise changed(f"{one.what} {one.path}")
                now = seen.look
            self._held.append((one, now))

    def check(self) -> None:
        """Raise InputError INPUT_CHANGED (retryable: the next try uses the new content) unless all inputs have been the
        same the whole time."""
        for one, before in self._held:
            if before:
                same = look_of_source(one.path, one.what) == before
            else:
                same = identify_source(one.path, None, one.what).sha256 == one.identity
            if not same:
                raise changed(f"{one.what} {one.path}", again=True)


def identify_source(path: str, cache: Cache | None = None, what: str = "video") -> Seen:
    """The identity of a file, or of a folder of images: names and contents. Raises InputError INPUT_MISSING,
    INPUT_UNREADABLE, INPUT_CHANGED."""
    try:
        if what != "video" or not os.path.isdir(path):
            return identify(path, cache, what=what)
        files = list_images(path, ProbeLimits())
        seen = [identify(file, cache, what=what) for file in files]
    except OSError as error:
        raise _unreadable(path, what, error) from error
    said = "".join(f"{os.path.basename(file)}\0{one.sha256}\n" for file, one in zip(files, seen, strict=True))
    looks = [f"{os.path.basename(file)}\0{one.look}" for file, one in zip(files, seen, strict=True)]
    return Seen(_hash(said), _hash("\n".join(looks)) if all(one.look for one in seen) else "")


def look_of_source(path: str, what: str = "video") -> str:
    """The look that identify_source() returns for a source that is no longer being written. Raises InputError as it
    does."""
    try:
        if what != "video" or not os.path.isdir(path):
            return look_of(path)
        files = list_images(path, ProbeLimits())
        return _hash("\n".join(f"{os.path.basename(file)}\0{look_of(file)}" for file in files))
    except OSError as error:
        raise _unreadable(path, what, error) from error


def _unreadable(path: str, what: str, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(Code.INPUT_MISSING, f"{what} {path} does not exist")
    return InputError(Code.INPUT_UNREADABLE, f"{what} {path} cannot be read: {error.strerror or error}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
