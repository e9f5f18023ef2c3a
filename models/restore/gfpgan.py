"""GFPGAN (Wang et al., "Towards Real-World Blind Face Restoration with Generative Facial Prior", CVPR 2021).

The "clean" variant of the published v1.3 and v1.4: a U-Net removes the degradation, predicts the styles of a StyleGAN2
and steers half of its channels. Parameter names and shapes are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raydub.models.load import layout_error
from raydub.models.restore.keys import count
from raydub.models.restore.rows import Rows
from raydub.models.restore.stylegan import SLOPE, StyleDecoder, double

WANTED = "a GFPGAN of the clean architecture (v1.3, v1.4)"


@dataclass(frozen=True)
class Shape:
    """The network's dimensions by its parameters' shapes.

    widths: channels of the decoder's levels, side 4 first; the U-Net has half as many. style: channels of a style. The
    published networks: widths (512, 512, 512, 512, 512, 256, 128, 64), style 512.
    """

    widths: tuple[int, ...]
    style: int

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return 4 << (len(self.widths) - 1)


class Residual(nn.Module):
    """Two 3x3 convolutions and a 1x1 around them; the side is halved or doubled in between."""

    def __init__(self, inner: int, outer: int, down: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, inner, 3, 1, 1)
        self.conv2 = nn.Conv2d(inner, outer, 3, 1, 1)
        self.skip = nn.Conv2d(inner, outer, 1, bias=False)
        self._down = down

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv1(x), SLOPE)
        # Halving bilinearly is the mean of 2x2. A 1x1 convolution commutes with resizing, so it runs at the small side.
        if self._down:
            y, around = F.avg_pool2d(y, 2), self.skip(F.avg_pool2d(x, 2))
        else:
            y, around = double(y), double(self.skip(x))
        return F.leaky_relu(self.conv2(y), SLOPE) + around


def _steering(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, 1, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(channels, channels, 3, 1, 1)
    )


class GFPGAN(Rows):
    """forward((B, 3, size, size) RGB in [-1, 1]) -> the same shape, about [-1, 1], not clamped.

    Deterministic: the noise is stored in the checkpoint.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        narrow = [width // 2 for width in shape.widths]  # side 4 first
        steps = list(pairwise(narrow))
        self.shape = shape
        self.conv_body_first = nn.Conv2d(3, narrow[-1], 1)
        self.conv_body_down = nn.ModuleList(Residual(large, small, down=True) for small, large in reversed(steps))
        self.final_conv = nn.Conv2d(narrow[0], narrow[0], 3, 1, 1)
        self.conv_body_up = nn.ModuleList(Residual(small, large, down=False) for small, large in steps)
        # Pictures of every side, used in training only; published checkpoints hold them.
        self.toRGB = nn.ModuleList(nn.Conv2d(large, 3, 1) for _, large in steps)
        self.final_linear = nn.Linear(narrow[0] * 16, 2 * len(narrow) * shape.style)
        self.stylegan_decoder = StyleDecoder(shape.widths, shape.style)
        self.condition_scale = nn.ModuleList(_steering(large) for _, large in steps)
        self.condition_shift = nn.ModuleList(_steering(large) for _, large in steps)

    def restored(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv_body_first(x), SLOPE)
        skips = []
        for down in self.conv_body_down:
            x = down(x)
            skips.append(x)
        x = F.leaky_relu(self.final_conv(x), SLOPE)
        styles = self.final_linear(x.flatten(1)).view(len(x), -1, self.shape.style)
        return self.stylegan_decoder(styles, self._conditions(x, skips))

    def _conditions(self, x: Tensor, skips: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Scale and shift of each level, made when the decoder needs them: memory for one level only."""
        for up, scale, shift in zip(self.conv_body_up, self.condition_scale, self.condition_shift, strict=True):
            x = up(x + skips.pop())
            yield scale(x), shift(x)


def shape_of(state: Mapping[str, Tensor], name: str) -> Shape:
    """From the decoder's biases and one modulation; DependencyError (WEIGHTS_LAYOUT) if they are inconsistent."""
    decoder = "stylegan_decoder"
    steps = range(0, max(1, count(state, f"{decoder}.style_convs.")), 2)
    keys = [f"{decoder}.style_conv1.bias", *(f"{decoder}.style_convs.{step}.bias" for step in steps)]
    modulation = f"{decoder}.style_conv1.modulated_conv.modulation.weight"
    missing = [key for key in (*keys, modulation) if key not in state]
    if missing:
        raise layout_error(name, missing, [], WANTED)
    biases = [state[key] for key in keys]
    wrong = [
        key for key, bias in zip(keys, biases, strict=True) if bias.ndim != 4 or bias.shape[1] == 0 or bias.shape[1] % 2
    ]
    wrong += [modulation] if state[modulation].ndim != 2 or 0 in state[modulation].shape else []
    if wrong:
        raise layout_error(name, [], [f"{key} {tuple(state[key].shape)}" for key in wrong], WANTED)
    return Shape(tuple(bias.shape[1] for bias in biases), state[modulation].shape[1])


def to_own(key: str, value: Tensor) -> Tensor:
    """A published tensor as the network here holds it: see stylegan.Modulated. A view."""
    return value[0] if _is_modulated(key) and value.ndim == 5 and len(value) == 1 else value


def published_shape(key: str, shape: torch.Size) -> torch.Size:
    """The published shape of a tensor of the network here."""
    return torch.Size((1, *shape)) if _is_modulated(key) else shape


def _is_modulated(key: str) -> bool:
    return key.endswith("modulated_conv.weight")
