"""Resize and mix the network's output; for faces that are enlarged on their own: the region that goes in, where the
result is placed, and its soft edge."""

from __future__ import annotations

import cv2
import numpy as np

from raydub.arrays import F32, U8, Box
from raydub.stages.mask import face_outline, feather, soft_shape

_FEATHER = 0.05
"""Half width of the soft edge, in face heights (nose bridge to chin)."""
_CONTEXT = 16
"""Pixels around the shape that go into the network, too."""
_GRID = 16
"""The network's input begins and ends on multiples of it: few shapes, and a grid of pixels that stands still."""


def face_box(landmarks: F32, size: tuple[int, int]) -> Box | None:
    """x0 y0 x1 y1, even, inside a frame of `size` (width, height; even): all pixels where a face may show, and no more
    than that. None where it is outside the frame or not finite."""
    if not np.isfinite(landmarks).all():
        return None
    outline, soft = face_outline(landmarks), 2 * feather(landmarks, _FEATHER) + 1
    low = np.floor(outline.min(axis=0) - soft).astype(int)
    high = np.ceil(outline.max(axis=0) + soft).astype(int) + 1
    return _inside((int(low[0]), int(low[1]), int(high[0]), int(high[1])), size, 2)


def region_of(landmarks: F32, size: tuple[int, int]) -> Box | None:
    """The same with context for the network, on the grid (or at the frame's border)."""
    box = face_box(landmarks, size)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    return _inside((x0 - _CONTEXT, y0 - _CONTEXT, x1 + _CONTEXT, y1 + _CONTEXT), size, _GRID)


def face_alpha(landmarks: F32, box: Box) -> F32:
    """(h, w) float32 in [0, 1] for the pixels of `box`: 1 inside the face, exactly 0 beyond its soft edge."""
    return soft_shape(face_outline(landmarks), box, feather(landmarks, _FEATHER))


def placed(pixels: U8, region: Box, box: Box, scale: tuple[float, float]) -> U8:
    """What the network made of `region` of the source, as pixels of `box` of an output `scale` times as large.

    pixels: (h, w, 3); the region covers the box. Exact to a fraction of a pixel: a face must not jitter against its
    surroundings.
    """
    x0, y0, x1, y1 = region
    wide, high = (max(1, round((b - a) * s)) for a, b, s in ((x0, x1, scale[0]), (y0, y1, scale[1])))
    pixels = resized(pixels, (wide, high))
    if scale == (1.0, 1.0):
        return pixels[box[1] - y0 : box[3] - y0, box[0] - x0 : box[2] - x0]
    # Output pixel X has its centre at X + 1/2, the source's place of it is that over scale.
    step = [wide / ((x1 - x0) * scale[0]), high / ((y1 - y0) * scale[1])]
    first = [(box[axis] + 0.5) * step[axis] - region[axis] * scale[axis] * step[axis] - 0.5 for axis in range(2)]
    matrix = np.array([[step[0], 0, first[0]], [0, step[1], first[1]]])
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    target = (box[2] - box[0], box[3] - box[1])
    return np.asarray(cv2.warpAffine(pixels, matrix, target, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def resized(pixels: U8, size: tuple[int, int]) -> U8:
    """Pixels (h, w, 3) at `size` (width, height): means where that is smaller, Lanczos where it is larger."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    smaller = size[0] * size[1] < width * height
    return np.asarray(
        cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4), np.uint8
    )


def mixed(made: U8, source: U8, strength: float) -> U8:
    """strength * made + (1 - strength) * source, the source resized by bicubic interpolation."""
    if strength >= 1:
        return made
    height, width = made.shape[:2]
    plain = np.asarray(cv2.resize(source, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    return np.asarray(cv2.addWeighted(made, strength, plain, 1 - strength, 0), np.uint8)


def scaled(landmarks: F32, scale: tuple[float, float]) -> F32:
    """Landmarks in a frame `scale` times as large; pixel i has its centre at i."""
    factors = np.asarray(scale, np.float32)
    return np.asarray((landmarks + np.float32(0.5)) * factors - np.float32(0.5), np.float32)


def _inside(box: Box, size: tuple[int, int], grid: int) -> Box | None:
    x0, y0 = (max(0, side // grid * grid) for side in box[:2])
    x1, y1 = (min(limit, -(-side // grid) * grid) for side, limit in zip(box[2:], size, strict=True))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
