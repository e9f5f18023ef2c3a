"""Which mouths may be shown again: open ones too, however seldom; covered ones not."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.arrays import F64
from raydub.stages.mouths.fitness import at_opening, usable
from raydub.stages.mouths.shape import Fitted, Pose
from raydub.stages.track.look import CELLS_HIGH, CELLS_WIDE, HIGH, LOOK, WIDE
from tests.examples import examples
from tests.stages.lipsync.test_warp import marks_of

N = 120


def faces(opening: F64) -> Fitted:
    """Level faces that look into the camera."""
    points = np.stack([marks_of((0.0, 0.0), 1.0, float(one)) for one in opening]).astype(np.float64)
    zero = np.zeros(len(opening))
    return Fitted(points, np.ones((len(opening), 2)), np.zeros((len(opening), 2)), Pose(zero, zero, zero, zero))


def looks(opening: F64, seed: int) -> np.ndarray:
    """(n, LOOK): an even skin with noise, red lips, and between them teeth as high as the mouth is open."""
    rng = np.random.default_rng(seed)
    n = len(opening)
    luma = np.full((n, HIGH, WIDE), 120.0)
    u, v = np.full((n, CELLS_HIGH, CELLS_WIDE), 118.0), np.full((n, CELLS_HIGH, CELLS_WIDE), 140.0)
    v[:, 2:4, 2:6] += 8
    shown = np.minimum(opening / 0.25, 1)
    luma[:, 8:15, 10:22] += 90 * shown[:, None, None]
    v[:, 2:4, 2:6] -= (12 * shown)[:, None, None]
    made = np.zeros((n, LOOK), np.uint8)
    area, cells = HIGH * WIDE, CELLS_HIGH * CELLS_WIDE
    made[:, :area] = np.rint(luma.reshape(n, -1) + rng.normal(0, 3, (n, area)))
    for at, plane in ((area, u), (area + cells, v)):
        made[:, at : at + cells] = np.rint(plane.reshape(n, -1) + rng.normal(0, 0.7, (n, cells)))
    made[:, -1] = 40
    return made


@settings(deadline=None, max_examples=examples(15))
@given(seed=st.integers(0, 2**32 - 1), few=st.integers(8, 20), wide=st.floats(0.1, 0.25))
def test_open_mouths_are_usual_however_few(seed: int, few: int, wide: float) -> None:
    rng = np.random.default_rng(seed)
    opening = np.abs(rng.normal(0.02, 0.01, N))
    opening[:few] = wide * rng.uniform(0.6, 1.0, few)
    good = usable(faces(opening), looks(opening, seed))
    assert good[:few].mean() >= 0.75  # the widest of few may be beyond what is believed
    assert good[few:].mean() >= 0.95


@settings(deadline=None, max_examples=examples(15))
@given(seed=st.integers(0, 2**32 - 1), covered=st.integers(4, 30))
def test_what_covers_a_mouth_is_none(seed: int, covered: int) -> None:
    """A thing with an edge, darker than the skin, at any opening that the landmarks may say."""
    rng = np.random.default_rng(seed)
    opening = np.abs(rng.normal(0.05, 0.03, N))
    seen = looks(opening, seed)
    area = HIGH * WIDE
    for row in range(covered):
        picture = seen[row, :area].reshape(HIGH, WIDE)
        picture[4:20, 8 : 24 - row % 4] = 60 + rng.integers(0, 6, (16, 16 - row % 4))
    good = usable(faces(opening), seen)
    assert not good[:covered].any()
    assert good[covered:].mean() >= 0.9


def test_lines_are_not_bent_by_what_lies_off_them() -> None:
    rng = np.random.default_rng(5)
    opening = rng.uniform(0, 0.2, N)
    values = (10 + 50 * opening[:, None] + rng.normal(0, 0.1, (N, 4))).astype(np.float32)
    values[:20] += 40
    usual = at_opening(values, opening, np.ones(N, np.bool_))
    assert np.abs(usual[20:] - (10 + 50 * opening[20:, None])).max() < 1.0
