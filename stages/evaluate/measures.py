"""Figures from landmarks: does the mouth follow the speech?

Series are (n,) per frame, NaN where the face was not seen. Openness and width are in distances of the outer eye corners
(evaluate.seen). A figure that cannot be measured is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np

from raydub.arrays import F64, Bools


class Sound(Protocol):
    """A phoneme from `start` to `stop`, seconds of the film. closes: the lips must touch; opens: it is an open vowel;
    roundness: 1 rounded, -1 spread, 0 neither."""

    @property
    def start(self) -> float: ...

    @property
    def stop(self) -> float: ...

    @property
    def closes(self) -> bool: ...

    @property
    def opens(self) -> bool: ...

    @property
    def roundness(self) -> float: ...


LAGS = range(-5, 6)
"""Frames by which the drawn mouth may be late (positive) or early."""
FAR = 15
"""Frames: a shift from here on has nothing to do with the speech."""
FEWEST = 20
"""Frames below which no correlation is given."""
AROUND = 2
"""Frames by which a closure may miss its phoneme."""
TOUCH = 0.012
"""Lips touch where openness is at most this above the person's own closed lips, in distances of the outer eye corners.
Looked at on pictures: with the mesh it divides lips that touch from lips apart; dlib's points put a thin gap that shows
teeth on the wrong side, where both lie 0.005 to 0.015 apart."""
LARGEST_CLOSED = 0.05
"""No more than this passes for closed lips, in people who never close them."""
QUIET_MARGIN = 5
"""Frames beside speech that do not count as silence: lips may still close."""


def correlation(drawn: F64, real: F64, lag: int = 0) -> float | None:
    """Pearson's r of drawn(t + lag) with real(t); None for fewer than FEWEST frames, 0 if one side is constant."""
    n = min(len(drawn), len(real))
    if abs(lag) >= n:
        return None
    a, b = drawn[max(lag, 0) : n + min(lag, 0)], real[max(-lag, 0) : n + min(-lag, 0)]
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < FEWEST:
        return None
    a, b = a[known] - a[known].mean(), b[known] - b[known].mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 1e-9 else 0.0


def following(drawn: F64, real: F64, lags: range = LAGS, far: int = FAR) -> dict[str, float | int | None]:
    """r: highest correlation within `lags`; delay: frames by which the drawn mouth is late there; r_now: without delay;
    r_chance: the same search with the real mouth moved round by `far` frames or more, mean: what the search alone finds
    in speech of this length."""
    by_lag = {lag: correlation(drawn, real, lag) for lag in lags}
    known = {lag: r for lag, r in by_lag.items() if r is not None}
    if not known:
        return {"r": None, "delay": None, "r_now": None, "r_chance": None}
    delay = max(known, key=lambda lag: known[lag])
    n = min(len(drawn), len(real))
    wrong = []
    for shift in range(far, n - far + 1, 5):
        moved = np.roll(real[:n], shift)
        found = [r for lag in lags if (r := correlation(drawn[:n], moved, lag)) is not None]
        wrong += [max(found)] if found else []
    return {
        "r": known[delay],
        "delay": delay,
        "r_now": by_lag[0],
        "r_chance": float(np.mean(wrong)) if wrong else None,
    }


def movement(drawn: F64, real: F64) -> float | None:
    """Standard deviation of the drawn openness over that of the real one."""
    if min(np.isfinite(drawn).sum(), np.isfinite(real).sum()) < FEWEST:
        return None
    return float(np.nanstd(drawn) / max(float(np.nanstd(real)), 1e-6))


def touching_below(own: F64) -> float:
    """Openness up to which lips touch, from the person's own openness in the source: its 5 % quantile (at most
    LARGEST_CLOSED) plus TOUCH."""
    closed = float(np.nanquantile(own, 0.05)) if np.isfinite(own).any() else 0.0
    return min(closed, LARGEST_CLOSED) + TOUCH


def frames_of(sound: Sound, rate: Fraction, n: int, around: int = 0) -> range:
    """The frames that show some of the sound, widened by `around`."""
    first, last = int(sound.start * rate) - around, int(np.ceil(sound.stop * float(rate))) + around
    return range(max(first, 0), min(last, n))


