"""Who has the word, by scores of faces: windowed whatever the split, slow, and never across a cut."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.stages.gate import RAMP
from raydub.stages.track import detect
from raydub.stages.track.cache import cut_out
from raydub.stages.track.config import FaceChoice
from raydub.stages.track.decide import decide, halo
from raydub.stages.track.fits import fits
from raydub.stages.track.raw import RawTracks
from raydub.stages.track.speakers import BURST, HOLD, LEAD, LINGER, PAUSE, REACH, frames_of
from raydub.stages.track.ticks import Ticks
from raydub.stages.types import FaceTrack, Span
from tests.examples import examples
from tests.stages.track.test_track_decide import face_at, raw_of

RATE = Fraction(25)
LEFT, RIGHT = 150.0, 450.0
ACTIVE = FaceChoice(kind="active")


def talk(odds: np.ndarray, fit: np.ndarray, sounding: np.ndarray, cuts: set[int] = frozenset()) -> RawTracks:  # type: ignore[assignment]
    """Two faces that are always there, the right one larger. odds, fit: (n, 2) of left and right."""
    faces = [[(face_at(LEFT, 100), detect.SURE), (face_at(RIGHT, 100, 1.3), detect.SURE)] for _ in odds]
    raw = raw_of(faces, cuts)
    speaking = np.stack([odds, fit], axis=-1).astype(np.float32)
    return replace(raw, speaking=speaking[raw.frame, raw.slot], sounding=np.asarray(sounding, np.bool_))


def said(raw: RawTracks) -> tuple[np.ndarray, FaceTrack]:
    """(n,) 0 left, 1 right, −1 nobody has the word; the track."""
    [track] = decide(raw, raw.span, ACTIVE, rate=RATE)
    right = track.box[:, 0] > (LEFT + RIGHT) / 2
    return np.where(track.limit > 0, right.astype(int), -1), track


def runs(word: np.ndarray) -> list[tuple[int, int]]:
    edges = [0, *(np.flatnonzero(np.diff(word)) + 1).tolist(), len(word)]
    return [(int(word[a]), b - a) for a, b in itertools.pairwise(edges)]


def dialogue(n: int = 200, at: int = 100) -> RawTracks:
    first = np.arange(n) < at
    odds = np.stack([np.where(first, 3, -3), np.where(first, -3, 3)], axis=1)
    return talk(odds, np.zeros((n, 2)), np.ones(n))


def test_the_face_that_speaks_has_the_word() -> None:
    word, track = said(dialogue())
    assert track.present.all()
    assert [who for who, _ in runs(word)] == [0, 1]
    assert abs(runs(word)[0][1] - 100) <= 3
    change = runs(word)[0][1]
    assert track.limit[change - 1] == track.limit[change] == np.float32(1 / (RAMP + 1))
    assert (np.delete(track.limit, [change - 1, change]) == 1).all()


def test_of_two_moving_mouths_the_one_that_fits_the_sound() -> None:
    n, first = 200, np.arange(200) < 100
    fit = np.stack([np.where(first, 1.0, 0.2), np.where(first, 0.1, 0.9)], axis=1)
    word, _ = said(talk(np.full((n, 2), 8.0), fit, np.ones(n)))
    assert [who for who, _ in runs(word)] == [0, 1]
    assert abs(runs(word)[0][1] - 100) <= 1
    # A chance hit of a fifth of a second changes nothing.
    fit[40:45] = (-0.5, 1.5)
    assert [who for who, _ in runs(said(talk(np.full((n, 2), 8.0), fit, np.ones(n)))[0])] == [0, 1]


def test_a_voice_that_no_face_speaks_moves_none() -> None:
    n = 200
    odds = np.full((n, 2), -4.0)
    odds[50:80, 0] = 4
    word, track = said(talk(odds, np.zeros((n, 2)), np.ones(n)))
    assert track.present.all(), "frames with a face that is not chosen are no frames without a face"
    assert runs(word)[0] == (-1, runs(word)[0][1])
    on = np.flatnonzero(word == 0)
    early, late = frames_of(LEAD, RATE), frames_of(LINGER, RATE)
    assert 50 - early - 5 <= on[0] <= 50 - early + 5
    assert 80 + late - 5 <= on[-1] + 1 <= 80 + late + 5
    assert (word != 1).all()


def test_in_silence_the_last_speaker_keeps_the_word_for_a_while() -> None:
    n = 250
    odds = np.full((n, 2), -4.0)
    odds[60:90, 0] = 4
    sounding = np.zeros(n)
    sounding[60:90] = 1
    word, _ = said(talk(odds, np.zeros((n, 2)), sounding))
    hold = frames_of(HOLD, RATE)
    assert [who for who, _ in runs(word)] == [-1, 0, -1]
    assert abs(np.flatnonzero(word == 0)[0] - (60 - hold)) <= 5
    assert abs(np.flatnonzero(word == 0)[-1] - (89 + hold)) <= 5


def test_nothing_crosses_a_cut() -> None:
    n = 160
    odds = np.full((n, 2), -4.0)
    odds[40:80, 0] = 6
    word, _ = said(talk(odds, np.zeros((n, 2)), np.zeros(n), {80}))
    assert (word[80:] == -1).all()
    assert word[79] == 0


def test_without_scores_nobody_speaks() -> None:
    n = 60
    raw = talk(np.full((n, 2), np.nan), np.full((n, 2), np.nan), np.ones(n))
    assert (said(raw)[0] == -1).all()


@settings(max_examples=examples(6), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_pauses_and_bursts_are_not_followed(seed: int) -> None:
    """One face, whose scores jump at random: it gets the word for BURST at least, and is not cut off for less."""
    rng = np.random.default_rng(seed)
    n = 220
    level = np.repeat(rng.choice([-5.0, 5.0], n), rng.integers(1, 14, n))[:n]
    odds = np.stack([level, np.full(n, -9.0)], axis=1)
    word, _ = said(talk(odds, np.zeros((n, 2)), np.ones(n)))
    inner = runs(word)[1:-1]
    assert all(length >= frames_of(BURST, RATE) for who, length in inner if who == 0)
    assert all(length > frames_of(PAUSE, RATE) - frames_of(LINGER, RATE) - 1 for _, length in inner)


@settings(max_examples=examples(5), deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([Fraction(25), Fraction(30), Fraction(12)]))
def test_law_2_who_speaks_does_not_depend_on_spans(seed: int, length: int, rate: Fraction) -> None:
    rng = np.random.default_rng(seed)
    n = 360
    steps = rng.integers(8, 40, 60)
    odds = np.stack([np.repeat(rng.normal(1, 4, 60), steps)[:n], np.repeat(rng.normal(1, 4, 60), steps)[:n]], axis=1)
    fit = rng.normal(0.3, 0.6, (n, 2)).cumsum(axis=0) * 0.1
    sounding = np.repeat(rng.random(60) > 0.3, steps)[:n]
    cuts = {int(at) for at in rng.integers(1, n, 2)}
    raw = talk(odds, np.clip(fit, -2, 2), sounding, cuts)
    raw = replace(raw, span=Span(0, n))
    [whole] = decide(raw, raw.span, ACTIVE, rate=rate)
    reach = halo() + frames_of(REACH, rate)
    for start in rng.integers(0, n, 3).tolist():
        span = Span(start, min(start + length, n))
        around = Span(max(0, span.start - reach), min(n, span.stop + reach))
        [part] = decide(cut_out(raw, around), span, ACTIVE, rate=rate)
        for name in ("present", "limit", "box", "landmarks"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[span.start : span.stop]), name
    assert len(np.unique(whole.limit)) > 1


@pytest.mark.parametrize("sizes", [(1.0, 1.0), (1.0, 1.3), (1.3, 1.0)])
def test_law_2_where_nothing_tells_two_faces_apart(sizes: tuple[float, float]) -> None:
    """Both move their lips in silence, and the left one came into the picture after the right one."""
    n, came = 360, 30
    left, right = (face_at(at, 100, size) for at, size in zip((LEFT, RIGHT), sizes, strict=True))
    raw = raw_of([[*([(left, detect.SURE)] if at >= came else []), (right, detect.SURE)] for at in range(n)], set())
    speaking = np.tile(np.array([3.0, 0.0], np.float32), (len(raw.frame), 1))
    raw = replace(raw, speaking=speaking, sounding=np.zeros(n, np.bool_), span=Span(0, n))
    [whole] = decide(raw, raw.span, ACTIVE, rate=RATE)
    reach = halo() + frames_of(REACH, RATE)
    for start in range(came, n, 37):
        span = Span(start, min(start + 10, n))
        around = Span(max(0, span.start - reach), min(n, span.stop + reach))
        [part] = decide(cut_out(raw, around), span, ACTIVE, rate=RATE)
        assert np.array_equal(part.box, whole.box[span.start : span.stop]), start


@settings(max_examples=examples(60), deadline=None)
@given(st.fractions(min_value=1, max_value=240, max_denominator=90_000), st.integers(1, 2000), st.integers(1, 130))
def test_every_frame_belongs_to_one_window_of_ticks(rate: Fraction, n_frames: int, width: int) -> None:
    ticks = Ticks(rate, n_frames)
    spans = [ticks.inner(Span(at, at + width)) for at in range(0, ticks.count, width)]
    assert [frame for span in spans for frame in range(*span)] == list(range(n_frames))
    shown = ticks.frames(Span(0, ticks.count))
    assert (np.diff(shown) >= 0).all()
    assert shown[0] >= 0
    assert shown[-1] < n_frames
    middle = n_frames // 2
    around = ticks.covering(Span(middle, middle + 1))
    assert ticks.inner(around).start <= middle < ticks.inner(around).stop
    if rate == 25:
        assert np.array_equal(shown, np.arange(n_frames))


def test_lips_that_move_with_the_sound_fit_it() -> None:
    rng = np.random.default_rng(3)
    spoken = np.stack([np.convolve(rng.normal(size=140), np.ones(5), "same") for _ in range(2)], axis=1)
    same = fits(0.01 * np.roll(spoken, 2, axis=0) + 0.3, spoken.astype(np.float32))
    other = fits(rng.normal(size=(140, 2)), spoken.astype(np.float32))
    assert same[15:-15].min() > 1.9
    assert abs(other).max() < 1.9
    assert other.mean() < 0.8
    assert abs(fits(np.full((40, 2), 0.2), spoken[:40].astype(np.float32))).max() < 1e-6, "a still face"
