"""Inference of mouth shapes from speech: load the embedded weights, predict the shapes of some frames.

The weights are stored beside this file. No download, no GPU, less than 0.1 ms a frame on one core.
"""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open

from raydub.arrays import F32, F64, I64
from raydub.errors import Code, DependencyError
from raydub.models.mouth.embedded import EMBEDDED, LICENCE
from raydub.models.mouth.forward import Ensemble
from raydub.models.mouth.layout import NetworkConfig
from raydub.models.store.locate import near
from raydub.objects.names import is_object

__all__ = ["EMBEDDED", "LICENCE", "MouthConfig", "MouthShapes", "ShapeStatistics"]

COLUMNS_PER_SECOND = 80
_SILENCE = -4.0
_BLOCK = 400


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
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: NetworkConfig
    members: int
    gain: tuple[float, float]
    openness: ShapeStatistics
    width: ShapeStatistics

    @property
    def window_columns(self) -> int:
        """Mel columns (80 a second) on which one row depends, centred on the frame's time."""
        return 2 * self.network.reach + 2


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

    def predict(self, mel: F32, rate: Fraction, frames: npt.NDArray[np.integer]) -> F32:
        """Mouth shapes of output frames.

        mel: (80, T) float32 in [-4, 4], 80 columns a second from time 0 (beyond its ends: silence); rate: frames a
        second; frames: (M,) int. Returns (M, 2) float32: z-scored inner-lip openness and mouth width (see MouthConfig
        for the units), smooth over time. The network runs over blocks of columns at fixed absolute positions, so a row
        is bit-identical whichever other frames are requested with it.
        """
        columns = [COLUMNS_PER_SECOND * int(frame) / rate for frame in np.asarray(frames)]
        first = np.array([int(column // 1) for column in columns], np.int64)
        part = np.array([float(column % 1) for column in columns], np.float32)
        return self._read(mel, first, part)

    def at(self, mel: F32, times: F64) -> F32:
        """As `predict`, for any times in seconds: (M,) float64 → (M, 2) float32."""
        columns = np.asarray(times, np.float64) * COLUMNS_PER_SECOND
        first = np.floor(columns)
        return self._read(mel, first.astype(np.int64), (columns - first).astype(np.float32))

    def _read(self, mel: F32, first: I64, part: F32) -> F32:
        if mel.ndim != 2 or mel.shape[0] != 80:
            raise ValueError(f"mel must be (80, T), is {mel.shape}")
        shapes = np.empty((len(first), 2), np.float32)
        block_of = first // _BLOCK
        for block in np.unique(block_of):
            rows = block_of == block
            curve = self._block(mel, int(block))
            j = first[rows] - int(block) * _BLOCK
            t = part[rows, None]
            shapes[rows] = (1 - t) * curve[j] + t * curve[j + 1]
        return shapes

    def _block(self, mel: F32, block: int) -> F32:
        """The network's result for the columns of one block and the first of the next: (_BLOCK + 1, 2)."""
        reach = self.config.network.reach
        start, stop = block * _BLOCK - reach, (block + 1) * _BLOCK + 1 + reach
        window = np.full((80, stop - start), _SILENCE, np.float32)
        low, high = max(start, 0), min(stop, mel.shape[1])
        if low < high:
            window[:, low - start : high - start] = mel[:, low:high]
        raw = self._network(window)
        return np.ascontiguousarray(raw.T * np.float32(self.config.gain), np.float32)
