"""The limiter: below the ceiling between samples too, the same for any blocks, and not there where nothing is loud."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.media.loudness import Meter
from raydub.tts.mix.limiter import Limiter
from tests.examples import examples
from tests.tts.measuring import babble

RATE = 48000


def limited(sound: np.ndarray, ceiling: float, steps: list[int], rate: int = RATE) -> tuple[np.ndarray, Limiter]:
    limiter = Limiter(rate, sound.shape[1], ceiling)
    parts, at, number = [], 0, 0
    while at < len(sound):
        step = steps[number % len(steps)]
        parts.append(limiter.push(sound[at : at + step]))
        at, number = at + step, number + 1
    return np.concatenate([*parts, limiter.finish()]), limiter


def true_peak(sound: np.ndarray, rate: int = RATE) -> float:
    meter = Meter(rate, sound.shape[1])
    meter.push(sound)
    return meter.true_peak


def signals(rate: int) -> dict[str, np.ndarray]:
    count = rate * 2 + 1234
    time = np.arange(count) / rate
    rise = np.minimum(np.minimum(time, time[::-1]) * 5, 1)
    clicks = np.zeros(count)
    clicks[777::9999] = 2.0
    return {
        "speech": babble(count / rate, rate, level=0.5)[:, None] * np.ones((1, 2), np.float32),
        "quarter": (rise * 1.3 * np.sin(np.pi / 2 * np.arange(count) + np.pi / 4))[:, None],
        "high": (rise * 1.3 * np.sin(0.82 * np.pi * np.arange(count)))[:, None],
        "jumps": (np.sin(2 * np.pi * 200 * time) * (1 + 3 * (time % 0.5 > 0.25)))[:, None],
        "clicks": clicks[:, None],
    }


@pytest.mark.parametrize("rate", [48000, 44100, 16000])
def test_true_peaks_stay_below_the_ceiling(rate: int) -> None:
    for name, sound in signals(rate).items():
        out, limiter = limited(sound.astype(np.float32), -1.5, [65536], rate)
        assert true_peak(out, rate) <= -1.45, name
        assert true_peak(out, rate) >= -2.0, name
        assert limiter.reduction_db > 1, name


@settings(deadline=None, max_examples=examples(12))
@given(st.lists(st.integers(1, 30000), min_size=1, max_size=6), st.integers(1, 40000))
def test_blocks_change_no_sample(steps: list[int], count: int) -> None:
    sound = (np.random.default_rng(1).standard_normal((count, 2)) * 0.4).astype(np.float32)
    whole, _ = limited(sound, -3.0, [count])
    parts, _ = limited(sound, -3.0, [max(step, count // 40) for step in steps])
    assert whole.shape == sound.shape
    assert np.array_equal(whole, parts)


def test_what_is_not_loud_passes_bit_by_bit() -> None:
    sound = babble(2, RATE, level=0.05)[:, None]
    sound[50000] = 1.5
    out, _ = limited(sound, -1.0, [1000])
    reach = round(0.012 * RATE)
    assert np.array_equal(out[: 50000 - reach], sound[: 50000 - reach])
    assert np.array_equal(out[50000 + reach :], sound[50000 + reach :])
    assert abs(out[50000, 0]) < 0.9


def test_only_the_level_changes() -> None:
    """Zero latency: a limited tone is the tone, times a gain that moves slowly."""
    tone = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE)[:, None].astype(np.float32)
    out, _ = limited(tone, -6.0, [4096])
    middle = slice(RATE // 4, RATE // 2)
    assert np.abs(out[middle] - 0.5 * tone[middle]).max() < 3e-3


def test_channels_keep_their_balance() -> None:
    sound = babble(1, RATE, level=0.5)[:, None] * np.array([[1.0, 0.25]], np.float32)
    out, _ = limited(sound, -3.0, [5000])
    assert np.allclose(out[:, 1] * 4, out[:, 0], atol=1e-6)


def test_nothing_in_nothing_out() -> None:
    out, limiter = limited(np.zeros((0, 2), np.float32), -1.0, [10])
    assert out.shape == (0, 2)
    assert limiter.reduction_db == 0
    with pytest.raises(ValueError, match="shape"):
        limiter.push(np.zeros((5, 1), np.float32))
