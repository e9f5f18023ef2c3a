"""Utterances at exact samples, loaded once and not before they are heard, and speech out of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError, StageError
from raydub.media.sound import BLOCK_FRAMES
from raydub.tts.mix.sources import FileSpeech, PlacedSpeech, PlacedUtterance
from tests.examples import examples
from tests.tts.measuring import babble, write

RATE = 48000
FADE = 144


def whole(source: PlacedSpeech | FileSpeech, total: int) -> np.ndarray:
    blocks = list(source.blocks(total))
    assert {len(block) for block in blocks[:-1]} <= {BLOCK_FRAMES}
    return np.concatenate(blocks)


@settings(deadline=None, max_examples=examples(40))
@given(
    st.lists(st.tuples(st.integers(-3000, 200_000), st.integers(1, 90_000), st.integers(0, 500)), max_size=6),
    st.integers(1, 200_000),
)
def test_every_sample_has_its_place(placed: list[tuple[int, int, int]], total: int) -> None:
    """Against sums over one long array; fades touch only the 3 ms at a cut."""
    placements, wanted, exact = [], np.zeros(total, np.float64), np.ones(total, bool)
    for number, (start, length, surplus) in enumerate(placed):
        samples = np.random.default_rng(number).uniform(-0.3, 0.3, length + surplus).astype(np.float32)
        placements.append(PlacedUtterance(start, length, lambda samples=samples: samples))
        first, last = max(start, 0), min(start + length, total)
        if first < last:
            wanted[first:last] += samples[first - start : last - start]
            if start < 0:
                exact[:FADE] = False
            if surplus or start + length > total:
                exact[max(last - FADE, 0) : last] = False
    heard = whole(PlacedSpeech(placements, RATE), total)
    assert heard.dtype == np.float32
    assert len(heard) == total
    assert np.abs(heard - wanted)[exact].max(initial=0) < 1e-6
    assert (np.abs(heard)[~exact] <= 0.3 * len(placed) + 1e-6).all()


def test_fades_only_where_something_was_cut() -> None:
    flat = np.full(RATE, 0.5, np.float32)
    heard = whole(PlacedSpeech([PlacedUtterance(1000, RATE, lambda: flat)], RATE), 2 * RATE)
    assert (heard[1000 : 1000 + RATE] == 0.5).all()
    heard = whole(PlacedSpeech([PlacedUtterance(-500, RATE // 2, lambda: flat)], RATE), RATE)
    end = RATE // 2 - 500
    assert heard[0] == 0
    assert (heard[FADE : end - FADE] == 0.5).all()
    assert heard[end - 1] == 0
    assert 0 < heard[end - FADE // 2] < 0.5
    assert (np.diff(heard[end - FADE : end]) < 0).all()


def test_each_is_loaded_when_it_is_heard_and_let_go_after() -> None:
    loaded: list[int] = []

    def load(number: int) -> np.ndarray:
        loaded.append(number)
        return np.full(BLOCK_FRAMES // 2, 0.1, np.float32)

    placements = [PlacedUtterance(n * BLOCK_FRAMES, 1000, lambda n=n: load(n)) for n in (3, 0, 9, 1)]
    blocks = PlacedSpeech(placements, RATE).blocks(5 * BLOCK_FRAMES)
    seen = [loaded.copy() for _ in blocks]
    assert seen == [[0], [0, 1], [0, 1], [0, 1, 3], [0, 1, 3]]


def test_utterances_that_cannot_be_used_are_named() -> None:
    short = PlacedSpeech([PlacedUtterance(0, 100, lambda: np.zeros(99, np.float32), "cue 7")], RATE)
    broken = PlacedSpeech([PlacedUtterance(0, 100, lambda: np.full(100, np.nan, np.float32), "cue 7")], RATE)
    for source in (short, broken):
        with pytest.raises(StageError, match="cue 7") as caught:
            whole(source, 1000)
        assert caught.value.code == Code.TTS_FAILED
    with pytest.raises(ValueError, match="cue 7"):
        PlacedSpeech([PlacedUtterance(0, 0, lambda: np.zeros(1, np.float32), "cue 7")], RATE)


def test_speech_of_a_file(tmp_path: Path) -> None:
    sound = babble(3, RATE)
    path = str(write(tmp_path / "x.flac", sound, RATE))
    source = FileSpeech(path, RATE, [(5000, 9000), (100, 200), (7, 7)])
    assert source.intervals == [(100, 200), (5000, 9000)]
    longer = whole(source, 4 * RATE)
    assert np.abs(longer[: 3 * RATE] - sound).max() < 1e-6
    assert (longer[3 * RATE :] == 0).all()
    assert np.array_equal(whole(source, 4 * RATE), longer)
    exact = whole(source, 3 * RATE)
    assert np.array_equal(exact, longer[: 3 * RATE])
    for total in (2 * RATE, BLOCK_FRAMES, 7):
        cut = whole(source, total)
        assert np.array_equal(cut[:-FADE], longer[: max(total - FADE, 0)])
        assert cut[-1] == 0
    with pytest.raises(InputError) as caught:
        whole(FileSpeech(str(tmp_path / "none.wav"), RATE, []), 100)
    assert caught.value.code == Code.INPUT_MISSING
