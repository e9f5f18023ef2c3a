"""Inference of mouth shapes from speech: load the embedded weights, predict the shapes of some frames.

The weights are stored beside this file. No download, no GPU, less than 0.1 ms a frame on one core.
"""

from __future__ import annotations

import hashlib
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open

from raydub.arrays import F32, F64, I64, U8
from raydub.errors import Code, DependencyError
from raydub.models.mouth.embedded import EMBEDDED, LICENCE
from raydub.models.mouth.forward import Ensemble
from raydub.models.mouth.layout import OUTPUTS, SHAPES, NetworkConfig
from raydub.models.mouth.spoken import SpokenMouth
from raydub.models.store.locate import near
from raydub.objects.names import is_object

__all__ = ["EMBEDDED", "LICENCE", "MouthConfig", "MouthShapes", "ShapeStatistics", "SpokenMouth"]

COLUMNS_PER_SECOND = 80
_SILENCE = -4.0
_BLOCK = 400
_LOOKS = 5
"""Moments within a frame's period at which articulators are read."""


class ShapeStatistics(BaseModel):
    """Mean and standard deviation over the training people, in units of the outer-eye-corner distance |36-45|: z-scores
    0 and 1. spread: standard deviation of the people's own means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    std: float
    spread: float


class MouthConfig(BaseModel):
    """The metadata of a weights file (key `config`, JSON).

    gain: factors that give predicted openness and width the standard deviation that real mouths have (1 in z-scores).
    bias: added to the logits of the articulators, so that 0.5 is the point to decide at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: NetworkConfig
    members: int
    gain: tuple[float, float]
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    openness: ShapeStatistics
    width: ShapeStatistics

    @property
    def window_columns(self) -> int:
        """Mel columns (80 a second) on which one moment depends, centred on it; a row depends on a frame's period of
        them."""
        return 2 * self.network.reach + 2

    def reach(self, rate: Fraction) -> int:
        """Mel columns on either side of a frame's time on which its row depends, at `rate` frames a second."""
        return self.window_columns // 2 + 1 + math.ceil(Fraction(COLUMNS_PER_SECOND, 2) / rate)


