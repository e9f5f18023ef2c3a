"""A true-peak limiter that is a function of a window of samples only.

The loudest value between and at the samples is found by oversampling to 192 kHz or more (ITU-R BS.1770-4, annex 2) and
a parabola through the highest values. The gain that each instant needs is held for 5 ms on both sides and then smoothed
over the same 5 ms, so that it is down at the peak and never above what any peak needs. No release constant, no state:
block borders cannot change a sample, and nothing is delayed. Where nothing is too loud, samples pass unchanged.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, F64

HOLD_SECONDS = 0.005
"""How far a peak's gain reaches to both sides."""

_FINE_RATE = 192_000  # four times 48 kHz; other rates get the factor that reaches it
_REACH = 16  # samples to either side that the interpolation looks at
# The work is done on a fixed grid of this many sample frames, counted from the first: the same sums in the same order
# for every sample, however it was pushed.
_GRID = 1 << 13
_MARGIN_DB = 0.02
"""Safety margin below the ceiling, for what oversampling and a moving gain may miss."""


class Limiter:
    """Keeps the true peak of a stream at or below `ceiling_db` (dBTP), within 0.05 dB.

    All channels get the same gain. push() returns what is ready, in order; finish() the rest. In total exactly as many
    sample frames come out as went in, at the same positions.
    """

    def __init__(self, rate: int, channels: int, ceiling_db: float) -> None:
        """rate: Hz; channels: of the blocks; ceiling_db: dBTP."""
        self.reduction_db = 0.0
        """The deepest cut so far in dB, 0 or more."""
        self._channels = channels
        self._ceiling = 10 ** ((ceiling_db - _MARGIN_DB) / 20)
        self._hold = max(round(HOLD_SECONDS * rate), 1)
        self._halo = 2 * self._hold + _REACH
        taps = _interpolation(max(-(-_FINE_RATE // rate), 2))
        # No interpolated value can exceed the largest sample nearby times this.
        self._bound = float(np.abs(taps).sum(axis=1).max())
        self._spectra, self._length = _spectra(taps, _GRID + 2 * self._halo)
        self._held = np.zeros((self._halo, channels), np.float32)
        self._waiting: list[F32] = []
        self._count = 0
        self._given = 0
        self._pushed = 0

    def push(self, block: F32) -> F32:
        """(n, channels) float32 in, (m, channels) float32 out; m may be 0."""
        if block.ndim != 2 or block.shape[1] != self._channels:
            raise ValueError(f"a block of shape {block.shape} for {self._channels} channels")
        self._pushed += len(block)
        self._waiting.append(block)
        self._count += len(block)
        if len(self._held) + self._count < _GRID + 2 * self._halo:
            return np.zeros((0, self._channels), np.float32)
        ready, whole = [], np.concatenate([self._held, *self._waiting])
        at = 0
        while len(whole) - at >= _GRID + 2 * self._halo:
            ready.append(self._limited(whole[at : at + _GRID + 2 * self._halo]))
            at += _GRID
        self._held, self._waiting, self._count = whole[at:].copy(), [], 0
        out = np.concatenate(ready)
        self._given += len(out)
        return out

    def finish(self) -> F32:
        """The sample frames that are not returned yet: (m, channels) float32."""
        rest = self._pushed - self._given
        silence = np.zeros((-rest % _GRID + self._halo, self._channels), np.float32)
        pushed = self._pushed
        out = self.push(silence)[:rest] if rest else np.zeros((0, self._channels), np.float32)
        self._pushed, self._given = pushed, pushed
        return out

    def _limited(self, block: F32) -> F32:
        """The middle _GRID frames of a block with a halo on both sides."""
        middle = block[self._halo : -self._halo]
        if float(np.abs(block).max()) * self._bound <= self._ceiling:
            return middle
        peaks = self._peaks(block)
        needed = np.minimum(1.0, self._ceiling / np.maximum(peaks, self._ceiling))
        if needed.min() >= 1.0:
            return middle
        gain = self._smooth(needed)[2 * self._hold : 2 * self._hold + _GRID]
        self.reduction_db = max(self.reduction_db, -20 * math.log10(float(gain.min())))
        limited: F32 = np.where(gain[:, None] < 1.0, middle * gain[:, None], middle).astype(np.float32)
        return limited

    def _peaks(self, block: F32) -> F64:
        """(n - 2 * _REACH,): the loudest value, over all channels, at each frame and between it and its neighbours."""
        from scipy import fft

        spectra = fft.rfft(block.T, self._length, axis=1)
        loudest = np.zeros(len(block), np.float32)
        for samples, spectrum in zip(block.T, spectra, strict=True):
            between = fft.irfft(spectrum * self._spectra, self._length, axis=1)[:, : len(block)]
            fine = np.abs(np.concatenate([samples[None], between])).T.reshape(-1)
            _raise_to_crests(fine, 0.9 * self._ceiling)
            # Column by column: a maximum along the few values of each row is five times slower.
            for column in fine.reshape(len(block), -1).T:
                np.maximum(loudest, column, out=loudest)
        # What lies between frame k and k + 1 is in loudest[k], and counts for both.
        np.maximum(loudest[1:], loudest[:-1].copy(), out=loudest[1:])
        peaks: F64 = loudest[_REACH:-_REACH].astype(np.float64)
        return peaks

    def _smooth(self, needed: F64) -> F64:
        """The gain curve: the smallest need within the hold, then three moving averages whose reach is the hold's. Ends
        of the array, a hold on each side twice over, are not valid."""
        from scipy.ndimage import minimum_filter1d, uniform_filter1d

        gain: F64 = minimum_filter1d(needed, 2 * self._hold + 1, mode="nearest")
        reach = [self._hold // 3, (self._hold + 1) // 3, (self._hold + 2) // 3]
        for half in reach:
            gain = uniform_filter1d(gain, 2 * half + 1, mode="nearest")
        # Running sums drift by some 1e-16 a step; a gain of one is to be one.
        gain[gain > 1.0 - 1e-9] = 1.0
        return gain


def _raise_to_crests(fine: F32, least: float) -> None:
    """Put the crest of the parabola through each local maximum above `least` and its neighbours in its place."""
    at = np.flatnonzero(fine[1:-1] > least) + 1
    before, here, after = fine[at - 1], fine[at], fine[at + 1]
    bend = 2 * here - before - after
    crest = (here >= before) & (here >= after) & (bend > 0)
    at, rise = at[crest], ((after - before)[crest] ** 2) / (8 * bend[crest])
    fine[at] += rise


def _interpolation(factor: int) -> F64:
    """(factor - 1, 2 * _REACH): for each place between two frames, the weights of the frames from _REACH - 1 before to
    _REACH after: a Kaiser-windowed sinc, each row's sum 1."""
    offsets = np.arange(1, factor)[:, None] / factor - np.arange(1 - _REACH, _REACH + 1)[None, :]
    taps = np.sinc(offsets) * np.i0(5.0 * np.sqrt(1 - (offsets / _REACH) ** 2))
    weights: F64 = taps / taps.sum(axis=1, keepdims=True)
    return weights


def _spectra(taps: F64, count: int) -> tuple[npt.NDArray[np.complex64], int]:
    """Transfer functions (rows of taps, bins) for blocks of `count` frames, and the length of their transform. What it
    wraps around falls on the first and last _REACH frames."""
    from scipy import fft

    length = int(fft.next_fast_len(count, real=True))
    responses = np.zeros((len(taps), length))
    # y[k] is the sum of taps[j] * x[k + 1 - _REACH + j].
    responses[:, (_REACH - 1 - np.arange(2 * _REACH)) % length] = taps
    return fft.rfft(responses, axis=1).astype(np.complex64), length
