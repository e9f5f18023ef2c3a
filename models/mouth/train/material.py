"""Training examples from clips: mel columns and target curves on the mel's clock (80 a second), with augmentation.

Targets are z-scored per clip (a mouth's resting size depends on the person, not on the sound), so the network learns
movement. Where the measured lips surely touch or surely do not, that is a target as well. Augmentation: speed and pitch
together by resampling, level, spectral tilt, a noise floor, and stretches of silence with a closed mouth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter, gaussian_filter1d
from scipy.signal import resample_poly

from raydub.arrays import F32, Bools
from raydub.models.mel import mel_spectrogram
from raydub.models.mouth.layout import OUTPUTS, SHAPES
from raydub.models.mouth.train.clips import Clip

COLUMNS = 80
SPEEDS = ((1, 1), (9, 10), (19, 20), (21, 20), (11, 10), (23, 20), (7, 8))
"""Ratios by which sound and picture are sped up together (pitch moves with them)."""
DECIBEL = 0.08
"""One decibel in mel units: 8 / 100."""
CLOSED_Z = -1.1
"""Target openness of silence, in z-scores."""
TOUCH_SHARE, APART_SHARE = 0.10, 0.35
"""Shares of a clip's range of openness below which lips touch, and above which they do not."""
TOUCH_LEAST, APART_LEAST, TOUCH_MOST = 0.004, 0.02, 0.045
"""The same in outer-eye-corner distances from the clip's smallest openness, for lips that hardly part; and that
openness itself, above which they never touch."""


@dataclass(frozen=True)
class Lesson:
    """A clip at one speed, or an utterance. mel: (80, T); target: (OUTPUTS, T) float32, z-scored openness and width,
    then the articulators from 0 to 1; known: (OUTPUTS, T) bool: where that is a valid target."""

    clip: str
    mel: F32
    target: F32
    known: Bools


def z_scored(clip: Clip) -> tuple[F32, F32, F32]:
    """(n, 2) z-scores of a clip's shapes with outliers pulled in, and the (2,) means and standard deviations used."""
    seen = clip.shape[clip.usable]
    low, high = np.percentile(seen, [1, 99], axis=0)
    seen = np.clip(seen, low, high)
    mean, std = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-3)
    z = np.clip((clip.shape - mean) / std, -3.0, 3.5)
    return z.astype(np.float32), mean.astype(np.float32), std.astype(np.float32)


def on_columns(clip: Clip, columns: int, speed: float = 1.0) -> tuple[F32, Bools]:
    """The clip's z-scores on the mel's clock: (2, columns); and (columns,) bool: False near unusable frames."""
    z, _, _ = z_scored(clip)
    z = gaussian_filter1d(z, 0.6, axis=0, mode="nearest")
    when = np.arange(columns) / COLUMNS * speed
    curve = np.stack([np.interp(when, clip.times, z[:, k]) for k in range(2)])
    nearest = np.clip(np.searchsorted(clip.times, when), 0, len(clip.times) - 1)
    known = clip.usable[nearest] & (when >= clip.times[0]) & (when <= clip.times[-1])
    return curve.astype(np.float32), binary_erosion(known, np.ones(7))


def lips_of(clip: Clip) -> tuple[Bools, Bools]:
    """(n,) bool each: frames in which the lips surely touch, and in which they surely do not. Lips touch where their
    distance is near the least that the clip shows; what that is differs with the person and with the landmarks."""
    openness = gaussian_filter1d(clip.shape[:, 0], 0.6, mode="nearest")
    least, most = np.percentile(openness[clip.usable], [2, 95])
    touching = openness < least + max(TOUCH_SHARE * (most - least), TOUCH_LEAST)
    apart = openness > least + max(APART_SHARE * (most - least), APART_LEAST)
    touching &= least < TOUCH_MOST
    return touching & clip.usable, apart & clip.usable


def lesson_of(clip: Clip, ratio: tuple[int, int] = (1, 1)) -> Lesson:
    """The clip at the given speed (numerator, denominator: above 1 is faster and higher)."""
    up, down = ratio[1], ratio[0]
    samples = clip.samples if up == down else resample_poly(clip.samples, up, down).astype(np.float32)
    mel = mel_spectrogram(samples)
    columns = mel.shape[1]
    target, known = np.zeros((OUTPUTS, columns), np.float32), np.zeros((OUTPUTS, columns), bool)
    target[:SHAPES], known[:SHAPES] = on_columns(clip, columns, ratio[0] / ratio[1])
    touching, apart = lips_of(clip)
    when = np.arange(columns) / COLUMNS * ratio[0] / ratio[1]
    nearest = np.rint(np.interp(when, clip.times, np.arange(len(clip.times)))).astype(np.intp)
    target[SHAPES] = touching[nearest]
    known[SHAPES] = known[0] & (touching | apart)[nearest]
    return Lesson(clip.name, mel, target, known)


