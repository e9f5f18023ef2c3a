"""Between YUV planes and BGR, for one box of a frame only, by the formulas of ITU-T H.273 (section 8.3) in float32.

With Kr, Kb of the matrix and Kg = 1 - Kr - Kb: Y = Kr R + Kg G + Kb B, Cb = (B - Y) / (2 (1 - Kb)),
Cr = (R - Y) / (2 (1 - Kr)); narrow range puts Y on 16..235 and Cb, Cr on 16..240, full range uses 0..255.
A chroma sample stands for its 2x2 pixels: it is repeated on the way out and averaged on the way back, so that a box
converted there and back keeps its chroma.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from media.frames import Frame
from media.info import Matrix

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]
_ZERO: Any = 0.0

_KR_KB: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}


@lru_cache(maxsize=8)
def _bgr_to_yuv(matrix: Matrix, full_range: bool) -> npt.NDArray[np.float64]:
    """(3, 4): [Y Cb Cr] = M [B G R 1], values 0..255."""
    kr, kb = _KR_KB[matrix]
    luma = np.array([kb, 1 - kr - kb, kr])
    blue = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - kb))
    red = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - kr))
    luma_gain, chroma_gain, black = (1.0, 1.0, 0.0) if full_range else (219 / 255, 224 / 255, 16.0)
    rows = np.stack([luma * luma_gain, blue * chroma_gain, red * chroma_gain])
    return np.concatenate([rows, np.array([[black], [128.0], [128.0]])], axis=1)


@lru_cache(maxsize=8)
def _yuv_to_bgr(matrix: Matrix, full_range: bool) -> npt.NDArray[np.float64]:
    """(3, 4): [B G R] = M [Y Cb Cr 1], the inverse."""
    forward = _bgr_to_yuv(matrix, full_range)
    inverse = np.linalg.inv(forward[:, :3])
    return np.concatenate([inverse, -inverse @ forward[:, 3:]], axis=1)


def _checked(frame: Frame, box: Box | None) -> Box:
    width, height = frame.size
    x0, y0, x1, y1 = (0, 0, width, height) if box is None else (int(side) for side in box)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height) or (x0 | y0 | x1 | y1) & 1:
        raise ValueError(f"box {box} is not an even box inside a frame of {width}x{height}")
    return x0, y0, x1, y1


def to_bgr(frame: Frame, box: Box | None = None) -> U8:
    """The pixels of `box` (x0, y0, x1, y1; even; None = all) as (h, w, 3) BGR uint8. ValueError for a bad box."""
    x0, y0, x1, y1 = _checked(frame, box)
    size = (x1 - x0, y1 - y0)
    chroma = [
        cv2.resize(plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2], size, interpolation=cv2.INTER_NEAREST)
        for plane in (frame.u, frame.v)
    ]
    yuv = cv2.merge([frame.y[y0:y1, x0:x1], *chroma]).astype(np.float32)
    bgr: Any = cv2.transform(yuv, _yuv_to_bgr(frame.colour.matrix, frame.colour.full_range))
    return _to_bytes(bgr)


def blend_bgr(frame: Frame, box: Box, bgr: U8, alpha: F32) -> None:
    """Mix new pixels into `frame`, in place: value += alpha * (new - value), in YUV.

    box: x0, y0, x1, y1, even; bgr: (h, w, 3) uint8; alpha: (h, w) float32 in [0, 1]. A luma sample with alpha 0 and a
    chroma sample whose 2x2 pixels all have alpha 0 keep their value bit for bit, as does everything outside the box.
    Raises ValueError where shapes and box disagree.
    """
    x0, y0, x1, y1 = _checked(frame, box)
    height, width = y1 - y0, x1 - x0
    if bgr.shape != (height, width, 3) or alpha.shape != (height, width):
        raise ValueError(f"box {box} with pixels {bgr.shape} and alpha {alpha.shape}")
    weight = np.ascontiguousarray(alpha, dtype=np.float32)
    new = cv2.transform(bgr.astype(np.float32), _bgr_to_yuv(frame.colour.matrix, frame.colour.full_range))
    luma: Any
    luma, blue, red = cv2.split(new)
    old = frame.y[y0:y1, x0:x1]
    _mix(old, luma, weight)
    half = (width // 2, height // 2)
    share = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    for plane, values in ((frame.u, blue), (frame.v, red)):
        # mean of weight * value over the 2x2, then old * (1 - share) + that, written so that share 0 changes nothing
        total = cv2.resize(cv2.multiply(values, weight), half, interpolation=cv2.INTER_AREA)
        old = plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2]
        before = old.astype(np.float32)
        old[:] = _to_bytes(before + (total - share * before))


def _mix(old: U8, new: F32, weight: F32) -> None:
    before = old.astype(np.float32)
    old[:] = _to_bytes(before + weight * (new - before))


def _to_bytes(values: F32) -> U8:
    """Rounded (half to even) and clipped to 0..255: cv2 saturates when it stores to 8 bit."""
    flat: Any = values.reshape(values.shape[0], -1)
    stored: U8 = cv2.add(flat, _ZERO, dtype=cv2.CV_8U).reshape(values.shape)
    return stored
