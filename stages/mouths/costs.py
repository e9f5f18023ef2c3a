"""What it costs to show a mouth of the gallery in a frame, and to show one after another.

Everything of a frame is computed by itself, without products of matrices, whose last bits depend on their size (law 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from raydub.arrays import F32, F64, I32
from raydub.stages.mouths.fitness import pictures
from raydub.stages.mouths.gallery import Gallery
from raydub.stages.mouths.shape import Pose
from raydub.stages.mouths.wanted import Wanted
from raydub.stages.track.look import HIGH, WIDE, Looks, skin, summed

FORBIDDEN = 1e4
"""Cost of a mouth that does not fit."""
FITS = 60.0
"""A mouth that costs more than this in its frame is not shown."""

_OPENING_WEIGHT, _WIDTH_WEIGHT = 4.0, 1.0
_POSE = np.array((6.0, 6.0, 12.0, 0.15))  # degrees of yaw, pitch, roll, and logarithm of size that cost one
_POSE_LIMIT = np.array((20.0, 20.0, 40.0, 0.7))  # beyond which a moved mouth smears
_BLUR_WEIGHT = 2.0
_LIGHT, _LIGHT_LIMIT = 0.25, 0.45  # logarithm of the ratio of brightness that costs one; that is too much
_SHADE, _SHADE_LIMIT = 0.15, 0.35  # the same of its variation over the face
_HUE, _HUE_LIMIT = 6.0, 18.0  # levels of chroma, the same
_CLOSED, _CLOSED_LEAST = 0.25, 0.015  # lips touch: so many of the person's deviations above the least opening; units
_CLOSURE_WEIGHT = 30.0

_SAME_TIME, _NEAR = 1.0, 6.0  # of the very mouth that is replaced, which says the old speech; frames around it

JUMP = 2.4
"""Of showing a mouth that does not follow the one before."""
_HOLD, _SKIP = 0.4, 0.06  # of the same mouth again, of leaving one out
_APPEARANCE = 4.0
_TURN = 10.0  # degrees between two mouths that cost one


@dataclass(frozen=True)
class Targets:
    """n faces that get a mouth. source (n,): frame of the source; person (n,): number in Gallery.people, -1 for none;
    pose; looks."""

    source: I32
    person: I32
    pose: Pose
    looks: Looks


def frame_costs(gallery: Gallery, targets: Targets, wanted: Wanted) -> F32:
    """(n, m): of each of the gallery's m mouths in each of n frames."""
    people, shape = gallery.people, gallery.shape
    spread = np.array([(person.spread, person.width[1]) for person in people])[gallery.person]
    off = (wanted.opening[:, None] - shape.opening) / spread[:, 0]
    wide = np.minimum(np.maximum((wanted.width[:, None] - shape.width) / spread[:, 1], -3), 3)
    cost = _OPENING_WEIGHT * off * off + _WIDTH_WEIGHT * wide * wide
    touching = np.array([max(person.openings[0] + _CLOSED * person.spread, _CLOSED_LEAST) for person in people])
    apart = np.minimum(np.maximum(shape.opening / touching[gallery.person] - 1, 0), 2)
    cost += _CLOSURE_WEIGHT * wanted.touch[:, None] * apart
    bad = targets.person[:, None] != gallery.person
    for place, (theirs, own) in enumerate(zip(targets.pose.stacked().T, gallery.fitted.pose.stacked().T, strict=True)):
        turned = theirs[:, None] - own
        if place == 2:
            turned = (turned + 180) % 360 - 180
        cost += (turned / _POSE[place]) ** 2
        bad |= np.abs(turned) > _POSE_LIMIT[place]
    sharp = gallery.looks.sharpness
    cost += _BLUR_WEIGHT * np.minimum(np.maximum(np.median(sharp) - 0.1 - sharp, 0), 1)
    apart_in_time = (targets.source[:, None] - gallery.frame) / _NEAR
    cost += _SAME_TIME * np.exp(-apart_in_time * apart_in_time)
    known = targets.looks.known[:, None]
    light, shade, hue = light_apart(targets.looks, gallery.looks)
    cost += np.where(known, (light / _LIGHT) ** 2 + (shade / _SHADE) ** 2 + (hue / _HUE) ** 2, 0)
    bad |= known & ((light > _LIGHT_LIMIT) | (shade > _SHADE_LIMIT) | (hue > _HUE_LIMIT))
    return np.where(bad, FORBIDDEN, np.minimum(cost, FORBIDDEN)).astype(np.float32)


def light_apart(targets: Looks, mouths: Looks) -> tuple[F64, F64, F64]:
    """(n, m) each: logarithm of the ratio of brightness, its standard deviation over the face, and the mean difference
    of chroma, of the skin beside and below the mouths."""
    theirs, own = (np.log(skin(looks.cells()).astype(np.float64) + 16.0) for looks in (targets, mouths))
    n, m, cells = len(theirs), len(own), theirs.shape[1]
    total, square, hue = np.zeros((n, m)), np.zeros((n, m)), np.zeros((n, m))
    for cell in range(cells):
        ratio = theirs[:, cell, None] - own[None, :, cell]
        total += ratio
        square += ratio * ratio
    for one, other in ((targets.u, mouths.u), (targets.v, mouths.v)):
        hue += np.abs(summed(skin(one), 1)[:, None] / 16 - summed(skin(other), 1) / 16)
    mean = total / cells
    return np.abs(mean), np.sqrt(np.maximum(square / cells - mean * mean, 0)), hue


def step_costs(gallery: Gallery) -> F32:
    """(m, m): of showing mouth k (column) after mouth j (row)."""
    m, people, shape = len(gallery), gallery.people, gallery.shape
    spread = np.array([(person.spread, person.width[1]) for person in people])[gallery.person]
    height = max(float(shape.height.std()), 1e-3)
    turned = gallery.fitted.pose.stacked()
    space = np.stack(
        (
            shape.opening / spread[:, 0],
            0.7 * shape.width / spread[:, 1],
            0.5 * shape.height / height,
            turned[:, 0] / _TURN,
            turned[:, 1] / _TURN,
        ),
        axis=1,
    )
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 1.0) for one in gallery.looks.luma]).reshape(m, HIGH, WIDE)
    seen = pictures(soft).astype(np.float64)
    expected = np.where(gallery.followers(1) >= 0, gallery.followers(1), np.arange(m))
    away = np.stack([((space[k] - space) ** 2).sum(axis=1) for k in expected])
    strange = np.stack([((seen[k] - seen) ** 2).mean(axis=1) for k in expected])
    cost = JUMP + 0.5 * away + _APPEARANCE * strange
    for step, price in ((0, _HOLD), (2, _SKIP), (1, 0.0)):
        follows = gallery.followers(step)
        rows = np.flatnonzero(follows >= 0)
        cost[rows, follows[rows]] = price
    return cost.astype(np.float32)
