"""Sounds whose lips everybody checks: where phonemes close the lips, round them, or bring them to the teeth.

Curves of the articulators on the clock of the mel spectrogram, 80 columns a second, so that what an engine says it
speaks has the form of what a network hears. They are labels for training, and replace what is heard where the speech
was synthesised.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from raydub.arrays import F32, U8
from raydub.models.mouth.spoken import ARTICULATORS

COLUMNS = 80
ROWS = 1 + len(ARTICULATORS)
"""Of known sounds: where they are known, then each of ARTICULATORS."""

_LIPS = {
    "closure": frozenset("pbmɓʙ"),
    "rounding": frozenset("ouwɔʊyøœɶɒʏɵʉɥʷ"),
    "lip_teeth": frozenset("fvɱʋⱱ"),
}
_RELEASED = frozenset("pbɓ")
"""Stops: the lips part before the sound ends."""
_CLOSED_PART = 0.6
_SHORTEST = {"closure": 0.04, "rounding": 0.03, "lip_teeth": 0.04}
_LONGEST = {"closure": 0.18, "rounding": 0.40, "lip_teeth": 0.22}
"""Seconds. A mark says where a sound begins; before a pause that is not marked it would last too long."""
_EDGE = 2.0
"""Columns from a curve's half height at the edge of a sound to nothing outside; within, it is full after half of it."""


@dataclass(frozen=True)
class Sound:
    """An articulator (its number in ARTICULATORS) at work from `start` to `stop`, seconds."""

    articulator: int
    start: float
    stop: float


def sounds_of(phonemes: Sequence[tuple[float, str]], end: float) -> list[Sound]:
    """What phonemes ask of the lips. phonemes: (second at which it begins, IPA), in order of time, "" for a pause; end:
    second at which the last one ends. A phoneme of several letters (a diphthong, an affricate) is divided among
    them; a sign without a letter, which some engines give a time of its own, belongs to the phoneme before it."""
    found: list[Sound] = []
    spelt = [(at, letters) for at, phoneme in phonemes if (letters := _letters(phoneme)) or not phoneme]
    stops = [at for at, _ in spelt[1:]] + [end]
    for (start, letters), stop in zip(spelt, stops, strict=True):
        step = (stop - start) / max(len(letters), 1)
        for place, letter in enumerate(letters):
            for number, name in enumerate(ARTICULATORS):
                if _LIPS[name].isdisjoint(letter):
                    continue
                begin = start + place * step
                length = step * _CLOSED_PART if letter[0] in _RELEASED else step
                length = min(max(length, _SHORTEST[name]), _LONGEST[name])
                found.append(Sound(number, begin, begin + length))
    return found


def curves_of(sounds: Iterable[Sound], columns: int) -> F32:
    """(len(ARTICULATORS), columns) float32 in [0, 1]: 0.5 at the edges of a sound, 1 within."""
    curves = np.zeros((len(ARTICULATORS), columns), np.float32)
    for sound in sounds:
        first, last = sound.start * COLUMNS, sound.stop * COLUMNS
        low, high = max(int(first - _EDGE), 0), min(int(last + _EDGE) + 2, columns)
        if low >= high:
            continue
        at = np.arange(low, high)
        inside = np.minimum(at - first, last - at)  # columns from the nearer edge, negative outside
        # A sound shorter than its edges is full in its middle.
        rise = min(_EDGE / 2, (last - first) / 2)
        level = np.where(inside < 0, 0.5 + 0.5 * inside / _EDGE, 0.5 + 0.5 * inside / rise)
        row = curves[sound.articulator, low:high]
        np.maximum(row, np.clip(level, 0, 1), out=row)
    return curves


def known_sounds(spoken: Iterable[tuple[float, float, Sequence[Sound]]], columns: int) -> U8:
    """(ROWS, columns) uint8, for MouthShapes.predict: utterances (start, stop, their sounds), seconds. The first row is
    255 where they last; the others hold curves_of in 255ths."""
    table = np.zeros((ROWS, columns), np.uint8)
    for start, stop, sounds in spoken:
        low, high = max(round(start * COLUMNS), 0), min(round(stop * COLUMNS) + 1, columns)
        if low >= high:
            continue
        moved = (Sound(one.articulator, one.start - low / COLUMNS, one.stop - low / COLUMNS) for one in sounds)
        table[0, low:high] = 255
        part = table[1:, low:high]
        np.maximum(part, np.rint(255 * curves_of(moved, high - low)).astype(np.uint8), out=part)
    return table


def _letters(phoneme: str) -> list[str]:
    """The letters of a phoneme in IPA, each with the signs that belong to it: stress, length and ties are none."""
    letters: list[str] = []
    for sign in unicodedata.normalize("NFD", phoneme):
        if sign == "ʷ" and letters:
            letters[-1] += sign
        elif unicodedata.category(sign) in ("Ll", "Lo"):
            letters.append(sign)
    return letters
