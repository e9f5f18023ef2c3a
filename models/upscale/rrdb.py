"""RRDBNet, the large upscaling network: residual-in-residual dense blocks (Wang et al., "ESRGAN", 2018), with
Real-ESRGAN's pixel unshuffle in front of the networks that enlarge less than four times (2021).

Parameter names and shapes are those of the published Real-ESRGAN files. ESRGAN's own two older ways to name the same
parameters are translated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raydub.models.load import layout_error

Shapes = dict[str, tuple[int, ...]]

UNSHUFFLE = {3: 1, 12: 2, 48: 4}
"""Side of the input pixels that are folded into channels, by the first convolution's input channels."""
_ENLARGE = 4
"""The two nearest-neighbour doublings after the blocks."""
_RESIDUAL = 0.2
"""Share of a block's result that is added to its input (ESRGAN, section 3.1)."""
_SLOPE = 0.2
"""Of all leaky ReLUs."""

_OLDER = {"RRDB_trunk": "body", "trunk_conv": "conv_body", "upconv1": "conv_up1", "upconv2": "conv_up2"}
_OLDEST = {"0": "conv_first", "3": "conv_up1", "6": "conv_up2", "8": "conv_hr", "10": "conv_last"}


@dataclass(frozen=True)
class RrdbSize:
    """features: channels between blocks; growth: channels that each convolution of a dense block adds; blocks: 23 in
    x4plus and x2plus, 6 in x4plus_anime_6B; unshuffle: 1 (x4), 2 (x2), 4 (x1)."""

    features: int = 64
    growth: int = 32
    blocks: int = 23
    unshuffle: int = 1

    @property
    def scale(self) -> int:
        """Output pixels per input pixel and axis."""
        return _ENLARGE // self.unshuffle

    def shapes(self) -> Shapes:
        """Names and shapes of all parameters."""
        wide, more = self.features, self.growth
        convs = {"conv_first": (3 * self.unshuffle**2, wide), "conv_body": (wide, wide)}
        convs |= {name: (wide, wide) for name in ("conv_up1", "conv_up2", "conv_hr")} | {"conv_last": (wide, 3)}
        for block in range(self.blocks):
            for dense in (1, 2, 3):
                for conv in range(5):
                    name = f"body.{block}.rdb{dense}.conv{conv + 1}"
                    convs[name] = (wide + conv * more, more if conv < 4 else wide)
        weights: Shapes = {f"{name}.weight": (outer, inner, 3, 3) for name, (inner, outer) in convs.items()}
        return weights | {f"{name}.bias": (outer,) for name, (_, outer) in convs.items()}


def _conv(inner: int, outer: int) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, 1, 1)


def _leaky(x: Tensor) -> Tensor:
    # In place: the input is a fresh feature map, and feature maps dominate memory.
    return F.leaky_relu(x, _SLOPE, inplace=True)


class _Dense(nn.Module):
    """Five convolutions; each sees the block's input and all that those before it made."""

    def __init__(self, wide: int, more: int) -> None:
        super().__init__()
        self.conv1 = _conv(wide, more)
        self.conv2 = _conv(wide + more, more)
        self.conv3 = _conv(wide + 2 * more, more)
        self.conv4 = _conv(wide + 3 * more, more)
        self.conv5 = _conv(wide + 4 * more, wide)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat((seen, _leaky(conv(seen))), dim=1)
        return torch.add(x, self.conv5(seen), alpha=_RESIDUAL)


class _Block(nn.Module):
    """Three dense blocks in a row, and the input added once more."""

    def __init__(self, wide: int, more: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (_Dense(wide, more) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.rdb3(self.rdb2(self.rdb1(x))), alpha=_RESIDUAL)


class RRDBNet(nn.Module):
    """forward((B, 3, H, W) float RGB in [0, 1]) -> (B, 3, scale * H, scale * W) float RGB, not clamped.

    H and W are multiples of size.unshuffle, ValueError otherwise.
    """

    def __init__(self, size: RrdbSize) -> None:
        super().__init__()
        wide = size.features
        self.unshuffle = size.unshuffle
        self.conv_first = _conv(3 * size.unshuffle**2, wide)
        self.body = nn.Sequential(*(_Block(wide, size.growth) for _ in range(size.blocks)))
        self.conv_body = _conv(wide, wide)
        self.conv_up1 = _conv(wide, wide)
        self.conv_up2 = _conv(wide, wide)
        self.conv_hr = _conv(wide, wide)
        self.conv_last = _conv(wide, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] % self.unshuffle or x.shape[-1] % self.unshuffle:
            height, width = x.shape[-2:]
            raise ValueError(f"sides {height} x {width} are not multiples of {self.unshuffle}")
        if self.unshuffle > 1:
            x = F.pixel_unshuffle(x, self.unshuffle)
        first = self.conv_first(x)
        x = first + self.conv_body(self.body(first))
        for conv in (self.conv_up1, self.conv_up2):
            x = _leaky(conv(F.interpolate(x, scale_factor=2, mode="nearest")))
        drawn: Tensor = self.conv_last(_leaky(self.conv_hr(x)))
        return drawn


def rrdb_size(state: Mapping[str, Tensor], name: str) -> RrdbSize:
    """The size of the network of a state dict (with current names); layout_error if it is no RRDBNet."""
    first, grown = state.get("conv_first.weight"), state.get("body.0.rdb1.conv1.weight")
    blocks = sum(bool(re.fullmatch(r"body\.\d+\.rdb1\.conv1\.weight", key)) for key in state)
    if first is None or grown is None or first.ndim != 4 or grown.ndim != 4:
        missing = [key for key in ("conv_first.weight", "body.0.rdb1.conv1.weight") if key not in state]
        raise layout_error(name, missing, sorted(state), "an RRDBNet")
    if first.shape[1] not in UNSHUFFLE:
        wrong = f"conv_first.weight {tuple(first.shape)}, whose inputs are none of {', '.join(map(str, UNSHUFFLE))}"
        raise layout_error(name, [], [wrong], "an RRDBNet")
    return RrdbSize(first.shape[0], grown.shape[0], blocks, UNSHUFFLE[first.shape[1]])


def todays_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under the names of Real-ESRGAN's files, translated from ESRGAN's older names."""
    blocks = [int(hit[1]) for key in state if (hit := re.match(r"model\.1\.sub\.(\d{1,6})\.RDB1\.", key))]
    after = max(blocks, default=-1) + 1

    def renamed(key: str) -> str:
        if hit := re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(\w+)", key):
            return "body.{}.rdb{}.conv{}.{}".format(*hit.groups())
        if hit := re.fullmatch(r"model\.1\.sub\.(\d{1,6})\.(\w+)", key):
            return f"conv_body.{hit[2]}" if int(hit[1]) == after else key
        if hit := re.fullmatch(r"model\.(\d+)\.(\w+)", key):
            return f"{_OLDEST[hit[1]]}.{hit[2]}" if hit[1] in _OLDEST else key
        head, _, rest = key.partition(".")
        if head == "HRconv":
            return f"conv_hr.{rest}"
        return f"{_OLDER[head]}.{rest.replace('RDB', 'rdb')}" if head in _OLDER else key

    return {renamed(key): value for key, value in state.items()}
