"""Voice activity of the new speech per output frame.

Energy in the speech band against a noise floor that adapts over the file; no network. Computed once per job on the
whole speech, so it is the same for every chunk.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from raydub.arrays import F32, F64, Bools

RATE = 16_000
HOP = 160
"""10 ms: one energy value each."""

# The band-pass of the speech band: Butterworth of order 2, 120 to 4000 Hz at 16 kHz, as second-order sections
# (b0 b1 b2 a0 a1 a2). They are scipy.signal.butter's, whose import costs 2 s of CPU time; a test compares.
_BAND_PASS = (
    (0.2792244542970127, 0.5584489085940254, 0.2792244542970127, 1.0, -0.02714927505620112, 0.1839436439395285),
    (1.0, -2.0, 1.0, 1.0, -1.933427400754385, 0.9356770498583754),
)
_MEMORY = 2048
"""Samples after which the filter's answer to an impulse is below 1e-29 of its peak."""
_FLOOR_HOPS = 300
_FLOOR_STEP = 4
_PIECE_HOPS = 6000
_SORTED = 4096
_DEPTH_DB = 40.0
_MIN_PAUSE_HOPS = 20
_MIN_SPEECH_HOPS = 5
_HANGOVER_HOPS = 6


def voiced(samples: F32, rate: Fraction, n_frames: int) -> Bools:
    """(n_frames,) bool: does frame i, the time [i/rate, (i+1)/rate), contain speech?

    samples: (n,) float32 mono at 16 kHz in [-1, 1], from time 0; frames beyond its end are silent. Pauses shorter than
    200 ms count as speech, bursts shorter than 50 ms do not.
    """
    return voiced_frames(activity(samples), rate, n_frames)


