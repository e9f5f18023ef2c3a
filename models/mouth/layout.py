"""How the mouth network is laid out: shared by training (network.py, torch) and use (forward.py, numpy)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from raydub.arrays import F32

SHAPES = 2
"""Outputs that are z-scores: openness and width."""
OUTPUTS = 5
"""SHAPES, then the logits of models.mouth.spoken.ARTICULATORS."""

BAND_CHANNELS = 16
BAND_KERNEL = (5, 3)
"""Of the two convolutions over mel bands and columns, each of which halves the bands."""


class NetworkConfig(BaseModel):
    """Layout of one network. channels: width of every layer; dilations: one residual block each (kernel 3);
    outputs: SHAPES, or OUTPUTS with the articulators; smooth_columns, crisp_columns: standard deviation, in mel columns
    (12.5 ms), of the fixed Gaussians that end the network, for shapes and for articulators: a closure is short;
    dropout: in training only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 6)
    outputs: Literal[2, 5] = 2
    smooth_columns: float = 2.5
    crisp_columns: float = 1.0
    dropout: float = 0.4

    @property
    def smooth_reach(self) -> int:
        """Columns that the Gaussian reaches to each side."""
        return round(2.5 * self.smooth_columns)

    @property
    def reach(self) -> int:
        """Columns to each side of an instant on which its result depends; the window is 2 * reach + 1 wide."""
        return 2 + 1 + sum(self.dilations) + self.smooth_reach

    @property
    def kernels(self) -> F32:
        """(outputs, 2 * smooth_reach + 1): the Gaussian of each output, of sum 1."""
        t = np.arange(-self.smooth_reach, self.smooth_reach + 1, dtype=np.float32)
        widths = [self.smooth_columns] * SHAPES + [self.crisp_columns] * (self.outputs - SHAPES)
        rows = np.exp(np.float32(-0.5) * (t / np.array(widths, np.float32)[:, None]) ** 2)
        return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)
