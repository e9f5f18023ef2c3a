"""Is something before the mouth? Colours and brightness around the lips are compared with all mouths of the gallery.

Measured with ellipses moved over five speakers: dark things (a microphone, a cup) score 6.4 to 23, uncovered mouths at
most 3.3. A hand as light as the face scores 2 to 5: it is not found reliably, and then a mouth is drawn on it.
"""

from __future__ import annotations

import numpy as np

from raydub.arrays import F64, Bools
from raydub.stages.mouths.gallery import Gallery
from raydub.stages.track.look import Looks, skin, summed

COVERED = 5.0
"""A score above this is no mouth."""
_CHROMA, _LIGHT = 1.5, 0.08  # least spread of levels of chroma, of the logarithm of brightness


def is_covered(looks: Looks, gallery: Gallery, person: int, follows: Bools) -> Bools:
    """(n,) bool for n frames with the person's face; follows (n,): the frame shows the same picture as the one before.
    Of three neighbouring frames two decide."""
    scores = covering(looks, gallery, person)
    over = scores > COVERED
    before = np.where(follows, np.concatenate((over[:1], over[:-1])), over)
    to_next = np.concatenate((follows[1:], [False]))
    after = np.where(to_next, np.concatenate((over[1:], over[-1:])), over)
    return np.asarray((over & before) | (over & after) | (before & after), np.bool_)


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
