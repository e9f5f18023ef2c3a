"""What a mouth looks like, in 865 bytes: a small picture of the lower face, upright and of one size, beside the
landmarks of each tracked face. Enough to compare mouths, light and sharpness without decoding a frame again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, U8
from raydub.media.frames import Frame
from raydub.stages.types import LOOK as LOOK

WIDE, HIGH = 32, 24
"""Pixels of the luma picture."""
CELLS_WIDE, CELLS_HIGH = 8, 6
"""Pixels of the two chroma pictures, and of cells()."""
assert LOOK == WIDE * HIGH + 2 * CELLS_WIDE * CELLS_HIGH + 1  # bytes: luma, U, V (row by row), sharpness

_WIDTH = 1.2
"""Of the picture, in distances of the outer eye corners: from cheek to cheek."""
_BELOW_NOSE = 0.36
"""The picture's middle lies so far below the base of the nose: it reaches to the chin."""
_SHARPNESS_STEPS = 16.0
"""Steps of the sharpness byte in a factor of e."""


@dataclass(frozen=True)
class Looks:
    """Looks taken apart, for n faces. luma (n, HIGH, WIDE), u, v (n, CELLS_HIGH, CELLS_WIDE) float32 on the scale of
    the frame's bytes; sharpness (n,): logarithm of the mean Laplacian of the mouth; known (n,): was a look taken?"""

    luma: F32
    u: F32
    v: F32
    sharpness: F32
    known: np.ndarray[tuple[int], np.dtype[np.bool_]]

    @staticmethod
    def of(rows: U8) -> Looks:
        """rows: (n, LOOK)."""
        area, cells, n = WIDE * HIGH, CELLS_WIDE * CELLS_HIGH, len(rows)
        values = rows.astype(np.float32)
        grid = (n, CELLS_HIGH, CELLS_WIDE)
        return Looks(
            values[:, :area].reshape(n, HIGH, WIDE),
            values[:, area : area + cells].reshape(grid),
            values[:, area + cells : area + 2 * cells].reshape(grid),
            values[:, -1] / np.float32(_SHARPNESS_STEPS),
            np.asarray(rows.any(axis=1), np.bool_),
        )

    @staticmethod
    def none() -> U8:
        """Rows of nobody: (0, LOOK)."""
        return np.zeros((0, LOOK), np.uint8)

    def cells(self) -> F32:
        """(n, CELLS_HIGH, CELLS_WIDE) mean luma of each cell."""
        n, side = len(self.luma), HIGH // CELLS_HIGH
        parts = self.luma.reshape(n, CELLS_HIGH, side, CELLS_WIDE, side)
        return np.asarray(summed(summed(parts, 2), 3) / np.float32(side * side), np.float32)


def summed(values: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """As values.sum(axis), one after the other: numpy's own order, and with it the last bit, depends on how many rows
    there are beside (law 2)."""
    first, *others = np.moveaxis(values, axis, 0)
    total = first.copy()
    for one in others:
        total += one
    return np.asarray(total)


def skin(cells: F32) -> F32:
    """(n, 16) of (n, 6, 8): the cheeks beside the mouth, and the chin."""
    sides = cells[:, :, (1, 6)].reshape(len(cells), -1)
    return np.asarray(np.concatenate((sides, cells[:, -1, 2:6]), axis=1), np.float32)


def look_of(frame: Frame, landmarks: F32) -> U8:
    """(LOOK,) uint8 of the face with these landmarks (68, 2), frame pixels; zeros where the eyes lie together. 0.2 ms
    on one core."""
    eyes = landmarks[45] - landmarks[36]
    size = float(np.hypot(*eyes))
    if not np.isfinite(landmarks).all() or size < 4.0:
        return np.zeros(LOOK, np.uint8)
    right = eyes / size
    middle = landmarks[31:36].mean(axis=0) + _BELOW_NOSE * size * np.array((-right[1], right[0]))
    fine = _upright(frame.y, middle, right, _WIDTH * size, (2 * WIDE, 2 * HIGH))
    grain = np.abs(cv2.Laplacian(fine, cv2.CV_32F))[HIGH // 3 : 4 * HIGH // 3, WIDE // 2 : 3 * WIDE // 2]
    sharp = min(max(_SHARPNESS_STEPS * float(np.log1p(grain.mean())), 1.0), 255.0)
    cells = (CELLS_WIDE, CELLS_HIGH)
    chroma = [_upright(plane, middle / 2, right, _WIDTH * size / 2, cells) for plane in (frame.u, frame.v)]
    luma = cv2.resize(fine, (WIDE, HIGH), interpolation=cv2.INTER_AREA)
    parts = [luma.ravel(), *(one.ravel() for one in chroma), np.array((round(sharp),), np.uint8)]
    return np.asarray(np.concatenate(parts), np.uint8)


def _upright(plane: U8, middle: F32, right: F32, width: float, size: tuple[int, int]) -> U8:
    """`size` (w, h) pixels of a plane around `middle`, whose rows run along `right`, w of them `width` samples long."""
    w, h = size
    step = width / w  # samples of the plane in a pixel
    reach = 0.75 * width + 2
    x0, y0 = (max(0, int(side - reach)) for side in middle)
    part = plane[y0 : max(y0 + 1, int(middle[1] + reach)), x0 : max(x0 + 1, int(middle[0] + reach))]
    if not part.size:
        return np.zeros((h, w), np.uint8)
    shrink = max(1, int(step))
    if shrink > 1:
        small = (max(1, part.shape[1] // shrink), max(1, part.shape[0] // shrink))
        part = np.asarray(
            cv2.resize(part[: small[1] * shrink, : small[0] * shrink], small, interpolation=cv2.INTER_AREA)
        )
    down = np.array((-right[1], right[0]))
    # from the picture's pixels to those of the shrunk part, as cv2.warpAffine wants with WARP_INVERSE_MAP
    turn = np.column_stack((right, down)) * step
    corner = middle - turn @ np.array(((w - 1) / 2, (h - 1) / 2)) - np.array((x0, y0))
    matrix = np.column_stack((turn, corner + 0.5)) / shrink
    matrix[:, 2] -= 0.5
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(part, matrix, size, flags=how, borderMode=cv2.BORDER_REPLICATE), np.uint8)
