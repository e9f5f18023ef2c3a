"""The opening that the film's own sound asks for, by the speech network that ships with raydub."""

from __future__ import annotations

import functools

import numpy as np

from raydub.arrays import F64, I64
from raydub.models.mel import SAMPLE_RATE, mel_spectrogram
from raydub.models.mouth.infer import MouthShapes
from raydub.stages.evaluate.sound import Piece
from raydub.stages.mouths.wanted import RANK_GAIN


@functools.lru_cache(maxsize=1)
def _network() -> MouthShapes:
    return MouthShapes.load()


def wanted(piece: Piece, frames: I64, rate: float) -> F64:
    """(n,) 0 (closed) .. 1 (wide open) at the output frames, heard in a piece of the film's sound: the place of the
    opening in the usual distribution, less what closures and teeth take (as in stages.mouths.wanted)."""
    mel = mel_spectrogram(piece.samples)
    first = piece.first / SAMPLE_RATE
    said = _network().at(mel, frames / rate - first, period=1 / rate)
    place = 1 / (1 + np.exp(-1.702 * RANK_GAIN * said.open.astype(np.float64)))
    return np.asarray(place * said.aperture, np.float64)
