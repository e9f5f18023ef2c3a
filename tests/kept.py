"""Looking into a store from outside, and damaging it."""

from __future__ import annotations

import time
from pathlib import Path

from raydub.identity import is_settled
from raydub.store import TAG, Store


def blob_of(root: Path, name: str) -> Path:
    """The file of an artefact."""
    said = Store(root).record(name)
    assert said is not None, f"nothing is kept as {name}: {Store(root).names(name.partition('/')[0])}"
    return Store(root).blob(said["sha256"], said["suffix"])


def blobs_below(root: Path, prefix: str) -> list[Path]:
    """The files of all artefacts with such names."""
    store = Store(root)
    return [blob_of(root, name) for name in store.names(prefix) if "sha256" in (store.record(name) or {})]


def record_of(root: Path, name: str) -> Path:
    """The file of a record."""
    return Path(root) / "refs" / f"{name}.json"


def files_in(root: Path) -> list[Path]:
    """All files below a folder, temporary ones too, except the tag of a work folder."""
    return sorted(path for path in Path(root).rglob("*") if path.is_file() and path.name != TAG)


def at_rest(path: Path, content: bytes) -> None:
    """Write a file and wait for the next tick of its clock: its look can be relied on then."""
    path.write_bytes(content)
    while not is_settled(path.stat()):
        time.sleep(0.02)
