"""Find the weights file of a path or a name of the catalogue, and check it."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from raydub.errors import Code, DependencyError
from raydub.models.catalogue import Entry, find, licence_and_consent, refuse_denied, way_out
from raydub.models.load import check_file, sha256_of
from raydub.models.store.folders import find_file
from raydub.models.store.state import digest_of
from raydub.objects.names import is_object
from raydub.present import present as copy


@dataclass(frozen=True)
class Located:
    """name: of the file; sha256: of the bytes at `path`, hex; licence: its name, "custom" for files that are not in the
    catalogue; consent: how it was accepted, "flag", "environment" or "remembered", "" if none is needed."""

    path: Path
    name: str
    sha256: str
    licence: str
    consent: str


def locate(model: str | Path, *, accepted: Collection[str] = ()) -> Located:
    """The checked and hashed file of `model`: a path (anything with a separator, or an existing file), the address of
    an object, whose copy on this machine it is then, or a name of the catalogue, whose file is downloaded first if it
    is absent. accepted: licences that the caller knows to be accepted.

    Raises DependencyError: WEIGHTS_MISSING, WEIGHTS_REFUSED, WEIGHTS_HASH (a cached file that is not the published
    one), LICENCE, and what models.store.pull.pull and raydub.objects.bucket raise.
    """
    entry = None if is_path(model) else find(str(model))
    if entry is None:
        path = check_file(_known_path(model))
        digest = sha256_of(path)
        refuse_denied(digest, str(path))
        return Located(path, path.name, digest, *licence_and_consent(digest, accepted))
    licence, consent = licence_and_consent(entry.sha256, accepted)
    here = present(entry)
    if here is None or any(present(companion) is None for companion in entry.companions):
        from raydub.models.store.pull import pull

        here = pull(entry, accepted=accepted)
    return Located(here, here.name, entry.sha256, licence, consent)


def present(entry: Entry) -> Path | None:
    """The file of an entry, None if it is absent. DependencyError WEIGHTS_HASH if another file has its name."""
    path = find_file(entry.file)
    if path is None:
        return None
    found = digest_of(path)
    if found != entry.sha256:
        raise DependencyError(
            Code.WEIGHTS_HASH,
            f"{path} is not {'what was imported' if entry.custom else 'the published file'}: sha256 {found[:16]}…, "
            f"expected {entry.sha256[:16]}…",
            hint="import it again" if entry.custom else f"`raydub models pull {entry.name}` replaces it",
        )
    return path


def known_digest(model: str | Path) -> str:
    """Hex sha256 of the file of `model`, without downloading it: from the catalogue, or of the file at that path.
    Raises DependencyError WEIGHTS_MISSING or WEIGHTS_REFUSED."""
    entry = None if is_path(model) else find(str(model))
    return entry.sha256 if entry is not None else sha256_of(check_file(_known_path(model)))


def is_path(model: str | Path) -> bool:
    """Does `locate` treat this as a path?"""
    return isinstance(model, Path) or os.sep in model or "/" in model or Path(model).is_file()


def _known_path(model: str | Path) -> Path:
    if isinstance(model, str) and is_object(model):
        return near(model)
    path = Path(model)
    if isinstance(model, str) and not is_path(model):
        message = f"{model[:80]!r} is neither a weights file nor a name of the catalogue"
        raise DependencyError(Code.WEIGHTS_MISSING, message, hint=way_out(model))
    return path


def near(address: str) -> Path:
    """The copy of an object on this machine, as the object is now. Raises DependencyError WEIGHTS_MISSING, and what
    raydub.objects.bucket raises."""
    try:
        return Path(copy(address))
    except FileNotFoundError:
        message = f"there are no weights at {address}"
        raise DependencyError(Code.WEIGHTS_MISSING, message, hint="check the address") from None
