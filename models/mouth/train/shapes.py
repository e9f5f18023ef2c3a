"""The mouth shape of a clip, measured: landmarks of one face over time, reduced to openness and width.

Openness is the mean of |61-67|, |62-66|, |63-65| and width is |48-54|, both divided by the outer-eye-corner distance
|36-45| (0-based iBUG 68-point ids), so that neither depends on the size of the face. Landmarks are noisy at the mouth,
and noise in the target costs correlation: boxes are smoothed over time before the fit, and each fit is the mean of five
fits in slightly moved boxes.
"""

from __future__ import annotations

from typing import Any

import cv2
import dlib
import numpy as np
from scipy.ndimage import gaussian_filter1d

from raydub.arrays import F32, U8, Bools
from raydub.models.face_detectors import PREDICTOR_FILE, dlib_file, yunet_file

_SIDE = 400
"""Longer side, in pixels, at which faces are searched for."""

_MOVES = ((0.0, 0.0, 1.0), (0.04, 0.0, 1.0), (-0.04, 0.0, 1.0), (0.0, 0.04, 1.04), (0.0, -0.04, 0.96))
"""Boxes tried per frame: shift in x and y in parts of the side, and scale."""


LEARNED_FROM = "dlib"
"""The landmarks below, as the weights' metadata names them (models.mouth.embedded)."""


class FaceFinder:
    """The largest face of an image, as the square (4,) float32 x0 y0 x1 y1 that dlib's predictor wants, or None.

    YuNet where its file is present (see models.face_detectors), else dlib's HOG detector.
    """

    def __init__(self) -> None:
        path = yunet_file()
        self._yunet: Any = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.7, 0.3, 50) if path else None
        self._hog: Any = None if path else dlib.get_frontal_face_detector()

    def find(self, bgr: U8) -> F32 | None:
        height, width = bgr.shape[:2]
        scale = min(1.0, _SIDE / max(height, width))
        small = cv2.resize(bgr, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        boxes = self._by_yunet(small) if self._yunet is not None else self._by_hog(small)
        if not boxes:
            return None
        best = max(boxes, key=lambda box: box[2] - box[0])
        return np.asarray(best, np.float32) / scale

    def _by_yunet(self, small: U8) -> list[tuple[float, float, float, float]]:
        self._yunet.setInputSize((small.shape[1], small.shape[0]))
        rows = self._yunet.detect(small)[1]
        found = []
        for x, y, w, h in rows[:, :4].tolist() if rows is not None else ():
            cx, cy, half = x + w / 2, y + h / 2 + 0.066 * w, 0.55 * w
            found.append((cx - half, cy - half, cx + half, cy + half))
        return found

    def _by_hog(self, small: U8) -> list[tuple[float, float, float, float]]:
        grey = np.ascontiguousarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
        found = self._hog(grey, 0) or self._hog(grey, 1)  # the enlarged image takes four times as long
        return [(r.left(), r.top(), r.right(), r.bottom()) for r in found]


class ShapeReader:
    """Landmarks of a run of frames. Feed (frame in BGR) in order with `add`, then call `landmarks`."""

    def __init__(self) -> None:
        self._finder = FaceFinder()
        self._predictor: Any = dlib.shape_predictor(str(dlib_file(PREDICTOR_FILE)))
        self._grey: list[U8] = []
        self._boxes: list[F32 | None] = []

    def add(self, bgr: U8) -> None:
        self._grey.append(np.ascontiguousarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)))
        self._boxes.append(self._finder.find(bgr))

    def landmarks(self) -> tuple[F32, Bools]:
        """(n, 68, 2) float32 landmarks in pixels and (n,) bool: was a face found. Rows without a face hold zeros."""
        n = len(self._grey)
        found = np.array([box is not None for box in self._boxes], bool)
        points = np.zeros((n, 68, 2), np.float32)
        if not found.any():
            return points, found
        boxes = np.stack([box if box is not None else np.zeros(4, np.float32) for box in self._boxes])
        for start, stop in _runs(found, boxes):
            smooth = gaussian_filter1d(boxes[start:stop], 2.0, axis=0, mode="nearest")
            for i in range(start, stop):
                points[i] = self._fit(self._grey[i], smooth[i - start])
        return points, found

    def _fit(self, grey: U8, box: F32) -> F32:
        side = float(box[2] - box[0])
        cx, cy = float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2
        total = np.zeros((68, 2), np.float64)
        for dx, dy, scale in _MOVES:
            x, y, half = cx + dx * side, cy + dy * side, scale * side / 2
            rectangle = dlib.rectangle(round(x - half), round(y - half), round(x + half), round(y + half))
            total += [(point.x, point.y) for point in self._predictor(grey, rectangle).parts()]
        return (total / len(_MOVES)).astype(np.float32)


def _runs(found: Bools, boxes: F32) -> list[tuple[int, int]]:
    """Runs of frames that show one face. A jump by more than a third of its side is a cut, or another face."""
    runs: list[tuple[int, int]] = []
    start: int | None = None
    for i in range(len(found)):
        jumped = start is not None and found[i] and _jump(boxes[i - 1], boxes[i])
        if start is not None and (not found[i] or jumped):
            runs.append((start, i))
            start = None
        if found[i] and start is None:
            start = i
    if start is not None:
        runs.append((start, len(found)))
    return runs


def _jump(before: F32, now: F32) -> bool:
    return bool(np.abs(now - before).max() > (before[2] - before[0]) / 3)


def mouth_shape(landmarks: F32) -> F32:
    """(n, 68, 2) landmarks → (n, 2) float32: openness and width in units of |36-45|. Zero-size faces give zeros."""

    def distance(a: int, b: int) -> F32:
        return np.asarray(np.hypot(*(landmarks[:, a] - landmarks[:, b]).T), np.float32)

    eyes = distance(36, 45)
    openness = (distance(61, 67) + distance(62, 66) + distance(63, 65)) / 3
    shape = np.stack([openness, distance(48, 54)], axis=1)
    return np.asarray(np.where(eyes[:, None] > 1, shape / np.maximum(eyes, 1)[:, None], 0), np.float32)


def turned(landmarks: F32) -> F32:
    """(n,) float32: how far the head is turned sideways: 0 frontal, 1 when the nose tip lies over an eye corner."""
    left, right = landmarks[:, 36], landmarks[:, 45]
    axis = right - left
    length = np.maximum((axis**2).sum(axis=1), 1e-6)
    along = ((landmarks[:, 30] - left) * axis).sum(axis=1) / length
    return np.asarray(np.abs(2 * along - 1), np.float32)
