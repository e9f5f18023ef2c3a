"""Where weights lie, and how files appear there: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raydub.errors import Code, DependencyError

FOLDER_VARIABLE = "RAYDUB_WEIGHTS"
OFFLINE_VARIABLE = "RAYDUB_OFFLINE"
_NO = {"", "0", "no", "off", "false"}


def weights_folders() -> tuple[Path, ...]:
    """Folders in which weights are looked for, first match wins. New ones are written to the first."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    cache = Path.home() / ".cache" / "raydub" / "weights"
    return (Path(chosen), cache) if chosen else (cache,)


def find_file(name: str) -> Path | None:
    """The first file of that name in the folders."""
    return next((folder / name for folder in weights_folders() if (folder / name).is_file()), None)


def offline() -> bool:
    """Was it said (RAYDUB_OFFLINE) that nothing may be downloaded?"""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in _NO


def own_folder() -> Path:
    """The folder that is written to, made where it is absent. Raises DependencyError STORAGE."""
    folder = weights_folders()[0]
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def temp_beside(path: Path) -> Path:
    """A fresh hidden name in the folder of `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")


def publish(temp: Path, final: Path) -> None:
    """Sync `temp` to disk and rename it to `final`, in the same folder. OSErrors pass."""
    handle = os.open(temp, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temp, final)
    # Some network file systems refuse fsync on a folder; the rename itself stands.
    with contextlib.suppress(OSError):
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_json(path: Path, content: Mapping[str, Any], mode: int = 0o644) -> None:
    """Write a small JSON file atomically. OSErrors pass; the old file stays then."""
    temp = temp_beside(path)
    try:
        handle = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1, ensure_ascii=False)
        publish(temp, path)
    except OSError:
        temp.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """What a small JSON file holds; {} for one that is absent, damaged or not ours to read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """OSErrors inside become DependencyErrors: DISK_FULL, or STORAGE."""
    try:
        yield
    except OSError as error:
        hint = f"choose another folder for weights with {FOLDER_VARIABLE}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DependencyError(Code.DISK_FULL, f"no space left in {place}", hint=f"free some, or {hint}") from error
        raise DependencyError(Code.STORAGE, f"cannot write {place}: {error.strerror or error}", hint=hint) from error