def closures(drawn: F64, sounds: Sequence[Sound], rate: Fraction, touch: float) -> dict[str, float | int | None]:
    """closures: p, b and m during the film; closures_hit: share of them in which the lips touch within ±AROUND frames;
    closures_chance: the share that windows of the same lengths hit anywhere else, mean: lips that are always closed hit
    all of both; vowels_open: share of the open vowels at which the lips are apart."""
    n = len(drawn)
    windows = [frames_of(one, rate, n, AROUND) for one in sounds if one.closes]
    windows = [window for window in windows if np.isfinite(drawn[window]).any()]
    spans = [frames_of(one, rate, n) for one in sounds]
    spoken = np.zeros(n, bool)
    for span in spans:
        spoken[span] = True
    voice = drawn[spoken & np.isfinite(drawn)]
    chance = []
    for window in windows:
        length = len(window)
        lows = [voice[at : at + length].min() for at in range(max(len(voice) - length + 1, 0))]
        chance += [float(np.mean(np.array(lows) <= touch))] if lows else []
    vowels = [frames_of(one, rate, n) for one in sounds if one.opens]
    vowels = [window for window in vowels if np.isfinite(drawn[window]).any()]
    return {
        "closures": len(windows),
        "closures_hit": _share([np.nanmin(drawn[window]) <= touch for window in windows]),
        "closures_chance": float(np.mean(chance)) if chance else None,
        "vowels_open": _share([np.nanmax(drawn[window]) > touch for window in vowels]),
    }


def rounding(width: F64, sounds: Sequence[Sound], rate: Fraction) -> float | None:
    """Correlation of narrowness with the rounding that the phonemes ask for: 1 for o, u, w and their like, -1 for i, e,
    s and their like, 0 for others, smoothed over 1.5 frames as mouths do. None without both kinds."""
    wanted = np.full(len(width), np.nan)
    for one in sounds:
        wanted[frames_of(one, rate, len(width))] = one.roundness
    if not {1.0, -1.0} <= set(wanted[np.isfinite(wanted)]):
        return None
    known = np.isfinite(wanted)
    wanted = np.where(known, _blurred(np.nan_to_num(wanted), 1.5), np.nan)
    return correlation(-width, wanted)


def silence(drawn: F64, voiced: Bools, closed: float) -> dict[str, float | None]:
    """silence_motion: mean change of openness from frame to frame in silence over that in speech; silence_open: mean
    openness in silence above `closed`. None for less than 8 frames of silence, QUIET_MARGIN frames beside speech left
    out."""
    n = min(len(drawn), len(voiced))
    quiet = quiet_frames(voiced[:n])
    step = np.abs(np.diff(drawn[:n]))
    still, moving = step[quiet[1:] & quiet[:-1]], step[voiced[1:n] & voiced[: n - 1]]
    if np.isfinite(still).sum() < 8 or np.isfinite(moving).sum() < 8:
        return {"silence_motion": None, "silence_open": None}
    return {
        "silence_motion": float(np.nanmean(still) / max(float(np.nanmean(moving)), 1e-6)),
        "silence_open": float(np.nanmean(drawn[:n][quiet])) - closed,
    }


def _share(hits: Sequence[object]) -> float | None:
    return float(np.mean([bool(hit) for hit in hits])) if hits else None


def quiet_frames(voiced: Bools) -> Bools:
    """(n,): silence, at least QUIET_MARGIN frames away from speech."""
    near = np.convolve(voiced.astype(np.int64), np.ones(2 * QUIET_MARGIN + 1, np.int64), mode="full")
    return np.asarray(near[QUIET_MARGIN : QUIET_MARGIN + len(voiced)] == 0, np.bool_)


def _blurred(values: F64, sigma: float) -> F64:
    """(n,) values after a Gaussian of sigma frames, mirrored beyond their ends."""
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(values, reach, mode="symmetric")
    return np.convolve(padded, weights / weights.sum(), mode="valid")
