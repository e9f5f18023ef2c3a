"""The StyleGAN2 synthesis network (Karras et al., CVPR 2020) as GFPGAN uses it.

Two things are done differently from the paper's formulas, with the same results:
- Styles scale the features and not the weights: conv(x * s) * d is a convolution with the weights w * s * d, but all
  rows of a batch share one, and the rows are independent of each other.
- Styles are divided by their largest magnitude before the convolution and multiplied back after it, and all that is
  computed from styles is computed in fp32: so nothing leaves the range of fp16 that would not leave it anyway.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
"""Of all leaky ReLUs of GFPGAN."""

MAPPING_LAYERS = 8
"""Of the mapping network, whose weights the checkpoints carry although GFPGAN predicts the styles itself."""

_GAIN = math.sqrt(2)  # keeps the variance through a leaky ReLU of StyleGAN2
_EPSILON = 1e-8


class Modulated(nn.Module):
    """Convolution whose input channels are scaled by an affine function of the style.

    Published checkpoints hold the weight as (1, out, in, k, k); here it has four dimensions, which channels_last needs.
    """

    def __init__(self, inner: int, outer: int, kernel: int, style: int, demodulated: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outer, inner, kernel, kernel))
        self.modulation = nn.Linear(style, inner)
        self._demodulated = demodulated

    def forward(self, x: Tensor, style: Tensor, upsampled: bool = False) -> tuple[Tensor, Tensor]:
        """x (B, in, H, W), style (B, S) float32 -> the convolution's result (B, out, H', W') and the factor by which it
        is still to be multiplied, (B, out, 1, 1) or (B, 1, 1, 1) float32. upsampled: H' = 2 H, else H."""
        scales = F.linear(style, self.modulation.weight.float(), self.modulation.bias.float())
        largest = scales.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        scales = scales / largest
        if self._demodulated:
            energy = self.weight.float().square().sum(dim=(2, 3))  # (out, in)
            factor = largest * torch.rsqrt(F.linear((scales * largest).square(), energy) + _EPSILON)
        else:
            factor = largest
        x = x * scales.to(x.dtype)[:, :, None, None]
        if upsampled:
            x = double(x)
        return F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2), factor[:, :, None, None]


class StyleConv(nn.Module):
    """Modulated 3x3 convolution, the stored noise, bias, leaky ReLU. weight: (1,), of the noise."""

    def __init__(self, inner: int, outer: int, style: int, upsampled: bool = False) -> None:
        super().__init__()
        self.modulated_conv = Modulated(inner, outer, 3, style, demodulated=True)
        self.weight = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(1, outer, 1, 1))
        self._upsampled = upsampled

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        x, factor = self.modulated_conv(x, style, self._upsampled)
        x = torch.addcmul(self.bias, x, (factor * _GAIN).to(x.dtype)) + self.weight * noise
        return F.leaky_relu(x, SLOPE)


class ToRGB(nn.Module):
    """Features to three channels, added to the picture so far, which has half the side."""

    def __init__(self, inner: int, style: int) -> None:
        super().__init__()
        self.modulated_conv = Modulated(inner, 3, 1, style, demodulated=False)
        self.bias = nn.Parameter(torch.empty(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor, picture: Tensor | None = None) -> Tensor:
        x, factor = self.modulated_conv(x, style)
        x = torch.addcmul(self.bias, x, factor.to(x.dtype))
        return x if picture is None else x + double(picture)


class Constant(nn.Module):
    """The learned (1, C, 4, 4) that every picture starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels, 4, 4))


class StyleDecoder(nn.Module):
    """forward(styles (B, 2 L, S), conditions) -> (B, 3, size, size), with L levels of sides 4, 8 .. size.

    widths: channels per level, the smallest side first, all even. conditions: a (scale, shift) for each level but the
    first, each (B, widths / 2, side, side): the second half of the level's channels is multiplied and added to.
    """

    def __init__(self, widths: Sequence[int], style: int) -> None:
        super().__init__()
        # The mapping network alternates with activations, which have no weights: hence layers 1, 3 .. 15.
        self.style_mlp = nn.ModuleDict({str(2 * i + 1): nn.Linear(style, style) for i in range(MAPPING_LAYERS)})
        self.constant_input = Constant(widths[0])
        self.style_conv1 = StyleConv(widths[0], widths[0], style)
        self.to_rgb1 = ToRGB(widths[0], style)
        self.style_convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        self.noises = nn.Module()
        self.noises.register_buffer("noise0", torch.empty(1, 1, 4, 4))
        for level, (inner, outer) in enumerate(pairwise(widths), start=1):
            self.style_convs.append(StyleConv(inner, outer, style, upsampled=True))
            self.style_convs.append(StyleConv(outer, outer, style))
            self.to_rgbs.append(ToRGB(outer, style))
            for number in (2 * level - 1, 2 * level):
                self.noises.register_buffer(f"noise{number}", torch.empty(1, 1, 4 << level, 4 << level))

    def forward(self, styles: Tensor, conditions: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
        styles = styles.float()
        x = self.constant_input.weight.expand(len(styles), -1, -1, -1)
        x = self.style_conv1(x, styles[:, 0], self.noises.noise0)
        picture = self.to_rgb1(x, styles[:, 1])
        for level, (scale, shift) in enumerate(conditions, start=1):
            # The style of a level's picture is also that of the next level's first convolution.
            first = 2 * level - 1
            noises = [getattr(self.noises, f"noise{number}") for number in (first, first + 1)]
            x = self.style_convs[first - 1](x, styles[:, first], noises[0])
            kept, steered = x.chunk(2, dim=1)
            x = torch.cat((kept, torch.addcmul(shift, steered, scale)), dim=1)
            x = self.style_convs[first](x, styles[:, first + 1], noises[1])
            picture = self.to_rgbs[level - 1](x, styles[:, first + 2], picture)
        return picture


def double(x: Tensor) -> Tensor:
    """Twice the side, bilinear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
