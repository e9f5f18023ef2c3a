"""The mouth shape of a clip, measured with MediaPipe's face mesh: openness and width in the sense of train/shapes.py.

No part of this chain excludes commercial use: faces by YuNet (MIT), the mesh (Apache-2.0, 468 points) run by OpenVINO.
The mesh is tracked by its own last box, which leans with the head; YuNet finds the face at first, when the mesh is
lost, and looks again now and then in case another face has taken the place. Point numbers are the mesh's own.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from raydub.arrays import F32, U8, Bools
from raydub.models.face_detectors import require_yunet
from raydub.models.face_landmarks import require_mesh
from raydub.models.face_mesh import SIDE, FaceMesh

_GROWN = 1.5  # the crop's side in units of the face's longer side
_SURE = 0.7  # log odds of a face, below which it is lost; tracking (stages.track.mesh) asks for more
_LOOK_AGAIN = 25  # frames
_SEARCH_SIDE = 400
_SMOOTH = 0.8  # frames: the mesh is noisier in time than its points are wrong

_EYES, _CORNERS, _NOSE = (33, 263), (61, 291), 4
_INNER = ((81, 178), (13, 14), (311, 402))
"""Pairs of points across the opening of the lips, at a quarter, half and three quarters of its width."""


class MeshReader:
    """Feed frames (BGR) in order with `add`, then call `measured`. DependencyError where a file or OpenVINO is
    absent."""

    def __init__(self) -> None:
        self._yunet: Any = cv2.FaceDetectorYN.create(str(require_yunet()), "", (320, 320), 0.7, 0.3, 50)
        self._mesh = FaceMesh(require_mesh())
        self._last: F32 | None = None
        self._since = 0
        self._points: list[F32 | None] = []
        self._starts: list[int] = []

    def add(self, bgr: U8) -> None:
        points = self._follow(bgr)
        if points is None:
            found = self._find(bgr)
            if found is not None:
                self._starts.append(len(self._points))
                points = self._fit(bgr, *found)
                # The first crop comes from a box of another kind: once more from the mesh's own.
                points = None if points is None else self._fit(bgr, *_crop_of(points))
            self._since = 0
        self._last = points
        self._since += 1
        self._points.append(points)

    def measured(self) -> tuple[F32, Bools]:
        """(n, 2) float32 openness and width in units of the outer-eye-corner distance, and (n,) bool: a face was found
        and is not turned away. Smoothed over time within runs of one face."""
        n = len(self._points)
        found = np.array([one is not None for one in self._points], bool)
        shape, usable = np.zeros((n, 2), np.float32), np.zeros(n, bool)
        borders = sorted({*self._starts, *np.flatnonzero(np.diff(found.astype(np.int8))).tolist(), n})
        start = 0
        for stop in (border + 1 if border < n and border not in self._starts else border for border in borders):
            if start < stop and found[start]:
                points = np.stack([one for one in self._points[start:stop] if one is not None])
                smooth = np.asarray(gaussian_filter1d(points, _SMOOTH, axis=0, mode="nearest"), np.float32)
                shape[start:stop] = _shape_of(smooth)
                usable[start:stop] = _turned(smooth) < 0.75
            start = max(start, stop)
        return shape, usable

    def _follow(self, bgr: U8) -> F32 | None:
        """The face of the frame before, None where it is lost or another one should be taken."""
        if self._last is None:
            return None
        if self._since >= _LOOK_AGAIN:
            self._since = 0
            found = self._find(bgr)
            if found is not None and np.hypot(*(found[0] - self._last[:, :2].mean(axis=0))) > found[1] / 3:
                return None
        return self._fit(bgr, *_crop_of(self._last))

    def _find(self, bgr: U8) -> tuple[F32, float, float] | None:
        """Centre, side and lean of a crop of the largest face."""
        scale = min(1.0, _SEARCH_SIDE / max(bgr.shape[:2]))
        small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self._yunet.setInputSize((small.shape[1], small.shape[0]))
        rows = self._yunet.detect(small)[1]
        if rows is None:
            return None
        x, y, w, h, right_x, right_y, left_x, left_y = max(rows, key=lambda row: row[2])[:8].tolist()
        lean = float(np.arctan2(left_y - right_y, left_x - right_x))
        centre = np.array((x + w / 2, y + h / 2), np.float32) / scale
        return centre, _GROWN * max(w, h) / scale, lean

    def _fit(self, bgr: U8, centre: F32, side: float, lean: float) -> F32 | None:
        """(468, 2) points in pixels of the frame, None where there is no face."""
        scale = SIDE / max(side, 1.0)
        turn = scale * np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]])
        shrink = 1.0
        if scale < 0.5:  # linear sampling of a large face would skip pixels
            shrink = 2 * scale
            bgr = np.asarray(cv2.resize(bgr, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
        move = np.column_stack((turn / shrink, SIDE / 2 - turn @ centre))
        crop = cv2.warpAffine(bgr, move, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
        points, score = self._mesh.run(np.asarray(crop, np.uint8))
        if score < _SURE:
            return None
        return np.asarray((points[:, :2] - SIDE / 2) @ np.linalg.inv(turn).T + centre, np.float32)


def _crop_of(points: F32) -> tuple[F32, float, float]:
    """The crop around a face, upright in its own axes."""
    eyes = points[_EYES[1]] - points[_EYES[0]]
    lean = float(np.arctan2(eyes[1], eyes[0]))
    turn = np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]], np.float32)
    upright = points @ turn.T
    low, high = upright.min(axis=0), upright.max(axis=0)
    return np.asarray(turn.T @ ((low + high) / 2), np.float32), _GROWN * float((high - low).max()), lean


def _shape_of(points: F32) -> F32:
    eyes = _distance(points, *_EYES)
    openness = np.mean([_distance(points, *pair) for pair in _INNER], axis=0)
    shape = np.stack([openness, _distance(points, *_CORNERS)], axis=1)
    return np.asarray(shape / np.maximum(eyes, 1)[:, None], np.float32)


def _turned(points: F32) -> F32:
    """As train.shapes.turned."""
    axis = points[:, _EYES[1]] - points[:, _EYES[0]]
    along = ((points[:, _NOSE] - points[:, _EYES[0]]) * axis).sum(axis=1) / np.maximum((axis**2).sum(axis=1), 1e-6)
    return np.asarray(np.abs(2 * along - 1), np.float32)


def _distance(points: F32, a: int, b: int) -> F32:
    return np.asarray(np.hypot(*(points[:, a] - points[:, b]).T), np.float32)
