"""The folders of weights, and small JSON files in them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raydub.errors import Code, DependencyError, StageError
from raydub.files import storage_error, write_atomic
from raydub.regular import read_regular

FOLDER_VARIABLE = "RAYDUB_WEIGHTS"
OFFLINE_VARIABLE = "RAYDUB_OFFLINE"
_NO = {"", "0", "no", "off", "false"}


def weights_folders() -> tuple[Path, ...]:
    """Folders that are searched for weights, first match wins. New files are written to the first."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    cache = Path.home() / ".cache" / "raydub" / "weights"
    return (Path(chosen), cache) if chosen else (cache,)


def find_file(name: str) -> Path | None:
    """The first file of that name in the folders."""
    return next((folder / name for folder in weights_folders() if (folder / name).is_file()), None)


def offline() -> bool:
    """Does RAYDUB_OFFLINE forbid downloads?"""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in _NO


def own_folder() -> Path:
    """The folder for new files, created if absent. Raises DependencyError STORAGE."""
    folder = weights_folders()[0]
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_json(path: Path, content: Mapping[str, Any], mode: int = 0o666) -> None:
    """Write a small JSON file atomically. Raises StageError STORAGE or DISK_FULL; the old file stays then."""
    write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False).encode(), mode=mode)


def read_json(path: Path) -> dict[str, Any]:
    """The content of a small JSON file; {} if it is absent, damaged or not readable."""
    try:
        found = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """Convert OSErrors and StageErrors of storage into DependencyErrors: DISK_FULL, or STORAGE."""
    hint = f"choose another folder for weights with {FOLDER_VARIABLE}"
    try:
        yield
    except OSError as error:
        told = storage_error(error, str(place))
        raise DependencyError(told.code, told.message, hint=hint) from error
    except StageError as error:
        if error.code not in (Code.STORAGE, Code.DISK_FULL):
            raise
        raise DependencyError(error.code, error.message, hint=hint) from error.__cause__
