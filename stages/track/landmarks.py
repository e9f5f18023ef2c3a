"""dlib's 68 landmarks: fitting them in a box, carrying them from frame to frame, and telling when they are lost."""

from __future__ import annotations

import functools
from typing import Any

import cv2
import dlib
import numpy as np

from raydub.arrays import F32, F64, U8
from raydub.models.face_detectors import PREDICTOR_FILE, dlib_file

STABLE = slice(17, 48)
"""Brows, nose and eyes: the points that speech does not move."""

KEEP_CORRELATION = 0.45
"""A carried face must still look like the detected one: normalised correlation of the upper face's pixels. Measured:
below 0.3 for landmarks fitted on something else than a face; 0.9 in the median and above 0.65 in 99 % of frames for
faces that look at the camera; 0.35 for heads that are turning away, which are dropped."""


@functools.lru_cache(maxsize=1)
def _predictor() -> Any:
    """The 68-point predictor, 0.4 to 1 s and 100 MB once per process."""
    return dlib.shape_predictor(str(dlib_file(PREDICTOR_FILE)))


def load() -> None:
    """Load the predictor now, instead of at the first fit. Raises DependencyError."""
    _predictor()


def fit(luma: U8, box: F32) -> F32:
    """Landmarks (68, 2) float32 of the face in the square `box` (x0 y0 x1 y1). luma: (H, W) uint8, C-contiguous. 5 ms
    (bench/NOTES.md)."""
    x0, y0, x1, y1 = (int(v) for v in np.rint(box))
    shape = _predictor()(luma, dlib.rectangle(x0, y0, x1 - 1, y1 - 1))
    return np.array([(point.x, point.y) for point in shape.parts()], np.float32)


UNSURE, NO_FACE = 0.045, 0.07
"""Above UNSURE a detection starts no face, it only continues one; above NO_FACE it is dropped (see unsettled)."""

SAME_PLACE = 0.35
"""A detection whose square shares less than this (intersection over union) with that of its landmarks is dropped."""

APART = 0.15
"""A detection whose own five points lie further than this from the landmarks is dropped (see disagreement)."""


def disagreement(landmarks: F32, points: F32) -> float:
    """Mean distance between a detector's own eyes, nose tip and mouth corners (5, 2) and the same of the landmarks,
    over the side of the face's square. On profiles dlib puts the mouth on the cheek: 0.4 – 0.6 there, at most 0.09 on
    faces whose landmarks are right."""
    own = np.stack([landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0), *landmarks[[30, 48, 54]]])
    square = square_of(landmarks)
    return float(np.linalg.norm(own - points, axis=1).mean()) / max(float(square[2] - square[0]), 1.0)


def unsettled(luma: U8, landmarks: F32) -> float:
    """How much the landmarks depend on where the fit begins: the mean distance to a fit from a square shifted by 10 %
    to the right, over the square's side. On a face the predictor always finds the same points, elsewhere it does
    not. Measured: below 0.04 for 95 % of faces on 10 clips, 0.03 – 0.12 on profiles, 0.075 – 0.11 on wrong HOG
    detections."""
    square = square_of(landmarks)
    side = max(float(square[2] - square[0]), 1.0)
    shifted = square + np.array([0.1 * side, 0, 0.1 * side, 0], np.float32)
    return float(np.linalg.norm(fit(luma, shifted) - landmarks, axis=1).mean()) / side


def square_of(landmarks: F32) -> F32:
    """The square (4,) in which dlib's HOG detector would frame these landmarks: side 2.79 times the root mean square
    distance from their centre, shifted up by 0.126 of it (mean over 558 detections on 9 clips; spread 7 %)."""
    centre = landmarks.mean(axis=0)
    spread = float(np.sqrt(((landmarks - centre) ** 2).sum(axis=1).mean()))
    cx, cy, half = float(centre[0]), float(centre[1]) - 0.126 * spread, 2.787 * spread / 2
    return np.array([cx - half, cy - half, cx + half, cy + half], np.float32)


def area_and_centre(points: F32) -> tuple[F64, F64]:
    """(n,) pixels² and (n,) pixels from the left, of the squares of landmarks (n, 68, 2): by what faces are chosen."""
    squares = np.array([square_of(one) for one in points], np.float64).reshape(len(points), 4)
    return (squares[:, 2] - squares[:, 0]) ** 2, (squares[:, 0] + squares[:, 2]) / 2


def patch(luma: U8, landmarks: F32) -> F32:
    """The upper face, eyes to upper lip, levelled and scaled to 32×24 pixels, zero mean and unit norm; flattened.
    Eyes lie 14 pixels apart. What speech moves most (the mouth) is outside."""
    left, right = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    axis = right - left
    span = max(float(np.hypot(axis[0], axis[1])), 0.25 * float(np.ptp(landmarks[:, 1])), 1.0)
    angle = np.arctan2(float(axis[1]), float(axis[0]))
    scale = 28.0 / span
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = (left + right) / 2
    matrix = np.array(
        [
            [cos, sin, 32.0 - cos * middle[0] - sin * middle[1]],
            [-sin, cos, 16.0 + sin * middle[0] - cos * middle[1]],
        ]
    )
    large = cv2.warpAffine(luma, matrix, (64, 48), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    flat = cv2.resize(large, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    flat -= flat.mean()
    return (flat / max(float(np.linalg.norm(flat)), 1e-6)).astype(np.float32)


def plausible(landmarks: F32, before: F32, width: int, height: int) -> bool:
    """Can `landmarks` be the face that was at `before` one frame ago? It may move by half its size and grow or shrink
    by a third, and most of it must lie inside the frame."""
    inside = (landmarks >= 0).all(axis=1) & (landmarks[:, 0] < width) & (landmarks[:, 1] < height)
    if inside.mean() < 0.8:
        return False
    new, old = square_of(landmarks), square_of(before)
    ratio = (new[2] - new[0]) / max(float(old[2] - old[0]), 1e-6)
    moved = np.abs((new[:2] + new[2:]) - (old[:2] + old[2:])).max() / 2
    return bool(0.67 < ratio < 1.5 and moved < 0.5 * (old[2] - old[0]))


def overlap(a: F32, b: F32) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = float(width * height)
    return both / (float((a[2] - a[0]) * (a[3] - a[1])) + float((b[2] - b[0]) * (b[3] - b[1])) - both)
