"""Which sightings of a mouth may be shown again: sharp, uncovered, of the usual colour, and not making faces.

All limits are against the same person's own frames, by medians, so that half of them may be bad. Colours and pictures
are compared with what is usual at the same opening: lips are seldom wide apart, and teeth, tongue and a dark mouth are
then nothing strange.
"""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32, F64, U8, Bools
from raydub.stages.mouths.foreign import has_foreign_colour
from raydub.stages.mouths.shape import Fitted, Shape
from raydub.stages.track.look import Looks

SMALLEST = 24.0
"""Pixels between the outer eye corners: on smaller faces real mouths look no better than drawn ones."""
_MOST_TURNED = 40.0  # degrees of yaw or pitch against the person's usual pose
_SHARP = 0.35  # of the logarithm, below the median, that is blurred
_FACES = 4.0  # robust standard deviations of the shape
_STRANGE = 5.0  # the same of what pictures have that no combination of usual mouths has
_WIDEST = 0.75  # of the way from the median to the 95 % quantile of the opening, beyond it: wider is a yawn or no mouth
_WIDEST_LEAST = 0.03  # units, the same
_ROUNDS = 5  # of weighting down what lies off the line
_HUE = 7.0  # levels of chroma that the skin beside the mouth may be off
_LIPS = 4.5  # robust standard deviations of the lips' colour and brightness: a hand has no lips
USUAL = 6
"""Principal pictures that usual mouths are combined of."""


def usable(fitted: Fitted, look: U8) -> Bools:
    """(n,) bool for n sightings of one person; look (n, LOOK)."""
    shape, pose, looks = Shape.of(fitted.points), fitted.pose, Looks.of(look)
    good: Bools = (
        looks.known
        & ~has_foreign_colour(looks)
        & (np.abs(pose.yaw) < _MOST_TURNED)
        & (np.abs(pose.pitch) < _MOST_TURNED)
    )
    if not good.any():
        return good
    good &= looks.sharpness > np.median(looks.sharpness[good]) - _SHARP
    good &= _within(shape.width, good, _FACES) & _within(shape.height, good, _FACES)
    middle, wide = np.quantile(shape.opening[good], (0.5, 0.95)) if good.any() else (0.0, 0.0)
    good &= shape.opening <= wide + max(_WIDEST * (wide - middle), _WIDEST_LEAST)
    for plane in (looks.u, looks.v):
        skin = plane[:, :, (0, 1, -2, -1)].mean(axis=(1, 2))
        good &= np.abs(skin - np.median(skin[good] if good.any() else skin)) < _HUE
    if good.any():
        known = good.copy()
        for plane, least in ((looks.u, 1.5), (looks.v, 1.5), (np.log(looks.cells() + 16.0), 0.08)):
            lips = plane[:, 1:5, 2:6].reshape(len(plane), -1)
            off = np.abs(lips - at_opening(lips, shape.opening, known))
            good &= (off < _LIPS * np.maximum(1.4826 * np.median(off[known], axis=0), least)).all(axis=1)
    if good.sum() > 4 * USUAL:
        seen = pictures(looks.luma)
        rest = np.asarray(seen - at_opening(seen, shape.opening, good), np.float32)
        strange = strangeness(rest, *usual(rest[good]))
        good &= strange < np.median(strange[good]) + _STRANGE * max(_spread(strange[good]), 0.02)
    return good


def at_opening(values: F32, opening: F64, known: Bools) -> F64:
    """(n, d): what is usual of values (n, d) at each opening (n,), as straight lines through the frames that are known.
    Frames off the lines weigh little: what covers a mouth does not bend them."""
    middle, spread = np.median(opening[known]), max(float(opening[known].std()), 1e-3)
    basis = np.stack((np.ones_like(opening), (opening - middle) / spread), axis=1)
    weight = known.astype(np.float64)
    usual_at = np.zeros(values.shape)
    for _ in range(_ROUNDS):
        lines = np.linalg.lstsq(basis * weight[:, None], values * weight[:, None], rcond=None)[0]
        usual_at = basis @ lines
        off = np.abs(values - usual_at).mean(axis=1)
        weight = np.where(known, np.minimum(1, 1.5 * np.median(off[known]) / np.maximum(off, 1e-6)), 0)
    return usual_at


def pictures(luma: F32) -> F32:
    """(n, HIGH * WIDE) pictures of Looks without brightness and contrast."""
    flat = luma.reshape(len(luma), -1)
    even = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(even / np.maximum(np.sqrt((even * even).mean(axis=1, keepdims=True)), 4.0), np.float32)


def usual(seen: F32) -> tuple[F32, F32]:
    """(middle (d,), axes (USUAL, d)) of the usual among pictures (n, d). The half nearest to the median decides, so
    that a hand that comes often is no usual mouth."""
    middle = np.median(seen, axis=0)
    away = np.abs(seen - middle).mean(axis=1)
    core = seen[away <= np.quantile(away, 0.75)]
    middle = core.mean(axis=0)
    axes = np.linalg.svd(core - middle, full_matrices=False)[2][:USUAL]
    return np.asarray(middle, np.float32), np.asarray(axes, np.float32)


def strangeness(seen: F32, middle: F32, axes: F32) -> F32:
    """(n,) root mean square of what the axes cannot say of pictures (n, d)."""
    off = seen - middle
    for axis in axes:
        off = off - (off * axis).sum(axis=1, keepdims=True) * axis
    return np.asarray(np.sqrt((off * off).mean(axis=1)), np.float32)


def _within(values: F64, good: Bools, most: float) -> Bools:
    middle = np.median(values[good])
    return np.asarray(np.abs(values - middle) < most * max(_spread(values[good]), 0.01), np.bool_)


def _spread(values: F64 | F32) -> float:
    """A robust standard deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
