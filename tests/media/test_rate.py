"""From time stamps to a constant rate: rounding is not variation, and no frame is ever lost."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.media.rate import STANDARD, space_frames
from tests.examples import examples

RATES = st.sampled_from([rate for rate in STANDARD if 10 <= rate <= 60])
BASES = st.sampled_from([Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 15360), Fraction(1, 30000)])


@given(RATES, BASES, st.integers(2, 2000), st.integers(-100, 10_000_000), st.sampled_from([0.0, 0.25]))
def test_rounded_and_jittery_times_are_constant(
    rate: Fraction, base: Fraction, count: int, start: int, jitter: float
) -> None:
    rng = np.random.default_rng(count)
    ideal = np.arange(count) / float(rate * base)
    pts = start + np.rint(ideal + rng.uniform(-jitter, jitter, count) / float(rate * base)).astype(np.int64)
    spacing = space_frames(pts, base, [rate, rate])
    assert not spacing.variable
    assert spacing.n_frames == count
    assert spacing.rate == rate or abs(spacing.rate / rate - 1) * count < 1


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25), Fraction(60000, 1001)])
def test_a_long_film_without_stated_rate(rate: Fraction) -> None:
    for base in (Fraction(1, 1000), Fraction(1, 90000)):
        pts = np.array([round(k / rate / base) for k in range(20000)], np.int64)
        assert space_frames(pts, base, [None, Fraction(90000)]).rate == rate


def test_odd_but_exact_rates_are_kept() -> None:
    pts = np.arange(100, dtype=np.int64) * 400
    spacing = space_frames(pts, Fraction(1, 11988), [Fraction(2997, 100)])
    assert (spacing.rate, spacing.variable) == (Fraction(2997, 100), False)


@settings(max_examples=examples(200))
@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=300), BASES, st.one_of(st.none(), RATES), st.integers(0, 5000)
)
def test_no_frame_is_lost(steps: list[int], base: Fraction, stated: Fraction | None, last: int) -> None:
    scale = max(1, round(Fraction(1, 4000) / base))
    pts = np.cumsum(np.array(steps, np.int64) * scale)
    spacing = space_frames(pts, base, [stated], last)
    assert spacing.slots[0] == 0
    assert len(spacing.slots) == len(pts)
    assert len(pts) == 1 or np.diff(spacing.slots).min() >= 1
    assert spacing.n_frames > spacing.slots[-1]
    shown = np.searchsorted(spacing.slots, np.arange(spacing.n_frames), side="right") - 1
    assert set(shown.tolist()) == set(range(len(pts)))


@settings(max_examples=examples(60))
@given(RATES, st.lists(st.booleans(), min_size=60, max_size=200))
def test_frames_on_a_grid_with_gaps_find_their_grid(rate: Fraction, kept: list[bool]) -> None:
    grid = np.flatnonzero(np.array([True, True, *kept]))
    base = Fraction(1, 90000)
    pts = np.array([round(k / rate / base) for k in grid], np.int64)
    spacing = space_frames(pts, base, [Fraction(len(pts) - 1) / (int(pts[-1] - pts[0]) * base), rate])
    error = spacing.slots / float(spacing.rate) - grid / float(rate)
    assert np.abs(error).max() <= 1.01 / float(spacing.rate)


def test_one_frame() -> None:
    spacing = space_frames(np.array([77], np.int64), Fraction(1, 1000), [None], 40)
    assert (spacing.n_frames, spacing.rate, spacing.variable) == (1, 25, False)
