"""The face crop of Wav2Lip: how it is cut out and pasted back."""

from __future__ import annotations

import math

import cv2
import numpy as np

from raydub.arrays import F32, U8, Box
from raydub.media.frames import Frame
from raydub.media.yuv import to_bgr

CROP = 96


def pixel_box(box: F32, size: tuple[int, int]) -> Box | None:
    """Whole pixels x0 y0 x1 y1 of a box (4,), inside a frame of size (w, h): truncated as the published code does,
    then clamped. None when nothing of it is inside."""
    width, height = size
    if not np.isfinite(box).all():
        return None
    x0, x1 = (min(max(math.trunc(float(x)), 0), width) for x in (box[0], box[2]))
    y0, y1 = (min(max(math.trunc(float(y)), 0), height) for y in (box[1], box[3]))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def even_box(box: Box) -> Box:
    """The smallest box with even sides around `box`: chroma is shared by 2x2 pixels. Stays inside an even frame."""
    x0, y0, x1, y1 = box
    return x0 & ~1, y0 & ~1, x1 + (x1 & 1), y1 + (y1 & 1)


def face_crop(frame: Frame, box: F32) -> U8:
    """(96, 96, 3) BGR uint8: the pixels of the box (4,), resized bilinear. Black when the box is outside the frame."""
    pixels = pixel_box(box, frame.size)
    if pixels is None:
        return np.zeros((CROP, CROP, 3), np.uint8)
    x0, y0, x1, y1 = pixels
    region = even_box(pixels)
    bgr = to_bgr(frame, region)[y0 - region[1] : y1 - region[1], x0 - region[0] : x1 - region[0]]
    return np.asarray(cv2.resize(bgr, (CROP, CROP), interpolation=cv2.INTER_LINEAR), np.uint8)
