"""The sound of a film: how loud it is, where somebody speaks, and its samples around the frames that are measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from raydub.arrays import F32, F64, Bools
from raydub.errors import InputError
from raydub.media.activity import HOP, Loudness, voiced_frames
from raydub.media.loudness import Meter
from raydub.media.sound import sound_blocks, sound_shape
from raydub.memory import release_free_memory
from raydub.models.mel import SAMPLE_RATE

AROUND = 2.0
"""Seconds of sound before and after a window: more than the speech network hears."""
QUIETEST = -90.0
"""dBFS of silence."""


@dataclass(frozen=True)
class Piece:
    """samples: (n,) float32 at 16 kHz; first: number of the first one, from the film's first frame."""

    first: int
    samples: F32


@dataclass(frozen=True)
class Sound:
    """lufs, peak_dbtp: integrated loudness and true peak, None for silence; power: (hops,) mean square of each 10 ms;
    active: (hops,) speech; pieces: one per window."""

    lufs: float | None
    peak_dbtp: float | None
    power: F64
    active: Bools
    pieces: tuple[Piece, ...]

    @property
    def silent(self) -> bool:
        """Is nothing heard, not even a room?"""
        return self.peak_dbtp is None or self.peak_dbtp < QUIETEST

    def voiced(self, rate: Fraction, n: int) -> Bools:
        """(n,): does the frame's period contain speech?"""
        return voiced_frames(self.active, rate, n)

    def level_db(self, rate: Fraction, n: int) -> F32:
        """(n,): dBFS of the frame's period, at least QUIETEST."""
        edges = np.minimum((np.arange(n + 1) * 100 / float(rate)).astype(np.int64), len(self.power))
        total = np.concatenate([[0.0], np.cumsum(self.power)])
        held = np.maximum(edges[1:] - edges[:-1], 1)
        mean = (total[edges[1:]] - total[edges[:-1]]) / held
        return np.asarray(np.maximum(10 * np.log10(np.maximum(mean, 1e-12)), QUIETEST), np.float32)


def hear(path: str, origin: Fraction, spans: Sequence[tuple[float, float]]) -> Sound | None:
    """The first audio stream of a film, heard twice: as it is, and as speech. origin: time of the first frame on the
    file's clock; spans: seconds (from, to) of the windows, in order. None without sound. Memory: 12 bytes per 10 ms and
    the samples of the windows. Raises InputError for sound that cannot be read."""
    shape = sound_shape(path)
    if shape is None:
        return None
    meter = Meter(shape.rate, min(shape.channels, 2))
    for block in sound_blocks(path, shape.rate, min(shape.channels, 2), origin):
        meter.push(block)
    loudness, power = Loudness(), list[F64]()
    keeper = _Keeper(spans)
    for samples in _mono(path, origin):
        loudness.push(samples)
        whole = samples[: len(samples) // HOP * HOP].astype(np.float64)
        power.append((whole.reshape(-1, HOP) ** 2).mean(axis=1))
        keeper.push(samples)
    peak = meter.true_peak
    return Sound(
        meter.integrated,
        peak if np.isfinite(peak) else None,
        np.concatenate(power) if power else np.zeros(0),
        loudness.activity(),
        keeper.pieces(),
    )


def _mono(path: str, origin: Fraction) -> Iterator[F32]:
    """Blocks of whole hops, but the last."""
    held = np.zeros(0, np.float32)
    for block in sound_blocks(path, SAMPLE_RATE, 1, origin):
        held = np.concatenate([held, block[:, 0]])
        whole = len(held) // HOP * HOP
        yield held[:whole]
        held = held[whole:]
    if len(held):
        yield held


class _Keeper:
    """Keeps the samples around each span, silence beyond the sound's ends."""

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        self._first = [int((start - AROUND) * 80) * (SAMPLE_RATE // 80) for start, _ in spans]
        self._kept = [
            np.zeros(int((stop + AROUND) * SAMPLE_RATE) - first, np.float32)
            for first, (_, stop) in zip(self._first, spans, strict=True)
        ]
        self._at = 0

    def push(self, samples: F32) -> None:
        stop = self._at + len(samples)
        for first, kept in zip(self._first, self._kept, strict=True):
            low, high = max(first, self._at), min(first + len(kept), stop)
            if low < high:
                kept[low - first : high - first] = samples[low - self._at : high - self._at]
        self._at = stop

    def pieces(self) -> tuple[Piece, ...]:
        return tuple(map(Piece, self._first, self._kept))


def heard_or_why(path: str, origin: Fraction, spans: Sequence[tuple[float, float]]) -> tuple[Sound | None, str]:
    """hear(), and "" or one sentence why there is no sound. Raises nothing of the file's making."""
    release_free_memory()  # fragments would add up over what both films decode
    try:
        found = hear(path, origin, spans)
        release_free_memory()
        return found, "" if found is not None else "the file has no sound"
    except InputError as error:
        return None, f"the sound cannot be read: {error.message}"
