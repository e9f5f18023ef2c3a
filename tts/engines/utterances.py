"""Synthesised cues, each made once: an engine's sound for a text is kept under its request, so that only changed lines
of a script are synthesised again.

Stored as `utterances/<key>`, as the engine returned it: its own sample rate, silence included, float32 samples
(little-endian). The key is a hash of the engine's identity (release, model digests), voice, language, speed and text.
"""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32
from raydub.errors import Code, RaydubError, StageError
from raydub.identity import changed
from raydub.manifests.speech import SPEECH_VERSION
from raydub.media.sound import resample
from raydub.present import present
from raydub.sealed import key_of
from raydub.store import Store
from raydub.tts.engines.base import Engine
from raydub.tts.mix.level import levelled, trimmed
from raydub.tts.scripts.cue import shown
from raydub.tts.types import Mark, Segment, Utterance, Voice

_SPEED_STEPS = 100
"""Speeds are rounded to hundredths: engines are not more exact, and the cache would hardly be hit otherwise."""


class Speaker:
    """Synthesises segments with one engine, through the cache. `spoken` holds the numbers of those that were
    synthesised in the run `run_id`, at any speed and by any of its workers."""

    def __init__(self, engine: Engine, store: Store, rate: int, run_id: str = "") -> None:
        self._engine = engine
        self._store = store
        self._rate = rate
        self._run = run_id
        self.spoken: set[int] = set()
        self._identities: dict[Voice, str] = {}

    def identity(self, voice: Voice) -> str:
        """The engine's identity of the voice, which must be the same for everything that this speaker makes: else
        InputError INPUT_CHANGED, retryable."""
        now = self._engine.identity(voice)
        if self._identities.setdefault(voice, now) != now:
            raise changed(f"voice {voice.name!r}", again=True)
        return now

    def say(self, segment: Segment, voice: Voice, language: str, speed: float) -> F32:
        """(n,) float32 mono at the rate of the mix: the segment's speech without silence around it, at a fixed level.

        speed: 1 is the engine's normal pace; it is rounded up to hundredths. Raises StageError TTS_FAILED with the
        segment's number, and what the engine raises.
        """
        utterance = self.utterance(segment, voice, language, speed)
        start, stop = trimmed(utterance.samples, utterance.rate)
        return levelled(resample(utterance.samples[start:stop], utterance.rate, self._rate), self._rate)

    def phonemes(self, segment: Segment, voice: Voice, language: str, speed: float) -> tuple[tuple[float, str], ...]:
        """When say()'s sound speaks which phoneme: (seconds after its first sample, IPA, "" for a pause), () if the
        engine does not tell. Raises what say() raises."""
        utterance = self.utterance(segment, voice, language, speed)
        start = trimmed(utterance.samples, utterance.rate)[0] / utterance.rate
        return tuple((mark.seconds - start, mark.text) for mark in utterance.marks if mark.kind != "word")

    def utterance(self, segment: Segment, voice: Voice, language: str, speed: float) -> Utterance:
        """As say(), in the form of the engine."""
        speed = -(-round(speed * _SPEED_STEPS, 6) // 1) / _SPEED_STEPS
        name = self._name(segment.text, voice, language, speed)
        known = _read(self._store, name)
        if known is not None:
            utterance, run = known
            if run and run == self._run:
                self.spoken.add(segment.number)
            return utterance
        try:
            made = _usable(self._engine.synthesise(segment.text, voice, language, speed))
            self.identity(voice)  # part of the name
        except RaydubError as error:
            raise at_segment(error, segment) from error.__cause__
        self.spoken.add(segment.number)
        other = _read(self._store, name)
        if other is not None:
            # Another process was faster. Engines may not repeat themselves, so the stored sound counts.
            return other[0]
        marks = [[mark.kind, mark.seconds, mark.text] for mark in made.marks]
        about = {"rate": made.rate, "run": self._run, "marks": marks}
        self._store.put(name, made.samples.astype("<f4").tobytes(), ".f32", about)
        return made

    def _name(self, text: str, voice: Voice, language: str, speed: float) -> str:
        said = [SPEECH_VERSION, self._engine.name, self.identity(voice), voice.name, language, speed, text]
        return f"utterances/{key_of(said)}"


def at_segment(error: RaydubError, segment: Segment) -> RaydubError:
    """The error with the cue's number and the beginning of its text before the message."""
    error.message = f"cue {segment.number} ({shown(segment.text, 40)}): {error.message}"
    return error.at(field="script")


def _read(store: Store, name: str) -> tuple[Utterance, str] | None:
    """A stored utterance and the run that made it; None if it is absent or damaged, and then made again."""
    found = store.get(name)
    if found is None:
        return None
    marks = tuple(Mark(*mark) for mark in found.about["marks"])
    samples = np.fromfile(present(found.path), "<f4").astype(np.float32)
    return Utterance(samples, found.about["rate"], marks), found.about["run"]


def _usable(made: Utterance) -> Utterance:
    if made.samples.dtype != np.float32 or made.samples.ndim != 1 or not len(made.samples):
        raise StageError(Code.TTS_FAILED, f"the engine gave {made.samples.dtype} of shape {made.samples.shape}")
    return made
