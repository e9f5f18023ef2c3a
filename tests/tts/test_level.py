"""One level for all utterances, by one factor for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.tts.mix.level import LEVEL_DB, PEAK, levelled
from tests.examples import examples
from tests.tts.measuring import F32, babble, read, tone

RATE = 24000


def db(samples: F32) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


def factor(before: F32, after: F32) -> float:
    """The one factor between them."""
    loud = np.abs(before) > np.abs(before).max() / 100
    found = after[loud].astype(np.float64) / before[loud]
    assert np.ptp(found) <= 1e-5 * found.mean()
    return float(found.mean())


@pytest.mark.parametrize("level", [0.003, 0.05, 0.3, 0.99])
def test_a_steady_sound_gets_the_level(level: float) -> None:
    made = levelled(tone(0.9, RATE, 440, level), RATE)
    assert made.dtype == np.float32
    assert db(made) == pytest.approx(LEVEL_DB, abs=0.05)


@pytest.mark.parametrize("pause", [0.3, 3.0])
def test_pauses_and_soft_parts_do_not_count(pause: float) -> None:
    """A line with a pause in it is as loud as one without."""
    loud, soft = tone(0.6, RATE, 220, 0.2), tone(0.6, RATE, 220, 0.2 * 10 ** (-30 / 20))
    gap = np.zeros(round(pause * RATE), np.float32)
    line = np.concatenate([loud, gap, soft, gap, loud])
    assert factor(line, levelled(line, RATE)) == pytest.approx(factor(loud, levelled(loud, RATE)), rel=0.01)


def test_a_peak_bounds_the_gain() -> None:
    sound = tone(1.0, RATE, 440, 0.01)
    sound[5000] = 0.9
    made = levelled(sound, RATE)
    assert np.abs(made).max() == pytest.approx(PEAK, rel=1e-5)
    assert np.argmax(np.abs(made)) == 5000
    assert db(made) < LEVEL_DB


def test_two_voices_at_once_stay_below_full_scale() -> None:
    one, two = (levelled(babble(1.0, RATE, seed, 0.3), RATE) for seed in (1, 2))
    assert np.abs(one + two).max() <= 1.0


@pytest.mark.parametrize("count", [0, 1, 719, 720, 721, 30_000])
def test_silence_stays_silence(count: int) -> None:
    silence = np.zeros(count, np.float32)
    assert np.array_equal(levelled(silence, RATE), silence)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12_000), st.floats(-60, 0), st.sampled_from([8000, 22050, 48000]))
@settings(max_examples=examples(80), deadline=None)
def test_laws(seed: int, count: int, loud: float, rate: int) -> None:
    """One factor; never above PEAK; either the level or the peak is met; what came in louder comes out the same."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 1, count) * np.repeat(10 ** rng.uniform(-2, 0, count // 700 + 1), 700)[:count]
    sound = (sound / max(1e-9, np.abs(sound).max()) * 10 ** (loud / 20)).astype(np.float32)
    made = levelled(sound, rate)
    assert made.shape == sound.shape
    peak = float(np.abs(made).max())
    assert peak <= PEAK * (1 + 1e-6)
    gain = factor(sound, made)
    assert gain > 0
    frame = round(0.030 * rate)
    whole = np.pad(made.astype(np.float64), (0, -count % frame)).reshape(-1, frame)
    power = (whole**2).mean(axis=1)
    reached = 10 * np.log10(power[power >= power.max() * 10**-1.5].mean())
    assert reached <= LEVEL_DB + 0.01
    assert reached == pytest.approx(LEVEL_DB, abs=0.01) or peak == pytest.approx(PEAK, rel=1e-5)
    half = levelled(sound * np.float32(0.5), rate)
    assert np.allclose(half, made, rtol=1e-5, atol=1e-7)


@pytest.mark.media
def test_real_voices_come_to_one_level(media_dir: Path) -> None:
    made = []
    for name in ("en_lj_01.wav", "spanish1.wav", "german1.wav", "korean1.wav"):
        sound = levelled(read(media_dir / "audio" / name, RATE, 1)[:, 0] * np.float32(0.5), RATE)
        assert np.abs(sound).max() <= PEAK * (1 + 1e-6)
        frames = sound[: len(sound) // 720 * 720].reshape(-1, 720).astype(np.float64)
        power = (frames**2).mean(axis=1)
        made.append(10 * np.log10(power[power > power.max() / 30].mean()))
    assert max(made) - min(made) < 6
    assert max(made) < LEVEL_DB + 0.5
