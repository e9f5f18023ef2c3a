"""Between YUV planes and BGR, for one box of a frame only, in float32 (matrices: media.chroma).

Two ways with chroma, which has half the resolution both ways:
- plain: a sample stands for its 2x2 pixels: it is repeated on the way out and averaged on the way back, so that a box
  converted there and back keeps its chroma;
- smooth: a sample lies where MPEG-2, MPEG-4, H.264 and HEVC put it unless told otherwise, on the left pixels of its 2x2
  and between their rows. Linear interpolation on the way out, the weights (1 2 1)/4 across and (1 1)/2 down on the way
  back. For pixels that go into a network or come from one: no stairs at the edges of colours.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from raydub.arrays import F32, U8, Box
from raydub.media.chroma import bgr_to_yuv, coarser, finer, quarter, to_bytes, yuv_to_bgr
from raydub.media.frames import Frame
from raydub.media.info import Colour

_STRIP = 128
"""Rows converted at a time where whole frames are: float copies of an 8K frame would be 800 MB."""


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
    matrix = yuv_to_bgr(frame.colour.matrix, frame.colour.full_range)
    made: Any
    if not smooth:
        size = (x1 - x0, y1 - y0)
        chroma = [
            cv2.resize(plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2], size, interpolation=cv2.INTER_NEAREST)
            for plane in (frame.u, frame.v)
        ]
        made = cv2.transform(cv2.merge([frame.y[y0:y1, x0:x1], *chroma]).astype(np.float32), matrix)
        return to_bytes(made)
    bgr = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
    for top in range(y0, y1, _STRIP):
        strip = (x0, top, x1, min(top + _STRIP, y1))
        luma = frame.y[top : strip[3], x0:x1].astype(np.float32)
        made = cv2.transform(cv2.merge([luma, finer(frame.u, strip), finer(frame.v, strip)]), matrix)
        bgr[top - y0 : strip[3] - y0] = to_bytes(made)
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
        y[rows], u[halves], v[halves] = to_bytes(luma), to_bytes(coarser(blue)), to_bytes(coarser(red))
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
    shrink = coarser if smooth else quarter
    share = shrink(weight)
    for plane, values in ((frame.u, blue), (frame.v, red)):
        # mean of weight * value over the 2x2, then old * (1 - share) + that, written so that share 0 changes nothing
        total = shrink(values * weight)
        old = plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2]
        before = old.astype(np.float32)
        old[:] = to_bytes(before + (total - share * before))


def blend_planes(frame: Frame, box: Box, planes: tuple[F32, F32, F32], alpha: F32) -> None:
    """As blend_bgr (plain chroma) for new samples: y (h, w), u and v (h/2, w/2) float32 on the scale of the frame's
    bytes."""
    x0, y0, x1, y1 = _checked(frame, box)
    shape = (y1 - y0, x1 - x0)
    half = (shape[0] // 2, shape[1] // 2)
    if [plane.shape for plane in (*planes, alpha)] != [shape, half, half, shape]:
        raise ValueError(f"box {box} with planes {[plane.shape for plane in planes]} and alpha {alpha.shape}")
    share = quarter(alpha)
    _mix(frame.y[y0:y1, x0:x1], planes[0], alpha)
    for plane, new in ((frame.u, planes[1]), (frame.v, planes[2])):
        _mix(plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2], new, share)


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
    matrix = bgr_to_yuv(frame.colour.matrix, frame.colour.full_range)[:, :3]
    luma, blue, red = cv2.split(cv2.multiply(cv2.transform(change, matrix), cv2.merge([alpha] * 3)))
    _add(frame.y[y0:y1, x0:x1], luma)
    for plane, values in ((frame.u, blue), (frame.v, red)):
        _add(plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2], quarter(np.asarray(values, np.float32)))


def _add(samples: U8, change: Any) -> None:
    samples[:] = to_bytes(samples.astype(np.float32) + change)


def _mix(old: U8, new: F32, weight: F32) -> None:
    before = old.astype(np.float32)
    old[:] = to_bytes(before + weight * (new - before))


def _planes(bgr: U8, colour: Colour) -> tuple[F32, F32, F32]:
    new = cv2.transform(bgr.astype(np.float32), bgr_to_yuv(colour.matrix, colour.full_range))
    luma, blue, red = cv2.split(new)
    return luma, blue, red  # type: ignore[return-value]
