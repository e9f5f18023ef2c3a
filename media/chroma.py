"""Conversion matrices between YUV and BGR by ITU-T H.273 (section 8.3), and resampling of chroma planes.

With Kr, Kb of the matrix and Kg = 1 - Kr - Kb: Y = Kr R + Kg G + Kb B, Cb = (B - Y) / (2 (1 - Kb)),
Cr = (R - Y) / (2 (1 - Kr)); narrow range puts Y on 16..235 and Cb, Cr on 16..240, full range uses 0..255.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, F64, U8, Box
from raydub.media.info import Matrix

_ZERO: Any = 0.0

_KR_KB: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}


@lru_cache(maxsize=8)
def bgr_to_yuv(matrix: Matrix, full_range: bool) -> F64:
    """(3, 4): [Y Cb Cr] = M [B G R 1], values 0..255."""
    kr, kb = _KR_KB[matrix]
    luma = np.array([kb, 1 - kr - kb, kr])
    blue = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - kb))
    red = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - kr))
    luma_gain, chroma_gain, black = (1.0, 1.0, 0.0) if full_range else (219 / 255, 224 / 255, 16.0)
    rows = np.stack([luma * luma_gain, blue * chroma_gain, red * chroma_gain])
    return np.concatenate([rows, np.array([[black], [128.0], [128.0]])], axis=1)


@lru_cache(maxsize=8)
def yuv_to_bgr(matrix: Matrix, full_range: bool) -> F64:
    """(3, 4): [B G R] = M [Y Cb Cr 1], the inverse."""
    forward = bgr_to_yuv(matrix, full_range)
    inverse = np.linalg.inv(forward[:, :3])
    return np.concatenate([inverse, -inverse @ forward[:, 3:]], axis=1)


def quarter(values: F32) -> F32:
    """Means of 2x2: (h, w) -> (h/2, w/2)."""
    height, width = values.shape
    made = cv2.resize(values, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(made, np.float32)


def coarser(values: F32) -> F32:
    """(h, w) -> (h/2, w/2): samples between two rows, on even columns; the column before the first is the first."""
    rows = values[0::2] + values[1::2]
    before = np.concatenate([rows[:, :1], rows[:, 1:-1:2]], axis=1)
    return np.asarray((before + rows[:, 1::2]) * np.float32(0.125) + rows[:, 0::2] * np.float32(0.25), np.float32)


def finer(plane: npt.NDArray[Any], box: Box) -> F32:
    """The box's pixels of a chroma plane as float32, its samples between two rows and on even columns."""
    x0, y0, x1, y1 = (side // 2 for side in box)
    top, bottom, right = max(0, y0 - 1), min(plane.shape[0], y1 + 1), min(plane.shape[1], x1 + 1)
    part = plane[top:bottom, x0:right].astype(np.float32)
    # OpenCV's linear doubling has the weights 1/4 and 3/4 of samples between two rows, and repeats the border.
    tall = cv2.resize(part, (part.shape[1], 2 * part.shape[0]), interpolation=cv2.INTER_LINEAR)
    tall = tall[2 * (y0 - top) : 2 * (y1 - top)]
    columns = x1 - x0
    after = np.concatenate([tall[:, 1:], tall[:, -1:]], axis=1)[:, :columns]
    made = np.empty((len(tall), 2 * columns), np.float32)
    made[:, 0::2] = tall[:, :columns]
    made[:, 1::2] = (tall[:, :columns] + after) * np.float32(0.5)
    return made


def to_bytes(values: F32) -> U8:
    """Rounded (half to even) and clipped to 0..255: cv2 saturates when it stores to 8 bit."""
    flat: Any = values.reshape(values.shape[0], -1)
    stored: U8 = cv2.add(flat, _ZERO, dtype=cv2.CV_8U).reshape(values.shape)
    return stored