def voiced_frames(active: Bools, rate: Fraction, n_frames: int) -> Bools:
    """As voiced(), from the result of activity() or Loudness.activity()."""
    edges = np.concatenate([[0], np.cumsum(active)])
    # Hop of the time i / rate, in whole numbers: exact at every rate.
    frame_edges = np.arange(n_frames + 1, dtype=np.int64) * (rate.denominator * (RATE // HOP)) // rate.numerator
    first = np.minimum(frame_edges[:-1], len(active))
    last = np.minimum(np.maximum(frame_edges[1:], frame_edges[:-1] + 1), len(active))
    return np.asarray(edges[last] > edges[first], np.bool_)


def activity(samples: F32) -> Bools:
    """(hops,) bool, one per started 10 ms of samples."""
    loudness = Loudness()
    loudness.push(samples)
    return loudness.activity()


class Loudness:
    """activity() for speech in blocks of any size: bit-identical, storing 8 bytes per 10 ms."""

    def __init__(self) -> None:
        self._before = np.zeros(_MEMORY, np.float32)  # samples before the next piece
        self._held = np.zeros(0, np.float32)
        self._power: list[F64] = []

    def push(self, samples: F32) -> None:
        """The next samples, (n,) float32 mono at 16 kHz."""
        held = np.concatenate([self._held, samples]) if len(self._held) else samples
        size = _PIECE_HOPS * HOP
        whole = len(held) - len(held) % size
        for start in range(0, whole, size):
            self._measure(held[start : start + size])
        self._held = held[whole:].copy()

    def activity(self, loud: float | None = None) -> Bools:
        """(hops,) bool, one per started 10 ms of all samples. Ends the speech: nothing can be pushed after it.

        loud: the loud level of the speech in dB re full scale, if it is known and the sound contains nothing else. The
        threshold is then 40 dB below it, independent of other parts of the speech."""
        if len(self._held):
            self._measure(self._held)
            self._held = self._held[:0]
        if not self._power:
            return np.zeros(0, np.bool_)
        level = _levels(np.concatenate(self._power))
        threshold = _threshold(level) if loud is None else loud - _DEPTH_DB
        return _tidy(np.asarray(level > threshold, np.bool_))

    def _measure(self, samples: F32) -> None:
        piece = np.zeros(-(-len(samples) // HOP) * HOP, np.float32)
        piece[: len(samples)] = samples
        band = _band_passed(np.concatenate([self._before, piece]))[_MEMORY:]
        self._before = piece[-_MEMORY:] if len(piece) >= _MEMORY else self._before  # a shorter piece is the last
        self._power.append((band.reshape(-1, HOP) ** 2).mean(axis=1))


def _band_passed(samples: F32) -> F64:
    """(n,) filtered samples; the first _MEMORY of them are not exact, because the transform is periodic."""
    size = 1 << (len(samples) - 1).bit_length()
    delay = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)  # z⁻¹
    response = np.ones_like(delay)
    for b0, b1, b2, a0, a1, a2 in _BAND_PASS:
        response *= (b0 + delay * (b1 + delay * b2)) / (a0 + delay * (a1 + delay * a2))
    spectrum = np.fft.rfft(samples.astype(np.float64), size)
    return np.asarray(np.fft.irfft(spectrum * response, size)[: len(samples)], np.float64)


def _levels(power: F64) -> F64:
    """Energy of the speech band in dB re full scale, 30 ms around every hop, at least −90."""
    return np.asarray(10 * np.log10(np.maximum(_smoothed(power, 3), 1e-9)), np.float64)


def _threshold(level: F64) -> F64:
    """dB per hop. The floor is the 10th percentile within ±3 s, held between the file's own floor and 15 dB over it,
    and smoothed; speech is what exceeds it by 35 % of the way to the file's loud level, at least 3.5 and at
    most 12 dB. Nothing 40 dB below the loud level counts."""
    loud = float(np.percentile(level, 95))
    quiet = float(np.percentile(level, 5))
    coarse = level[::_FLOOR_STEP]
    size = min(2 * _FLOOR_HOPS // _FLOOR_STEP + 1, len(coarse))
    around = _around(coarse, size)
    # In pieces: sorting makes a copy, of 150 values for each one.
    pieces = [np.sort(around[at : at + _SORTED], axis=1)[:, size // 10] for at in range(0, len(around), _SORTED)]
    floor = np.concatenate(pieces)
    floor = np.clip(floor, quiet, max(quiet, min(quiet + 15.0, loud - 10.0)))
    floor = _smoothed(floor, size)
    floor = np.repeat(floor, _FLOOR_STEP)[: len(level)]
    rise = np.clip(0.35 * (loud - floor), 3.5, 12.0)
    return np.asarray(np.maximum(floor + rise, loud - _DEPTH_DB), np.float64)


def _around(values: F64, size: int) -> F64:
    """(n, size): the `size` values around each of (n,) values; the outermost ones stand for those beyond the ends."""
    padded = np.pad(values, (size // 2, size - 1 - size // 2), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, size)


def _smoothed(values: F64, size: int) -> F64:
    """(n,) means of the `size` values around each value."""
    return np.asarray(_around(values, size).mean(axis=1), np.float64)


def _tidy(loud: Bools) -> Bools:
    """Drop bursts, keep on for a hangover, fill short pauses."""
    kept = _without_runs(loud, True, _MIN_SPEECH_HOPS)
    padded = np.pad(kept, _HANGOVER_HOPS)
    held = np.lib.stride_tricks.sliding_window_view(padded, 2 * _HANGOVER_HOPS + 1).any(axis=1)
    return _without_runs(np.asarray(held, np.bool_), False, _MIN_PAUSE_HOPS - 2 * _HANGOVER_HOPS, inner=True)


def _without_runs(mask: Bools, value: bool, shorter_than: int, inner: bool = False) -> Bools:
    """Flip runs of `value` that are shorter than so many hops; with `inner` only runs between two others."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8))) + 1
    starts = np.concatenate([[0], edges])
    stops = np.concatenate([edges, [len(mask)]])
    out = mask.copy()
    for start, stop in zip(starts, stops, strict=True):
        at_end = start == 0 or stop == len(mask)
        if mask[start] == value and stop - start < shorter_than and not (inner and at_end):
            out[start:stop] = not value
    return out
