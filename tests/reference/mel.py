"""Wav2Lip's published mel spectrogram, from its formulas, with numpy and scipy alone."""

from __future__ import annotations

import numpy as np
from scipy.signal import get_window, lfilter


def slaney_hz_to_mel(hz: float) -> float:
    """Slaney's Auditory Toolbox: linear to 1000 Hz (66.67 Hz a mel), then 27 mels for each factor of 6.4."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)


def slaney_mel_to_hz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def slaney_bank() -> np.ndarray:
    """(80, 401): triangles between neighbouring mel points, each of area 1 (norm 2 / width)."""
    points = [slaney_mel_to_hz(m) for m in np.linspace(slaney_hz_to_mel(55), slaney_hz_to_mel(7600), 82)]
    hz = np.arange(401) * 16000 / 800
    bank = np.zeros((80, 401))
    for band in range(80):
        low, mid, high = points[band : band + 3]
        rise, fall = (hz - low) / (mid - low), (high - hz) / (high - mid)
        bank[band] = np.maximum(0, np.minimum(rise, fall)) * 2 / (high - low)
    return bank


def published(samples: np.ndarray) -> np.ndarray:
    """(80, T) in [-4, 4]: pre-emphasis, magnitudes, mel bands, decibels, symmetric clipping. samples: 16 kHz mono."""
    emphasised = lfilter([1, -0.97], [1], samples.astype(np.float64))
    padded = np.pad(emphasised, 400, mode="reflect")
    window = get_window("hann", 800, fftbins=True)
    frames = np.stack([padded[t : t + 800] * window for t in range(0, len(padded) - 799, 200)])
    mel = slaney_bank() @ np.abs(np.fft.rfft(frames, axis=1)).T
    level = 20 * np.log10(np.maximum(1e-5, mel)) - 20
    return np.clip(8 * (level + 100) / 100 - 4, -4, 4)
