"""Which weights spoke, and under which licence: for the results manifest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from raydub.manifests.fields import voice_file
from raydub.manifests.speech import VoiceWeights
from raydub.models.catalogue import licence_and_consent
from raydub.models.load import sha256_of
from raydub.tts.engines.files import weights_of
from raydub.tts.types import Voice


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
