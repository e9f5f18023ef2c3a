"""What is asked for: more where more is said, always something that the person's mouth does."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.models.mouth.spoken import SpokenMouth
from raydub.stages.mouths.gallery import LEVELS, Person
from raydub.stages.mouths.wanted import Wanted, wanted_of
from tests.examples import examples


def person(skew: float, least: float, size: float) -> Person:
    """Openings from `least` on, `size` wide; with a large skew nearly closed most of the time."""
    openings = least + size * LEVELS**skew
    return Person(np.zeros((68, 2)), np.zeros(0, np.float32), openings, float(openings.std()), (0.6, 0.03))


def asked(z: np.ndarray, who: Person, closure: float = 0.0, teeth: float = 0.0) -> Wanted:
    zero = np.zeros(len(z), np.float32)
    return wanted_of(
        SpokenMouth(z.astype(np.float32), zero, zero + np.float32(closure), zero, zero + np.float32(teeth)), who
    )


@settings(deadline=None, max_examples=examples(60))
@given(skew=st.floats(0.5, 6), least=st.floats(0, 0.05), size=st.floats(0.01, 0.4), teeth=st.floats(0, 1))
def test_openings_rise_within_the_person_s_own(skew: float, least: float, size: float, teeth: float) -> None:
    who = person(skew, least, size)
    z = np.linspace(-6, 6, 121)
    opening = asked(z, who, teeth=teeth).opening
    assert (np.diff(opening) >= -1e-12).all()
    assert opening.min() >= who.openings[0] - 1e-9
    assert opening.max() <= who.openings[-1] + 1e-9
    if teeth == 0:
        assert opening[-1] == np.float64(who.openings[-1])
        # nobody's lips are still while the speech says more and more
        assert opening[80] - opening[60] > 0.15 * who.spread
    assert (asked(z, who, closure=1.0, teeth=teeth).opening <= who.openings[0] + 1e-9).all()
