"""Is something of another colour before the mouth? From one look alone, so it also finds what is there all the time."""

from __future__ import annotations

import numpy as np

from raydub.arrays import Bools
from raydub.stages.track.look import Looks, skin

_REDDEST, _LESS_RED = 11, -3.5
"""Of the 16 cells around the lips this one, the least red first; levels of V against the skin beside. Measured: at
least -2 on frames of 35 clips of uncovered mouths, -4 to -16 with a grey box or a coloured picture before them. A hand
is as red as the face."""


def has_foreign_colour(looks: Looks) -> Bools:
    """(n,) bool: is what lies around the lips less red than the skin? Lips never are, and of a beard's mouth they are a
    part."""
    red = looks.v[:, 1:5, 2:6].reshape(len(looks.v), -1)
    level = np.sort(red, axis=1)[:, _REDDEST] - np.median(skin(looks.v), axis=1)
    return np.asarray(looks.known & (level <= _LESS_RED), np.bool_)
