"""Which components may be used for commercial work: one table, for what comes with raydub or its packages; files of the
catalogue have their licence there (catalogue.json), imported files what their importer declared.

This says what licences state. It is no legal advice, and says nothing about rights in the videos, voices and faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from typing import Literal

from raydub.models.catalogue import LICENCES, PUBLISHED, custom_entries
from raydub.models.store.state import CUSTOM

Commercial = Literal["true", "false", "unknown"]
_OF_CLASS: dict[str, Commercial] = {"permissive": "true", "non-commercial": "false", "mixed": "false"}
"""By the catalogue's class of a licence; all others are unknown."""
_FREE = (
    *("0BSD", "Apache", "BSD", "BSL-1.0", "Boost", "CC0", "CC-BY-4.0", "ISC", "MIT", "MPL-2.0", "PSF-2.0", "Unlicense"),
    *("AGPL-3", "GPL-2", "GPL-3", "GNU", "LGPL"),
)
"""Beginnings of licences of packages that allow commercial use. Those of the GNU project bind who passes the program
on, not what it makes."""


@dataclass(frozen=True)
class Terms:
    """licence: its name; commercial: does it allow commercial use? instead: what to use where it does not."""

    licence: str
    commercial: Commercial = "true"
    instead: str = ""


OWN = Terms("Apache-2.0")
PREDICTOR = Terms("iBUG 300-W: non-commercial", "false", "landmarks=mesh (`raydub models pull mesh`)")
"""dlib's 68-point predictor, whatever its package says: it was trained on pictures with these terms."""
HOG_DETECTOR = Terms("BSL-1.0")
MMOD_DETECTOR = EMBEDDER = Terms("CC0-1.0")
CODECS = Terms(
    "BSD-3-Clause; its FFmpeg with x264 and x265 is GPL-2.0-or-later, which binds who passes it on, not films"
)
SPEECH_ENGINES = {
    "espeak": Terms("GPL-3.0-or-later (the program, not its speech)"),
    "piper": Terms("GPL-3.0-or-later (the program, not its speech)"),
    "kokoro": Terms("MIT, with espeak-ng under GPL-3.0-or-later (the program, not its speech)"),
    "command": Terms("not known: a program of your own", "unknown", "tts=kokoro or tts=espeak"),
}
_IMPORT = (
    "a file of the catalogue, or `raydub models import FILE --commercial 'licence or contract'`, which records yours"
)


def terms_of_licence(name: str, instead: str = "") -> Terms:
    """The terms of a licence of the catalogue, by name; unknown for others."""
    known = LICENCES.get(name)
    commercial = _OF_CLASS.get(known.kind, "unknown") if known is not None else "unknown"
    return Terms(name, commercial, "" if commercial == "true" else instead)


def terms_of_file(sha256: str, instead: str = "") -> Terms:
    """The terms of a weights file by its digest: of the catalogue, declared at its import, or unknown. instead: for
    files of the catalogue that exclude commercial use."""
    published = PUBLISHED.get(sha256.lower())
    if published is not None:
        return terms_of_licence(published.licence, instead)
    for entry in custom_entries():
        if entry.sha256 == sha256.lower() and entry.declared:
            return Terms(f"{CUSTOM}: {entry.declared}")
    return Terms("unknown: not a published file", "unknown", _IMPORT)


def terms_of_package(distribution: str, instead: str) -> Terms:
    """The terms that an installed package states; unknown where it states none that is known to be free."""
    try:
        said = metadata(distribution)
    except PackageNotFoundError:
        return Terms("unknown", "unknown", instead)
    licence = str(said.get("License-Expression") or said.get("License") or "").strip().partition("\n")[0][:80]
    if licence.startswith(_FREE):
        return Terms(licence)
    return Terms(licence or "unknown: its package states none", "unknown", instead)
