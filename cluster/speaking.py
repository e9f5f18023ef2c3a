"""espeak-ng for the training recipe, which does not know speech engines."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raydub.models.mouth.train.uttered import Speak


def speaker() -> Speak | None:
    """Speech with its phonemes by espeak-ng, None where it is not installed. Raises DependencyError where it is
    damaged."""
    if importlib.util.find_spec("espeakng_loader") is None:
        return None
    from raydub.media.sound import resample
    from raydub.models.mouth.train.clips import RATE
    from raydub.models.mouth.train.uttered import Uttered
    from raydub.tts.engines.espeak import Espeak

    engine = Espeak()
    voices = {voice.name: voice for voice in engine.voices()}

    def speak(text: str, name: str, speed: float) -> Uttered:
        language = name.partition("+")[0]
        voice = engine.named(name) or voices[language]
        made = engine.synthesise(text, voice, language, speed)
        phonemes = tuple((mark.seconds, mark.text) for mark in made.marks if mark.kind != "word")
        return Uttered(resample(made.samples, made.rate, RATE), phonemes)

    return speak