class MouthShapes:
    """The loaded network. Build with `load`; `predict` is a pure function of its arguments."""

    def __init__(self, config: MouthConfig, network: Ensemble, sha256: str) -> None:
        self.config = config
        self.sha256 = sha256
        self._network = network

    @classmethod
    def load(cls, path: str | Path | None = None) -> MouthShapes:
        """Load a weights file (default: the embedded one), or an object in a bucket. Raises DependencyError
        (WEIGHTS_MISSING, WEIGHTS_LAYOUT), and for an object what raydub.objects.bucket raises."""
        if isinstance(path, str) and is_object(path):
            path = near(path)
        path = EMBEDDED if path is None else Path(path)
        if not path.is_file():
            raise DependencyError(
                Code.WEIGHTS_MISSING,
                f"there are no mouth weights at {path}",
                hint="reinstall raydub, or train your own with raydub train",
            )
        try:
            with safe_open(str(path), framework="numpy") as file:
                config = MouthConfig.model_validate(json.loads((file.metadata() or {})["config"]))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            # Counts of training steps, which batch normalisation keeps, are the only whole numbers.
            floats = {name: one.astype(np.float32) for name, one in tensors.items() if one.dtype.kind == "f"}
            network = Ensemble(config.network, config.members, floats)
        except (SafetensorError, KeyError, ValidationError, ValueError, TypeError) as error:
            raise DependencyError(
                Code.WEIGHTS_LAYOUT,
                f"{path} is not a mouth weights file of this version: {str(error)[:300]}",
                hint="use the file that ships with this version, or train again with raydub train",
            ) from error
        return cls(config, network, hashlib.sha256(path.read_bytes()).hexdigest())

    def predict(
        self, mel: F32, rate: Fraction, frames: npt.NDArray[np.integer], sounds: U8 | None = None
    ) -> SpokenMouth:
        """Mouth shapes of M output frames.

        mel: (80, T) float32 in [-4, 4], 80 columns a second from time 0 (beyond its ends: silence); rate: frames a
        second; frames: (M,) int; sounds: known sounds, see models.mouth.sounds, which replace the articulators that are
        heard. The network runs over blocks of columns at fixed absolute positions, so a row is bit-identical whichever
        other frames are requested with it.
        """
        columns = [COLUMNS_PER_SECOND * int(frame) / rate for frame in np.asarray(frames)]
        first = np.array([int(column // 1) for column in columns], np.int64)
        part = np.array([float(column % 1) for column in columns], np.float32)
        return self._read(mel, first, part, float(COLUMNS_PER_SECOND / rate), sounds)

    def at(self, mel: F32, times: F64, period: float = 0.0) -> SpokenMouth:
        """As `predict`, for any times in seconds, (M,) float64; period: seconds that a frame lasts."""
        columns = np.asarray(times, np.float64) * COLUMNS_PER_SECOND
        first = np.floor(columns)
        part = (columns - first).astype(np.float32)
        return self._read(mel, first.astype(np.int64), part, period * COLUMNS_PER_SECOND, None)

    def _read(self, mel: F32, first: I64, part: F32, period: float, sounds: U8 | None) -> SpokenMouth:
        if mel.ndim != 2 or mel.shape[0] != 80:
            raise ValueError(f"mel must be (80, T), is {mel.shape}")
        moves = (np.arange(_LOOKS, dtype=np.float32) / np.float32(_LOOKS - 1) - np.float32(0.5)) * np.float32(period)
        places = part[:, None] + moves  # of _LOOKS moments within each frame's period; the middle one is its own
        whole = np.floor(places)
        at, t = first[:, None] + whole.astype(np.int64), (places - whole)[..., None]
        found = np.empty((*at.shape, OUTPUTS), np.float32)
        block_of = at // _BLOCK
        for block in np.unique(block_of):
            rows = block_of == block
            curve = self._block(mel, int(block), sounds)
            j = at[rows] - int(block) * _BLOCK
            found[rows] = (1 - t[rows]) * curve[j] + t[rows] * curve[j + 1]
        own, most = found[:, _LOOKS // 2], found.max(axis=1)
        return SpokenMouth(own[:, 0], own[:, 1], most[:, 2], own[:, 3], most[:, 4])

    def _block(self, mel: F32, block: int, sounds: U8 | None) -> F32:
        """The result for the columns of one block and the first of the next: (_BLOCK + 1, OUTPUTS)."""
        reach = self.config.network.reach
        start, stop = block * _BLOCK, (block + 1) * _BLOCK + 1
        raw = self._network(_window(mel, start - reach, stop + reach, _SILENCE))
        curve = np.zeros((stop - start, OUTPUTS), np.float32)
        curve[:, :SHAPES] = raw[:SHAPES].T * np.float32(self.config.gain)
        if len(raw) > SHAPES:
            curve[:, SHAPES:] = 1 / (1 + np.exp(-(raw[SHAPES:].T + np.float32(self.config.bias))))
        if sounds is not None:
            known = _window(sounds, start, stop, 0).T
            curve[:, SHAPES:] = np.where(known[:, :1] > 0, known[:, 1:] / np.float32(255), curve[:, SHAPES:])
        return curve


def _window(columns: npt.NDArray[Any], start: int, stop: int, beyond: float) -> npt.NDArray[Any]:
    """The columns start .. stop - 1 of a (n, T) array, and `beyond` outside it."""
    window = np.full((len(columns), stop - start), beyond, columns.dtype)
    low, high = max(start, 0), min(stop, columns.shape[1])
    if low < high:
        window[:, low - start : high - start] = columns[:, low:high]
    return window
