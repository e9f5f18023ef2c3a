"""The catalogue of published weight files that raydub knows by digest (catalogue.json), and the consent that some need.

Digests and sizes are those of the repositories that hold the files; those of the WDN partner, of animevideov3 and of
the anime network come from several public projects that measured them and agree, as do those of the voices (Piper's and
Kokoro's), each of which is two files: an entry and its companion.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raydub.errors import Code, DependencyError, UsageError
from raydub.models.store.consent import ACCEPT_VARIABLE as ACCEPT_VARIABLE
from raydub.models.store.consent import consent_for
from raydub.models.store.state import CUSTOM as CUSTOM_LICENCE

_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".onnx", ".model")


@dataclass(frozen=True)
class Licence:
    """kind: permissive, non-commercial, mixed or unstated; consent: it must be accepted by name before the file is
    downloaded or used; terms: a short summary; url: its text."""

    name: str
    kind: str
    consent: bool
    terms: str
    url: str = ""


@dataclass(frozen=True)
class Entry:
    """A file of the catalogue, or a custom one that the user imported (no urls, licence "custom").

    name: what users call it; file: its name in the weights folder; urls: mirrors, in order of preference; size: bytes;
    sha256: hex; licence: name of a Licence; companions: files that it needs and that are stored with it (the
    configuration of a voice); their names are their file names; declared: by which licence or contract the importer
    of a custom file may use it commercially.
    """

    name: str
    file: str
    purpose: str
    urls: tuple[str, ...]
    size: int
    sha256: str
    licence: str
    notes: str = ""
    aliases: tuple[str, ...] = ()
    companions: tuple[Entry, ...] = ()
    declared: str = ""

    @property
    def custom(self) -> bool:
        """Is it the user's own file?"""
        return self.licence == CUSTOM_LICENCE


@dataclass(frozen=True)
class Published:
    """A published file of a digest. consent: the licence must be accepted by name before the file is used."""

    name: str
    licence: str
    consent: bool


def _read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / "catalogue.json").read_text(encoding="utf-8"))
    return found


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(
        row["name"],
        row["file"],
        row["purpose"],
        tuple(row["urls"]),
        int(row["bytes"]),
        row["sha256"],
        row["licence"],
        row.get("notes", ""),
        tuple(row.get("aliases", ())),
        tuple(_companion(row, own) for own in row.get("with", ())),
    )


def _companion(row: dict[str, Any], own: dict[str, Any]) -> Entry:
    urls, size, what = tuple(own["urls"]), int(own["bytes"]), f"goes with {row['file']}"
    return Entry(own["file"], own["file"], what, urls, size, own["sha256"], row["licence"])


_DATA = _read()
LICENCES = {
    name: Licence(name, said["class"], said["consent"], said["terms"], said["url"])
    for name, said in _DATA["licences"].items()
}
"""By name."""
ENTRIES = tuple(_entry(row) for row in _DATA["entries"])
SETS: dict[str, tuple[str, ...]] = {name: tuple(names) for name, names in _DATA["sets"].items()}
"""What a feature needs: word of `raydub models pull --for` → names of entries."""
DENIED: dict[str, str] = _DATA["denied"]
"""sha256 of files that circulate under a name of the catalogue but are something else → what they are."""
PUBLISHED = {
    file.sha256: Published(file.file, file.licence, LICENCES[file.licence].consent)
    for entry in ENTRIES
    for file in (entry, *entry.companions)
}
"""By sha256."""


def find(name: str) -> Entry | None:
    """The entry of that name, file name or alias, whatever the case, with or without a suffix; then a custom file of
    that name that was imported on this machine; else None."""
    wanted = name.strip().casefold()
    if not wanted or "/" in wanted or "\\" in wanted:
        return None
    for among in (_files, _names):
        for entry in ENTRIES:
            if wanted in among(entry):
                return entry
    bare = next((wanted.removesuffix(end) for end in _SUFFIXES if wanted.endswith(end)), wanted)
    for entry in (*ENTRIES, *custom_entries()):
        if bare in _names(entry) or wanted in _files(entry):
            return entry
    return None


