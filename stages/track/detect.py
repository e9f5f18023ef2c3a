"""Face detectors behind one call: `find(frame) -> list[Found]`. Pure functions of one frame.

Every detector's box is turned into the square in which dlib's HOG detector would frame the same face, because the
68-point predictor was trained in such squares. The figures for YuNet were fitted on 9 clips (558 HOG boxes against
landmarks, see landmarks.square_of).

Speed on one core, and the smallest face found (width of the square):
hog    11 ms on 640×360 pixels (faces from 22 % of a 16:9 frame's height); where that finds nothing, on every second
       detection frame and at cuts another 43 ms on 1280×720 pixels (from 11 %); always when the search is thorough
yunet  7 ms at a longer side of 480, 12 ms at 640 (thorough; from about 2 % of the side)
mmod   hundreds of ms on a CPU; meant for a GPU build of dlib, or for difficult footage
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import dlib
import numpy as np

from raydub.arrays import F32, U8
from raydub.media.frames import Frame
from raydub.media.yuv import to_bgr
from raydub.models.face_detectors import HOG_FILE, MMOD_FILE, dlib_file, require_yunet
from raydub.stages.track.config import TrackConfig

MAX_FACES = 8
"""Faces kept per detection, the largest first: bounds the time spent on crowds."""

REFIT, WEAK, STRONG, SURE = 0, 1, 2, 3
"""Confidence of a row: carried by landmarks; a weak, a clear, a certain detection. A weak detection alone makes no
face; it only supports a clear one (decide.py)."""

_COARSE, _FINE = 640 * 360, 1280 * 720


@dataclass(frozen=True)
class Found:
    """One detection. box: (4,) float32 square x0 y0 x1 y1 in the frame's pixels; score: the detector's own; level:
    WEAK, STRONG or SURE; points: (5, 2) where the detector sees right and left eye, nose tip, right and left mouth
    corner (from the person's view), if it does; quarters: turns by 90 degrees clockwise of the picture in which it was
    found."""

    box: F32
    score: float
    level: int
    points: F32 | None = None
    quarters: int = 0

    @property
    def tilt(self) -> float:
        """Radians by which the face is turned clockwise, by the line of its eyes where they are known. Beyond 45
        degrees YuNet's eyes are nearer to level than the face's."""
        if self.points is None:
            return self.quarters * np.pi / 2
        across = self.points[1] - self.points[0]
        return float(np.arctan2(float(across[1]), float(across[0])))


class Detector(Protocol):
    def find(self, frame: Frame, fine: bool) -> list[Found]:
        """Faces of a frame. fine: where searching small faces costs much more, do it when no large one is found."""
        ...


def find_tilted(detector: Detector, frame: Frame) -> list[Found]:
    """Faces that lie on their side: the detector sees the frame turned by a quarter, both ways. It finds faces that are
    tilted by up to about 45 degrees, so these are all that it misses in the upright frame."""
    height, width = frame.y.shape
    found = []
    for quarters in (1, -1):
        # rot90 turns counter-clockwise, which makes a face upright that is turned clockwise.
        y, u, v = (np.ascontiguousarray(np.rot90(plane, quarters)) for plane in (frame.y, frame.u, frame.v))
        for one in detector.find(replace(frame, y=y, u=u, v=v), fine=False):
            corners = _turned_back(one.box.reshape(2, 2), quarters, (width, height))
            box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
            points = None if one.points is None else _turned_back(one.points, quarters, (width, height))
            found.append(replace(one, box=box, points=points, quarters=quarters))
    return found


def _turned_back(points: F32, quarters: int, size: tuple[int, int]) -> F32:
    """Points (n, 2) of a frame turned by np.rot90(.., quarters), 1 or -1, in the frame of `size` (width, height)."""
    x, y = points[:, 1], points[:, 0]
    return np.stack([size[0] - x, y] if quarters == 1 else [x, size[1] - y], axis=1).astype(np.float32)


def make_detector(config: TrackConfig) -> Detector:
    """The detector of the plan; DependencyError if its file is absent or differs."""
    kinds: dict[str, type[HogDetector] | type[MmodDetector] | type[YunetDetector]] = {
        "hog": HogDetector,
        "mmod": MmodDetector,
        "yunet": YunetDetector,
    }
    return kinds[config.detector.name](config)


class HogDetector:
    """dlib's frontal HOG detector on the luma plane. Scores: above 0 is dlib's own threshold."""

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self._net: Any = dlib.fhog_object_detector(str(HOG_FILE))

    def find(self, frame: Frame, fine: bool) -> list[Found]:
        if not self._config.thorough:
            found = self._at(frame.y, _COARSE)
            if not fine or any(one.level >= STRONG for one in found):
                return found
        return self._at(frame.y, _FINE)

    def _at(self, luma: U8, pixels: int) -> list[Found]:
        small, scale = _scaled(luma, (pixels / luma.size) ** 0.5)
        boxes, scores, _ = self._net.run(small, 0, -0.2)
        found = [
            _found(_corners(box) / scale, score, _level(score, strong=0.0, sure=0.6))
            for box, score in zip(boxes, scores, strict=True)
        ]
        return _kept(found, self._config.min_face)


class MmodDetector:
    """dlib's CNN detector on RGB. Its confidence is above 0 for every detection that dlib reports; 1 is usual for a
    face."""

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self._net: Any = dlib.cnn_face_detection_model_v1(str(dlib_file(MMOD_FILE)))

    def find(self, frame: Frame, fine: bool) -> list[Found]:
        pixels = _FINE if self._config.thorough else _COARSE
        small, scale = _small_bgr(frame, min(1.0, (pixels / frame.y.size) ** 0.5))
        found = [
            _found(_corners(one.rect) / scale, one.confidence, _level(one.confidence, strong=0.5, sure=0.9))
            for one in self._net(np.ascontiguousarray(small[:, :, ::-1]), 0)
        ]
        return _kept(found, self._config.min_face)


class YunetDetector:
    """OpenCV's YuNet on BGR. Boxes run from the hairline to the chin; the square below covers brows to chin."""

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self._net: Any = cv2.FaceDetectorYN.create(str(require_yunet()), "", (320, 320), 0.6, 0.3, 200)

    def find(self, frame: Frame, fine: bool) -> list[Found]:
        side = 640 if self._config.thorough else 480
        small, scale = _small_bgr(frame, side / max(frame.y.shape))
        self._net.setInputSize((small.shape[1], small.shape[0]))
        _, rows = self._net.detect(small)
        found = []
        for row in rows if rows is not None else ():
            x, y, w, h = (row[:4] / scale).tolist()
            cx, cy, half = x + w / 2, y + h / 2 + 0.066 * w, 0.55 * w
            box = np.array([cx - half, cy - half, cx + half, cy + half], np.float32)
            score = float(row[-1])
            points = row[4:14].reshape(5, 2) / scale[:2]
            found.append(Found(box, score, _level(score, strong=0.75, sure=0.85), points.astype(np.float32)))
        return _kept(found, self._config.min_face)


def _small_bgr(frame: Frame, scale: float) -> tuple[U8, F32]:
    """The frame in BGR at about `scale`, and the exact factors. The planes are scaled first: converting a whole 1080p
    frame would cost more than detecting in the small one."""
    height, width = frame.y.shape
    half = max(1, round(width * scale / 2)), max(1, round(height * scale / 2))
    size = 2 * half[0], 2 * half[1]
    how = cv2.INTER_AREA if scale <= 0.5 else cv2.INTER_LINEAR
    y, u, v = (
        np.asarray(cv2.resize(plane, to, interpolation=how), np.uint8)
        for plane, to in ((frame.y, size), (frame.u, half), (frame.v, half))
    )
    exact = np.array([size[0] / width, size[1] / height] * 2, np.float32)
    return to_bgr(replace(frame, y=y, u=u, v=v)), exact


def _scaled(image: U8, scale: float) -> tuple[U8, F32]:
    """The image at about `scale`, and the exact factors (x0 y0 x1 y1 order) that its rounded size stands for."""
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale <= 0.5 else cv2.INTER_LINEAR)
    exact = np.array([size[0] / width, size[1] / height] * 2, np.float32)
    return np.ascontiguousarray(small), exact


def _corners(box: Any) -> F32:
    return np.array([box.left(), box.top(), box.right() + 1, box.bottom() + 1], np.float32)


def _found(box: F32, score: float, level: int) -> Found:
    return Found(box.astype(np.float32), float(score), level)


def _level(score: float, *, strong: float, sure: float) -> int:
    return SURE if score >= sure else STRONG if score >= strong else WEAK


def _kept(found: list[Found], min_face: int) -> list[Found]:
    """Large enough ones, at most MAX_FACES, clear ones and then large ones first (ties: from the left)."""
    wide = [one for one in found if one.box[2] - one.box[0] >= min_face]
    wide.sort(key=lambda one: (one.level < STRONG, -float(one.box[2] - one.box[0]), float(one.box[0])))
    return wide[:MAX_FACES]
