"""Where the words of an utterance begin and end: engines put silence around what they say, and more of it than a cue
has room for."""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32
from raydub.tts.level import powers

DEPTH_DB = 45.0
"""What lies so far below the speech's loud level counts as silence. Final consonants and breaths of neural voices lie
20 to 40 dB below it, the noise floor of their vocoders 50 and more."""
_FRAME = 0.010
_BEFORE, _AFTER = 0.010, 0.030
"""Seconds kept at both ends: an onset is short, and a soft ending fades."""
_LOUD = 95


def trimmed(samples: F32, rate: int) -> tuple[int, int]:
    """(start, stop): the range of `samples` ((n,) float32 at `rate` Hz) without the silence at its ends. All of it
    where nothing sounds; never empty where something does."""
    frame = max(1, round(_FRAME * rate))
    power = powers(samples, frame)
    if not power.any():
        return 0, len(samples)
    level = 10 * np.log10(np.maximum(power, 1e-12))
    # The percentile of what sounds: padding would pull it down.
    loud = float(np.percentile(level[level > level.max() - DEPTH_DB], _LOUD))
    heard = np.flatnonzero(level >= loud - DEPTH_DB)
    start = int(heard[0]) * frame - round(_BEFORE * rate)
    stop = (int(heard[-1]) + 1) * frame + round(_AFTER * rate)
    return max(0, start), min(len(samples), stop)
