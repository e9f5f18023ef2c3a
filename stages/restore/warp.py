"""Resample pixels between the frame and a face's square, with OpenCV on the CPU or with torch on any device.

Bilinear both ways. If the target is coarser than the source, it is sampled k times as densely and averaged, so that
nothing aliases: a face larger than the square on its way in, a smaller one on its way back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from raydub.arrays import F32, F64, U8

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST = 4096
"""Limit of a densely sampled target's side. A square of 512 reaches it for faces eight times as large, where more would
cost memory and show no difference."""


class Warper(Protocol):
    """matrix: (2, 3) float64, pixels of the frame's part -> pixels of the square, whole numbers at pixel centres."""

    def cut(self, bgr: U8, matrix: F64, side: int) -> U8:
        """(side, side, 3) uint8: the square, cut out of the part `bgr` (h, w, 3); its border is repeated beyond it."""
        ...

    def back(self, change: F32 | Tensor, matrix: F64, size: tuple[int, int]) -> F32:
        """(h, w, 3) float32 for a part of `size` (w, h): values of the square (side, side, 3), 0 beyond it."""
        ...


class CvWarper:
    """With OpenCV."""

    def cut(self, bgr: U8, matrix: F64, side: int) -> U8:
        """See Warper."""
        inverse = inverted(matrix)
        k = _density(inverse, (side, side))
        made = _warp(bgr, denser(inverse, k), (side * k, side * k), cv2.BORDER_REPLICATE)
        return np.asarray(_averaged(made, (side, side), k), np.uint8)

    def back(self, change: F32 | Tensor, matrix: F64, size: tuple[int, int]) -> F32:
        """See Warper."""
        k = _density(matrix, size)
        made = _warp(np.asarray(change, np.float32), denser(matrix, k), (size[0] * k, size[1] * k), cv2.BORDER_CONSTANT)
        return np.asarray(_averaged(made, size, k), np.float32)


class TorchWarper:
    """With torch on `device`; only the part of the frame and the square travel there and back."""

    def __init__(self, device: str) -> None:
        import torch

        self._device = torch.device(device)

    def cut(self, bgr: U8, matrix: F64, side: int) -> U8:
        """See Warper."""
        from raydub.models.backends.copies import to_host

        made = self._sampled(bgr, inverted(matrix), (side, side), "border")
        return np.asarray(to_host(made.round().clamp(0, 255).byte()), np.uint8)

    def back(self, change: F32 | Tensor, matrix: F64, size: tuple[int, int]) -> F32:
        """See Warper. `change` may be on the device already."""
        from raydub.models.backends.copies import to_host

        return np.asarray(to_host(self._sampled(change, matrix, size, "zeros")), np.float32)

    def _sampled(self, picture: U8 | F32 | Tensor, matrix: F64, size: tuple[int, int], beyond: str) -> Tensor:
        """(h, w, 3) float32 on the device. matrix: target pixel -> source pixel."""
        import torch
        from torch.nn import functional

        from raydub.models.backends.copies import to_device

        k = _density(matrix, size)
        to_source = denser(matrix, k)
        height, width = map(int, picture.shape[:2])
        with torch.inference_mode():
            if not isinstance(picture, torch.Tensor):
                picture = to_device(np.ascontiguousarray(picture), self._device)
            source = picture.permute(2, 0, 1)[None].float()
            x = torch.arange(size[0] * k, device=self._device, dtype=torch.float64)[None, :]
            y = torch.arange(size[1] * k, device=self._device, dtype=torch.float64)[:, None]
            # grid_sample wants -1 and 1 at the outer edges of the source's outer pixels
            across, down = (row[0] * x + row[1] * y + row[2] for row in to_source.tolist())
            grid = torch.stack([(2 * across + 1) / width - 1, (2 * down + 1) / height - 1], dim=-1)[None].float()
            made = functional.grid_sample(source, grid, mode="bilinear", padding_mode=beyond, align_corners=False)
            if k > 1:
                made = functional.avg_pool2d(made, k)
            return made[0].permute(1, 2, 0).contiguous()


def make_warper(device: str) -> Warper:
    """OpenCV on a CPU, torch on CUDA."""
    return TorchWarper(device) if device.startswith("cuda") else CvWarper()


def inverted(matrix: F64) -> F64:
    """The (2, 3) transform the other way round."""
    turn = np.linalg.inv(matrix[:, :2])
    return np.concatenate([turn, -turn @ matrix[:, 2:]], axis=1)


def denser(matrix: F64, k: int) -> F64:
    """`matrix` for targets sampled k times as densely: pixel i of those lies at (i + 0.5) / k - 0.5."""
    shift = 0.5 / k - 0.5
    return np.concatenate([matrix[:, :2] / k, matrix[:, 2:] + matrix[:, :2].sum(axis=1, keepdims=True) * shift], axis=1)


def _density(matrix: F64, size: tuple[int, int]) -> int:
    """How many samples a pixel of a target of `size` needs in each direction. matrix: target -> source."""
    pixels = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    # slightly above a whole number counts as that number, so that a face does not alternate between two densities
    return min(max(1, _LARGEST // max(size)), max(1, math.ceil(pixels - 0.05)))


def _warp(picture: U8 | F32, to_source: F64, size: tuple[int, int], border: int) -> Any:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, to_source, size, flags=flags, borderMode=border)


def _averaged(picture: Any, size: tuple[int, int], k: int) -> Any:
    return picture if k == 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
