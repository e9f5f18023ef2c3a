"""How well a face's lips fit the original sound: for telling apart faces that all move their lips.

The active speaker network sees whether lips speak and hardly hears what they say: of two talking faces it prefers the
one that is heard in 56 % of cases (bench/NOTES.md). The embedded network of the lip engines (models.mouth) says how far
a mouth is open, and how wide it is, while something is said. Its curves are compared with those of the face: the
correlation within ±WINDOW ticks, at the best of a few delays, of the opening plus that of the width.
"""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32, F64
from raydub.stages.mouths.shape import Shape, fit, reference_of

WINDOW = 10
"""Ticks (25 a second) before and after; shorter windows find the moment at which the voice changes, longer ones err
less often."""
DELAYS = (-2, 0, 2)
_FEWEST = 8
_STILL = 1e-9  # variance, in squared distances of the outer eye corners


def lips_of(landmarks: F32) -> F64:
    """(n, 2) opening and width of the mouth, of the landmarks (n, 68, 2) of one face."""
    shape = Shape.of(fit(landmarks, reference_of(landmarks)).points)
    return np.stack([shape.opening, shape.width], axis=1)


def fits(lips: F64, spoken: F32) -> F32:
    """(T,) from -2 to 2. lips: (T, 2), see lips_of; spoken: (T, 2) what the sound says they should be, in any unit."""
    total = np.zeros(len(lips))
    for face, said in zip(lips.T, spoken.astype(np.float64).T, strict=True):
        total += np.max([_correlation(face, said, delay) for delay in DELAYS], axis=0)
    return total.astype(np.float32)


def _correlation(face: F64, said: F64, delay: int) -> F64:
    """(T,) of windows in which the sound is moved by `delay` ticks."""
    n = len(face)
    there = np.zeros(n)
    there[max(0, delay) : n + min(0, delay)] = 1.0
    x, y = face * there, np.roll(said, delay) * there
    count = np.maximum(_around(there), 1.0)
    mean_x, mean_y = _around(x) / count, _around(y) / count
    both = _around(x * y) / count - mean_x * mean_y
    spread = [np.maximum(_around(v * v) / count - mean**2, _STILL) for v, mean in ((x, mean_x), (y, mean_y))]
    return np.where(count > _FEWEST, both / np.sqrt(spread[0] * spread[1]), 0.0)


def _around(values: F64) -> F64:
    return np.convolve(values, np.ones(2 * WINDOW + 1))[WINDOW : WINDOW + len(values)]
