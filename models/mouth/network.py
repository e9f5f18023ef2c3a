"""The network as it is trained: mel columns in, mouth shape out. forward.py runs it in use.

Convolutions only, nothing recurrent, no padding in time: the result at one instant depends on a fixed window of sound
around it and on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from raydub.models.mel import BANDS
from raydub.models.mouth.layout import BAND_CHANNELS, BAND_KERNEL, NetworkConfig


class MouthNetwork(nn.Module):
    """mel (B, 80, T) float32 in [-4, 4] → (B, outputs, T - 2 * reach) float32: z-scored openness and width, then logits
    of the articulators. Column j of the result belongs to column j + reach of the input."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        # 2-D first: speakers differ by small shifts along the frequency axis, which convolution and pooling absorb
        self.bands = nn.Sequential(
            nn.Conv2d(1, BAND_CHANNELS, BAND_KERNEL, stride=(2, 1), padding=(2, 0)),
            nn.BatchNorm2d(BAND_CHANNELS),
            nn.ReLU(),
            nn.Conv2d(BAND_CHANNELS, BAND_CHANNELS, BAND_KERNEL, stride=(2, 1), padding=(2, 0)),
            nn.BatchNorm2d(BAND_CHANNELS),
            nn.ReLU(),
        )
        self.enter = nn.Sequential(
            nn.Identity(), nn.Conv1d(BAND_CHANNELS * BANDS // 4, c, 3), nn.BatchNorm1d(c), nn.ReLU()
        )
        self.blocks = nn.ModuleList(_Block(c, dilation, config.dropout) for dilation in config.dilations)
        self.leave = nn.Conv1d(c, config.outputs, 1)
        self.register_buffer("kernels", torch.from_numpy(config.kernels)[:, None], persistent=False)

    kernels: Tensor

    def forward(self, mel: Tensor, dropout: Tensor | None = None) -> Tensor:
        """dropout: (B,) share of the configured dropout that each example gets in training, None for all of it."""
        x = self.bands(mel[:, None] / 4)
        x = self.enter(_dropped(x.flatten(1, 2), self.config.dropout / 2, dropout, self.training, whole=True))
        for block in self.blocks:
            x = block(x, dropout)
        return nn.functional.conv1d(self.leave(x), self.kernels, groups=self.config.outputs)


class _Block(nn.Module):
    """x + f(x), where f is a dilated convolution of kernel 3 without padding; the ends of x are cut to match."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation, self.dropout = dilation, dropout
        self.body = nn.Sequential(
            nn.Conv1d(channels, channels, 3, dilation=dilation),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Identity(),
            nn.Conv1d(channels, channels, 1),
            nn.BatchNorm1d(channels),
        )

    def forward(self, x: Tensor, dropout: Tensor | None = None) -> Tensor:
        y = _dropped(self.body[:3](x), self.dropout, dropout, self.training, whole=False)
        return torch.relu(x[..., self.dilation : -self.dilation] + self.body[4:](y))


def _dropped(x: Tensor, rate: float, share: Tensor | None, training: bool, *, whole: bool) -> Tensor:
    """x (B, C, T) with values set to zero at random, as dropout does, at `rate` times the example's share; whole: a
    channel at all times or not at all."""
    if not training or rate == 0:
        return x
    kept = 1 - rate * (torch.ones(len(x)) if share is None else share)[:, None, None]
    like = x[..., :1] if whole else x
    return x * (torch.rand_like(like) < kept) / kept


class Ensemble(nn.Module):
    """The mean of several networks of one layout: less variance than any single one, which helps with little data."""

    def __init__(self, members: list[MouthNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, mel: Tensor) -> Tensor:
        return torch.stack([member(mel) for member in self.members]).mean(dim=0)


def build(config: NetworkConfig, members: int, state: Mapping[str, Tensor] | None = None) -> Ensemble:
    """An ensemble, from its state dict when given (strict), in evaluation mode."""
    ensemble = Ensemble([MouthNetwork(config) for _ in range(members)])
    if state is not None:
        ensemble.load_state_dict(dict(state), strict=True)
    return ensemble.eval()
