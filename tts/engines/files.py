"""Files of neural voices: a graph (.onnx) and a companion, by path or by name of the weights catalogue.

A voice of Piper is X.onnx and X.onnx.json; Kokoro is one graph and one file with all its voices. In the catalogue the
second file is the companion of the first.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raydub.errors import Code, DependencyError, InputError
from raydub.manifests.fields import split_voice, voice_file
from raydub.manifests.speech import VoiceWeights
from raydub.models.catalogue import Entry, find, licence_and_consent, refuse_denied
from raydub.models.load import sha256_of
from raydub.models.store.locate import is_path, locate, near, present
from raydub.models.store.state import digest_of
from raydub.models.verdict import no_weights
from raydub.objects.names import is_object

if TYPE_CHECKING:
    from raydub.tts.types import Voice

PIPER_PURPOSE = "voice of Piper"
KOKORO_MODEL = "kokoro-v1.0"
MODEL_VARIABLE = "RAYDUB_KOKORO_MODEL"
VOICES_VARIABLE = "RAYDUB_KOKORO_VOICES"


@dataclass(frozen=True)
class VoiceFiles:
    """model: the graph; companion: its second file; digest: hex sha256 of both, joined by "+"; licence: of the graph,
    "custom" if it is not in the catalogue."""

    model: Path
    companion: Path
    digest: str
    licence: str


def weights_of(engine: str, voice: str) -> Entry | None:
    """The catalogue entry of the files of a voice of raydub's own engines; None for voices without files, or with files
    given by path. For downloading them with progress before a run starts: models.store.pull.pull includes
    companions."""
    if engine == "piper":
        model, _ = split_voice(voice)
        return None if is_path(model) else piper_entry(model)
    if engine == "kokoro" and not os.environ.get(MODEL_VARIABLE, "").strip():
        return find(KOKORO_MODEL)
    return None


def piper_entry(name: str) -> Entry | None:
    """The entry of that name if it is a voice of Piper, published or imported with its configuration."""
    entry = find(name)
    return entry if entry is not None and is_piper(entry) else None


def is_piper(entry: Entry) -> bool:
    """Is this entry of the catalogue a voice of Piper?"""
    of_piper = entry.custom or entry.purpose.startswith(PIPER_PURPOSE)
    return of_piper and entry.file.endswith(".onnx") and len(entry.companions) == 1


def from_catalogue(entry: Entry) -> VoiceFiles:
    """Both files, downloaded if absent. Raises what models.store.locate.locate raises."""
    found = locate(entry.name)
    beside = present(entry.companions[0])
    if beside is None:
        raise DependencyError(
            Code.WEIGHTS_MISSING,
            f"{entry.companions[0].file} is not on this machine",
            hint=f"run `raydub models pull {entry.name}`",
        )
    return VoiceFiles(found.path, beside, known_digest(entry), found.licence)


def known_digest(entry: Entry) -> str:
    """The digest of VoiceFiles, without reading the files."""
    return f"{entry.sha256}+{entry.companions[0].sha256}"


def by_path(model: str | Path, companion: str | Path) -> VoiceFiles:
    """Two files of the user's own, or copies of objects in buckets. InputError VOICE_UNKNOWN where a file is absent;
    DependencyError WEIGHTS_MISSING where an object is, WEIGHTS_REFUSED for a web page or a git-lfs pointer, LICENCE for
    a published file whose licence is not accepted; what raydub.objects.bucket raises."""
    paths = (_here(model), _here(companion))
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise InputError(Code.VOICE_UNKNOWN, f"{absent[0]} does not exist", field="voice", hint="check the path")
    for path in paths:
        try:
            with path.open("rb") as stream:
                reason = no_weights(stream.read(512))
        except OSError as error:
            raise DependencyError(Code.WEIGHTS_REFUSED, f"{path} cannot be read: {error.strerror}") from error
        if reason is not None:
            raise DependencyError(Code.WEIGHTS_REFUSED, f"{path} is {reason}", hint="download the file itself")
    digests = [sha256_of(path) for path in paths]
    for path, digest in zip(paths, digests, strict=True):
        refuse_denied(digest, str(path))
    licence, _ = licence_and_consent(digests[0])
    return VoiceFiles(*paths, "+".join(digests), licence)


def voice_here(voice: str) -> str:
    """A voice with the path of its copy, if it is a model file in a bucket; others unchanged. Raises what
    models.store.locate.near raises."""
    file = voice_file(voice)
    return str(near(file[0])) + file[1] if file is not None and is_object(file[0]) else voice


def _here(path: str | Path) -> Path:
    return near(path) if isinstance(path, str) and is_object(path) else Path(path)


def kokoro_files() -> VoiceFiles:
    """The graph and the voices: the files that RAYDUB_KOKORO_MODEL and RAYDUB_KOKORO_VOICES name, else those of the
    catalogue. Raises what by_path and from_catalogue raise."""
    own = own_kokoro()
    if own is not None:
        return by_path(*own)
    entry = find(KOKORO_MODEL)
    assert entry is not None
    return from_catalogue(entry)


def kokoro_digest() -> str:
    """The digest of kokoro_files(), without a download."""
    entry = weights_of("kokoro", "")
    return known_digest(entry) if entry is not None else kokoro_files().digest


def kokoro_voices_file() -> Path | None:
    """The file of Kokoro's voices, None if it is absent or not the published one."""
    if os.environ.get(MODEL_VARIABLE, "").strip():
        return kokoro_files().companion
    entry = find(KOKORO_MODEL)
    path = present(entry.companions[0]) if entry is not None else None
    return path if path is not None and entry is not None and digest_of(path) == entry.companions[0].sha256 else None


def own_kokoro() -> tuple[str, str] | None:
    """The two files of the environment variables, None without. DependencyError WEIGHTS_MISSING if only the first is
    set."""
    model, voices = (os.environ.get(name, "").strip() for name in (MODEL_VARIABLE, VOICES_VARIABLE))
    if not model:
        return None
    if not voices:
        raise DependencyError(
            Code.WEIGHTS_MISSING,
            f"{MODEL_VARIABLE} is set, but {VOICES_VARIABLE} is not",
            hint=f"set {VOICES_VARIABLE}=/path/to/voices-v1.0.bin",
        )
    return model, voices


def weights_used(engine: str, voices: Iterable[Voice]) -> tuple[VoiceWeights, ...]:
    """One record per weights file of these voices, none for voices without any. Raises DependencyError LICENCE for
    files whose licence is not accepted."""
    found: dict[str, VoiceWeights] = {}
    for voice in voices:
        entry = weights_of(engine, voice.name)
        if entry is not None:
            name, digest = entry.file, entry.sha256
        elif (file := voice_file(voice.name)) is not None:
            name, digest = Path(file[0]).name, sha256_of(file[0])
        else:
            continue
        if digest not in found:
            licence, consent = licence_and_consent(digest)
            found[digest] = VoiceWeights(name=name, sha256=digest, licence=licence, consent=consent)
    return tuple(found.values())
