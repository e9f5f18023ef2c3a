"""Files that may not be on this machine yet: the local copies of objects in buckets (raydub.objects.near).

A copy has a path like any file, and is fetched when it is opened for the first time. Code that opens a file by other
means than raydub.regular calls present() before.
"""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from raydub.objects.copies import MARK, NEAR
from raydub.objects.names import is_object

_MARKED = json.dumps(MARK)[1:-1]


def present(path: str | os.PathLike[str]) -> str:
    """The path itself, after fetching the file if it is a copy that is not there; for the address of an object, the
    path of its copy. No cost for any other path.

    Raises FileNotFoundError for an address without an object, InputError INPUT_CHANGED for a copy of one that is gone
    or another one now, StageError STORAGE, DISK_FULL, and what raydub.objects.bucket raises."""
    text = os.fspath(path)
    if is_object(text):
        from raydub.objects.near import copy_of, head

        found = head(text)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such object", text)
        text = copy_of(found)
    if NEAR in text:
        from raydub.objects.near import ensure

        ensure(text)
    return text


def is_copy(path: str) -> bool:
    """Whether a path is that of an input's copy, which may not be there."""
    return f"{NEAR}objects{os.sep}" in path


def in_words(text: str) -> str:
    """A message with the addresses of objects in place of the paths of their copies."""
    if NEAR not in text:
        return text
    from raydub.objects.near import shown

    return shown(text)


def in_parts(path: str) -> Any:
    """An input's copy that is not there as a binary file over ranges of the object, if this machine is expected to read
    little of it (expect_share()); else None."""
    if not is_copy(path) or os.path.exists(path):
        return None
    from raydub.objects.near import ranged

    return ranged(path, _share)


_share = 1.0


def expect_share(share: float) -> None:
    """Say which share of each large input this machine will read, 0 to 1."""
    global _share
    _share = share


def to_text(value: Any) -> str:
    """A JSON-ready value as JSON for another machine: paths of copies are replaced by what they are copies of."""
    text = json.dumps(value)
    if NEAR in text or _MARKED in text:
        from raydub.objects.near import away

        text = json.dumps(away(value))
    return text


def from_text(text: str) -> Any:
    """The value of to_text(), with the paths of this machine."""
    value = json.loads(text)
    if _MARKED in text:
        from raydub.objects.near import here

        value = here(value)
    return value
