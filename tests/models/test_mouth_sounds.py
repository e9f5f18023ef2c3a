"""From phonemes to lips: which sounds close, round, or touch the teeth, and when."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.models.mouth.infer import MouthShapes
from raydub.models.mouth.sounds import COLUMNS, ROWS, Sound, curves_of, known_sounds, sounds_of
from raydub.models.mouth.spoken import ARTICULATORS
from tests.examples import examples

CLOSURE, ROUNDING, TEETH = range(3)
SHAPES = MouthShapes.load()
SILENT = np.full((80, 800), -4, np.float32)


def test_phonemes_move_the_articulators_that_they_use() -> None:
    phonemes = [(0.0, "m"), (0.1, "ˈaʊ"), (0.3, "f"), (0.4, "s"), (0.5, "p͡f"), (0.7, ""), (0.9, "kʷ"), (1.0, "i")]
    found = [(one.articulator, round(one.start, 3), round(one.stop, 3)) for one in sounds_of(phonemes, 1.1)]
    assert found == [
        (CLOSURE, 0.0, 0.1),
        (ROUNDING, 0.2, 0.3),
        (TEETH, 0.3, 0.4),
        (CLOSURE, 0.5, 0.56),
        (TEETH, 0.6, 0.7),
        (ROUNDING, 0.9, 1.0),
    ]


def test_signs_without_a_letter_belong_to_the_phoneme_before() -> None:
    """Piper gives length and stress a time of their own."""
    (found,) = sounds_of([(0.0, "u"), (0.08, "ː"), (0.2, "s")], 0.3)
    assert (found.start, found.stop) == (0.0, 0.2)


def test_a_mark_without_an_end_closes_the_lips_for_a_moment_only() -> None:
    (found,) = sounds_of([(1.0, "m")], 4.0)
    assert found.stop - found.start < 0.2


@given(st.floats(0.2, 2.0), st.floats(0.02, 0.4), st.integers(0, len(ARTICULATORS) - 1))
def test_a_curve_is_half_at_the_edges_and_whole_within(start: float, length: float, which: int) -> None:
    curves = curves_of([Sound(which, start, start + length)], 240)
    at = np.arange(240) / COLUMNS
    inside = (at >= start) & (at <= start + length)
    assert (curves[which][inside] >= 0.5 - 1e-6).all()
    assert (curves[which][~inside] <= 0.5 + 1e-6).all()
    assert not curves[which][(at < start - 0.03) | (at > start + length + 0.03)].any()
    assert not np.delete(curves, which, axis=0).any()
    if length > 0.08:
        assert curves[which].max() == 1


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(30), Fraction(60)])
@settings(max_examples=examples(8), deadline=None)
@given(st.floats(1.0, 7.0), st.floats(0.04, 0.16))
def test_known_closures_are_in_the_right_frames(rate: Fraction, start: float, length: float) -> None:
    """Every closure is in a frame; no frame touches that lies more than a frame from it."""
    known = known_sounds([(0.5, 9.0, [Sound(CLOSURE, start, start + length)])], 760)
    frames = np.arange(int((start - 0.4) * rate), int((start + 0.6) * rate))
    touch = SHAPES.predict(SILENT, rate, frames, known).touch
    at, period = frames / float(rate), 1 / float(rate)
    assert touch[np.argmin(np.abs(at - start - length / 2))] == 1
    assert (touch[(at > start) & (at < start + length)] > 0.9).all()
    assert not touch[(at < start - period - 0.02) | (at > start + length + period + 0.02)].any()


def test_known_sounds_replace_what_is_heard_and_nothing_else() -> None:
    mel = np.random.default_rng(3).uniform(-4, 4, (80, 800)).astype(np.float32)
    known = known_sounds([(2.0, 4.0, [Sound(ROUNDING, 3.0, 3.2)])], 800)
    assert known.shape == (ROWS, 800)
    heard, both = (SHAPES.predict(mel, Fraction(25), np.arange(250), sounds) for sounds in (None, known))
    at = np.arange(250) / 25
    assert (heard.open == both.open).all()
    assert (heard.width == both.width).all()
    outside = (at < 1.9) | (at > 4.1)
    for name in ARTICULATORS:
        assert (getattr(heard, name)[outside] == getattr(both, name)[outside]).all()
    inside = (at > 2.1) & (at < 3.9)
    assert not both.closure[inside].any()
    assert (both.rounding[(at > 3.02) & (at < 3.18)] == 1).all()


def test_overlapping_utterances_are_one_mouth() -> None:
    first, second = Sound(CLOSURE, 1.0, 1.1), Sound(CLOSURE, 1.5, 1.6)
    both = known_sounds([(0.5, 1.3, [first]), (1.2, 2.0, [second])], 240)
    assert (both[0, 40:161] == 255).all()
    assert both[1, 84] == both[1, 124] == 255
    assert not both[1, 95:110].any()
