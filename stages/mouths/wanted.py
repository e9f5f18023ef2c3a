"""The mouth that the speech wants at each output frame, in the units of the person who is to say it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raydub.arrays import F32, F64
from raydub.stages.mouths.gallery import Person

OPENING_GAIN, WIDTH_GAIN = 1.5, 1.0
"""Standard deviations of the person's own mouth for one of what the network says."""
_WIDEST_OPENING = 0.04
"""Units above the person's 95 % quantile that may be asked for."""


@dataclass(frozen=True)
class Wanted:
    """n frames. opening, width: units; closure: probability that the lips touch, None if it is not
    known."""

    opening: F64
    width: F64
    closure: F64 | None = None


def wanted_of(said: F32, person: Person, closure: F32 | None = None) -> Wanted:
    """said: (n, 2), opening and width as multiples of a standard deviation from the mean (models.mouth.infer)."""
    z = said.astype(np.float64)
    opening = person.opening[0] + OPENING_GAIN * z[:, 0] * person.opening[1]
    opening = np.minimum(np.maximum(opening, person.low), person.high + _WIDEST_OPENING)
    width = person.width[0] + WIDTH_GAIN * z[:, 1] * person.width[1]
    return Wanted(opening, width, None if closure is None else closure.astype(np.float64))
