"""Soft shapes of a face: the lower part, where a new mouth is blended in, or the classic rectangle; the whole face."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from raydub.arrays import F32

Paste = Literal["mask", "box"]

_JAW = slice(2, 15)
_INSIDE_JAW = 0.10
"""The jaw line is drawn in by this share of its distance from the mouth: beyond it lie neck and background."""
_MOUTH = slice(48, 60)
_AROUND_MOUTH = 1.35
"""The lips' outline, widened by this factor around its centre, always belongs to the shape."""
_FEATHER = 0.055
"""Half width of the soft edge, in face heights (nose bridge to chin)."""
_FOREHEAD = 0.42
"""How far above the brows the forehead reaches in its middle, in face heights: about to the hair."""
_TEMPLES = 0.35
"""The same at the brows' outer ends, as a share of the middle's."""
_INSIDE_FACE = 0.04
"""The whole face's outline is drawn in by this share of its distance from the centre, so that a soft edge ends near
it."""
_SHIFT = 4  # cv2 polygons with 1/16 pixel


def mouth_alpha(
    landmarks: F32,
    region: tuple[int, int, int, int],
    paste: Paste = "mask",
    box: F32 | tuple[int, int, int, int] | None = None,
) -> F32:
    """(h, w) float32 in [0, 1] for the pixels of `region` (x0 y0 x1 y1): how much of the new pixels shows.

    landmarks: (68, 2), iBUG order, in frame pixels. "mask": the lower face, from just under the nose to a little above
    the jaw line, with the whole mouth, and an edge as soft as the face is large; exactly 0 outside, the nose and
    everything above it included. "box": 1 inside the integer box (x0 y0 x1 y1, as Wav2Lip pastes), which must be given.
    If `box` is given, "mask" fades to 0 within it too, because there are no new pixels beyond it.
    """
    x0, y0, x1, y1 = region
    inside = None if box is None else [round(float(side)) for side in box]
    if paste == "box":
        if inside is None:
            raise ValueError("paste=box needs the box")
        left, top, right, bottom = inside
        alpha = np.zeros((y1 - y0, x1 - x0), np.float32)
        alpha[max(0, top - y0) : max(0, bottom - y0), max(0, left - x0) : max(0, right - x0)] = 1.0
        return alpha
    soft = feather(landmarks, _FEATHER)
    return soft_shape(_outline(landmarks), region, soft, inside)


def face_outline(landmarks: F32) -> F32:
    """(37, 2) points whose convex hull is the whole face: the jaw line, and the brows lifted to an arch along the
    forehead. landmarks: (68, 2), iBUG order."""
    down = landmarks[8] - landmarks[27]
    arch = _TEMPLES + (1 - _TEMPLES) * np.sin(np.linspace(0.0, np.pi, 10))
    brows = landmarks[17:27] - _FOREHEAD * arch[:, None] * down
    centre = landmarks[27:36].mean(axis=0)
    points = np.concatenate([landmarks[:17], landmarks[17:27], brows])
    return np.asarray(centre + (points - centre) * (1 - _INSIDE_FACE), np.float32)


def feather(landmarks: F32, share: float) -> int:
    """Half width of a soft edge in pixels: a share of the face's height (nose bridge to chin), at least one."""
    return max(1, round(share * float(np.hypot(*(landmarks[8] - landmarks[27])))))


def soft_shape(points: F32, region: tuple[int, int, int, int], soft: int, inside: list[int] | None = None) -> F32:
    """(h, w) float32 in [0, 1] for the pixels of `region`: 1 in the convex hull of `points` (frame pixels), exactly 0
    from 2 * (soft // 2) pixels outside it on; with `inside` (x0 y0 x1 y1) fading to 0 within that rectangle too."""
    x0, y0, x1, y1 = region
    hull = cv2.convexHull((points - np.array([x0, y0], np.float32)).astype(np.float32))
    shape = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillConvexPoly(shape, np.rint(hull * (1 << _SHIFT)).astype(np.int32), 255, cv2.LINE_8, _SHIFT)
    if inside is not None:
        left, top, right, bottom = (
            inside[0] - x0 + soft,
            inside[1] - y0 + soft,
            inside[2] - x0 - soft,
            inside[3] - y0 - soft,
        )
        keep = np.zeros_like(shape)
        keep[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 1
        shape *= keep
    # Two box blurs make a soft edge that ends exactly, unlike a Gaussian's tail.
    size = soft // 2 * 2 + 1
    blurred = cv2.blur(cv2.blur(shape.astype(np.float32) / 255.0, (size, size)), (size, size))
    # Running sums leave tiny values instead of exact zeros.
    return np.where(blurred < 1 / 1024, 0.0, np.minimum(blurred, 1.0)).astype(np.float32)


def _outline(landmarks: F32) -> F32:
    """Points whose convex hull is the shape's hard core."""
    mouth = landmarks[_MOUTH]
    centre = mouth.mean(axis=0)
    jaw = centre + (landmarks[_JAW] - centre) * (1 - _INSIDE_JAW)
    base = landmarks[31:36].mean(axis=0)
    lips = centre + (mouth - centre) * _AROUND_MOUTH
    # Nothing of the core may rise above the base of the nose: along the face's own axis, for tilted heads.
    down = landmarks[8] - landmarks[27]
    down = down / max(float(np.hypot(*down)), 1e-6)
    room = 0.1 * float(np.hypot(*(landmarks[8] - landmarks[27])))
    points = np.concatenate([jaw, lips])
    above = np.minimum((points - base) @ down - room * 0.6, 0.0)
    return np.asarray(points - above[:, None] * down, np.float32)
