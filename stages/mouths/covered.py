"""Is something before the mouth? Colours and brightness around the lips are compared with all mouths of the gallery.

Measured with ellipses moved over five speakers: dark things (a microphone, a cup) score 6.4 to 23, uncovered mouths at
most 3.3. A hand as light as the face scores 2 to 5: it is not found reliably, and then a mouth is drawn on it.
"""

from __future__ import annotations

import numpy as np

from raydub.arrays import F64, Bools
from raydub.stages.mouths.foreign import has_foreign_colour
from raydub.stages.mouths.gallery import Gallery
from raydub.stages.mouths.shape import Pose
from raydub.stages.track.look import Looks, skin, summed

COVERED, CLEAR = 5.0, 3.0
"""A score above the first is no mouth as the gallery has them; one below the second surely is."""
_NEAR = 24
"""Frames: something comes before a mouth that was seen shortly before or is seen soon after. A face in another light
scores high all the time, and is not covered."""
_TURNED = 25.0
"""Degrees of yaw or pitch against the usual pose: from here on a face that scores high is seen from the side, where
landmarks are often wrong (seen on a talk with profiles: all of them score 15 to 18)."""
_CHROMA, _LIGHT = 1.5, 0.08  # least spread of levels of chroma, of the logarithm of brightness


def is_covered(looks: Looks, gallery: Gallery, person: int, pose: Pose, follows: Bools) -> Bools:
    """(n,) bool for n frames with the person's face, in a pose; follows (n,): the frame shows the same picture as the
    one before. Of three neighbouring frames two decide."""
    scores = covering(looks, gallery, person)
    over = _mostly(scores > COVERED, follows)
    near = looks.known & (scores < CLEAR)
    for _ in range(_NEAR):
        before, after = _beside(near, follows)
        near = near | before | after
    turned = np.maximum(np.abs(pose.yaw), np.abs(pose.pitch)) > _TURNED
    return np.asarray(over & (near | turned), np.bool_)


def is_foreign(looks: Looks, follows: Bools) -> Bools:
    """(n,) bool: as is_covered, by has_foreign_colour, which needs no gallery: of a face that is covered all the time
    there are no other mouths."""
    return _mostly(has_foreign_colour(looks), follows)


def _mostly(values: Bools, follows: Bools) -> Bools:
    """What two of three neighbouring frames say."""
    before, after = _beside(values, follows)
    return np.asarray((values & before) | (values & after) | (before & after), np.bool_)


def _beside(values: Bools, follows: Bools) -> tuple[Bools, Bools]:
    """The values of the frames before and after, the own ones where there are none."""
    before = np.where(follows, np.concatenate((values[:1], values[:-1])), values)
    to_next = np.concatenate((follows[1:], [False]))
    after = np.where(to_next, np.concatenate((values[1:], values[-1:])), values)
    return np.asarray(before, np.bool_), np.asarray(after, np.bool_)


def covering(looks: Looks, gallery: Gallery, person: int) -> F64:
    """(n,): how far each face is from the nearest mouth of the gallery's person, in usual spreads; 0 where no look was
    taken."""
    whose = gallery.person == person
    total = np.zeros(len(looks.luma))
    if not whose.any():
        return total
    for theirs, own, least in zip(
        _around_lips(looks), _around_lips(gallery.looks), (_LIGHT, _CHROMA, _CHROMA), strict=True
    ):
        mouths = own[whose]
        middle = np.median(mouths, axis=0)
        spread = np.maximum(1.4826 * np.median(np.abs(mouths - middle), axis=0), least)
        for row, face in enumerate(theirs):
            total[row] += (np.abs(face - mouths) / spread).mean(axis=1).min()
    return np.where(looks.known, total, 0.0)


def _around_lips(looks: Looks) -> tuple[F64, F64, F64]:
    """(n, 16) each: logarithm of luma, U and V of the cells around the lips, less that of the skin around them."""
    return tuple(  # type: ignore[return-value]
        (plane[:, 1:5, 2:6].reshape(len(plane), -1) - summed(skin(plane), 1)[:, None] / 16).astype(np.float64)
        for plane in (np.log(looks.cells() + 16.0), looks.u, looks.v)
    )
