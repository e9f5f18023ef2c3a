"""dlib's 128-d face embedding, for comparing faces with a reference picture.

Distances are Euclidean; below 0.6 two pictures show the same person (dlib's own threshold, 99.4 % on LFW). About 20
ms a face on a CPU, so only detected faces get one.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np

from raydub.arrays import F32, U8
from raydub.errors import Code, InputError
from raydub.media.frames import Frame
from raydub.media.images import read_upright
from raydub.media.info import Colour
from raydub.media.yuv import from_bgr, to_bgr
from raydub.models.face_detectors import EMBEDDING_FILE, HOG_FILE, dlib_file
from raydub.models.face_landmarks import LandmarksSpec, resolve_landmarks
from raydub.stages.track import landmarks as lm
from raydub.stages.track.landmarker import make_landmarker

SAME_PERSON = 0.6
_MAX_PIXELS = 4_000_000


@functools.lru_cache(maxsize=1)
def _net() -> Any:
    return dlib.face_recognition_model_v1(str(dlib_file(EMBEDDING_FILE)))


def embedding(frame: Frame, landmarks: F32) -> F32:
    """(128,) float32 of the face with these landmarks (68, 2); only the pixels around it are converted to colour."""
    height, width = frame.y.shape
    x0, y0, x1, y1 = lm.square_of(landmarks).tolist()
    margin = 0.5 * (x1 - x0)
    box = (
        max(0, int(x0 - margin)) // 2 * 2,
        max(0, int(y0 - margin)) // 2 * 2,
        min(width, int(x1 + margin) // 2 * 2 + 2),
        min(height, int(y1 + margin) // 2 * 2 + 2),
    )
    return _describe(to_bgr(frame, box), landmarks - np.array(box[:2], np.float32))


def reference_embedding(path: str, landmarks: LandmarksSpec | None = None) -> F32:
    """(128,) float32 of the largest face in the picture at `path`. landmarks: None for the best that are installed.

    Raises InputError: INPUT_*, REFERENCE_FACE (no face in it); DependencyError for absent models.
    """
    if not Path(path).is_file():
        raise InputError(Code.INPUT_MISSING, f"the reference picture {path} does not exist", field="face")
    try:
        image = read_upright(path, what="the reference picture")
    except InputError as error:
        raise error.at(field="face") from error.__cause__
    shrink = min(1.0, (_MAX_PIXELS / (image.shape[0] * image.shape[1])) ** 0.5)
    if shrink < 1:
        image = np.asarray(cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
    image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    gray = np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    boxes = list(dlib.fhog_object_detector(str(HOG_FILE))(gray, 1))
    if not boxes:
        raise InputError(
            Code.REFERENCE_FACE,
            f"no face was found in the reference picture {path}",
            hint="use a sharp picture of the person from the front",
            field="face",
        )
    largest = max(boxes, key=lambda box: int(box.width()))
    box = np.array([largest.left(), largest.top(), largest.right() + 1, largest.bottom() + 1], np.float32)
    landmarker, frame = make_landmarker(landmarks or resolve_landmarks()), from_bgr(image, Colour(), 0)
    first = landmarker.inside(frame, gray, box)
    return _describe(image, landmarker.inside(frame, gray, lm.square_of(first)))


def _describe(bgr: U8, landmarks: F32) -> F32:
    points = dlib.points([dlib.point(round(float(x)), round(float(y))) for x, y in landmarks])
    x0, y0, x1, y1 = (round(float(v)) for v in lm.square_of(landmarks))
    shape = dlib.full_object_detection(dlib.rectangle(x0, y0, x1, y1), points)
    rgb = np.ascontiguousarray(bgr[:, :, ::-1])
    return np.array(_net().compute_face_descriptor(rgb, shape), np.float32)
