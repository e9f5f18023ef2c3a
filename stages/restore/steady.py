"""Temporal steadiness: a restored face is mixed with the same face restored in the frames around it.

Mixing happens in the aligned square, where a still head is still. Restorers generate detail independently in every
frame; on resting skin, the mean over five frames shimmers less. Where the picture moves (a speaking mouth, a blinking
eye) neighbours have no weight, so nothing is smeared.

A neighbour contributes its restored detail with this frame's low-frequency light: the difference between the two at the
scale of BROAD pixels is corrected first. Mixing plain differences (restored less original) instead would paste the
neighbours' grain with the opposite sign, and restore this frame's grain, which the network had removed: with a network
that only smooths, the picture would flicker more than without steadiness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from raydub.arrays import F32, U8
from raydub.stages.restore.align import five_points

REACH = 2
"""Frames before and after that take part."""

FALL = (1.0, 0.85, 0.55)
"""Weight of a neighbour by its distance, at steady = 1."""
MOVED = 5.0
"""Local difference of the squares (0..255, averaged over 4 x 4 pixels) at which a neighbour's weight is down to
exp(-1). Noise of a webcam averages to 1 or 2 there; lips that part make 30 and more."""
COARSE, BROAD = 4, 16
"""Pixels of the square that are averaged to tell motion, and to tell light from grain."""
OTHER = 16.0
"""Mean difference of the squares beyond which they show something else: a cut."""
_JUMP = 0.2
"""Landmarks that move further between two frames than this share of the face's size (eyes to mouth) break the link."""


@dataclass(frozen=True)
class Look:
    """One face in one frame. landmarks: (68, 2) in the frame; square: (S, S, 3) uint8 as it was; made: restored."""

    landmarks: F32
    square: U8
    made: U8


def linked(before: F32, after: F32) -> bool:
    """Can the landmarks of two consecutive frames be one face without a cut?"""
    old, new = five_points(before), five_points(after)
    size = float(np.hypot(*(old[3:].mean(axis=0) - old[:2].mean(axis=0))))
    moved = float(np.hypot(*(new - old).T).max())
    return moved <= _JUMP * max(size, 1.0)


def steadied(now: Look, around: Sequence[tuple[int, Look]], steady: float) -> F32:
    """(S, S, 3) float32: what is to be added to the square of `now`, in 0..255. Without neighbours, or with steady 0,
    exactly what the network changed.

    around: (distance in frames, 1 to REACH; look), linked to `now`, in any fixed order. steady: 0 to 1. With OpenCV, on
    the CPU; stages.restore.steady_torch does the same on a GPU.
    """
    total = _less(now.made, now.square)
    if not around or steady <= 0:
        return total
    height, width = total.shape[:2]
    weights = np.ones((height, width), np.float32)
    small = _coarse(now.square)
    for distance, look in around:
        other = _coarse(look.square)
        weight = _likeness(small, other)
        if weight is None:
            continue
        weight = cv2.resize(weight, (width, height), interpolation=cv2.INTER_LINEAR) * (steady * FALL[distance])
        weights += weight
        light = cv2.resize(other - small, _side(width, BROAD), interpolation=cv2.INTER_AREA)
        change = _less(look.made, now.square) - cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
        total += change * weight[:, :, None]
    return np.asarray(total / weights[:, :, None], np.float32)


def _less(a: U8, b: U8) -> F32:
    return np.asarray(cv2.subtract(a, b, dtype=cv2.CV_32F), np.float32)


def _side(side: int, factor: int) -> tuple[int, int]:
    return (max(1, side // factor),) * 2


def _coarse(square: U8) -> F32:
    return np.asarray(cv2.resize(square, _side(len(square), COARSE), interpolation=cv2.INTER_AREA), np.float32)


def _likeness(now: F32, then: F32) -> F32 | None:
    """1 where the squares agree, towards 0 where they differ, the surroundings of a difference included; None when
    they show different things."""
    apart = np.abs(now - then).max(axis=2)
    if float(apart.mean()) > OTHER:
        return None
    apart = cv2.dilate(apart, np.ones((3, 3), np.uint8))
    return np.asarray(np.exp(-np.square(apart / MOVED)), np.float32)
