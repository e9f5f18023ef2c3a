"""Ducking: the gain of the bed under speech, a curve that depends only on the speech's intervals.

The bed goes down before speech begins and comes back after it ends, on raised cosines of decibels, which have no
audible corners. Pauses too short for the bed to come back are ignored.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from raydub.arrays import F32, F64


@dataclass(frozen=True)
class Ducking:
    """depth_db: the bed's gain under speech, 0 or less; attack: seconds of the ramp down, which ends where speech
    begins; release: seconds of the ramp up, from the speech's end; hold: pauses shorter than this many seconds keep the
    bed down."""

    depth_db: float = -15.0
    attack: float = 0.15
    release: float = 0.35
    hold: float = 0.5

    def __post_init__(self) -> None:
        numbers = (self.depth_db, self.attack, self.release, self.hold)
        if not np.isfinite(numbers).all() or self.depth_db > 0 or min(numbers[1:]) < 0:
            raise ValueError(f"{self}: depth_db is 0 or less, all others are 0 or more")


class Duck:
    """The curve for given speech. merged: its intervals, in order, at least `hold` apart."""

    def __init__(self, intervals: Iterable[tuple[int, int]], rate: int, ducking: Ducking = Ducking()) -> None:
        """intervals: (first sample, sample after the last) of speech, in any order, overlapping or not; empty ones do
        not count. rate: samples a second."""
        self._depth = ducking.depth_db
        self._attack = round(ducking.attack * rate)
        self._release = round(ducking.release * rate)
        self.merged = tuple(_merged(intervals, round(ducking.hold * rate)))
        self._starts = [start for start, _ in self.merged]

    def decibels(self, start: int, count: int) -> F64:
        """(count,) float64 gain in dB at samples start .. start + count - 1."""
        curve = np.zeros(count)
        # Intervals are in order and apart, so their ends are in order as well.
        first = max(bisect_left(self._starts, start) - 1, 0)
        while first and self.merged[first - 1][1] + self._release > start:
            first -= 1
        for begin, end in self.merged[first:]:
            if begin - self._attack >= start + count:
                break
            self._ramp(curve, start, begin - self._attack, begin, rising=False)
            curve[_within(begin, start, count) : _within(end, start, count)] = self._depth
            self._ramp(curve, start, end, end + self._release, rising=True)
        return curve

    def gain(self, start: int, count: int) -> F32:
        """(count,) float32 factors at samples start .. start + count - 1; the same numbers for any division into
        ranges."""
        decibels = self.decibels(start, count)
        if not decibels.any():
            return np.ones(count, np.float32)
        return np.power(10.0, decibels / 20).astype(np.float32)

    def _ramp(self, curve: F64, start: int, begin: int, end: int, *, rising: bool) -> None:
        first, last = _within(begin, start, len(curve)), _within(end, start, len(curve))
        if first >= last:
            return
        # Sampled at half positions, so that neither end of the ramp repeats its neighbour.
        done = (np.arange(first, last) + (start - begin) + 0.5) / (end - begin)
        share = (1 + np.cos(np.pi * done)) / 2
        part = curve[first:last]
        np.minimum(part, self._depth * (share if rising else 1 - share), out=part)


def _within(sample: int, start: int, count: int) -> int:
    return min(max(sample - start, 0), count)


def _merged(intervals: Iterable[tuple[int, int]], hold: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted((start, end) for start, end in intervals if end > start):
        if merged and start - merged[-1][1] < max(hold, 1):
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
