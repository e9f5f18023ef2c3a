"""How a drawn mouth follows speech: delays, frozen mouths, silence, closures, on made curves."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from raydub.arrays import F64
from raydub.stages.evaluate.figures import Heard, Person, Spoken, closed, following, mouth, picture
from raydub.stages.evaluate.identity import SPEAKING_SPREAD, identity
from raydub.stages.evaluate.pixels import COLUMNS
from raydub.stages.evaluate.rows import APART, Rows
from raydub.stages.evaluate.seen import joined_of, smoothed

RATE = Fraction(25)


def curve(n: int, seed: int = 1) -> F64:
    """(n,) 0 .. 1, moving as fast as mouths do."""
    made = np.random.default_rng(seed)
    raw = np.convolve(made.normal(size=n + 8), np.ones(4) / 4, mode="valid")[:n]
    return np.clip(0.5 + 0.5 * raw, 0, 1)


def late(values: F64, frames: float) -> F64:
    return np.interp(np.arange(len(values)) - frames, np.arange(len(values)), values)


def heard(wanted: F64, voiced: np.ndarray | None = None, gate: float = 1.0) -> Heard:
    n = len(wanted)
    return Heard(wanted, np.ones(n, np.bool_) if voiced is None else voiced, np.full(n, gate))


def rows(drawn: F64, source: F64 | None = None, start: int = 0) -> Rows:
    n = len(drawn)
    made = Rows.empty(n)
    there = np.ones(n, np.bool_)
    return Rows(
        np.arange(start, start + n),
        there,
        there if source is not None else ~there,
        drawn,
        made.width,
        made.source if source is None else source,
        made.error,
        made.ssim,
        made.pixels,
    )


@settings(deadline=None)
@given(st.floats(-10, 10), st.integers(1, 50))
def test_the_delay_is_found_to_a_fraction_of_a_frame(frames: float, seed: int) -> None:
    wanted = curve(250, seed)
    found = following(late(wanted, frames), heard(wanted), RATE)
    assert found["delay_ms"] == pytest.approx(40 * frames, abs=14)
    assert found["r"] is not None
    assert found["r"] > 0.85
    assert found["r_above"] is not None
    assert found["r_above"] > 0.4


def test_another_speech_is_no_better_than_chance() -> None:
    above = [following(curve(250, seed), heard(curve(250, seed + 100)), RATE)["r_above"] for seed in range(12)]
    assert abs(float(np.mean([one for one in above if one is not None]))) < 0.08


def test_a_frozen_mouth_has_no_correlation_and_no_movement() -> None:
    own = 0.02 + 0.2 * curve(250)
    still = np.full(250, 0.1)
    person = Person.of(rows(still, own))
    found = mouth(rows(still, own), heard(curve(250)), person, RATE)
    assert found["r"] == 0
    assert found["movement"] == 0


def test_too_little_speech_says_nothing() -> None:
    voiced = np.zeros(250, np.bool_)
    voiced[:20] = True
    assert set(following(curve(250), heard(curve(250), voiced), RATE).values()) == {None}
    assert following(curve(30), heard(np.full(30, np.nan)), RATE)["r"] is None


def test_a_mouth_in_silence() -> None:
    voiced = np.arange(250) < 120
    still = 0.05 + 0.2 * curve(250) * voiced
    person = Person.of(rows(still))
    quiet = mouth(rows(still), heard(curve(250), voiced), person, RATE)
    restless = mouth(rows(0.05 + 0.2 * curve(250)), heard(curve(250), voiced), person, RATE)
    assert quiet["silence_motion"] == pytest.approx(0, abs=1e-6)
    assert restless["silence_motion"] == pytest.approx(1, abs=0.3)


def test_closures_are_hit_at_their_times_only() -> None:
    drawn = np.full(300, 0.2)
    drawn[[50, 51, 120, 121, 200]] = 0.01
    drawn[:16] = 0.01  # the person's closed lips
    part = rows(drawn, start=1000)
    sounds = [Spoken((1000 + at) / 25, (1000 + at + 2) / 25) for at in (50, 120, 250)]
    found = closed(part, Person(0.01, 0.3, 0.022, None), sounds, RATE)
    assert (found["closures"], found["closures_hit"]) == (3, pytest.approx(2 / 3))
    assert closed(part, None, sounds, RATE)["closures"] is None
    assert closed(part, Person(0.01, 0.3, 0.022, None), [], RATE)["closures_hit"] is None


def test_nobody_has_no_figures() -> None:
    nothing = rows(np.full(100, np.nan))
    assert Person.of(nothing) is None
    assert set(mouth(nothing, heard(curve(100)), None, RATE)) == {"face_share"}
    empty = Rows.joined([])
    assert len(empty) == 0
    assert mouth(empty, heard(np.zeros(0)), None, RATE) == {"face_share": None}
    assert picture(empty, heard(np.zeros(0)))["sharpness"] is None


def test_windows_that_do_not_touch_are_apart() -> None:
    near = Rows.joined([rows(curve(60)), rows(curve(60), start=60)])
    far = Rows.joined([rows(curve(60)), rows(curve(60), start=600)])
    assert (len(near), len(far)) == (120, 120 + APART)
    assert far.known.sum() == 120
    assert far.between(590, 610).frame.tolist() == list(range(600, 610))


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 9))
def test_smoothing_stays_within_runs(present: list[bool], seed: int) -> None:
    """As scipy's filter with nearest ends, run by run; a face alone stays as it is."""
    made = np.random.default_rng(seed)
    points = made.normal(size=(len(present), 68, 2)).astype(np.float32)
    there = np.array(present)
    cut = made.random(len(present)) < 0.2
    joined = joined_of(there, cut)
    found = smoothed(points, there, joined)
    starts = [*np.flatnonzero(there & ~joined).tolist(), len(present)]
    for start in starts[:-1]:
        stop = start + 1
        while stop < len(present) and joined[stop]:
            stop += 1
        expected = (
            gaussian_filter1d(points[start:stop], 0.8, axis=0, mode="nearest")
            if stop > start + 1
            else points[start:stop]
        )
        np.testing.assert_allclose(found[start:stop], expected, atol=1e-5)
    assert (found[~there] == points[~there]).all()


def test_a_mouth_that_rests_is_no_measure_of_one_that_speaks() -> None:
    """A still picture that speaks neither moves too much nor trembles nor is somebody else."""
    drawn = 0.3 * curve(250)
    asked = heard(curve(250))
    for source, judged in ((np.full(250, 0.02) + 0.001 * curve(250, 2), False), (0.3 * curve(250, 2), True)):
        seen = rows(drawn, source)
        seen.pixels[:, COLUMNS.index("own_jitter")] = 0.1
        seen.pixels[:, COLUMNS.index("new_jitter")] = 9.0
        person = Person.of(seen)
        assert (mouth(seen, asked, person, RATE)["movement"] is not None) == judged
        assert (picture(seen, asked)["jitter"] is not None) == judged
    faces = np.zeros((8, 128), np.float32)
    speaking = np.random.default_rng(1).normal(scale=0.012, size=(8, 128)).astype(np.float32)
    found = identity(faces, speaking)["identity"]
    assert found is not None
    assert identity(faces, speaking, at_rest=True)["identity"] == pytest.approx(found - SPEAKING_SPREAD)
