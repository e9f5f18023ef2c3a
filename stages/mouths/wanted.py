"""The mouth that the speech wants at each output frame, in the units of the person who is to say it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raydub.arrays import F64
from raydub.models.mouth.spoken import SpokenMouth
from raydub.stages.mouths.gallery import LEVELS, Person

RANK_GAIN, SIZE_GAIN, WIDTH_GAIN = 1.4, 1.2, 1.0
"""The network says less than mouths do: what it says is taken so many times."""
BY_RANK = 0.5
"""Share of the opening by rank; the rest is by standard deviations from the median."""
_ROUNDED = 0.8
"""Standard deviations of the width by which full rounding narrows the mouth, on top of what the width says."""
_MEDIAN = len(LEVELS) // 2


@dataclass(frozen=True)
class Wanted:
    """n frames. opening, width: units; touch: 1 where the lips must touch, 0 where nothing closes them, between 0 and 1
    while they move together."""

    opening: F64
    width: F64
    touch: F64


def wanted_of(said: SpokenMouth, person: Person) -> Wanted:
    """Openings are not spread evenly around their mean: lips are often closed and seldom wide open. So a place in the
    usual distribution becomes the same place in the person's own. By ranks alone what is said loudly and softly would
    differ too little in people whose lips are nearly closed most of the time, so half of it goes by standard deviations
    from the person's median. The normal distribution is Bowling's logistic one (2009). Closures and contact with the
    teeth leave a share of the opening, as in lipsync.warp."""
    z = said.open.astype(np.float64)
    closed, middle, widest = float(person.openings[0]), float(person.openings[_MEDIAN]), float(person.openings[-1])
    by_rank = np.interp(1 / (1 + np.exp(-1.702 * RANK_GAIN * z)), LEVELS, person.openings)
    by_size = np.minimum(np.maximum(middle + SIZE_GAIN * z * person.spread, closed), widest)
    opening = closed + (by_size + BY_RANK * (by_rank - by_size) - closed) * said.aperture
    narrow = WIDTH_GAIN * said.width.astype(np.float64) - _ROUNDED * said.rounding
    return Wanted(opening, person.width[0] + narrow * person.width[1], said.touch.astype(np.float64))
