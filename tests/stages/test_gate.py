"""Gates: fully open where the new mouth is needed, ramps outwards only, nothing across breaks or faceless frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.stages.gate import RAMP, gates, wanted


def masks(data: st.DataObject, count: int) -> list[np.ndarray]:
    n = data.draw(st.integers(1, 60))
    return [np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), np.bool_) for _ in range(count)]


@given(st.data(), st.sampled_from(["dynamic", "lips-open", "always"]), st.integers(0, 5))
def test_gate_laws(data: st.DataObject, policy: str, ramp: int) -> None:
    present, lips, voice, breaks = masks(data, 4)
    gate = gates(present, lips, voice, policy, breaks, ramp)
    on = wanted(present, lips, voice, policy)
    assert gate.dtype == np.float32
    assert gate.min() >= 0
    assert gate.max() <= 1
    assert (gate[on] == 1).all()
    assert (gate[~present] == 0).all()
    assert (gate[~on] < 1).all()
    for t in np.flatnonzero(gate > 0):
        reachable = [
            s
            for s in range(max(0, t - ramp), min(len(on), t + ramp + 1))
            if on[s] and present[min(s, t) : max(s, t) + 1].all() and not breaks[min(s, t) + 1 : max(s, t) + 1].any()
        ]
        nearest = min(abs(s - t) for s in reachable)
        assert gate[t] == pytest.approx(1 - nearest / (ramp + 1))


@given(st.data(), st.sampled_from(["dynamic", "lips-open", "always"]))
def test_windows_equal_the_whole(data: st.DataObject, policy: str) -> None:
    present, lips, voice, breaks = masks(data, 4)
    whole = gates(present, lips, voice, policy, breaks)
    a = data.draw(st.integers(0, len(present) - 1))
    b = data.draw(st.integers(a + 1, len(present)))
    wide = slice(max(0, a - RAMP), b + RAMP)
    part = gates(present[wide], lips[wide], voice[wide], policy, breaks[wide])
    np.testing.assert_array_equal(part[a - wide.start : b - wide.start], whole[a:b])


def test_policies() -> None:
    present = np.array([1, 1, 1, 1, 0], np.bool_)
    lips = np.array([1, 0, 1, 0, 1], np.bool_)
    voice = np.array([1, 1, 0, 0, 1], np.bool_)
    assert wanted(present, lips, voice, "dynamic").tolist() == [True, True, True, False, False]
    assert wanted(present, lips, voice, "lips-open").tolist() == [True, False, True, False, False]
    assert wanted(present, lips, voice, "always").tolist() == [True, True, True, True, False]
    with pytest.raises(ValueError, match="policy"):
        wanted(present, lips, voice, "sometimes")  # type: ignore[arg-type]


def test_a_ramp_opens_before_speech_and_closes_after() -> None:
    voice = np.zeros(12, np.bool_)
    voice[5:7] = True
    present = np.ones(12, np.bool_)
    gate = gates(present, np.zeros(12, np.bool_), voice, "dynamic")
    assert gate.tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0, 0]
    breaks = np.zeros(12, np.bool_)
    breaks[5] = True
    assert gates(present, np.zeros(12, np.bool_), voice, "dynamic", breaks)[:5].tolist() == [0] * 5
