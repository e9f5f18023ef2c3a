"""Kokoro: one network, many voices, eight languages, through the package kokoro-onnx.

Its files come from the weights catalogue (`raydub models pull kokoro`), or from the paths in RAYDUB_KOKORO_MODEL and
RAYDUB_KOKORO_VOICES. The first letter of a voice is its language, the second man or woman: "ef_dora".

Texts become phonemes by espeak-ng (GPL). The Japanese and Chinese voices were trained on the phonemes of other front
ends, which the package does not have, and are therefore left out.

Not bit-identical when repeated: the network draws noise from a generator inside ONNX Runtime that continues from text
to text; its seed is fixed when the network is loaded.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from raydub.errors import Code, InputError, StageError
from raydub.tts.engines.files import VoiceFiles, kokoro_digest, kokoro_files, kokoro_voices_file
from raydub.tts.engines.find import release
from raydub.tts.types import Mark, Utterance, Voice

_SEED = 1
_LANGUAGES = {
    "a": ("en-us", "English (America)"),
    "b": ("en-gb", "English (Great Britain)"),
    "e": ("es", "Spanish"),
    "f": ("fr-fr", "French"),
    "h": ("hi", "Hindi"),
    "i": ("it", "Italian"),
    "p": ("pt-br", "Portuguese (Brazil)"),
}
_GENDERS = {"f": "female", "m": "male"}
_BEST_FIRST = {
    "af": ("heart", "bella", "nicole", "alloy", "aoede", "jessica", "kore", "nova", "river", "sarah", "sky"),
    "am": ("michael", "fenrir", "puck", "adam", "echo", "eric", "liam", "onyx", "santa"),
    "bf": ("emma", "alice", "isabella", "lily"),
    "bm": ("george", "fable", "daniel", "lewis"),
    "ef": ("dora",),
    "em": ("alex", "santa"),
    "ff": ("siwis",),
    "hf": ("alpha", "beta"),
    "hm": ("omega", "psi"),
    "if": ("sara",),
    "im": ("nicola",),
    "pf": ("dora",),
    "pm": ("alex", "santa"),
}
_PUBLISHED = [f"{kind}_{name}" for kind, names in _BEST_FIRST.items() for name in names]
"""Voices of voices-v1.0.bin, used before it is downloaded."""


class Kokoro:
    """The engine."""

    name = "kokoro"
    max_speed = 1.3

    def __init__(self) -> None:
        self._identity = release("kokoro")
        self._loaded: tuple[str, Any] = ("", None)

    def voices(self) -> tuple[Voice, ...]:
        """Those of the file of voices, or of the published one before it is downloaded."""
        path = kokoro_voices_file()
        names = _names(path) if path is not None else _PUBLISHED
        known = {name: place for place, name in enumerate(_PUBLISHED)}
        ordered = sorted(names, key=lambda name: (known.get(name, len(known)), name))
        return tuple(
            Voice(name, (tag,), _GENDERS.get(name[1:2], ""), note)
            for name in ordered
            for tag, note in [_LANGUAGES.get(name[:1], ("", ""))]
            if tag
        )

    def named(self, name: str) -> Voice | None:
        """All voices are listed."""
        return None

    def identity(self, voice: Voice) -> str:
        """Versions of the packages and digests of both files."""
        return f"{self._identity}, {kokoro_digest()}"

    def synthesise(self, text: str, voice: Voice, language: str, speed: float) -> Utterance:
        """24 kHz; phonemes are marked if the network returns their durations."""
        network = self._load(kokoro_files())
        if voice.name not in network.voices:
            raise InputError(Code.VOICE_UNKNOWN, f"kokoro has no voice {voice.name!r}", field="voice")
        tag = voice.languages[0] if voice.languages else language or "en-us"
        # For punctuation alone the network makes arbitrary sound.
        if not any(sound.isalpha() for sound in network.tokenizer.phonemize(text, tag)):
            return Utterance(np.zeros(0, np.float32), 24000)
        samples, rate, timed = network.create_timed(text, voice.name, min(2.0, max(0.5, speed)), tag)
        sound = np.asarray(samples, np.float32).reshape(-1)
        peak = float(np.abs(sound).max(initial=0.0))
        # The network may exceed full scale, which would be clipped where samples are stored.
        sound = sound / np.float32(peak) if peak > 1.0 else sound
        marks = tuple(Mark("phoneme", timing.start, timing.phoneme) for timing in timed if timing.phoneme.isalpha())
        return Utterance(sound, int(rate), marks)

    def _load(self, files: VoiceFiles) -> Any:
        if self._loaded[0] == files.digest:
            return self._loaded[1]
        import onnxruntime
        from kokoro_onnx import Kokoro as Network

        _names(files.companion)  # a clearer error than np.load's for other files
        onnxruntime.set_seed(_SEED)
        try:
            network = Network(str(files.model), str(files.companion))
        except Exception as error:  # onnxruntime's own exceptions have no common base
            raise _no_model(files.model, f"{type(error).__name__}: {error}") from error
        self._loaded = (files.digest, network)
        return network


def _names(path: Path) -> list[str]:
    """Names of the voices in the file: an archive of numpy arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except (OSError, zipfile.BadZipFile) as error:
        raise _no_model(path, str(error)) from error
    return names


def _no_model(path: Path, reason: str) -> StageError:
    return StageError(Code.WEIGHTS_LAYOUT, f"{path} is not a file of Kokoro: {reason[:300]}")
