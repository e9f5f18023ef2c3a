"""Select clips for training: a first pass that refuses unsuitable ones, with reasons.

Clips from the internet may be dubbed, out of sync, silent, or show a listener. A ridge regression from coarse mel bands
to openness, fitted on all other clips, is enough to detect this: if even the best delay shows no relation between sound
and mouth, the clip is refused; if a clear relation lies a little off zero, the clip is moved into sync. Only clips for
training are selected; clips for evaluation never are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from raydub.arrays import F64
from raydub.models.mouth.train.clips import Clip
from raydub.models.mouth.train.evaluate import correlation
from raydub.models.mouth.train.material import COLUMNS, Lesson, lesson_of

_REACH = 16
_RIDGE = 150.0
_MAX_LAG = 24
MIN_SECONDS = 2.0
MIN_MOVEMENT = 0.005
MIN_CORRELATION = 0.15
MIN_GAIN, MIN_MOVED = 0.15, 0.3
"""A clip is moved into sync only if that adds this much correlation and reaches this much."""


@dataclass(frozen=True)
class Screening:
    """clips: those to train with, in sync; refused: name → why; moved: name → seconds by which the picture is late."""

    clips: tuple[Clip, ...]
    refused: dict[str, str]
    moved: dict[str, float]


def screen(clips: Sequence[Clip]) -> Screening:
    """Select training clips. With fewer than four there is nothing to compare: only the simple checks apply."""
    refused = {clip.name: why for clip in clips if (why := _plain_fault(clip))}
    left = [clip for clip in clips if clip.name not in refused]
    if len(left) < 4:
        return Screening(tuple(left), refused, {})
    lessons = [lesson_of(clip) for clip in left]
    features = [_features(lesson) for lesson in lessons]
    terms = [_normal_terms(f, s) for f, s in zip(features, lessons, strict=True)]
    whole = sum(t[0] for t in terms), sum(t[1] for t in terms)
    kept, moved = [], {}
    for clip, lesson, feature, (own_a, own_b) in zip(left, lessons, features, terms, strict=True):
        a = whole[0] - own_a
        weights = np.linalg.solve(a + _RIDGE * np.eye(len(a)), whole[1] - own_b)
        at_zero, best, lag = _best_lag(feature @ weights, lesson)
        if best < MIN_CORRELATION:
            refused[clip.name] = f"sound and mouth movement do not match (r = {at_zero:.2f}, at best {best:.2f})"
        elif best - at_zero > MIN_GAIN and best > MIN_MOVED:
            moved[clip.name] = lag / COLUMNS
            kept.append(replace(clip, times=clip.times - lag / COLUMNS))
        else:
            kept.append(clip)
    return Screening(tuple(kept), refused, moved)


def _plain_fault(clip: Clip) -> str:
    seconds = float(clip.usable.mean() * (clip.times[-1] - clip.times[0])) if len(clip.times) > 1 else 0.0
    if seconds < MIN_SECONDS:
        return f"a usable face in {seconds:.1f} s only"
    movement = float(clip.shape[clip.usable, 0].std())
    if movement < MIN_MOVEMENT:
        return f"the mouth hardly moves (standard deviation of openness {movement:.3f})"
    return ""


def _features(lesson: Lesson) -> F64:
    """(T, features): 20 bands at nine instants around each column, the clip's mean taken out."""
    bands = lesson.mel.reshape(20, 4, -1).mean(axis=1).astype(np.float64)
    bands -= bands.mean(axis=1, keepdims=True)
    total = bands.shape[1]
    padded = np.pad(bands, ((0, 0), (_REACH, _REACH)), mode="edge")
    return np.concatenate([padded[:, o : o + total] for o in range(0, 2 * _REACH + 1, 4)]).T


def _normal_terms(features: F64, lesson: Lesson) -> tuple[F64, F64]:
    x, y = features[lesson.known[0]], lesson.target[0][lesson.known[0]]
    weight = max(len(x), 1) ** -0.5
    return x.T @ x * weight, x.T @ (y - y.mean()) * weight


def _best_lag(said: F64, lesson: Lesson) -> tuple[float, float, int]:
    """Correlation without a shift, the best one, and the columns by which the picture is late there."""
    inner = lesson.known[0].copy()
    inner[:_MAX_LAG] = inner[len(inner) - _MAX_LAG :] = False
    real = lesson.target[0][inner]
    by_lag = {lag: correlation(np.roll(said, lag)[inner], real) for lag in range(-_MAX_LAG, _MAX_LAG + 1, 2)}
    lag = max(by_lag, key=lambda one: by_lag[one])
    return by_lag[0], by_lag[lag], lag
