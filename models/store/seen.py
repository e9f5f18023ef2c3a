"""The state of a file of the catalogue without hashing it."""

from __future__ import annotations

from raydub.models.catalogue import Entry
from raydub.models.store.folders import find_file, weights_folders
from raydub.models.store.state import custom_note, note_of

_USABLE = ("here", "unverified", "custom")


def look(entry: Entry) -> str:
    """here (verified by digest, or an unchanged custom file), unverified (right size, not hashed yet), wrong (another
    size or digest), incomplete (a companion is absent or wrong), "43% here" (an interrupted download), absent."""
    state = _look(entry)
    if state in _USABLE and any(_look(companion) not in _USABLE for companion in entry.companions):
        return "incomplete"
    return state


def _look(entry: Entry) -> str:
    path = find_file(entry.file)
    if path is None:
        return _partly(entry)
    size, note = path.stat().st_size, note_of(path)
    if note.get("sha256") == entry.sha256 and size == entry.size:
        return "custom" if entry.custom else "here"
    if note or size != entry.size or custom_note(path).get("bytes", size) != size:
        return "wrong"
    return "unverified"


def _partly(entry: Entry) -> str:
    name = f".{entry.file}.{entry.sha256[:12]}.partial"
    for folder in weights_folders():
        if (folder / name).is_file():
            return f"{100 * (folder / name).stat().st_size // max(1, entry.size)}% here"
    return "absent"
