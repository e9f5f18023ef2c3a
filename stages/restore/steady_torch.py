"""stages.restore.steady with torch on a GPU, which would otherwise wait 40 ms of a core per face. The squares travel to
the card as bytes, and nothing comes back: the change is warped there (stages.restore.warp)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from raydub.arrays import F32, U8
from raydub.models.backends.copies import to_device
from raydub.stages.restore.steady import BROAD, COARSE, FALL, MOVED, OTHER, Look

if TYPE_CHECKING:
    from torch import Tensor


@torch.inference_mode()
def steadied_on(device: str, now: Look, around: Sequence[tuple[int, Look]], steady: float, fading: F32) -> Tensor:
    """See stages.restore.steady.steadied: (S, S, 3) float32 on the device, equal to it times `fading` (S, S, 1) within
    rounding."""
    square = _uploaded(now.square, device)
    total = _uploaded(now.made, device) - square
    size = list(total.shape[2:])
    weights = torch.ones_like(total[:, :1])
    small = _shrunk(square, COARSE).round()
    for distance, look in around:
        other = _shrunk(_uploaded(look.square, device), COARSE).round()
        apart = (small - other).abs().amax(dim=1, keepdim=True)
        if float(apart.mean()) > OTHER:
            continue
        likeness = torch.exp(-torch.square(functional.max_pool2d(apart, 3, 1, 1) / MOVED))
        weight = _grown(likeness, size) * (steady * FALL[distance])
        weights += weight
        light = _grown(_shrunk(other - small, BROAD // COARSE), size)
        total += (_uploaded(look.made, device) - square - light) * weight
    return (total / weights)[0].permute(1, 2, 0) * to_device(fading, total.device)


def _uploaded(pixels: U8, device: str) -> Tensor:
    """(1, 3, S, S) float32."""
    return to_device(pixels, torch.device(device)).permute(2, 0, 1)[None].float()


def _shrunk(values: Tensor, factor: int) -> Tensor:
    side = max(1, values.shape[-1] // factor)
    return functional.interpolate(values, size=(side, side), mode="area")


def _grown(values: Tensor, size: list[int]) -> Tensor:
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=False)
