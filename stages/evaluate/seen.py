"""Landmarks of a film as they are measured: mouth openness, mouth width, and the still points of the face."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from raydub.arrays import F32, F64, Bools

STILL = np.r_[17:48]
"""Brows, nose and eyes: the points that speech does not move."""
MOUTH = np.r_[48:68]
SMOOTH = 0.8
"""Frames: standard deviation of the smoothing over time. More would hide closures of two frames."""
_REACH = 3


@dataclass(frozen=True)
class Seen:
    """The main face of n frames of a film. present (n,): is it there; points (n, 68, 2) float32, iBUG order,
    pixels of the frame, smoothed by SMOOTH within runs; joined (n,): the frame continues the one before it; size:
    (width, height)."""

    path: Path
    rate: Fraction
    size: tuple[int, int]
    present: Bools
    points: F32
    joined: Bools

    def __len__(self) -> int:
        return len(self.present)

    def first(self, n: int) -> Seen:
        """The first n frames."""
        return replace(self, present=self.present[:n], points=self.points[:n], joined=self.joined[:n])

    @property
    def openness(self) -> F64:
        """(n,) mean distance of the inner lips (61-67, 62-66, 63-65) over that of the outer eye corners (36-45); NaN
        without a face."""
        p = self.points
        gaps = np.linalg.norm(p[:, [61, 62, 63]] - p[:, [67, 66, 65]], axis=2).mean(axis=1)
        return self._by_eyes(gaps)

    @property
    def width(self) -> F64:
        """(n,) distance of the mouth corners (48-54) over that of the outer eye corners; NaN without a face."""
        return self._by_eyes(np.linalg.norm(self.points[:, 48] - self.points[:, 54], axis=1))

    def _by_eyes(self, lengths: F32) -> F64:
        eyes = np.linalg.norm(self.points[:, 36] - self.points[:, 45], axis=1)
        known = self.present & (eyes > 4)
        return np.where(known, lengths / np.where(known, eyes, 1), np.nan).astype(np.float64)


def joined_of(present: Bools, cut: Bools) -> Bools:
    """(n,): the frame shows the same face in the same shot as the one before it. cut: it starts a shot."""
    joined = present & ~cut
    joined[1:] &= present[:-1]
    joined[:1] = False
    return joined


def smoothed(points: F32, present: Bools, joined: Bools) -> F32:
    """points (n, 68, 2), smoothed over time by a Gaussian of SMOOTH frames within each run of joined frames, whose ends
    are repeated beyond it."""
    out = points.copy()
    starts = np.flatnonzero(present & ~joined)
    weights = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / SMOOTH) ** 2)
    weights /= weights.sum()
    for start in starts:
        stop = start + 1
        while stop < len(present) and joined[stop]:
            stop += 1
        if stop - start > 1:
            run = np.pad(points[start:stop].astype(np.float64), ((_REACH, _REACH), (0, 0), (0, 0)), mode="edge")
            n = stop - start
            out[start:stop] = sum(weight * run[at : at + n] for at, weight in enumerate(weights))
    return out
