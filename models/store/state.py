"""What is known of a file in the folder of the weights, so that 349 MB are not hashed at every start.

Beside `x.pth` lies `.x.pth.json`: digest, size and time of change when it was hashed, and, for files that the user
brought, where they came from. A note counts as long as size and time are those of the file, to the nanosecond.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.store.folders import read_json, weights_folders, write_json

CUSTOM = "custom"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,79}")
_NOTE = re.compile(r"\.(.+)\.json")
_MEASURED = ("sha256", "bytes", "changed_ns")


def note_of(path: Path) -> dict[str, Any]:
    """What the note beside a file says, if it still means this file; else {}."""
    said = read_json(_note_path(path))
    try:
        stat = path.stat()
    except OSError:
        return {}
    return said if (said.get("bytes"), said.get("changed_ns")) == (stat.st_size, stat.st_mtime_ns) else {}


def write_note(path: Path, sha256: str, **more: str) -> None:
    """Note the digest of a file that has just been hashed. OSErrors pass."""
    stat = path.stat()
    write_json(_note_path(path), {"sha256": sha256, "bytes": stat.st_size, "changed_ns": stat.st_mtime_ns, **more})


def digest_of(path: Path, *, anew: bool = False) -> str:
    """Hex sha256 of a file in the folder of the weights, from its note where that is true; anew: hashed in any case."""
    said = note_of(path)
    if not anew and isinstance(said.get("sha256"), str):
        return str(said["sha256"])
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    origin = custom_note(path)
    # The note of a custom file is all that says what it should be: it outlives a file that has changed.
    if not origin or origin.get("sha256") == found:
        more = {key: value for key, value in origin.items() if key not in _MEASURED}
        # A folder that cannot be written to is no worse than before: the file is hashed again next time.
        with contextlib.suppress(OSError):
            write_note(path, found, **more)
    return found


def custom_note(path: Path) -> dict[str, Any]:
    """What was noted when the user imported this file, whether or not it has changed since; {} for other files."""
    said = read_json(_note_path(path))
    return said if said.get("licence") == CUSTOM and isinstance(said.get("name"), str) else {}


def imported() -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """(name, file, note) of every custom file that was brought in with `raydub models import`."""
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
