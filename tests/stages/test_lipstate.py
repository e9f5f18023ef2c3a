"""Lip state: measured right, and remembered for a bounded time only."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raydub.stages.lipstate import CLOSED, MEMORY, OPEN, hysteresis, lips_open, openness


def mouths(ratios: list[float], scale: float = 40.0) -> np.ndarray:
    """Landmarks whose inner lips stand `ratio` mouth widths apart."""
    points = np.zeros((len(ratios), 68, 2), np.float32)
    points[:, 48, 0], points[:, 54, 0] = -scale / 2, scale / 2
    for row, ratio in zip(points, ratios, strict=True):
        for low, high in ((61, 67), (62, 66), (63, 65)):
            row[high, 1] = ratio * scale
            row[low, 0] = row[high, 0] = low - 62
    return points


def test_openness_is_independent_of_size_and_place() -> None:
    small, large = openness(mouths([0.2, 0.0], 20)), openness(mouths([0.2, 0.0], 200) + 300)
    np.testing.assert_allclose(small, [0.2, 0.0], atol=1e-5)
    np.testing.assert_allclose(small, large, atol=1e-5)
    assert openness(np.zeros((1, 68, 2), np.float32))[0] == 0


def test_hysteresis_holds_the_last_clear_state_for_a_bounded_time() -> None:
    between = (OPEN + CLOSED) / 2
    ratio = np.array([between, OPEN, *[between] * (MEMORY + 2), CLOSED, between, OPEN], np.float32)
    state = hysteresis(ratio)
    assert state.tolist() == [False, *[True] * (MEMORY + 1), False, False, False, False, True]


def test_one_twitch_opens_no_mouth() -> None:
    ratios = [0.02] * 10
    ratios[5] = 0.4
    assert not lips_open(mouths(ratios)).any()
    ratios[6] = 0.4
    assert lips_open(mouths(ratios)).any()


@given(st.lists(st.floats(0, 0.3), min_size=1, max_size=80), st.data())
def test_windows_equal_the_whole(ratios: list[float], data: st.DataObject) -> None:
    points = mouths(ratios)
    whole = lips_open(points)
    a = data.draw(st.integers(0, len(ratios) - 1))
    b = data.draw(st.integers(a + 1, len(ratios)))
    first = max(0, a - MEMORY - 2)
    part = lips_open(points[first : b + 2])
    np.testing.assert_array_equal(part[a - first : b - first], whole[a:b])
