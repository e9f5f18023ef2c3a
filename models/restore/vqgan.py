"""Encoder and decoder of a VQGAN (Esser et al., "Taming Transformers", CVPR 2021) in the layout of CodeFormer.

Flat lists of blocks, two residual blocks per level, attention at the smallest side only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32
"""Of every group norm: all widths are multiples of it."""


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class Residual(nn.Module):
    """Twice norm, swish, 3x3 convolution; the input added, through a 1x1 convolution where the width changes."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(inner), nn.Conv2d(inner, outer, 3, 1, 1)
        self.norm2, self.conv2 = norm(outer), nn.Conv2d(outer, outer, 3, 1, 1)
        if inner != outer:
            self.conv_out = nn.Conv2d(inner, outer, 1)
        self._same = inner == outer

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (x if self._same else self.conv_out(x))


class Attention(nn.Module):
    """Every pixel looks at every pixel, one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        query, key, value = (conv(y).flatten(2).transpose(1, 2) for conv in (self.q, self.k, self.v))  # (B, HW, C)
        y = F.scaled_dot_product_attention(query, key, value)
        return x + self.proj_out(y.transpose(1, 2).reshape(x.shape))


class Down(nn.Module):
    """Half the side; padded on the right and below only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    """Twice the side, nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Blocks(nn.Module):
    """A list of blocks under the name that checkpoints give it, and where each level's features are tapped.

    taps: index of a block -> level, 0 the largest side: after an encoder's last block of that level, or after a
    decoder's first.
    """

    def __init__(self, blocks: Sequence[nn.Module], taps: dict[int, int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.taps = taps


def encoder(widths: Sequence[int], code: int) -> Blocks:
    """(B, 3, side, side) -> (B, code, side / 2^(levels - 1), same). widths: of the levels, the largest side first."""
    blocks: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, 1, 1)]
    taps = {}
    last = len(widths) - 1
    for level, (inner, outer) in enumerate(zip((widths[0], *widths[:-1]), widths, strict=True)):
        for first in (True, False):
            blocks.append(Residual(inner if first else outer, outer))
            if level == last:
                blocks.append(Attention(outer))
        if level < last:
            taps[len(blocks) - 1] = level
            blocks.append(Down(outer))
    blocks += _middle(widths[last])
    return Blocks([*blocks, norm(widths[last]), nn.Conv2d(widths[last], code, 3, 1, 1)], taps)


def decoder(widths: Sequence[int], code: int) -> Blocks:
    """The way back, to (B, 3, side, side)."""
    last = len(widths) - 1
    blocks: list[nn.Module] = [nn.Conv2d(code, widths[last], 3, 1, 1), *_middle(widths[last])]
    taps = {}
    for level in range(last, -1, -1):
        inner, outer = widths[min(level + 1, last)], widths[level]
        for first in (True, False):
            blocks.append(Residual(inner if first else outer, outer))
            if level == last:
                blocks.append(Attention(outer))
            elif first:
                taps[len(blocks) - 1] = level
        if level > 0:
            blocks.append(Up(outer))
    return Blocks([*blocks, norm(widths[0]), nn.Conv2d(widths[0], 3, 3, 1, 1)], taps)


def _middle(channels: int) -> list[nn.Module]:
    return [Residual(channels, channels), Attention(channels), Residual(channels, channels)]
