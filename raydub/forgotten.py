"""Records of work that this process treats as absent (`--fresh`)."""

from __future__ import annotations

import os
from pathlib import Path

from raydub.objects.names import is_object, prefix

_forgotten: dict[str, int] = {}


def forget_before(root: str | os.PathLike[str], since: int) -> None:
    """In this process, treat records of work in a store that were written before `since` (store.moment()) as absent; 0
    for none. Records of owners, fetched files and identities stay valid."""
    _forgotten[place_of(root)] = since


def forgotten_before(root: str | os.PathLike[str]) -> int:
    """The time set by forget_before() for a store. Caches of its records in memory must have it in their keys."""
    return _forgotten.get(place_of(root), 0)


def place_of(root: str | os.PathLike[str]) -> str:
    """The absolute path of a work folder, or its canonical address: the same text for the same folder."""
    return prefix(os.fspath(root)) if is_object(os.fspath(root)) else str(Path(root).absolute())
