"""The sound features of SyncNet: 13 mel cepstral coefficients, 100 columns a second.

Recipe (the defaults of the package that the published network was trained with): samples in the range of 16 bits,
pre-emphasis 0.97, frames of 25 ms every 10 ms without a window function, power spectrum of 512 points, 26 triangular
mel filters from 0 to 8000 Hz, logarithm, orthonormal DCT of type 2, sine lifter of 22, and the logarithm of the frame's
energy in place of the first coefficient.
"""

from __future__ import annotations

import functools

import numpy as np

from raydub.arrays import F32, F64

COEFFICIENTS = 13
COLUMNS_PER_SECOND = 100
_RATE, _FRAME, _STEP, _FFT, _FILTERS = 16000, 400, 160, 512, 26
_LIFTER = 22
_TINY = float(np.finfo(float).eps)


def mfcc(samples: F32) -> F32:
    """(13, T) float32, T = 1 + ceil((n - 400) / 160), at least 1. samples: (n,) float, mono, 16 kHz, full scale 1;
    silence follows their end."""
    x = samples.astype(np.float64) * 32768
    x = np.concatenate([x[:1], x[1:] - 0.97 * x[:-1]])
    count = 1 if len(x) <= _FRAME else 1 + -(-(len(x) - _FRAME) // _STEP)
    x = np.pad(x, (0, max(0, (count - 1) * _STEP + _FRAME - len(x))))
    frames = np.lib.stride_tricks.sliding_window_view(x, _FRAME)[::_STEP][:count]
    power = np.abs(np.fft.rfft(frames, _FFT)) ** 2 / _FFT
    energy = np.maximum(power.sum(axis=1), _TINY)
    bands = np.log(np.maximum(power @ _filters().T, _TINY))
    found = bands @ _dct().T
    number = np.arange(COEFFICIENTS)
    found *= 1 + _LIFTER / 2 * np.sin(np.pi * number / _LIFTER)
    found[:, 0] = np.log(energy)
    return np.ascontiguousarray(found.T, np.float32)


@functools.cache
def _filters() -> F64:
    """(26, 257): triangles between whole bins."""
    mels = np.linspace(0, 2595 * np.log10(1 + _RATE / 2 / 700), _FILTERS + 2)
    bins = np.floor((_FFT + 1) * 700 * (10 ** (mels / 2595) - 1) / _RATE)
    at = np.arange(_FFT // 2 + 1)[None]
    low, middle, high = (bins[k : k + _FILTERS, None] for k in range(3))
    rising = (at - low) / np.maximum(middle - low, 1e-9)
    falling = (high - at) / np.maximum(high - middle, 1e-9)
    found = np.where(at < middle, rising, falling)
    return np.asarray(np.where((at >= low) & (at < high), np.maximum(found, 0), 0), np.float64)


@functools.cache
def _dct() -> F64:
    """(13, 26): the first coefficients of the orthonormal DCT of type 2."""
    k, n = np.arange(COEFFICIENTS)[:, None], np.arange(_FILTERS)[None]
    scale = np.where(k == 0, np.sqrt(1 / _FILTERS), np.sqrt(2 / _FILTERS))
    return np.asarray(scale * np.cos(np.pi * k * (2 * n + 1) / (2 * _FILTERS)), np.float64)
