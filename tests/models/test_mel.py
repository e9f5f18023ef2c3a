"""The mel spectrogram against the published formulas, written out here with numpy and scipy alone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError
from raydub.models import mel as mel_module
from raydub.models.mel import mel_spectrogram, mel_windows
from tests.examples import examples
from tests.reference.mel import published


def speechlike(seconds: float, seed: int = 0) -> np.ndarray:
    """Voiced hum with harmonics and a moving envelope, hiss, and a silent stretch."""
    random = np.random.default_rng(seed)
    t = np.arange(int(seconds * 16000)) / 16000
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / 16000
    hum = sum(np.sin(n * pitch) / n for n in range(1, 40))
    sound = 0.2 * hum * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t)) + 0.01 * random.standard_normal(len(t))
    sound[len(t) // 3 : len(t) // 2] = 0
    return sound.astype(np.float32)


@pytest.mark.parametrize("seconds", [0.2, 1.0, 3.37])
def test_law_8_mel_equals_the_published_formulas(seconds: float) -> None:
    samples = speechlike(seconds)
    found, expected = mel_spectrogram(samples), published(samples)
    assert found.dtype == np.float32
    assert found.shape == expected.shape == (80, 1 + len(samples) // 200)
    assert np.abs(found - expected).max() < 1e-4
    assert expected.max() > 0
    assert expected.min() == -4 or seconds < 1, "the silent stretch is at the floor"


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = speechlike(2.0)
    whole = mel_spectrogram(samples)
    monkeypatch.setattr(mel_module, "_BLOCK", 37)
    assert np.abs(mel_spectrogram(samples) - whole).max() < 1e-5


def test_digital_silence_is_minus_four() -> None:
    assert (mel_spectrogram(np.zeros(16000, np.float32)) == -4).all()


@pytest.mark.parametrize("length", [0, 1, 199, 400, 401])
def test_very_short_speech(length: int) -> None:
    found = mel_spectrogram(np.full(length, 0.1, np.float32))
    assert found.shape == (80, 3)
    assert np.isfinite(found).all()


def test_bad_samples_are_refused() -> None:
    with pytest.raises(InputError) as error:
        mel_spectrogram(np.array([0.0, np.nan] * 500, np.float32))
    assert error.value.code == Code.INPUT_UNREADABLE
    with pytest.raises(ValueError, match="shape"):
        mel_spectrogram(np.zeros((2, 500), np.float32))


RATES = [
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(50),
    Fraction(60),
]


@pytest.mark.parametrize("rate", RATES)
def test_windows_are_the_published_ones_where_those_exist(rate: Fraction) -> None:
    mel = np.random.default_rng(1).uniform(-4, 4, (80, 801)).astype(np.float32)
    frames = np.arange(int(10 * rate))
    windows = mel_windows(mel, frames, rate)
    assert windows.shape == (len(frames), 80, 16)
    for frame in frames:
        start = (80 * int(frame) * rate.denominator) // rate.numerator
        if start + 16 <= mel.shape[1]:
            assert np.array_equal(windows[frame], mel[:, start : start + 16])
    # the last frames hear silence after the end instead of an old window
    assert (windows[-1][:, -1] == -4).all()


@settings(max_examples=examples(60), deadline=None)
@given(
    columns=st.integers(0, 60),
    frames=st.lists(st.integers(0, 10**7), max_size=20),
    rate=st.fractions(min_value=1, max_value=240, max_denominator=1001),
    offset=st.integers(-25, 25),
)
def test_every_frame_has_a_window(columns: int, frames: list[int], rate: Fraction, offset: int) -> None:
    mel = np.ones((80, columns), np.float32)
    windows = mel_windows(mel, np.array(frames, np.int32), rate, offset)
    assert windows.shape == (len(frames), 80, 16)
    for row, frame in zip(windows, frames, strict=True):
        start = int((80 * (frame + offset)) / rate // 1)
        heard = [0 <= start + k < columns for k in range(16)]
        assert np.array_equal(row, np.tile(np.where(heard, 1, -4), (80, 1)))


def test_offset_moves_the_sound_by_whole_frames() -> None:
    mel = np.random.default_rng(2).uniform(-4, 4, (80, 400)).astype(np.float32)
    frames, rate = np.arange(10, 50), Fraction(30000, 1001)
    assert np.array_equal(mel_windows(mel, frames, rate, -1), mel_windows(mel, frames - 1, rate))
    with pytest.raises(ValueError, match="rate"):
        mel_windows(mel, frames, Fraction(0))


@pytest.mark.slow  # in a fresh environment numba compiles for 30 s
def test_the_filters_and_the_transform_are_librosa_s() -> None:
    import librosa

    bank = librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600, dtype=np.float64)
    assert np.abs(mel_module._filters() - bank).max() < 1e-15
    samples = speechlike(1.0)
    emphasised = np.append(samples[:1], samples[1:] - 0.97 * samples[:-1].astype(np.float64))
    spectrum = np.abs(librosa.stft(emphasised, n_fft=800, hop_length=200, win_length=800, pad_mode="reflect"))
    level = 20 * np.log10(np.maximum(1e-5, bank @ spectrum)) - 20
    assert np.abs(mel_spectrogram(samples) - np.clip(8 * (level + 100) / 100 - 4, -4, 4)).max() < 1e-6
