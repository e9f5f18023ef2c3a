"""Phonemes of synthesised cues, moved to where they are heard."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.models.mouth.sounds import COLUMNS, ROWS
from raydub.tts.lips import SpokenCue, lip_sounds
from raydub.tts.timing.placement import Placement
from raydub.tts.types import Segment

RATE = 48000
SPOKEN = [(0.0, "a"), (0.5, "m"), (0.6, "a"), (1.0, "")]


def place(start: float, spoken: float, heard: float, cut: float = 0.0) -> Placement:
    """In seconds."""
    begin, length, whole, less = (round(at * RATE) for at in (start, heard, spoken, cut))
    return Placement(Segment(1, "ama"), begin, length, whole, 1.0, whole, whole / (length + less), less, begin, begin)


def table(*cues: SpokenCue, total: float = 6.0) -> np.ndarray:
    made = lip_sounds(cues, RATE, round(total * RATE))
    assert made is not None
    found: np.ndarray = np.load(io.BytesIO(made))
    assert found.shape == (ROWS, round(total * COLUMNS) + 1)
    assert found.dtype == np.uint8
    return found


def closed(found: np.ndarray) -> tuple[float, float]:
    """First and last second of the closure."""
    at = np.flatnonzero(found[1] >= 128)
    return at[0] / COLUMNS, at[-1] / COLUMNS


def test_sounds_lie_where_the_cue_is_heard() -> None:
    found = table(SpokenCue(place(2.0, 1.0, 1.0), SPOKEN))
    assert closed(found) == pytest.approx((2.5, 2.6), abs=1 / COLUMNS)
    known = np.flatnonzero(found[0]) / COLUMNS
    assert (known[0], known[-1]) == (2.0, 3.0)


@given(st.floats(0, 3), st.floats(0.5, 1.0))
def test_compressed_speech_keeps_its_sounds_in_proportion(start: float, factor: float) -> None:
    found = table(SpokenCue(place(start, 1.0, factor), SPOKEN))
    assert closed(found) == pytest.approx((start + 0.5 * factor, start + 0.6 * factor), abs=1.01 / COLUMNS)


def test_what_is_cut_off_has_no_lips() -> None:
    found = table(SpokenCue(place(1.0, 1.0, 0.4, 0.6), SPOKEN))
    assert not found[1].any()
    assert np.flatnonzero(found[0])[-1] / COLUMNS == pytest.approx(1.4)


def test_cues_without_phonemes_are_heard_by_the_network() -> None:
    assert lip_sounds([SpokenCue(place(1.0, 1.0, 1.0), ())], RATE, 6 * RATE) is None
    found = table(SpokenCue(place(1.0, 1.0, 1.0), ()), SpokenCue(place(3.0, 1.0, 1.0), SPOKEN))
    assert np.flatnonzero(found[0])[0] / COLUMNS == 3.0


def test_nothing_lies_beyond_the_timeline() -> None:
    found = table(SpokenCue(place(5.45, 1.0, 1.0), SPOKEN))
    assert closed(found)[1] <= 6.0
