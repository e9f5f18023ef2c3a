"""A job that brings its speech as a sound file, and wants a bed or a loudness for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from raydub.arrays import Bools
from raydub.manifests.speech import SpeechTracks, VoiceTrack
from raydub.media.activity import HOP, RATE, Loudness
from raydub.media.audio import speech_blocks
from raydub.tts.request import Request, merged
from raydub.tts.sources import FileSpeech


class HeardRequest(Request):
    """See the module docstring."""

    def deciding(self) -> Mapping[str, Any]:
        return {"audio": self.inputs["audio"]}

    def tracks(self) -> SpeechTracks:
        made = super().tracks()
        # Made for another job, perhaps, which had the same sound elsewhere; what lies there now nobody knows.
        voices = tuple(voice.model_copy(update={"path": self.job.audio}) for voice in made.voices)
        return made.model_copy(update={"voices": voices})

    def make(self) -> SpeechTracks:
        assert self.job.audio is not None
        samples, loudness = 0, Loudness()
        for block in speech_blocks(self.job.audio, RATE):
            samples += len(block)
            loudness.push(block)
        rate, active = self.shape.rate, loudness.activity()
        spans = _runs(active, HOP * rate, RATE)
        total = self.shape.total(self.job.options.length, False, samples * rate // RATE)
        assert total is not None
        inside = [(start, min(stop, total)) for start, stop in spans if start < total]
        # The lips read the file itself: its level is its own, as it is without a bed.
        report, sound, _ = self.mixed({"speech": FileSpeech(self.job.audio, rate, inside)}, total)
        own = merged(inside, rate) if self.shape.own else None
        voice = VoiceTrack(speaker="", path=self.job.audio, identity=self.inputs["audio"], spans=own)
        warnings = (*self.shape.warnings, *report.warnings)
        return SpeechTracks(voices=(voice,), warnings=warnings, **self.sounding(total, sound))


def _runs(active: Bools, step: int, per: int) -> list[tuple[int, int]]:
    """Runs of True as spans of samples: entry i begins at sample i * step // per."""
    edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0)) * step // per
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
