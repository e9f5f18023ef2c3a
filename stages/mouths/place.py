"""Where the points of a chosen mouth go in the frame that it is shown in.

Within a run of consecutive mouths the shape is the mouths' own, so that their pixels move as they were filmed. Where
one run follows another the difference between the two is spread over a few frames, and what is missing to the wanted
opening is added as a small move of lips and chin.
"""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32, F64, I64, Bools
from raydub.stages.mouths.gallery import Gallery
from raydub.stages.mouths.shape import MOUTH, Fitted, Shape
from raydub.stages.mouths.wanted import Wanted

SPREAD = 3
"""Frames on each side of a change over which shapes are joined."""
_SHARES = np.array([0.5 * (1 - (k + 0.5) / SPREAD) for k in range(SPREAD)])
_MOST = 0.05  # units: the largest opening that is added or taken away
_MOST_WIDE = 0.035  # the same of the width
_OF_OWN = 0.6  # share of its own opening by which a mouth may be opened further
_LITTLE = 0.012  # units, the same for lips that touch
_UPPER, _LOWER, _CHIN = 0.24, 0.76, 0.62  # shares of a change of opening, as in lipsync.warp_shape
_UPPER_LIP = np.array((49, 50, 51, 52, 53, 61, 62, 63))
_LOWER_LIP = np.array((55, 56, 57, 58, 59, 65, 66, 67))
_CHIN_POINTS = np.array((7, 8, 9))
_LIP_REACH, _CHIN_REACH = 0.22, 0.4  # units to the sides at which a move has fallen to a third

FREEDOM = np.zeros(68)
"""How far each point of a face goes to the chosen mouth's place: lips and chin all the way, nose and ears not."""
FREEDOM[48:68] = 1.0
FREEDOM[3:14] = (0.3, 0.6, 0.85, 1.0, 1.0, 1.0, 1.0, 1.0, 0.85, 0.6, 0.3)


def smooth_steps(gallery: Gallery, path: I64) -> Bools:
    """(n,) bool: does the mouth of a frame follow that of the frame before, as filmed (one or two frames on, held, or
    backward)? True for the first."""
    before = np.concatenate((path[:1], path[:-1]))
    near = np.abs(gallery.frame[path].astype(np.int64) - gallery.frame[before]) <= 2
    return np.asarray(near & (gallery.strand[path] == gallery.strand[before]), np.bool_)


def shapes(gallery: Gallery, path: I64, joined: Bools, wanted: Wanted) -> F64:
    """(n, 68, 2) in units: the shape to show in n consecutive frames. path (n,): mouths; joined (n,): the frame follows
    the one before."""
    own = gallery.fitted.points
    made = own[path].copy()
    after = np.where(gallery.followers(1) >= 0, gallery.followers(1), np.arange(len(gallery)))
    jumps = joined & ~smooth_steps(gallery, path)
    for at in np.flatnonzero(jumps).tolist():
        if at == 0:
            continue
        gap = own[path[at]] - own[after[path[at - 1]]]
        for k, share in enumerate(_SHARES.tolist()):
            if at + k < len(made) and joined[at : at + k + 1].all():
                made[at + k] -= share * gap
            if at - 1 - k >= 0 and joined[at - k : at].all():
                made[at - 1 - k] += share * gap
    have = Shape.of(made)
    lack = wanted.opening - have.opening
    more = np.minimum(np.minimum(lack, _MOST), _OF_OWN * have.opening + _LITTLE)
    # lips that must touch close as far as it takes: what is joined from an open mouth may be far from closed
    move = np.maximum(more, -(_MOST + wanted.touch * have.opening))
    # evened in time, but lips that must touch do
    even = evened(move, joined)
    wider = evened(np.minimum(np.maximum(wanted.width - have.width, -_MOST_WIDE), _MOST_WIDE), joined)
    return moved(made, even + wanted.touch * (np.minimum(even, move) - even), wider)


def moved(points: F64, opening: F64, width: F64) -> F64:
    """points (n, 68, 2) with mouths opened by `opening` and widened by `width` (n,) units."""
    made = points.copy()
    across = points[:, 54, 0] - points[:, 48, 0]
    centre = (points[:, 54, 0] + points[:, 48, 0]) / 2
    stretch = width / np.maximum(across, 0.1)
    made[:, MOUTH, 0] += stretch[:, None] * (points[:, MOUTH, 0] - centre[:, None])
    middle = points[:, 62, 0][:, None]
    for places, share, reach in (
        (_UPPER_LIP, -_UPPER, _LIP_REACH),
        (_LOWER_LIP, _LOWER, _LIP_REACH),
        (_CHIN_POINTS, _CHIN, _CHIN_REACH),
    ):
        fall = np.exp(-(((points[:, places, 0] - middle) / reach) ** 2))
        made[:, places, 1] += share * opening[:, None] * fall
    return made


def evened(values: F64, joined: Bools) -> F64:
    """Means with weights 1 2 1 over neighbours that are joined."""
    before = np.concatenate((values[:1], values[:-1]))
    after = np.concatenate((values[1:], values[-1:]))
    to_next = np.concatenate((joined[1:], [False]))
    return (2 * values + np.where(joined, before, values) + np.where(to_next, after, values)) / 4


def placed(marks: F32, fitted: Fitted, shape: F64) -> F32:
    """(n, 68, 2) frame pixels: landmarks of n faces, whose mouths have the shape (n, 68, 2) in units."""
    # the chin goes down with the lower lip; the jaw's own landmarks tremble too much to follow them
    lower = Shape.of(shape).opening - Shape.of(fitted.points).opening
    aim = fitted.points.copy()
    aim[:, :17, 1] += _CHIN * lower[:, None]
    aim[:, MOUTH] = shape[:, MOUTH]
    goal = fitted.to_frame(aim)
    return np.asarray(marks + FREEDOM[:, None] * (goal - marks), np.float32)