def distort(mel: F32, rng: np.random.Generator) -> F32:
    """A copy of mel (80, T) as if recorded by another microphone in another room: level, tilt, bumps, noise floor."""
    bands = np.linspace(-1, 1, 80, dtype=np.float32)[:, None]
    decibels = mel / DECIBEL
    decibels = decibels + rng.uniform(-20, 8) + rng.uniform(-8, 8) * bands
    decibels = decibels + rng.normal(0, 2) * np.sin(np.pi * (rng.uniform(1, 4) * bands + rng.uniform(-1, 1)))
    if rng.random() < 0.5:
        floor = rng.uniform(-60, 0) + rng.uniform(-15, 5) * bands + rng.normal(0, 3, mel.shape)
        decibels = 10 * np.log10(10 ** (decibels / 10) + 10 ** (floor / 10))
    return np.clip(decibels * DECIBEL, -4, 4).astype(np.float32)


def roughen(mel: F32, rng: np.random.Generator) -> F32:
    """A copy of mel (80, T) of a synthetic voice, less smooth in time and frequency, as throats are: some decibels up
    and down, in patches of a few bands and columns."""
    field = gaussian_filter(rng.normal(size=mel.shape), (rng.uniform(0.7, 4), rng.uniform(0.5, 4)))
    field *= rng.uniform(0, 4) / max(float(field.std()), 1e-6)
    return np.clip(mel + DECIBEL * field, -4, 4).astype(np.float32)


def hush(mel: F32, target: F32, known: Bools, rng: np.random.Generator) -> None:
    """Silence a stretch of 0.3 s or more, in place: a constant noise floor in the sound, a closed mouth in the target.
    Around its ends the target is unknown, because the mouth is moving there, and so is whether the lips touch."""
    columns = mel.shape[1]
    length = int(rng.integers(24, max(25, columns // 2)))
    start = int(rng.integers(0, max(1, columns - length)))
    stop = min(columns, start + length)
    floor = -4 if rng.random() < 0.5 else rng.uniform(-4, -2.2) + rng.normal(0, 0.25, (80, stop - start))
    mel[:, start:stop] = np.clip(floor, -4, 4)
    target[0, start:stop] = CLOSED_Z
    target[1, start:stop] = 0.0
    known[:SHAPES, start:stop] = True
    known[SHAPES:, start:stop] = False
    for join in (start, stop):
        known[:, max(0, join - 8) : join + 8] = False


class Batches:
    """Endless random stretches of the lessons, distorted. `draw(B)` gives mel (B, 80, columns), target and known
    (B, OUTPUTS, inner), where inner = columns - 2 * reach; lessons are drawn in proportion to the square root of their
    length. synthetic: the lessons are of synthetic voices."""

    def __init__(
        self,
        lessons: Sequence[Lesson],
        columns: int,
        reach: int,
        seed: int,
        hush_share: float = 0.12,
        synthetic: bool = False,
    ) -> None:
        self._lessons = list(lessons)
        self._columns = columns
        self._reach = reach
        self._rng = np.random.default_rng(seed)
        self._hush_share = hush_share
        self._synthetic = synthetic
        known = np.array([lesson.known.any(axis=0).sum() for lesson in lessons], np.float64)
        weight = np.where(known >= self._least, np.sqrt(known), 0)
        if not weight.any():
            raise ValueError(f"no lesson has {self._least} columns with a valid target")
        self._weight = weight / weight.sum()

    @property
    def _least(self) -> int:
        """Columns of a stretch that must have a valid target."""
        return (self._columns - 2 * self._reach) // 3

    def draw(self, count: int) -> tuple[F32, F32, Bools]:
        cuts: list[tuple[F32, F32, Bools]] = []
        while len(cuts) < count:
            lesson = self._lessons[int(self._rng.choice(len(self._lessons), p=self._weight))]
            cut = self._cut(lesson)
            if cut is not None:
                cuts.append(cut)
        mel, target, known = zip(*cuts, strict=True)
        return np.stack(mel), np.stack(target), np.stack(known)

    def _cut(self, lesson: Lesson) -> tuple[F32, F32, Bools] | None:
        rng, reach, inner = self._rng, self._reach, self._columns - 2 * self._reach
        total = lesson.mel.shape[1]
        start = int(rng.integers(-reach, max(1 - reach, total - inner)))
        mel = np.full((80, self._columns), -4, np.float32)
        low, high = max(0, start - reach), min(total, start + inner + reach)
        mel[:, low - start + reach : high - start + reach] = lesson.mel[:, low:high]
        target, known = np.zeros((OUTPUTS, inner), np.float32), np.zeros((OUTPUTS, inner), bool)
        low, high = max(0, start), min(total, start + inner)
        target[:, low - start : high - start] = lesson.target[:, low:high]
        known[:, low - start : high - start] = lesson.known[:, low:high]
        if known.any(axis=0).sum() < self._least:
            return None
        mel = distort(roughen(mel, rng) if self._synthetic else mel, rng)
        if not self._synthetic and rng.random() < self._hush_share:
            hush(mel[:, reach : self._columns - reach], target, known, rng)
        return mel, target, known
