"""How the mouth network is laid out: shared by training (network.py, torch) and use (forward.py, numpy)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

OUTPUTS = 2
"""Openness and width."""

BAND_CHANNELS = 16
BAND_KERNEL = (5, 3)
"""Of the two convolutions over mel bands and columns, each of which halves the bands."""


class NetworkConfig(BaseModel):
    """Layout of one network. channels: width of every layer; dilations: one residual block each (kernel 3);
    smooth_columns: standard deviation, in mel columns (12.5 ms), of the fixed Gaussian that ends the network; dropout:
    in training only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 6)
    smooth_columns: float = 2.5
    dropout: float = 0.4

    @property
    def smooth_reach(self) -> int:
        """Columns that the Gaussian reaches to each side."""
        return round(2.5 * self.smooth_columns)

    @property
    def reach(self) -> int:
        """Columns to each side of an instant on which its result depends; the window is 2 * reach + 1 wide."""
        return 2 + 1 + sum(self.dilations) + self.smooth_reach
