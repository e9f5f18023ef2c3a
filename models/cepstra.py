"""Mel-frequency cepstra of sound, as the active speaker network (models.light_asd) learned from them.

The usual recipe, with the constants of the package that made the network's training data (python_speech_features):
pre-emphasis 0.97, frames of 25 ms every 10 ms without a window, 512-point power spectrum, 26 triangles from 0 to 8 kHz
that are even on the mel scale 2595 log10(1 + f / 700), logarithm, cosine transform, lifter of 22; the first coefficient
is the logarithm of the frame's energy. Samples are on the scale of 16-bit integers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from raydub.arrays import F32, F64

SAMPLE_RATE = 16_000
HOP, WINDOW = 160, 400
"""Samples between frames, and of a frame."""
COUNT = 13
"""Coefficients of a frame."""
_PIECE = 1024  # frames computed at once
_FFT, _TRIANGLES, _LIFTER, _EMPHASIS = 512, 26, 22, 0.97
_SCALE = 32768.0
_LEAST = float(np.finfo(np.float64).eps)


class CepstraStream:
    """Cepstra of sound that comes in blocks of any size: the same bits for any blocks. Row i is of the samples from
    160 i on."""

    def __init__(self) -> None:
        self._before = np.zeros(1, np.float64)  # the sample before the held ones
        self._held = np.zeros(0, np.float64)

    def push(self, samples: F32) -> Iterator[F32]:
        """The next samples, (n,) mono at 16 kHz in [-1, 1]. Yields (m, 13) rows that are complete."""
        self._held = np.concatenate([self._held, samples.astype(np.float64) * _SCALE])
        while len(self._held) >= _PIECE * HOP + WINDOW:
            yield self._rows(_PIECE)

    def finish(self, rows: int) -> Iterator[F32]:
        """`rows` further rows, of the samples that are left and of silence after them."""
        wanted = (rows - 1) * HOP + WINDOW
        self._held = np.pad(self._held, (0, max(0, wanted - len(self._held))))
        while rows > 0:
            yield self._rows(min(rows, _PIECE))
            rows -= _PIECE

    def _rows(self, count: int) -> F32:
        sound = self._held[: (count - 1) * HOP + WINDOW]
        flat = sound - _EMPHASIS * np.concatenate([self._before, sound[:-1]])
        frames = np.lib.stride_tricks.sliding_window_view(flat, WINDOW)[::HOP]
        self._before = self._held[count * HOP - 1 : count * HOP]
        self._held = self._held[count * HOP :].copy()
        return _cepstra(frames)


def cepstra(samples: F32, rows: int) -> F32:
    """(rows, 13) of (n,) samples; silence after their end."""
    stream = CepstraStream()
    found = [*stream.push(samples)]
    left = rows - sum(map(len, found))
    return np.concatenate([*found, *stream.finish(left)])[:rows] if left > 0 else np.concatenate(found)[:rows]


def _cepstra(frames: F64) -> F32:
    power = np.abs(np.fft.rfft(frames, _FFT)) ** 2 / _FFT
    energy = np.maximum(power.sum(axis=1), _LEAST)
    # The products in one fixed order: BLAS would choose one by the number of frames.
    bands = np.log(np.maximum(np.einsum("tf,bf->tb", power, _triangles(), optimize=False), _LEAST))
    made = np.einsum("tb,cb->tc", bands, _cosines(), optimize=False)
    made[:, 0] = np.log(energy)
    return made.astype(np.float32)


@functools.cache
def _triangles() -> F64:
    """(26, 257)"""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, _TRIANGLES + 2) / 2595) - 1)
    at = np.floor((_FFT + 1) * corners / SAMPLE_RATE)
    bins = np.arange(_FFT // 2 + 1)
    made = np.zeros((_TRIANGLES, len(bins)))
    for band, (low, middle, high) in enumerate(zip(at[:-2], at[1:-1], at[2:], strict=True)):
        rising, falling = (bins >= low) & (bins < middle), (bins >= middle) & (bins < high)
        made[band, rising] = (bins[rising] - low) / (middle - low)
        made[band, falling] = (high - bins[falling]) / (high - middle)
    return made


@functools.cache
def _cosines() -> F64:
    """(13, 26): the orthonormal cosine transform (DCT-II), with the lifter in it."""
    order = np.arange(COUNT)[:, None]
    made = np.sqrt(2 / _TRIANGLES) * np.cos(np.pi * order * (2 * np.arange(_TRIANGLES) + 1) / (2 * _TRIANGLES))
    made[0] /= np.sqrt(2)
    lift: F64 = 1 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER)
    return np.asarray(made * lift, np.float64)
