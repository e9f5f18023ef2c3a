"""The mouth that the speech wants at each output frame, in the units of the person who is to say it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raydub.arrays import F32, F64
from raydub.stages.mouths.gallery import LEVELS, Person

OPENING_GAIN, WIDTH_GAIN = 1.4, 1.0
"""The network says less than mouths do: what it says is taken so many times."""


@dataclass(frozen=True)
class Wanted:
    """n frames. opening, width: units; closure: probability that the lips touch, None if it is not
    known."""

    opening: F64
    width: F64
    closure: F64 | None = None


def wanted_of(said: F32, person: Person, closure: F32 | None = None) -> Wanted:
    """said: (n, 2), opening and width as multiples of a standard deviation from the mean (models.mouth.infer).

    Openings are not spread evenly around their mean: lips are often closed and seldom wide open. So a place in the
    usual distribution becomes the same place in the person's own. The normal distribution is
    Bowling's logistic one (2009).
    """
    z = said.astype(np.float64)
    place = 1 / (1 + np.exp(-1.702 * OPENING_GAIN * z[:, 0]))
    opening = np.interp(place, LEVELS, person.openings)
    if closure is not None:
        shut = np.minimum(np.maximum(2 * closure.astype(np.float64) - 1, 0), 1)
        opening = opening + shut * (np.minimum(opening, person.openings[0]) - opening)
    width = person.width[0] + WIDTH_GAIN * z[:, 1] * person.width[1]
    return Wanted(opening, width, None if closure is None else closure.astype(np.float64))
