"""Small published files that are used where they are installed, and never downloaded by a run: face models."""

from __future__ import annotations

from pathlib import Path

from raydub.errors import Code, DependencyError
from raydub.models.load import sha256_of
from raydub.models.store.folders import find_file, weights_folders


def published_file(name: str, sha256: str, what: str, hint: str, field: str | None = None) -> Path | None:
    """Path of a file in the weights folders, None if it is absent. A file with another digest is refused
    (DependencyError, WEIGHTS_HASH): other weights would give other results without notice."""
    path = find_file(name)
    if path is None:
        return None
    digest = sha256_of(path)
    if digest != sha256:
        raise DependencyError(
            Code.WEIGHTS_HASH,
            f"{path} is not the published {what}: sha256 {digest[:16]}…, expected {sha256[:16]}…",
            hint=hint,
            field=field,
        )
    return path


def absent(name: str, what: str, hint: str, field: str | None = None) -> DependencyError:
    """WEIGHTS_MISSING, for workers, which must not use another model than planned."""
    folders = " or ".join(map(str, weights_folders()))
    return DependencyError(Code.WEIGHTS_MISSING, f"{what} ({name}) is not in {folders}", hint=hint, field=field)
