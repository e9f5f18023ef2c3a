"""The lower face as curves, and how a wanted mouth shape moves them.

All coordinates are *face axes*: origin between the mouth corners, x along the line of the outer eye corners, y towards
the chin, unit = one pixel of the frame. The face unit `u` is the distance of the outer eye corners (landmarks 36-45). A
lip edge is a curve y(x), stored as a table over evenly spaced x, so that a shape is a few short vectors and moving the
lips is adding vectors.

Landmark numbers are 0-based iBUG: outer upper lip 48..54, outer lower lip 54..59 and 48, inner upper lip 60..64, inner
lower lip 64..67 and 60, jaw 0..16, base of the nose 31..35.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raydub.arrays import F32, F64

COLUMNS = 257  # samples of each curve across the region
HALF_WIDTH = 0.95  # the region reaches this many face units to either side of the mouth's middle
UPPER_SHARE = 0.24  # of a change of opening, what the upper lip does; the lower lip does the rest
CHIN_SHARE = 0.62  # of a change of opening, how far the chin goes
JAW_SPREAD = 0.50  # face units: how far to the sides the chin's movement is felt
LIP_STIFFNESS = 0.06  # face units over which a lip's outer edge evens out what its inner edge does
MAX_OPENING = 0.40  # face units: speaking mouths open no wider

_CHAINS = (
    (48, 49, 50, 51, 52, 53, 54),  # outer upper lip
    (48, 59, 58, 57, 56, 55, 54),  # outer lower lip
    (60, 61, 62, 63, 64),  # inner upper lip
    (60, 67, 66, 65, 64),  # inner lower lip
    (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13),  # jaw
)
_LAST = np.array([len(chain) - 1 for chain in _CHAINS])
_KNOTS = int(_LAST.max()) + 1
_PADDED = np.array([chain + chain[-1:] * (_KNOTS - len(chain)) for chain in _CHAINS])
_ROW = np.arange(len(_CHAINS))


@dataclass(frozen=True)
class Axes:
    """The face axes in the frame. origin (2,), right (2,) and down (2,) unit vectors, u in pixels."""

    origin: F32
    right: F32
    down: F32
    u: float

    def to_face(self, points: F32) -> F32:
        """(N, 2) frame pixels -> (N, 2) face axes."""
        d = points - self.origin
        return np.stack((d @ self.right, d @ self.down), axis=-1).astype(np.float32)


@dataclass(frozen=True)
class LipCurves:
    """The four lip edges, the jaw line and the base of the nose of one face.

    x (COLUMNS,) sample positions; outer_upper, inner_upper, inner_lower, outer_lower, jaw: (COLUMNS,) y of each edge;
    outside the corners the lip edges run together. left, right: x of the mouth corners; inner_left, inner_right: of the
    inner corners; nose: y of the nose's base.
    """

    x: F32
    outer_upper: F32
    inner_upper: F32
    inner_lower: F32
    outer_lower: F32
    jaw: F32
    left: float
    right: float
    inner_left: float
    inner_right: float
    nose: float

    @property
    def gap(self) -> F32:
        """(COLUMNS,) height of the opening, never negative."""
        return np.asarray(np.maximum(self.inner_lower - self.inner_upper, 0.0), np.float32)


@dataclass(frozen=True)
class LipMove:
    """How far each edge goes down (negative: up), (COLUMNS,) pixels each, over the columns of the source's curves;
    widen: how far each mouth corner goes outwards, pixels; opening (COLUMNS,): the height of the wanted opening."""

    outer_upper: F32
    inner_upper: F32
    inner_lower: F32
    outer_lower: F32
    jaw: F32
    widen: float
    opening: F32


def axes_of(landmarks: F32) -> Axes | None:
    """The face axes, or None where the landmarks do not make a face (eye corners or mouth corners together)."""
    eyes = landmarks[45] - landmarks[36]
    u = float(np.hypot(*eyes))
    mouth = float(np.hypot(*(landmarks[54] - landmarks[48])))
    if not np.isfinite(landmarks).all() or u < 8.0 or mouth < 0.15 * u:
        return None
    right = (eyes / u).astype(np.float32)
    down = np.array((-right[1], right[0]), np.float32)
    origin = ((landmarks[48] + landmarks[54]) / 2).astype(np.float32)
    return Axes(origin, right, down, u)


def openness_of(landmarks: F32) -> float:
    """Mean inner-lip distance (61-67, 62-66, 63-65) in face units."""
    u = float(np.hypot(*(landmarks[45] - landmarks[36])))
    pairs = landmarks[[61, 62, 63]] - landmarks[[67, 66, 65]]
    return float(np.hypot(pairs[:, 0], pairs[:, 1]).mean() / max(u, 1e-6))


def width_of(landmarks: F32) -> float:
    """Distance of the mouth corners (48-54) in face units."""
    u = float(np.hypot(*(landmarks[45] - landmarks[36])))
    return float(np.hypot(*(landmarks[54] - landmarks[48])) / max(u, 1e-6))


def curves_of(landmarks: F32, axes: Axes) -> LipCurves | None:
    """The curves of one face; None where the mouth is seen too much from the side for curves y(x) to mean anything."""
    p = axes.to_face(landmarks)
    x = np.linspace(-HALF_WIDTH * axes.u, HALF_WIDTH * axes.u, COLUMNS, dtype=np.float32)
    left, right = float(p[48, 0]), float(p[54, 0])
    if right - left < 0.15 * axes.u:
        return None
    outer_upper, outer_lower, inner_upper, inner_lower, jaw = _curves(p, x)
    # the predictor may cross edges by a pixel: an edge never goes past its neighbour
    middle = (inner_upper + inner_lower) / 2
    inner_upper, inner_lower = np.minimum(inner_upper, middle), np.maximum(inner_lower, middle)
    outer_upper, outer_lower = np.minimum(outer_upper, inner_upper), np.maximum(outer_lower, inner_lower)
    nose = float(p[31:36, 1].max())
    if nose > float(outer_upper.min()) - 0.02 * axes.u:
        nose = float(outer_upper.min()) - 0.02 * axes.u
    jaw = np.maximum(jaw, outer_lower + 0.1 * axes.u)
    inner = float(p[60, 0]), float(p[64, 0])
    return LipCurves(x, outer_upper, inner_upper, inner_lower, outer_lower, jaw, left, right, *inner, nose)


def move_to(curves: LipCurves, u: float, opening: float, width: float) -> LipMove:
    """The move that gives this face a mouth `opening` and `width` (both in face units; opening as the mean over the
    three inner pairs of landmarks, see openness_of)."""
    x = curves.x
    opening = min(max(opening, 0.0), MAX_OPENING) * u
    s = (x - curves.inner_left) / max(curves.inner_right - curves.inner_left, 1e-3)
    # the opening's outline: a flat arch; 0.87 is its mean at the places of the three inner pairs (1/4, 1/2, 3/4)
    arch = np.maximum(4 * s * (1 - s), 0.0) ** 0.75
    wanted = np.asarray(opening / 0.87 * arch, np.float32)
    gap = curves.gap
    change = wanted - gap
    # an open mouth's upper lip is an arch: as it closes, it sinks half way to the line between the corners
    ends = np.interp((curves.inner_left, curves.inner_right), x, curves.inner_upper)
    chord = ends[0] + np.minimum(np.maximum(s, 0), 1) * (ends[1] - ends[0])
    sink = np.minimum(np.maximum(0.5 * (chord - curves.inner_upper - UPPER_SHARE * gap), 0), 0.4 * gap)
    sink = sink * np.maximum(1 - wanted / np.maximum(gap, 1e-3), 0)
    upper = np.asarray(sink - UPPER_SHARE * change, np.float32)
    lower = np.asarray(sink + (1 - UPPER_SHARE) * change, np.float32)
    # the jaw turns as one piece: its move is smooth over x and follows the mean change of the opening
    inside = (s > 0.1) & (s < 0.9)
    mean_change = float(change[inside].mean()) if inside.any() else 0.0
    jaw = CHIN_SHARE * mean_change * np.exp(-((x / (JAW_SPREAD * u)) ** 2))
    widen = (width * u - (curves.right - curves.left)) / 2
    widen = min(max(widen, -0.12 * u), 0.10 * u)
    return LipMove(
        outer_upper=(0.9 * upper).astype(np.float32),
        inner_upper=upper.astype(np.float32),
        inner_lower=lower.astype(np.float32),
        outer_lower=np.asarray(0.95 * _softened(lower), np.float32),
        jaw=jaw.astype(np.float32),
        widen=widen,
        opening=wanted,
    )


def _softened(shift: F32) -> F32:
    """The shift, Gaussian-smoothed over x with a standard deviation of LIP_STIFFNESS."""
    return np.convolve(shift, _STIFF, mode="same").astype(np.float32)


def _gaussian(sigma: float) -> F64:
    reach = int(3 * sigma + 0.5)
    weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(weight / weight.sum(), np.float64)


_STIFF = _gaussian(LIP_STIFFNESS * COLUMNS / (2 * HALF_WIDTH))


def _curves(points: F32, x: F32) -> F32:
    """Smooth curves through the points of each of _CHAINS, held level beyond its ends: (len(_CHAINS), len(x)).

    All at once, because calls of numpy on so few numbers cost more than the numbers. Short chains are padded with their
    last point, which no x reaches.
    """
    px, py = points[_PADDED, 0].astype(np.float64), points[_PADDED, 1].astype(np.float64)
    step = 0.02 * np.maximum(px[:, -1:] - px[:, :1], 1.0) * np.arange(_KNOTS)
    px = np.maximum.accumulate(px - step, axis=1) + step  # a turned head may fold the chain back: keep x growing
    # A cubic Hermite spline with three-point slopes (de Boor, A Practical Guide to Splines, chapter IV). Written out:
    # importing scipy.interpolate costs each worker 1 s of CPU time.
    steps = px[:, 1:] - px[:, :-1]
    rises = (py[:, 1:] - py[:, :-1]) / steps
    slopes = np.empty_like(px)
    slopes[:, 0] = rises[:, 0]
    slopes[:, 1:-1] = (rises[:, :-1] * steps[:, 1:] + rises[:, 1:] * steps[:, :-1]) / (steps[:, :-1] + steps[:, 1:])
    slopes[_ROW, _LAST] = rises[_ROW, _LAST - 1]
    at = np.minimum(np.maximum(x, px[:, :1]), px[_ROW, _LAST][:, None])
    inner = np.where(np.arange(1, _KNOTS - 1) < _LAST[:, None], px[:, 1:-1], np.inf)
    left = (at[:, None, :] >= inner[:, :, None]).sum(axis=1) + _ROW[:, None] * _KNOTS
    right = left + 1
    px, py, slopes = px.ravel(), py.ravel(), slopes.ravel()
    start, low = px[left], py[left]
    width = px[right] - start
    t = (at - start) / width
    values = low + (py[right] - low) * (3 - 2 * t) * t * t
    values += width * t * (1 - t) * (slopes[left] * (1 - t) - slopes[right] * t)
    return np.asarray(values, np.float32)
