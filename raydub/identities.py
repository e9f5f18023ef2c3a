"""Identities of files and objects, kept in a store for all processes."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from raydub.errors import StageError
from raydub.objects.names import is_object


class Records(Protocol):
    """The part of raydub.store.Store that keeps records."""

    def record(self, name: str) -> dict[str, Any] | None: ...

    def put_record(self, name: str, value: Mapping[str, Any]) -> None: ...


class IdentityCache:
    """See raydub.identity.Cache; never raises."""

    def __init__(self, everywhere: Records, here: Records) -> None:
        self._everywhere, self._here = everywhere, here

    def get(self, path: str, look: str) -> str | None:
        """The recorded digest of a file with this look, or None."""
        said = self._of(path).record(_identity_name(path, look))
        if said is None or (said.get("path"), said.get("look")) != (path, look):
            return None
        return str(said["sha256"])

    def put(self, path: str, look: str, sha256: str) -> None:
        """Record the digest of a file with this look."""
        with contextlib.suppress(StageError, OSError):
            told = {"path": path, "look": look, "sha256": sha256}
            self._of(path).put_record(_identity_name(path, look), told)

    def _of(self, path: str) -> Records:
        # Looks of files are of one machine only, those of objects are the same everywhere.
        return self._everywhere if is_object(path) else self._here


def _identity_name(path: str, look: str) -> str:
    # By look as well: nodes that mount a file in different ways may see different looks.
    digest = hashlib.sha256(f"{look} {path}".encode("utf-8", "surrogateescape")).hexdigest()
    return f"identities/{digest[:2]}/{digest}"
