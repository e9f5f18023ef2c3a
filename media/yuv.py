"""Between YUV planes and BGR, for one box of a frame only, by the formulas of ITU-T H.273 (section 8.3) in float32.

With Kr, Kb of the matrix and Kg = 1 - Kr - Kb: Y = Kr R + Kg G + Kb B, Cb = (B - Y) / (2 (1 - Kb)),
Cr = (R - Y) / (2 (1 - Kr)); narrow range puts Y on 16..235 and Cb, Cr on 16..240, full range uses 0..255.
Two ways with chroma, which has half the resolution both ways:
- plain: a sample stands for its 2x2 pixels: it is repeated on the way out and averaged on the way back, so that a box
  converted there and back keeps its chroma;
- smooth: a sample lies where MPEG-2, MPEG-4, H.264 and HEVC put it unless told otherwise, on the left pixels of its 2x2
  and between their rows. Linear interpolation on the way out, the weights (1 2 1)/4 across and (1 1)/2 down on the way
  back. For pictures whose pixels are looked at by a network or made by one: no stairs at the edges of colours.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from media.frames import Frame
from media.info import Colour, Matrix

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]
_ZERO: Any = 0.0
_STRIP = 128
"""Rows converted at a time where whole frames are: float copies of an 8K frame would be 800 MB."""

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


def to_bgr(frame: Frame, box: Box | None = None, *, smooth: bool = False) -> U8:
    """The pixels of `box` (x0, y0, x1, y1; even; None = all) as (h, w, 3) BGR uint8. ValueError for a bad box.

    smooth: see the module; the pixels of a box are then those of the whole frame, too.
    """
    x0, y0, x1, y1 = _checked(frame, box)
    matrix = _yuv_to_bgr(frame.colour.matrix, frame.colour.full_range)
    made: Any
    if not smooth:
        size = (x1 - x0, y1 - y0)
        chroma = [
            cv2.resize(plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2], size, interpolation=cv2.INTER_NEAREST)
            for plane in (frame.u, frame.v)
        ]
        made = cv2.transform(cv2.merge([frame.y[y0:y1, x0:x1], *chroma]).astype(np.float32), matrix)
        return _to_bytes(made)
    bgr = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
    for top in range(y0, y1, _STRIP):
        strip = (x0, top, x1, min(top + _STRIP, y1))
        luma = frame.y[top : strip[3], x0:x1].astype(np.float32)
        made = cv2.transform(cv2.merge([luma, _finer(frame.u, strip), _finer(frame.v, strip)]), matrix)
        bgr[top - y0 : strip[3] - y0] = _to_bytes(made)
    return bgr


def from_bgr(bgr: U8, colour: Colour, index: int) -> Frame:
    """A frame of the pixels bgr (h, w, 3) uint8, h and w even, with planes of its own; smooth chroma (see the module).
    ValueError for odd sides or another shape."""
    height, width = bgr.shape[:2]
    if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8 or (height | width) & 1 or not bgr.size:
        raise ValueError(f"pixels {bgr.shape} of {bgr.dtype} are not even-sided BGR bytes")
    half = (height // 2, width // 2)
    y, u, v = np.empty((height, width), np.uint8), np.empty(half, np.uint8), np.empty(half, np.uint8)
    for top in range(0, height, _STRIP):
        rows, halves = slice(top, top + _STRIP), slice(top // 2, (top + _STRIP) // 2)
        luma, blue, red = _planes(bgr[rows], colour)
        y[rows], u[halves], v[halves] = _to_bytes(luma), _to_bytes(_coarser(blue)), _to_bytes(_coarser(red))
    return Frame(index, y, u, v, colour)


def blend_bgr(frame: Frame, box: Box, bgr: U8, alpha: F32, *, smooth: bool = False) -> None:
    """Mix new pixels into `frame`, in place: value += alpha * (new - value), in YUV.

    box: x0, y0, x1, y1, even; bgr: (h, w, 3) uint8; alpha: (h, w) float32 in [0, 1]. A luma sample with alpha 0 and a
    chroma sample whose 2x2 pixels all have alpha 0 keep their value bit for bit, as does everything outside the box.
    smooth: see the module; there the pixels beside a sample's 2x2 to the left must have alpha 0 as well.
    Raises ValueError where shapes and box disagree.
    """
    x0, y0, x1, y1 = _checked(frame, box)
    height, width = y1 - y0, x1 - x0
    if bgr.shape != (height, width, 3) or alpha.shape != (height, width):
        raise ValueError(f"box {box} with pixels {bgr.shape} and alpha {alpha.shape}")
    weight = np.ascontiguousarray(alpha, dtype=np.float32)
    luma, blue, red = _planes(bgr, frame.colour)
    old = frame.y[y0:y1, x0:x1]
    _mix(old, luma, weight)
    shrink = _coarser if smooth else _quarter
    share = shrink(weight)
    for plane, values in ((frame.u, blue), (frame.v, red)):
        # mean of weight * value over the 2x2, then old * (1 - share) + that, written so that share 0 changes nothing
        total = shrink(values * weight)
        old = plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2]
        before = old.astype(np.float32)
        old[:] = _to_bytes(before + (total - share * before))


def add_bgr(frame: Frame, box: Box, change: F32, alpha: F32) -> None:
    """Add to the pixels of `frame`, in place: value += alpha * change, in YUV.

    box: x0, y0, x1, y1, even; change: (h, w, 3) float32, differences of BGR values of 0..255; alpha: (h, w) float32.
    Where alpha or the change is 0 (for chroma: in all 2x2 pixels) the samples stay bit for bit, and whatever 8-bit BGR
    cannot hold of the frame (super-whites, its own chroma) is kept under the change. Raises ValueError where shapes and
    box disagree.
    """
    x0, y0, x1, y1 = _checked(frame, box)
    if change.shape != (y1 - y0, x1 - x0, 3) or alpha.shape != change.shape[:2]:
        raise ValueError(f"box {box} with changes {change.shape} and alpha {alpha.shape}")
    matrix = _bgr_to_yuv(frame.colour.matrix, frame.colour.full_range)[:, :3]
    luma, blue, red = cv2.split(cv2.multiply(cv2.transform(change, matrix), cv2.merge([alpha] * 3)))
    _add(frame.y[y0:y1, x0:x1], luma)
    for plane, values in ((frame.u, blue), (frame.v, red)):
        _add(plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2], _quarter(np.asarray(values, np.float32)))


def _add(samples: U8, change: Any) -> None:
    samples[:] = _to_bytes(samples.astype(np.float32) + change)


def _mix(old: U8, new: F32, weight: F32) -> None:
    before = old.astype(np.float32)
    old[:] = _to_bytes(before + weight * (new - before))


def _planes(bgr: U8, colour: Colour) -> tuple[F32, F32, F32]:
    new = cv2.transform(bgr.astype(np.float32), _bgr_to_yuv(colour.matrix, colour.full_range))
    luma, blue, red = cv2.split(new)
    return luma, blue, red  # type: ignore[return-value]


def _quarter(values: F32) -> F32:
    """Means of 2x2."""
    height, width = values.shape
    made: Any = cv2.resize(values, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(made, np.float32)


def _coarser(values: F32) -> F32:
    """(h, w) -> (h/2, w/2): samples between two rows, on even columns; the column before the first is the first."""
    rows = values[0::2] + values[1::2]
    before = np.concatenate([rows[:, :1], rows[:, 1:-1:2]], axis=1)
    return np.asarray((before + rows[:, 1::2]) * np.float32(0.125) + rows[:, 0::2] * np.float32(0.25), np.float32)


def _finer(plane: U8, box: Box) -> F32:
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


def _to_bytes(values: F32) -> U8:
    """Rounded (half to even) and clipped to 0..255: cv2 saturates when it stores to 8 bit."""
    flat: Any = values.reshape(values.shape[0], -1)
    stored: U8 = cv2.add(flat, _ZERO, dtype=cv2.CV_8U).reshape(values.shape)
    return stored
