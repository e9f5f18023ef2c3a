"""Frames as three planes: from libav frames, and turned, resized and cropped in YUV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from raydub.arrays import U8
from raydub.media.info import Colour

Planes = tuple[U8, U8, U8]

# H.273 numbers that libswscale understands as coefficients.
_COEFFICIENTS = {"bt709": 1, "bt601": 5, "bt2020": 9}


def reformatted(picture: Any, colour: Colour, pixels: str) -> Any:
    """An av.VideoFrame in another pixel format (libav's name), in the matrix and range of `colour`, by libswscale."""
    space, span = _COEFFICIENTS[colour.matrix], 2 if colour.full_range else 1
    return picture.reformat(
        format=pixels,
        src_colorspace=space,
        dst_colorspace=space,
        src_color_range=2 if picture.format.is_rgb else span,
        dst_color_range=span,
    )


def to_planes(picture: Any, colour: Colour) -> Planes:
    """y (H, W), u, v (H/2, W/2) uint8 copies of an av.VideoFrame, odd sizes cropped to even.

    8-bit 4:2:0 is copied as it is. Anything else (4:2:2, 4:4:4, 10 bit, grey, RGB) goes through libswscale into the
    same matrix and range, so that only depth and subsampling change.
    """
    if picture.format.name not in ("yuv420p", "yuvj420p"):
        picture = reformatted(picture, colour, "yuv420p")
    width, height = picture.width // 2 * 2, picture.height // 2 * 2
    planes = []
    for plane, (w, h) in zip(
        picture.planes, ((width, height), (width // 2, height // 2), (width // 2, height // 2)), strict=True
    ):
        rows = np.frombuffer(plane, np.uint8)[: plane.line_size * h].reshape(h, plane.line_size)
        # A copy: the decoder needs its own frame as a reference for the next ones.
        planes.append(rows[:, :w].copy())
    return planes[0], planes[1], planes[2]


def arrange(
    planes: Planes,
    turn: int,
    flip: bool,
    resize: tuple[int, int] | None,
    rotate: int,
    window: tuple[int, int, int, int],
) -> Planes:
    """Flip, turn degrees clockwise, resize to (width, height), rotate degrees clockwise, crop to window."""
    x0, y0, x1, y1 = window
    result = []
    for number, plane in enumerate(planes):
        half = 2 if number else 1
        out: Any = plane[:, ::-1] if flip else plane
        out = _rotated(out, turn)
        if resize is not None:
            size = (resize[0] // half, resize[1] // half)
            smaller = size[0] <= out.shape[1] and size[1] <= out.shape[0]
            method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
            out = cv2.resize(np.ascontiguousarray(out), size, interpolation=method)
        out = _rotated(out, rotate)
        out = out[y0 // half : y1 // half, x0 // half : x1 // half]
        result.append(np.ascontiguousarray(out))
    return result[0], result[1], result[2]


def _rotated(plane: U8, degrees: int) -> U8:
    return np.rot90(plane, -(degrees // 90)) if degrees else plane
