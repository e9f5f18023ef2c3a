"""From the time stamps of a file's frames to one constant, exact rate.

A file is *constant* when frame i stands within half a frame of i/rate: then the constant-rate frames are the file's
frames, one to one, and rounded or jittery time stamps change nothing. Otherwise it is *variable* and is resampled by
time stamps: at a rate high enough that every frame of the file has a slot of its own; frames repeat where the file
has gaps. No frame of the file is ever dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from raydub.arrays import F64, I64

STANDARD = tuple(
    Fraction(*pair)
    for pair in [
        (5, 1), (6, 1), (10, 1), (12, 1), (12500, 1001), (25, 2), (15000, 1001), (15, 1), (20, 1), (24000, 1001),
        (24, 1), (25, 1), (30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001), (60, 1), (90, 1), (100, 1),
        (120000, 1001), (120, 1),
    ]
)  # fmt: skip
_DEFAULT = Fraction(25)
_LOOSE = 0.45
_LONGEST_LAST_FRAME = 10.0


@dataclass(frozen=True)
class Spacing:
    """rate: frames a second; slots: (N,) int64, the constant-rate index of each frame of the file, strictly increasing,
    slots[0] == 0; n_frames: constant-rate frames in all; variable: slots is not simply 0, 1, 2, .."""

    rate: Fraction
    slots: I64
    n_frames: int
    variable: bool


def space_frames(pts: I64, time_base: Fraction, stated: Sequence[Fraction | None], last_duration: int = 0) -> Spacing:
    """Choose the constant rate for frames at `pts` (N > 0 ticks of `time_base` seconds, strictly increasing).

    stated: rates that the container names, best first; last_duration: ticks that the last frame stays, 0 if unknown.
    """
    count = len(pts)
    named = [rate for rate in stated if rate is not None and 1 <= rate <= 1000]
    if count == 1:
        return Spacing(named[0] if named else _DEFAULT, np.zeros(1, np.int64), 1, False)
    ticks = pts - pts[0]
    constant = _constant_rate(ticks, time_base, named)
    if constant is not None:
        return Spacing(constant, np.arange(count, dtype=np.int64), count, False)
    rate = _variable_rate(ticks, time_base, named)
    slots = _slots(ticks, time_base, rate)
    stay = last_duration * float(time_base)
    held = round(stay * float(rate)) if 0 < stay <= _LONGEST_LAST_FRAME else 1
    return Spacing(rate, slots, int(slots[-1]) + max(1, held), True)


def _deviation(ticks: I64, time_base: Fraction, rate: Fraction) -> float:
    """By how many frames time stamps differ from even spacing at `rate` at most, at the best common offset."""
    step = 1 / (rate * time_base)
    off = ticks * step.denominator - np.arange(len(ticks), dtype=np.int64) * step.numerator
    return float(off.max() - off.min()) / 2 / step.numerator


def _constant_rate(ticks: I64, time_base: Fraction, named: list[Fraction]) -> Fraction | None:
    for rate in named:
        if _deviation(ticks, time_base, rate) == 0:
            return rate
    measured = Fraction(len(ticks) - 1) / (int(ticks[-1]) * time_base)
    near = [rate for rate in STANDARD if abs(rate / measured - 1) < Fraction(1, 100)]
    near.sort(key=lambda rate: abs(rate - measured))
    exact = measured.limit_denominator(1001)
    for rate in [*near, *named, *([exact] if exact >= 1 else [])]:
        if _deviation(ticks, time_base, rate) <= float(rate * time_base) + 1e-6:
            return rate
    for rate in [*(r for r in named if r in STANDARD), *near]:
        if _deviation(ticks, time_base, rate) <= _LOOSE:
            return rate
    return None


def _ideal(ticks: I64, time_base: Fraction, rate: Fraction) -> F64:
    return ticks.astype(np.float64) * float(time_base * rate)


def _slots(ticks: I64, time_base: Fraction, rate: Fraction) -> I64:
    """The nearest free place for each frame: slot[i] = max(slot[i-1] + 1, ideal[i])."""
    order = np.arange(len(ticks), dtype=np.int64)
    return order + np.maximum.accumulate(np.rint(_ideal(ticks, time_base, rate)).astype(np.int64) - order)


def _variable_rate(ticks: I64, time_base: Fraction, named: list[Fraction]) -> Fraction:
    average = Fraction(len(ticks) - 1) / (int(ticks[-1]) * time_base)
    candidates = sorted({*STANDARD, *(rate for rate in named if rate.denominator in (1, 2, 1001))})
    candidates = [rate for rate in candidates if average * Fraction(9, 10) <= rate <= 120] or [STANDARD[-1]]
    for rate in candidates:  # a clean grid with gaps: capture that left out repeated frames
        ideal = _ideal(ticks, time_base, rate)
        slots = _slots(ticks, time_base, rate)
        if np.abs(slots - ideal).max() <= 1.5 * float(time_base * rate) + 1e-6:
            return rate
    for rate in candidates:  # jitter: no frame further than one place from its time
        if (_slots(ticks, time_base, rate) - _ideal(ticks, time_base, rate)).max() <= 1.0:
            return rate
    return candidates[-1]
