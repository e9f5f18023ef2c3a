"""The sound features that Wav2Lip was trained on: an 80-band mel spectrogram, 80 columns a second, values in [-4, 4].

Recipe (Wav2Lip's published audio settings): 16 kHz mono, pre-emphasis y[n] = x[n] - 0.97 x[n-1],
STFT with n_fft = window = 800 and hop 200 (periodic Hann, centred), magnitude, 80 Slaney mel bands from 55 to 7600 Hz,
S = 20 log10(max(1e-5, mel)) - 20, clip(8 (S + 100) / 100 - 4, -4, 4).

Centring pads by reflection. The published weights were made with librosa 0.7, whose default that was; newer librosa
pads with zeros, which differs in the first and last two columns only. Computed in numpy, because importing librosa
costs each worker 4 s of CPU time; a test compares with librosa.
"""

from __future__ import annotations

import functools
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, F64
from raydub.errors import Code, InputError

SAMPLE_RATE = 16000
BANDS = 80
COLUMNS_PER_SECOND = 80
WINDOW = 16
"""Columns that the network sees for one frame: 200 ms."""
SILENCE = np.float32(-4.0)

_N_FFT = 800
_HOP = 200
_PRE_EMPHASIS = 0.97
_LOWEST_HZ, _HIGHEST_HZ = 55.0, 7600.0
# Columns computed at once: keeps the memory flat for speech of any length (about 50 MB).
_BLOCK = 4096
# Windows transformed at once: keeps the copies in the processor's cache.
_FFT_ROWS = 256


def mel_spectrogram(samples: F32) -> F32:
    """(80, T) float32 in [-4, 4], T = 1 + n // 200; column t is centred on sample 200 t.

    samples: (n,) float, mono, 16 kHz, full scale ±1. Digital silence gives -4. Speech shorter than the 401 samples
    that reflection needs is padded with silence. Raises InputError (INPUT_UNREADABLE) for samples that are not
    finite numbers, ValueError for another shape.
    """
    stream = MelStream()
    return np.concatenate([*stream.push(samples), *stream.finish()], axis=1)