def get(name: str) -> Entry:
    """As find; UsageError FIELD_VALUE, with the nearest name, for one that does not exist."""
    entry = find(name)
    if entry is None:
        raise UsageError(Code.FIELD_VALUE, f"no weights are called {name[:80]!r}", hint=way_out(name))
    return entry


def way_out(name: str) -> str:
    """The hint for an unknown name."""
    near = suggest(name)
    return (f"did you mean {near!r}? " if near else "") + "`raydub models list` shows all names"


def suggest(name: str) -> str | None:
    """The name of the catalogue that is nearest to a mistyped one."""
    known = {word: entry.name for entry in (*ENTRIES, *custom_entries()) for word in (*_names(entry), *_files(entry))}
    near = nearest(name, known)
    return known[near] if near is not None else None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is nearest to `word`, ignoring case."""
    words = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.strip().casefold(), words, n=1)
    return words[found[0]] if found else None


def custom_entries() -> list[Entry]:
    """Files that users imported on this machine."""
    from raydub.models.store.state import imported

    return [custom_entry(name, path, note) for name, path, note in imported()]


def custom_entry(name: str, path: Path, note: dict[str, Any]) -> Entry:
    """The entry of an imported file; note: its record (models.store.state)."""
    origin = f"from {note['origin']}" if note.get("origin") else ""
    file, size, sha256, with_ = path.name, int(note["bytes"]), str(note["sha256"]), note.get("companion_sha256")
    beside = f"{file}.json"
    companions = (
        (Entry(beside, beside, f"goes with {file}", (), int(note["companion_bytes"]), str(with_), CUSTOM_LICENCE),)
        if with_ and str(note.get("companion_bytes", "")).isdigit()
        else ()
    )
    declared = str(note.get("commercial", ""))
    return Entry(
        name, file, "imported", (), size, sha256, CUSTOM_LICENCE, notes=origin, companions=companions, declared=declared
    )


def by_digest(sha256: str) -> Entry | None:
    """The entry, or the companion of one, whose bytes have this digest."""
    files = (file for entry in ENTRIES for file in (entry, *entry.companions))
    return next((file for file in files if file.sha256 == sha256.lower()), None)


def refuse_denied(sha256: str, what: str) -> None:
    """Raise DependencyError WEIGHTS_REFUSED for a file that is known to be something else than its name says."""
    reason = DENIED.get(sha256.lower())
    if reason is not None:
        raise DependencyError(
            Code.WEIGHTS_REFUSED, f"{what} is {reason}", hint="delete it; `raydub models pull` fetches the real one"
        )


def licence_of(sha256: str, accepted: Collection[str] = ()) -> str:
    """Name of the licence of the file with this digest: "custom" where it is not in the catalogue.

    DependencyError (LICENCE, exit 3) for a file whose licence needs consent that was not given: neither in `accepted`,
    nor in the comma-separated environment variable RAYDUB_ACCEPT_LICENSE, nor permanently (`raydub models accept`).
    """
    return licence_and_consent(sha256, accepted)[0]


def licence_and_consent(sha256: str, accepted: Collection[str] = ()) -> tuple[str, str]:
    """licence_of, and how consent was given: "flag", "environment" or "remembered"; "" where none is needed."""
    known = PUBLISHED.get(sha256.lower())
    if known is None:
        return CUSTOM_LICENCE, ""
    if not known.consent:
        return known.licence, ""
    way = consent_for(known.licence, accepted)
    if not way:
        terms = LICENCES.get(known.licence)
        kind = "partly non-commercial" if terms and terms.kind == "mixed" else "non-commercial"
        raise DependencyError(
            Code.LICENCE,
            f"{known.name} is published under {kind} terms" + (f" ({terms.terms})" if terms else ""),
            hint=f"if you accept them: --accept-license {known.licence}, or {ACCEPT_VARIABLE}={known.licence}, "
            f"or permanently with `raydub models accept {known.licence}`",
        )
    return known.licence, way


def _names(entry: Entry) -> set[str]:
    return {entry.name.casefold(), *(alias.casefold() for alias in entry.aliases)}


def _files(entry: Entry) -> set[str]:
    return {entry.file.casefold()}
