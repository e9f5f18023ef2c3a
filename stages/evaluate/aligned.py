"""The face of a film held still: every frame turned, scaled and moved so that eyes, brows and nose stay in one place.

Source and dubbed film are brought there by the same transforms, those of the source's landmarks, so that head motion
and errors of the landmarks are the same in both and cancel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from raydub.arrays import F32, F64, U8, Bools
from raydub.media.frames import Frame, open_frames
from raydub.media.probe import probe_video
from raydub.media.yuv import to_bgr
from raydub.stages.evaluate.seen import STILL, Seen

LARGEST = 128
"""Pixels of the distance of the outer eye corners in the still picture; smaller faces keep their own size."""
LEFT, TOP, WIDTH, HEIGHT = -0.95, -0.45, 1.90, 2.20
"""The still picture in eye distances, from the middle of the outer eye corners: brows to chin."""


@dataclass(frozen=True)
class Place:
    """Where the face of each frame goes. matrix (n, 2, 3) float32: from pixels of the frame to the still picture; unit:
    its distance of the outer eye corners in pixels; size: its (width, height); shape (68, 2): the mean face in it;
    present, joined: as in Seen."""

    matrix: F32
    unit: float
    size: tuple[int, int]
    shape: F32
    present: Bools
    joined: Bools

    def first(self, n: int) -> Place:
        """Of the first n frames."""
        return replace(self, matrix=self.matrix[:n], present=self.present[:n], joined=self.joined[:n])

    def to_still(self, points: F32) -> F32:
        """(n, 68, 2) pixels of the frames -> the same in the still picture."""
        turned = np.einsum("nij,nkj->nki", self.matrix[:, :, :2], points) + self.matrix[:, None, :, 2]
        return np.asarray(turned, np.float32)

    def box(self, points: F32, grow: float) -> tuple[slice, slice]:
        """(rows, columns) of the box around points (k, 2) of the still picture, `grow` units wider on each side."""
        low, high = points.min(axis=0) - grow * self.unit, points.max(axis=0) + grow * self.unit
        x0, y0 = np.maximum(low, 0).astype(int)
        x1, y1 = np.minimum(np.ceil(high), self.size).astype(int)
        return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def place_of(seen: Seen) -> Place:
    """The place of a film's face. ValueError without a face."""
    if not seen.present.any():
        raise ValueError(f"no face was found in {seen.path}")
    points = seen.points[seen.present].astype(np.float64)
    eyes = np.linalg.norm(points[:, 36] - points[:, 45], axis=1)
    unit = min(float(np.median(eyes)), float(LARGEST))
    size = round(WIDTH * unit), round(HEIGHT * unit)
    level = np.stack([_levelled(one) for one in points])
    shape = (level.mean(axis=0) - (LEFT, TOP)) * unit
    matrix = np.zeros((len(seen), 2, 3), np.float32)
    matrix[seen.present] = [_similarity(one[STILL], shape[STILL]) for one in points]
    return Place(matrix, unit, size, shape.astype(np.float32), seen.present, seen.joined)


def still(path: Path, place: Place) -> U8:
    """(n, h, w, 3) BGR uint8: the face of the film at `path`, black where the place has none."""
    info = probe_video(str(path))
    n = len(place.present)
    if info.n_frames < n:
        raise ValueError(f"{path} has {info.n_frames} frames, not {n}")
    out = np.zeros((n, place.size[1], place.size[0], 3), np.uint8)
    with open_frames(info) as reader:
        for frame in reader.frames(0, n):
            if place.present[frame.index]:
                out[frame.index] = turned(to_bgr(frame), place.matrix[frame.index], place.size)
    return out


def still_face(frame: Frame, matrix: F32, size: tuple[int, int]) -> U8:
    """(h, w, 3) BGR uint8: a frame's face in the still picture. Only the pixels around it are converted to colour."""
    back = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size], np.float64) @ back[:, :2].T + back[:, 2]
    room = 4 + 0.04 * float(np.ptp(corners[:, 0]))  # for the blur of large faces
    low, high = corners.min(axis=0) - room, corners.max(axis=0) + room
    width, height = frame.size
    x0, y0 = (int(min(max(value, 0), side - 4)) // 2 * 2 for value, side in zip(low, frame.size, strict=True))
    x1, y1 = min(width, int(max(high[0], x0 + 4)) // 2 * 2 + 2), min(height, int(max(high[1], y0 + 4)) // 2 * 2 + 2)
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ np.array([x0, y0], np.float32)
    return turned(to_bgr(frame, (x0, y0, x1, y1)), moved, size)


def turned(bgr: U8, matrix: F32, size: tuple[int, int]) -> U8:
    """One frame in the still picture. Larger faces are blurred first, as much as they are shrunk."""
    scale = float(np.hypot(*matrix[:, 0]))
    if scale < 0.8:
        bgr = np.asarray(cv2.GaussianBlur(bgr, (0, 0), 0.45 / scale), np.uint8)
    return np.asarray(cv2.warpAffine(bgr, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _levelled(points: F64) -> F64:
    """The points in eye distances from the middle of the outer eye corners, their line level."""
    eyes = points[45] - points[36]
    u = max(float(np.hypot(*eyes)), 1.0)
    right = eyes / u
    turn = np.array([right, (-right[1], right[0])])
    return np.asarray(((points - (points[36] + points[45]) / 2) @ turn.T) / u, np.float64)


def _similarity(points: F64, goal: F64) -> F64:
    """(2, 3): the turn, scale and shift that bring points nearest to goal."""
    a, b = points - points.mean(axis=0), goal - goal.mean(axis=0)
    size = max(float((a * a).sum()), 1e-6)
    cos = float((a * b).sum()) / size
    sin = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / size
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack((turn, goal.mean(axis=0) - turn @ points.mean(axis=0)))