class MelStream:
    """mel_spectrogram() for speech in blocks of any size: the same columns, bit for bit, in constant memory.

    Columns are computed in blocks at fixed positions: push() returns those that are complete, finish() the rest.
    """

    def __init__(self) -> None:
        self._held = np.zeros(0, np.float32)
        self._first = 0  # number of the first sample in _held
        self._done = 0  # columns returned

    def push(self, samples: F32) -> list[F32]:
        """The next samples, (n,) float; returns blocks of columns, (80, 4096) float32 each. Raises what
        mel_spectrogram() raises."""
        if samples.ndim != 1:
            raise ValueError(f"samples have shape {samples.shape}, expected (n,)")
        if not np.isfinite(samples).all():
            raise InputError(
                Code.INPUT_UNREADABLE,
                "the speech contains samples that are NaN or infinite",
                hint="convert it to 16-bit WAV",
            )
        self._held = np.concatenate([self._held, samples]) if len(self._held) else samples
        found = []
        # A block is computed once the reflected end of the speech cannot reach into it.
        while self._first + len(self._held) >= (self._done + _BLOCK - 1) * _HOP + _N_FFT // 2:
            found.append(self._take(self._done + _BLOCK))
        return found

    def finish(self) -> list[F32]:
        """The speech has ended: the last columns, (80, n) float32, in blocks."""
        if self._first + len(self._held) <= _N_FFT // 2:
            self._held = np.pad(self._held, (0, _N_FFT // 2 + 1 - len(self._held)))
        columns = 1 + (self._first + len(self._held)) // _HOP
        return [self._take(min(stop, columns)) for stop in range(self._done + _BLOCK, columns + _BLOCK, _BLOCK)]

    def _take(self, stop: int) -> F32:
        block = _columns(self._held, self._first, self._done, stop)
        self._done = stop
        # The next column needs half a window before its centre, and its pre-emphasis one sample more; if the speech
        # ends exactly at that centre, reflection needs yet another one.
        first = max(self._first, stop * _HOP - _N_FFT // 2 - 2)
        self._held, self._first = self._held[first - self._first :], first
        return block


def mel_windows(mel: F32, frames: npt.NDArray[np.integer], rate: Fraction, offset_frames: int = 0) -> F32:
    """(N, 80, 16) float32: the mel window of each output frame in `frames` ((N,) int), at `rate` frames a second.

    The window of frame i starts at column floor(80 (i + offset_frames) / rate), in exact rationals: 30000/1001 does not
    drift. Columns before the start and after the end of the speech are silence (-4), so every frame has a window; stock
    Wav2Lip repeats its last window and ends 107 to 150 ms early. offset_frames: training paired a frame with the sound
    one frame earlier (-1), the published inference uses 0.
    """
    if rate <= 0:
        raise ValueError(f"rate {rate} is not positive")
    shown = np.asarray(frames, np.int64) + offset_frames
    first = (shown * (COLUMNS_PER_SECOND * rate.denominator)) // rate.numerator
    index = first[:, None] + np.arange(WINDOW)  # (N, 16)
    inside = (index >= 0) & (index < mel.shape[1])
    if mel.shape[1] == 0:
        return np.full((len(index), BANDS, WINDOW), SILENCE, np.float32)
    windows = mel[:, np.where(inside, index, 0)]  # (80, N, 16)
    return np.ascontiguousarray(np.where(inside[None], windows, SILENCE).transpose(1, 0, 2), np.float32)


def _columns(samples: F32, first: int, start: int, stop: int) -> F32:
    """Columns start .. stop-1: (80, stop - start). samples: those from number `first` on, to the end or further than
    the columns reach."""
    half = _N_FFT // 2
    emphasised = _emphasised(samples, first, start * _HOP - half, (stop - 1) * _HOP + half)
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, _N_FFT)[::_HOP]  # (stop - start, 800)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_N_FFT) / _N_FFT)
    magnitude = np.concatenate(
        [np.abs(np.fft.rfft(windows[at : at + _FFT_ROWS] * hann)) for at in range(0, len(windows), _FFT_ROWS)]
    )
    level = 20.0 * np.log10(np.maximum(1e-5, _filters() @ magnitude.T)) - 20.0
    return np.clip(8.0 * (level + 100.0) / 100.0 - 4.0, -4.0, 4.0).astype(np.float32)


def _emphasised(samples: F32, first: int, start: int, stop: int) -> F64:
    """Pre-emphasised samples start .. stop-1; beyond either end the pre-emphasised signal is mirrored."""
    last = first + len(samples) - 1
    index = np.abs(np.arange(start, stop))
    index = np.where(index > last, 2 * last - index, index)
    before = np.where(index > 0, samples[index - 1 - first].astype(np.float64), 0.0)
    return samples[index - first].astype(np.float64) - _PRE_EMPHASIS * before


@functools.cache
def _filters() -> F64:
    """(80, 401) triangular filters between points that are evenly spaced on Slaney's mel scale, each of area 1
    (Slaney, Auditory Toolbox, 1998): linear below 1000 Hz with 200/3 Hz a mel, above it 27 mels for a factor of 6.4."""
    knee, octave = 15.0, np.log(6.4) / 27
    low, high = 3 * _LOWEST_HZ / 200, knee + np.log(_HIGHEST_HZ / 1000) / octave
    mels = np.linspace(low, high, BANDS + 2)
    points = np.where(mels < knee, 200 * mels / 3, 1000 * np.exp(octave * (mels - knee)))
    widths = np.diff(points)
    slopes = points[:, None] - np.arange(_N_FFT // 2 + 1) * (SAMPLE_RATE / _N_FFT)  # (82, 401)
    bank = np.maximum(0.0, np.minimum(-slopes[:-2] / widths[:-1, None], slopes[2:] / widths[1:, None]))
    return np.asarray(bank * (2.0 / (points[2:] - points[:-2]))[:, None], np.float64)
