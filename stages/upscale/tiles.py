"""Cut a picture into tiles: all of one shape, all inside it, each with the pixels that it contributes.

A network pads the borders of its input with zeros, which would show between tiles. So each tile includes `overlap`
pixels beyond its own ones, whose results are dropped. At the picture's borders a tile ends with the picture, and the
padding is the same as for the whole picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from raydub.arrays import Box


@dataclass(frozen=True)
class Tile:
    """seen: the pixels that the network sees; own: those of them that it makes; both x0 y0 x1 y1 in the picture."""

    seen: Box
    own: Box


@dataclass(frozen=True)
class Tiling:
    """All tiles of pictures of one size (width, height). window: (width, height) of every tile's `seen`; together the
    `own` boxes cover the picture once."""

    window: tuple[int, int]
    tiles: tuple[Tile, ...]


def tiling(size: tuple[int, int], core: int, overlap: int, multiple: int = 1) -> Tiling:
    """The fewest equal tiles with at most about `core` x `core` pixels of their own.

    size: sides of the picture, multiples of `multiple`, as is overlap; windows then lie on multiples of it.
    ValueError where they are not.
    """
    if core < 1 or overlap % multiple or any(side < 1 or side % multiple for side in size):
        raise ValueError(
            f"tiles of {core} with an overlap of {overlap} in {size[0]}x{size[1]}, multiples of {multiple}"
        )
    across, down = (_axis(side, core, overlap, multiple) for side in size)
    tiles = tuple(
        Tile((left, top, left + across[0], top + down[0]), (x0, y0, x1, y1))
        for top, y0, y1 in down[1]
        for left, x0, x1 in across[1]
    )
    return Tiling((across[0], down[0]), tiles)


def _axis(side: int, core: int, overlap: int, multiple: int) -> tuple[int, list[tuple[int, int, int]]]:
    """Window along one axis and (its start, first and last + 1 of its own pixels) of each tile.

    The first and the last tile have no overlap at the border, so the tiles share side - 2 * overlap among them.
    """
    shared = side - 2 * overlap
    count = max(1, math.ceil(shared / core))
    step = math.ceil(shared / count / multiple) * multiple
    window = step + 2 * overlap
    if count == 1 or window >= side:
        return side, [(0, 0, side)]
    starts = [*range(0, side - window, step), side - window]
    cuts = [0, *(start + overlap for start in starts[1:]), side]
    return window, [(start, first, last) for start, first, last in zip(starts, cuts, cuts[1:], strict=False)]
