"""Looking into a store from outside, and damaging it."""

from __future__ import annotations

from pathlib import Path

from raydub.store import Store


def blob_of(root: Path, name: str) -> Path:
    """The file of an artefact."""
    said = Store(root).record(name)
    assert said is not None, f"nothing is kept as {name}: {Store(root).names(name.partition('/')[0])}"
    return Store(root).blob(said["sha256"], said["suffix"])


def blobs_below(root: Path, prefix: str) -> list[Path]:
    """The files of all artefacts with such names."""
    return [blob_of(root, name) for name in Store(root).names(prefix)]


def record_of(root: Path, name: str) -> Path:
    """The file of a record."""
    return Path(root) / "refs" / f"{name}.json"


def files_in(root: Path) -> list[Path]:
    """All files below a folder, temporary ones too."""
    return sorted(path for path in Path(root).rglob("*") if path.is_file())
