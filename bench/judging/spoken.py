"""Scripts whose every phoneme has a known time: spoken by espeak-ng through the product, found again in its sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import correlate

from raydub.arrays import F32
from raydub.tts.engines.host import HostedEngine
from raydub.tts.types import Utterance, Voice

VOICE = Voice("en-us", ("en-us",))
LINES = (
    "Bob may move a map.",
    "We saw two big boats.",
    "Papa may buy a blue bowl.",
    "Keep a room for me.",
    "My mob was at home by two.",
    "She sees a boy who grew up.",
)
"""Many of p, b, m beside open vowels, and rounded beside spread lips."""
FIRST, PAUSE = 0.3, 1.0
"""Seconds before the first line, and between lines: long enough to measure silence."""
SPARE = 0.2
"""Seconds by which a cue is longer than its speech, so that the product has no reason to hurry it."""
RATE = 16_000
_CLOSED, _OPEN = "pbm", "aɑæɐɔʌ"
_ROUND, _SPREAD = "uʊoɔɒøyœw", "iɪeɛæszj"


@dataclass(frozen=True)
class Sound:
    """A phoneme (IPA) heard from `start` to `stop`, seconds of the film."""

    start: float
    stop: float
    phoneme: str

    @property
    def closes(self) -> bool:
        """Must the lips touch?"""
        return self.phoneme[:1] in tuple(_CLOSED)

    @property
    def opens(self) -> bool:
        """Is it an open vowel?"""
        return self.phoneme[:1] in tuple(_OPEN)

    @property
    def roundness(self) -> float:
        """1 rounded, -1 spread, 0 neither, or both one after the other."""
        found = {1.0 for sign in self.phoneme if sign in _ROUND} | {-1.0 for sign in self.phoneme if sign in _SPREAD}
        return found.pop() if len(found) == 1 else 0.0


@dataclass(frozen=True)
class Said:
    """Lines as espeak speaks them at its normal pace."""

    lines: tuple[str, ...]
    utterances: tuple[Utterance, ...]

    @property
    def srt(self) -> str:
        """The lines as a subtitle file whose cues have the time that they need, PAUSE apart."""
        cues, at = [], FIRST
        for number, (line, spoken) in enumerate(zip(self.lines, self.utterances, strict=True), 1):
            stop = at + spoken.seconds + SPARE
            cues.append(f"{number}\n{_time(at)} --> {_time(stop)}\n{line}\n")
            at = stop + PAUSE - SPARE
        return "\n".join(cues)

    def sounds_in(self, heard: F32) -> tuple[Sound, ...]:
        """The phonemes of all lines at their times in `heard`, (samples,) at RATE Hz: the sound of the dubbed film.
        Each line is found by correlation, after the line before it. ValueError for a line that is not there."""
        found: list[Sound] = []
        begin = 0
        for line, spoken in zip(self.lines, self.utterances, strict=True):
            samples = resampled(spoken.samples, spoken.rate)
            match = correlate(heard[begin:], samples, mode="full", method="fft")
            at = int(match.argmax()) - (len(samples) - 1) + begin
            here = heard[max(at, 0) : at + len(samples)]
            own = samples[max(-at, 0) :][: len(here)]
            power = float(np.sqrt((here**2).sum() * (own**2).sum()))
            if power <= 0 or float((here * own).sum()) < 0.6 * power:
                raise ValueError(f"the line {line!r} is not heard at its own pace in the dubbed sound")
            found += sounds_of(spoken, at / RATE)
            begin = max(at, 0) + len(samples) // 2
        end = len(heard) / RATE
        return tuple(one for one in found if one.start < end)


def say(seconds: float, first: int) -> Said:
    """As many of LINES, from number `first` on and then from the start, as fit into `seconds`; at least one."""
    lines, utterances, at = [], [], FIRST
    with HostedEngine("espeak") as engine:
        for step in range(len(LINES)):
            line = LINES[(first + step) % len(LINES)]
            spoken = engine.synthesise(line, VOICE, "en-us", 1.0)
            if utterances and at + spoken.seconds + SPARE > seconds:
                break
            lines.append(line)
            utterances.append(spoken)
            at += spoken.seconds + PAUSE
    return Said(tuple(lines), tuple(utterances))


def sounds_of(spoken: Utterance, start: float) -> list[Sound]:
    """The phonemes of an utterance that begins at `start`; each lasts until the next one or the utterance's end."""
    marks = [mark for mark in spoken.marks if mark.kind == "phoneme"]
    stops = [mark.seconds for mark in marks[1:]] + [spoken.seconds]
    return [
        Sound(start + mark.seconds, start + stop, mark.text.lstrip("ˈˌ"))
        for mark, stop in zip(marks, stops, strict=True)
        if stop > mark.seconds
    ]


def resampled(samples: F32, rate: int) -> F32:
    """(n,) samples at RATE Hz, by straight lines between samples below half of RATE: good enough to find a time."""
    at = np.arange(int(len(samples) * RATE / rate)) * (rate / RATE)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


def _time(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02},{whole % 1000:03}"
