"""Records of files in the weights folder, so that 349 MB are not hashed at every start.

Beside `x.pth` lies `.x.pth.json`: digest, size and metadata (look, see raydub.identity) when it was hashed, and, for
imported files, their origin. A record is valid as long as the file's metadata are the same.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raydub.errors import StageError
from raydub.identity import Seen, backdate, identify, look_of
from raydub.models.store.folders import read_json, weights_folders, write_json

CUSTOM = "custom"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,79}")
_NOTE = re.compile(r"\.(.+)\.json")
_MEASURED = ("sha256", "bytes", "look")


def note_of(path: Path) -> dict[str, Any]:
    """The record of a file if it is valid, else {}."""
    said = read_json(_note_path(path))
    try:
        look = look_of(path)
    except OSError:
        return {}
    return said if said.get("look") == look else {}


def write_note(path: Path, sha256: str, **more: str) -> None:
    """Record the digest of a file that was just written and hashed. Raises OSError, StageError STORAGE or DISK_FULL."""
    backdate(path)
    _write(path, Seen(sha256, look_of(path)), **more)


def digest_of(path: Path, *, anew: bool = False) -> str:
    """Hex sha256 of a file in the weights folder, from its record if that is valid; anew: always hash."""
    said = note_of(path)
    if not anew and isinstance(said.get("sha256"), str):
        return str(said["sha256"])
    seen = identify(path, what="weights", anew=anew)
    origin = custom_note(path)
    # The record of a custom file is the only one that says what it should be, so it is kept when the file changes.
    if seen.look and (not origin or origin.get("sha256") == seen.sha256):
        more = {key: value for key, value in origin.items() if key not in _MEASURED}
        # If the folder is not writable, the file is hashed again next time.
        with contextlib.suppress(OSError, StageError):
            _write(path, seen, **more)
    return seen.sha256


def _write(path: Path, seen: Seen, **more: str) -> None:
    write_json(_note_path(path), {"sha256": seen.sha256, "bytes": path.stat().st_size, "look": seen.look, **more})


def custom_note(path: Path) -> dict[str, Any]:
    """The record of an imported file, whether or not it has changed since; {} for other files."""
    said = read_json(_note_path(path))
    return said if said.get("licence") == CUSTOM and isinstance(said.get("name"), str) else {}


def declare(path: Path, commercial: str) -> None:
    """Record by which licence or contract an imported file may be used commercially. Raises StageError STORAGE or
    DISK_FULL."""
    write_json(_note_path(path), {**custom_note(path), "commercial": commercial})


def imported() -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """(name, file, record) of every file imported with `raydub models import`."""
    seen = set()
    for folder in weights_folders():
        for note in sorted(folder.glob(".*.json")) if folder.is_dir() else ():
            match = _NOTE.fullmatch(note.name)
            path = folder / match.group(1) if match else note
            said = custom_note(path)
            if said and path.is_file() and said["name"] not in seen:
                seen.add(said["name"])
                yield said["name"], path, said


def _note_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")
