"""Voice activity: pauses are found, short ones are not, noise is no speech."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.media import activity as activity_module
from raydub.media.activity import RATE, activity, voiced
from tests.examples import examples


def babble(seconds: float, level: float = 0.2, seed: int = 0) -> np.ndarray:
    """Something like speech: harmonics of a wandering pitch, syllables four times a second."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    pitch = 2 * np.pi * np.cumsum(130 + 20 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    tone = sum(np.sin(k * pitch) / k for k in range(1, 20))
    syllables = 0.3 + 0.7 * np.abs(np.sin(2 * np.pi * 2 * t))
    return (level / 2 * tone * syllables + rng.normal(0, 1e-4, len(t))).astype(np.float32)


def with_pauses(pauses: list[tuple[float, float]], seconds: float, noise: float = 0.0) -> np.ndarray:
    sound = babble(seconds)
    for start, stop in pauses:
        sound[round(start * RATE) : round(stop * RATE)] = 0
    return (sound + np.random.default_rng(1).normal(0, noise, len(sound)) if noise else sound).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.01])
def test_pauses_are_silent_and_speech_is_voiced(noise: float) -> None:
    sound = with_pauses([(0.0, 0.6), (2.0, 2.8), (4.0, 4.1), (5.0, 6.0)], 6.0, noise)
    frames = voiced(sound, Fraction(25), 150)
    assert not frames[3:12].any()
    assert frames[16:48].all()
    assert not frames[54:66].any()
    assert frames[72:123].all()
    assert not frames[130:].any()


def test_quiet_speech_counts_as_loud_speech_does() -> None:
    sound = with_pauses([(2.0, 2.8)], 4.0)
    np.testing.assert_array_equal(voiced(sound, Fraction(25), 100), voiced(sound * np.float32(0.05), Fraction(25), 100))


def test_frames_beyond_the_sound_are_silent_and_rates_are_exact() -> None:
    sound = babble(2.0)
    frames = voiced(sound, Fraction(30000, 1001), 90)
    assert frames[:58].all()
    assert not frames[62:].any()
    assert voiced(np.zeros(0, np.float32), Fraction(25), 3).tolist() == [False] * 3
    assert voiced(sound, Fraction(25), 0).shape == (0,)


def test_silence_and_even_noise_are_no_speech() -> None:
    rng = np.random.default_rng(0)
    assert not activity(np.zeros(RATE, np.float32)).any()
    assert activity(rng.normal(0, 0.02, 5 * RATE).astype(np.float32)).mean() < 0.2


@settings(max_examples=examples(30), deadline=None)
@given(
    st.integers(0, 3 * RATE),
    st.integers(0, 100),
    st.sampled_from([Fraction(24000, 1001), Fraction(25), Fraction(60)]),
)
def test_shapes_for_any_length(n: int, n_frames: int, rate: Fraction) -> None:
    frames = voiced(babble(3.0)[:n], rate, n_frames)
    assert frames.shape == (n_frames,)
    assert frames.dtype == np.bool_


@pytest.mark.media
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("noisy_office_0db.wav", 0.5, 0.97),
        ("en_jfk.flac", 0.5, 0.85),
        ("german1.wav", 0.6, 0.95),
        ("en_lj_01.wav", 0.8, 1.0),
    ],
)
def test_real_speech(media_dir: Path, name: str, low: float, high: float) -> None:
    audio = pytest.importorskip("raydub.media.audio")
    samples = audio.decode_speech(str(media_dir / "audio" / name))
    n = len(samples) * 25 // RATE
    assert low <= voiced(samples, Fraction(25), n).mean() <= high


def test_the_band_pass_is_scipy_s() -> None:
    from scipy import signal

    sections = signal.butter(2, (120.0, 4000.0), "bandpass", fs=RATE, output="sos")
    assert np.abs(np.array(activity_module._BAND_PASS) - sections).max() < 1e-9
    sound = np.concatenate([np.zeros(activity_module._MEMORY, np.float32), babble(1.3)])
    found = activity_module._band_passed(sound)[activity_module._MEMORY :]
    expected = signal.sosfilt(sections, sound.astype(np.float64))[activity_module._MEMORY :]
    assert np.abs(found - expected).max() < 1e-9
    assert np.abs(expected).max() > 0.05
