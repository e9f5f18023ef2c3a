"""Trim and level utterances for the mix: engines add silence for which a cue has no room, and levels differ between
voices and engines. Each utterance is levelled alone, so that the track for the lips does not change when another line
does."""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32, F64

LEVEL_DB = -20.0
"""RMS of an utterance's loud parts, dB re full scale."""
PEAK = 0.5
"""The largest sample value: two people may speak at once."""
_FRAME = 0.030
_LOUD_DB = 15.0
DEPTH_DB = 45.0
"""Sound this far below the speech's loud level counts as silence. Final consonants and breaths of neural voices lie
20 to 40 dB below it, the noise floor of their vocoders 50 and more."""
_EDGE_FRAME = 0.010
_BEFORE, _AFTER = 0.010, 0.030
"""Seconds kept at both ends: onsets are short, endings fade."""
_LOUD_PERCENTILE = 95


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


def trimmed(samples: F32, rate: int) -> tuple[int, int]:
    """(start, stop): the range of `samples` ((n,) float32 at `rate` Hz) without the silence at its ends. All of it
    where nothing sounds; never empty where something does."""
    frame = max(1, round(_EDGE_FRAME * rate))
    power = powers(samples, frame)
    if not power.any():
        return 0, len(samples)
    level = 10 * np.log10(np.maximum(power, 1e-12))
    # The percentile of audible frames only: padding would lower it.
    loud = float(np.percentile(level[level > level.max() - DEPTH_DB], _LOUD_PERCENTILE))
    heard = np.flatnonzero(level >= loud - DEPTH_DB)
    start = int(heard[0]) * frame - round(_BEFORE * rate)
    stop = (int(heard[-1]) + 1) * frame + round(_AFTER * rate)
    return max(0, start), min(len(samples), stop)
