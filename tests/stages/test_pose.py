"""How far a head is turned, and the gate that closes for profiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.stages.gate import RAMP, gates
from raydub.stages.pose import FULL, NONE, drawable, tilt_of, yaw_of
from tests.examples import examples
from tests.stages.track.test_track_decide import face_at


def head(yaw: float, roll: float = 0.0, size: float = 40.0) -> np.ndarray:
    """(68, 2) of a head whose nose stands out by 1.14 of half the distance of the eyes: only what yaw needs."""
    points = np.zeros((68, 2))
    turn = np.radians(yaw)
    points[36], points[45] = (-np.cos(turn), 0), (np.cos(turn), 0)
    points[30] = (1.14 * np.sin(turn), 0.7)
    tilt = np.radians(roll)
    rotation = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    return (points @ rotation * size + 100).astype(np.float32)


@pytest.mark.parametrize("roll", [0, 35, 90, 180, -90])
@pytest.mark.parametrize("yaw", [-70, -30, 0, 10, 45, 60])
def test_yaw_is_measured_at_any_tilt_and_size(yaw: int, roll: int) -> None:
    assert yaw_of(head(yaw, roll)[None])[0] == pytest.approx(yaw, abs=0.5)
    assert yaw_of(head(yaw, roll, 5)[None])[0] == pytest.approx(yaw, abs=2)


def test_profiles_show_no_new_mouth_and_absent_faces_set_no_limit() -> None:
    marks = np.stack([head(0), head(FULL - 1), head((FULL + NONE) / 2), head(NONE + 1), head(-80), np.zeros((68, 2))])
    assert drawable(marks.astype(np.float32)) == pytest.approx([1, 1, 0.5, 0, 0, 1], abs=0.02)
    assert drawable(face_at(150, 150)[None])[0] == 1


@pytest.mark.parametrize(("roll", "shown"), [(0, 1), (25, 1), (-37.5, 0.5), (50, 0), (90, 0), (180, 0)])
def test_engines_that_see_upright_squares_leave_tilted_heads_alone(roll: float, shown: float) -> None:
    marks = head(10, roll)[None]
    assert tilt_of(marks)[0] == pytest.approx(roll, abs=0.1) or abs(roll) == 180
    assert drawable(marks)[0] == 1
    assert drawable(marks, upright=True)[0] == pytest.approx(shown, abs=0.01)


@given(st.integers(1, 40), st.integers(0, 2**30), st.integers(0, 39))
@settings(max_examples=examples(60), deadline=None)
def test_the_gate_closes_slowly_and_no_chunk_shows(n: int, seed: int, at: int) -> None:
    rng = np.random.default_rng(seed)
    present, breaks = rng.random(n) > 0.1, rng.random(n) > 0.9
    limit = np.repeat(rng.random(n // 6 + 1) > 0.4, 6)[:n].astype(np.float32)
    on = np.ones(n, np.bool_)
    gate = gates(present, on, on, "dynamic", breaks, limit=limit)
    free = gates(present, on, on, "dynamic", breaks)
    assert (gate <= limit).all()
    assert (gate <= free).all()
    step = 1 / (RAMP + 1) + 1e-6
    for t in range(1, n):
        if present[t] and present[t - 1] and not breaks[t]:
            assert abs(float(gate[t]) - float(gate[t - 1])) <= step
    low, high = max(0, at - RAMP), min(n, at + RAMP + 1)
    if at < n:
        part = slice(low, high)
        own = gates(present[part], on[part], on[part], "dynamic", breaks[part], limit=limit[part])
        assert own[at - low].tobytes() == gate[at].tobytes()
