"""Every utterance at one level: voices and engines differ, and a track that the lips read must not change where a line
somewhere else does."""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32, F64

LEVEL_DB = -20.0
"""RMS of an utterance's loud parts, dB re full scale."""
PEAK = 0.5
"""No sample is louder: two people may talk at once."""
_FRAME = 0.030
_LOUD_DB = 15.0


def levelled(samples: F32, rate: int) -> F32:
    """The (n,) samples at `rate` Hz times one factor: their parts of 30 ms that lie within 15 dB of the loudest have an
    RMS of LEVEL_DB, unless a peak would pass PEAK then. Silence stays as it is."""
    power = powers(samples, max(1, round(_FRAME * rate)))
    if not power.any():
        return samples
    loud = power[power >= power.max() * 10 ** (-_LOUD_DB / 10)].mean()
    factor = min(10 ** (LEVEL_DB / 20) / np.sqrt(loud), PEAK / float(np.abs(samples).max()))
    return (samples * np.float32(factor)).astype(np.float32)


def powers(samples: F32, frame: int) -> F64:
    """Mean square of each `frame` samples, the last ones with silence after them."""
    count = -(-len(samples) // frame)
    padded = np.zeros(count * frame)
    padded[: len(samples)] = samples
    return np.asarray((padded.reshape(count, frame) ** 2).mean(axis=1), np.float64)
