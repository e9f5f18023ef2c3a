"""SyncNet's weights, where they are installed and their licence is accepted. A film is never the reason of a
download."""

from __future__ import annotations

from pathlib import Path

from raydub.errors import RaydubError
from raydub.models.catalogue import find, licence_and_consent
from raydub.models.store.locate import present

NAME = "syncnet_v2"
"""In the catalogue: `raydub models pull syncnet_v2`."""


def lse_file() -> tuple[Path, str] | None:
    """(path, SHA-256) of the weights that may be used now, else None."""
    entry = find(NAME)
    if entry is None:
        return None
    try:
        licence_and_consent(entry.sha256)
        path = present(entry)
    except (RaydubError, OSError):
        return None
    return None if path is None else (path, entry.sha256)


def lse_digest() -> str:
    """Their SHA-256, "" without them."""
    found = lse_file()
    return "" if found is None else found[1]
