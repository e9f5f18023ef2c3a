"""Ducking: down for all of the speech, back in time, smooth, and the same for any division of the timeline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.tts.mix.duck import Duck, Ducking

RATE = 8000
SPANS = st.lists(st.tuples(st.integers(-5000, 60000), st.integers(0, 20000)), max_size=8)


@settings(deadline=None)
@given(SPANS, st.lists(st.integers(500, 20000), min_size=1, max_size=5))
def test_curve(spans: list[tuple[int, int]], steps: list[int]) -> None:
    intervals = [(start, start + length) for start, length in spans]
    duck = Duck(intervals, RATE)
    total = 90000
    curve = duck.decibels(0, total)
    spoken, near = np.zeros(total, bool), np.zeros(total, bool)
    for start, end in intervals:
        if end > start:
            spoken[max(start, 0) : max(end, 0)] = True
            near[max(start - RATE // 2, 0) : max(end + RATE // 2, 0)] = True
    assert (curve[spoken] == -15).all()
    assert (curve[~near] == 0).all()
    assert ((curve <= 0) & (curve >= -15)).all()
    assert np.abs(np.diff(curve)).max(initial=0) < 15 * np.pi / 2 / (0.15 * RATE) + 1e-9
    parts, at = [], 0
    while at < total:
        step = min(steps[len(parts) % len(steps)], total - at)
        parts.append(duck.gain(at, step))
        at += step
    assert np.array_equal(np.concatenate(parts), duck.gain(0, total))


def test_times() -> None:
    rate = 48000
    curve = Duck([(rate, 2 * rate)], rate).decibels(0, 4 * rate)
    assert curve[round(0.85 * rate) - 1] == 0
    assert curve[rate - 1] == pytest.approx(-15, abs=1e-3)
    assert curve[2 * rate] == pytest.approx(0 - 15, abs=1e-3)
    assert curve[round(2.35 * rate)] == 0
    assert curve[round(2.175 * rate)] == pytest.approx(-7.5, abs=0.01)


@pytest.mark.parametrize(("pause", "stays_down"), [(0.2, True), (0.49, True), (0.5, False), (0.8, False)])
def test_short_pauses_are_not_ridden(pause: float, stays_down: bool) -> None:
    second = 48000 + round(pause * 48000)
    curve = Duck([(0, 48000), (second, second + 4800)], 48000).decibels(48000, second - 48000)
    assert (curve.max() == -15) == stays_down
    assert stays_down or curve.max() > -0.01


def test_ramps_that_meet_take_the_deeper() -> None:
    slow = Ducking(depth_db=-20, attack=1.0, release=1.0, hold=0.1)
    curve = Duck([(0, 8000), (12000, 20000)], 8000, slow).decibels(0, 20000)
    assert curve[10000] == pytest.approx(-20 * (1 + np.cos(np.pi * 0.25)) / 2, abs=0.01)
    assert (curve[:8000] == -20).all()
    assert (curve[12000:] == -20).all()


def test_no_ramps_and_no_depth() -> None:
    hard = Duck([(100, 200)], 8000, Ducking(attack=0, release=0))
    assert hard.decibels(99, 3).tolist() == [0, -15, -15]
    assert (Duck([(100, 200)], 8000, Ducking(depth_db=0)).gain(0, 300) == 1).all()
    assert (Duck([], 8000).gain(0, 300) == 1).all()


@pytest.mark.parametrize("wrong", [{"depth_db": 3}, {"attack": -1}, {"hold": float("nan")}, {"release": float("inf")}])
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="depth_db"):
        Ducking(**wrong)
