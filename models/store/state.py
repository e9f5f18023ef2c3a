"""What is known of a file in the folder of the weights, so that 349 MB are not hashed at every start.

Beside `x.pth` lies `.x.pth.json`: digest, size and look (raydub.identity) when it was hashed, and, for files that the
user brought, where they came from. A note counts as long as the file looks the same.
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
    """What the note beside a file says, if it still means this file; else {}."""
    said = read_json(_note_path(path))
    try:
        look = look_of(path)
    except OSError:
        return {}
    return said if said.get("look") == look else {}


def write_note(path: Path, sha256: str, **more: str) -> None:
    """Note the digest of a file of ours that has just been hashed: written whole, and not touched since. Raises
    OSError, StageError STORAGE or DISK_FULL."""
    backdate(path)
    _write(path, Seen(sha256, look_of(path)), **more)


def digest_of(path: Path, *, anew: bool = False) -> str:
    """Hex sha256 of a file in the folder of the weights, from its note where that is true; anew: hashed in any case."""
    said = note_of(path)
    if not anew and isinstance(said.get("sha256"), str):
        return str(said["sha256"])
    seen = identify(path, what="weights", anew=anew)
    origin = custom_note(path)
    # The note of a custom file is all that says what it should be: it outlives a file that has changed.
    if seen.look and (not origin or origin.get("sha256") == seen.sha256):
        more = {key: value for key, value in origin.items() if key not in _MEASURED}
        # A folder that cannot be written to is no worse than before: the file is hashed again next time.
        with contextlib.suppress(OSError, StageError):
            _write(path, seen, **more)
    return seen.sha256


def _write(path: Path, seen: Seen, **more: str) -> None:
    write_json(_note_path(path), {"sha256": seen.sha256, "bytes": path.stat().st_size, "look": seen.look, **more})


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
