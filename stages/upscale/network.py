"""An upscaling network on a device: converts bytes to floats and back, runs tiles in batches, smaller ones if memory
runs out."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from raydub.arrays import U8
from raydub.errors import Code, StageError
from raydub.models.backends.copies import to_device, to_host
from raydub.stages.batching import FixedBatches
from raydub.stages.upscale.options import TILE
from raydub.stages.upscale.tiles import Tile, Tiling, tiling

if TYPE_CHECKING:
    from raydub.models.upscale.load import UpscaleSpec

_log = logging.getLogger(__name__)

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Measured with bench/upscale.py: feature maps beyond 32 MB are allocated by the kernel each time, page by page, at half
# the speed; below that, larger tiles have less overlap. Batches of several rows are not faster.
CORE_CPU = {"srvgg": 256, "rrdb": 144}
# Two networks may share a GPU, and memory that other programs use at the moment must not change shapes (law 2): a
# quarter of all its memory. If less is free, tiles are halved.
_SHARE_CUDA = 0.25
_PIXELS_CUDA = 4 << 20
MOST = 8
"""Rows in a batch at most."""
# Bytes per input pixel and byte of the number type: three or four feature maps alive at a time and as much again for
# the convolutions' workspace. SRVGGNetCompact works at the input's resolution, RRDBNet ends at the output's.
_BYTES = {"srvgg": 1024.0, "rrdb": 5120.0}


class UpscaleNetwork:
    """BGR bytes in, BGR bytes out, `spec.scale` times as large. Keeps a reduced tile size between calls.

    network: as models.upscale.load makes it, is moved to the device; precision: fp32, bf16 or fp16; core: see
    UpscaleOptions.tile, 0 for what suits the device; pixels: of the input per call if one tile
    is smaller, 0 for what suits the device.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        spec: UpscaleSpec,
        device: str,
        precision: str = "fp32",
        core: int = 0,
        pixels: int = 0,
    ) -> None:
        self.spec = spec
        self._device, self._type = torch.device(device), _TYPES[precision]
        self._network = network.to(self._device, self._type, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if not pixels and self._device.type == "cuda":
            total = torch.cuda.get_device_properties(self._device).total_memory
            pixels = room(spec, total, self._type.itemsize)
        # With an unshuffle in front the same feature maps stand for more of the input.
        self.core = core or (_core(pixels) if pixels else CORE_CPU[spec.architecture] * spec.multiple)
        self._pixels = pixels
        self._most = MOST if pixels else 1

    def tiling(self, size: tuple[int, int]) -> Tiling:
        """How pictures of this size (width, height; multiples of spec.multiple) are cut at present."""
        return tiling(size, self.core, self.spec.overlap, self.spec.multiple)

    def at_once(self, size: tuple[int, int]) -> int:
        """How many pictures of this size to hand to `enlarge` together: more than one where one does not fill a
        batch."""
        return self._batch(self.tiling(_padded(size, self.spec.multiple)))[1]

    def enlarge(self, pictures: Sequence[U8], *, stream: bool = False) -> list[U8]:
        """pictures: (h, w, 3) uint8 BGR, all of one size -> as many of (scale * h, scale * w, 3).

        Each depends on its own pixels and the tile alone. stream: batches are for `at_once` pictures, even where fewer
        are left at an end, so that those are made as all others are; otherwise for one. Raises StageError
        (OUT_OF_MEMORY) when one tile of 32 pixels (and its overlap) does not fit.
        """
        height, width = pictures[0].shape[:2]
        wide, high = _padded((width, height), self.spec.multiple)
        if (wide, high) != (width, height):
            more = (0, high - height, 0, wide - width)
            pictures = [np.asarray(cv2.copyMakeBorder(one, *more, cv2.BORDER_REPLICATE), np.uint8) for one in pictures]
        scale = self.spec.scale
        made = self._tiled(pictures, (wide, high), stream)
        return [one[: scale * height, : scale * width] for one in made]

    def _tiled(self, pictures: Sequence[U8], size: tuple[int, int], stream: bool) -> list[U8]:
        while True:
            plan = self.tiling(size)
            try:
                return self._run(pictures, plan, stream)
            except StageError as error:
                if error.code != Code.OUT_OF_MEMORY:
                    raise
                smaller = _halved(plan, self.spec.overlap)
                if smaller is None:
                    raise
            # Outside the except block, so that memory of the failed call is freed.
            self.core, self._most = smaller, 1
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            _log.warning("out of memory in upscaling: continuing with tiles of %d pixels", smaller)

    def _run(self, pictures: Sequence[U8], plan: Tiling, stream: bool) -> list[U8]:
        height, width = pictures[0].shape[:2]
        rows, together = self._batch(plan)
        rows, scale = rows if stream else rows // together, self.spec.scale
        batches = FixedBatches(self._call, rows, "the upscaling network", "tile")
        made = [np.empty((scale * height, scale * width, 3), np.uint8) for _ in pictures]
        work = ((number, tile) for number in range(len(pictures)) for tile in plan.tiles)
        while group := list(islice(work, rows)):
            drawn = batches.map(np.stack([_cut(pictures[number], tile) for number, tile in group]))
            for (number, tile), pixels in zip(group, drawn, strict=True):
                _put(made[number], tile, pixels, scale)
        if batches.size < rows:
            self._most = batches.size
        return made

    def _batch(self, plan: Tiling) -> tuple[int, int]:
        """(tiles in a batch, pictures in it): whole pictures make whole batches, or the other way round as well as that
        goes."""
        tiles, most = len(plan.tiles), self._pixels // (plan.window[0] * plan.window[1])
        most = max(1, min(self._most, most))
        if together := most // tiles:
            return together * tiles, together
        return math.ceil(tiles / math.ceil(tiles / most)), 1

    @torch.inference_mode()
    def _call(self, rows: U8) -> U8:
        """(B, h, w, 3) uint8 BGR -> (B, scale * h, scale * w, 3). Repeatable: cuDNN keeps to deterministic kernels
        without TF32."""
        pixels = to_device(rows, self._device)
        # RGB planes of a picture whose three bytes lie together are channels last as they are.
        seen = pixels.flip(3).float().div_(255.0).to(self._type).permute(0, 3, 1, 2)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            drawn = self._network(seen)
        levels = drawn.float().clamp_(0.0, 1.0).mul_(255.0).round_().to(torch.uint8)
        return np.asarray(to_host(levels.permute(0, 2, 3, 1).flip(3).contiguous()), np.uint8)


def room(spec: UpscaleSpec, total: int, itemsize: int) -> int:
    """Input pixels that a network may be given at a time on a device with `total` bytes."""
    # An unshuffle makes the feature maps of a network for a smaller scale smaller, too.
    share = (spec.scale / 4) ** 2 if spec.architecture == "rrdb" else 1.0
    return min(_PIXELS_CUDA, int(total * _SHARE_CUDA / (_BYTES[spec.architecture] * itemsize * share)))


def _core(pixels: int) -> int:
    return min(TILE[1], max(TILE[0], math.isqrt(pixels) // 32 * 32))


def _halved(plan: Tiling, overlap: int) -> int | None:
    """Half of what a tile between others has of its own, or None where that is the least already."""
    own = max(plan.window) - 2 * overlap
    return max(TILE[0], own // 2) if own > TILE[0] else None


def _padded(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    width, height = size
    return -(-width // multiple) * multiple, -(-height // multiple) * multiple


def _cut(picture: U8, tile: Tile) -> U8:
    x0, y0, x1, y1 = tile.seen
    return picture[y0:y1, x0:x1]


def _put(made: U8, tile: Tile, pixels: U8, scale: int) -> None:
    (left, top), (x0, y0, x1, y1) = tile.seen[:2], tile.own
    inside = pixels[scale * (y0 - top) : scale * (y1 - top), scale * (x0 - left) : scale * (x1 - left)]
    made[scale * y0 : scale * y1, scale * x0 : scale * x1] = inside
