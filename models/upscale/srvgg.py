"""SRVGGNetCompact, the small upscaling network of Real-ESRGAN (Wang et al., "Real-ESRGAN", 2021; its general-x4v3 and
animevideov3 weights): a chain of 3x3 convolutions at the input's resolution, one pixel shuffle at the end, and the
nearest-neighbour enlargement of the input added, so that the network only predicts the difference.

Parameter names and shapes are those of the published files: `body.0` convolution, `body.1` PReLU with one slope a
channel, and so on by turns; the last one makes 3 * scale² channels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from raydub.models.load import layout_error

Shapes = dict[str, tuple[int, ...]]

_BODY = re.compile(r"body\.(\d{1,6})\.(weight|bias)")


@dataclass(frozen=True)
class SrvggSize:
    """features: channels inside; convs: convolutions between the first and the last (general-x4v3 32, animevideov3
    16); scale: output pixels per input pixel and axis."""

    features: int = 64
    convs: int = 32
    scale: int = 4

    @property
    def reach(self) -> int:
        """Input pixels to each side on which an output pixel depends."""
        return self.convs + 2

    def shapes(self) -> Shapes:
        """Names and shapes of all parameters."""
        wide, last = self.features, 2 * (self.convs + 1)
        found: Shapes = {}
        for index in range(0, last + 1, 2):
            inner, outer = 3 if index == 0 else wide, 3 * self.scale**2 if index == last else wide
            found[f"body.{index}.weight"], found[f"body.{index}.bias"] = (outer, inner, 3, 3), (outer,)
            if index < last:
                found[f"body.{index + 1}.weight"] = (wide,)
        return found


class SRVGGNetCompact(nn.Module):
    """forward((B, 3, H, W) float RGB in [0, 1]) -> (B, 3, scale * H, scale * W) float RGB, not clamped. Any H and W."""

    def __init__(self, size: SrvggSize) -> None:
        super().__init__()
        wide = size.features
        parts: list[nn.Module] = [nn.Conv2d(3, wide, 3, 1, 1), nn.PReLU(wide)]
        for _ in range(size.convs):
            parts += [nn.Conv2d(wide, wide, 3, 1, 1), nn.PReLU(wide)]
        parts.append(nn.Conv2d(wide, 3 * size.scale**2, 3, 1, 1))
        self.body = nn.Sequential(*parts)
        self.scale = size.scale

    def forward(self, x: Tensor) -> Tensor:
        drawn = F.pixel_shuffle(self.body(x), self.scale)
        return drawn + F.interpolate(x, scale_factor=self.scale, mode="nearest")


def srvgg_size(state: Mapping[str, Tensor], name: str) -> SrvggSize:
    """The size of the network of a state dict; layout_error if it is inconsistent before shapes can be compared."""
    indices = sorted({int(hit[1]) for key in state if (hit := _BODY.fullmatch(key))})
    # every such file has these two, which give all but the depth
    ends = ("body.0.weight", f"body.{max([2, *indices])}.weight")
    missing = [key for key in ends if key not in state]
    if missing or any(state[key].ndim != 4 for key in ends):
        wrong = [f"{key} {tuple(state[key].shape)}" for key in ends if key not in missing and state[key].ndim != 4]
        raise layout_error(name, missing, wrong or sorted(state), "an SRVGGNetCompact")
    first, last = (state[key] for key in ends)
    scale = math.isqrt(last.shape[0] // 3)
    if scale < 1 or last.shape[0] != 3 * scale**2:
        wrong = [f"{ends[1]} {tuple(last.shape)}, whose outputs are not 3 x scale²"]
        raise layout_error(name, [], wrong, "an SRVGGNetCompact")
    return SrvggSize(first.shape[0], (len(indices) - 3) // 2, scale)
