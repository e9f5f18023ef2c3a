"""Made-up faces and pictures, and restorers with made-up networks, for tests of the restore stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
import pytest

from raydub.arrays import F32, U8
from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.stages.post_processor import Shown, ShownFace
from raydub.stages.restore.align import TEMPLATE
from raydub.stages.restore.options import RestoreOptions
from raydub.stages.restore.restorer import Restorer

Network = Callable[[U8], U8]


def template_face() -> np.ndarray[Any, Any]:
    """(68, 2) landmarks whose eyes, nose tip and mouth corners are the template's, in a square of 512."""
    points = np.zeros((68, 2))
    turn = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([256 + 165 * np.cos(turn), 250 + 205 * np.sin(turn)], axis=1)
    points[17:27] = np.stack([np.linspace(140, 372, 10), np.full(10, 200.0)], axis=1)
    points[27:31] = np.linspace([256.0, 238.0], TEMPLATE[2], 4)
    points[31:36] = np.stack([np.linspace(232, 281, 5), np.full(5, 332.0)], axis=1)
    around = np.linspace(0, 2 * np.pi, 7)[:6]
    ring = np.stack([26 * np.cos(around), 9 * np.sin(around)], axis=1)
    points[36:42], points[42:48] = TEMPLATE[0] + ring, TEMPLATE[1] + ring
    left, right = TEMPLATE[3], TEMPLATE[4]
    for start, count, deep in ((48, 12, 24.0), (60, 8, 6.0)):
        share = np.linspace(0, 2 * np.pi, count + 1)[:count]
        middle, half = (left + right) / 2, (right - left) / 2
        points[start : start + count] = middle - np.cos(share)[:, None] * half
        points[start : start + count, 1] -= deep * np.sin(share)
    points[48], points[54] = left, right
    return points


def face_at(
    centre: tuple[float, float], side: float, tilt: float = 0.0, number: int = 0, gate: float = 1.0
) -> ShownFace:
    """A face whose square has `side` frame pixels around `centre`, turned by `tilt` (radians, clockwise as seen)."""
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    points = (template_face() - 255.5) * (side / 512) @ turn + np.array(centre)
    return ShownFace(number, points.astype(np.float32), gate)


def picture(size: tuple[int, int], seed: int = 0, index: int = 0, blur: float = 3.0) -> Frame:
    """Smooth random colours."""
    random = np.random.default_rng(seed)
    width, height = size

    def plane(w: int, h: int, low: int, high: int) -> U8:
        noise = cv2.GaussianBlur(random.normal(0, 1, (h, w)).astype(np.float32), (0, 0), blur)
        return np.asarray(np.clip(128 + noise / noise.std() * 30, low, high), np.uint8)

    y = plane(width, height, 40, 220)
    return Frame(index, y, plane(width // 2, height // 2, 90, 160), plane(width // 2, height // 2, 90, 160), Colour())


def clip(count: int, faces: Callable[[int], tuple[ShownFace, ...]], size: tuple[int, int] = (160, 120)) -> list[Shown]:
    """`count` frames of one picture with a little noise; fresh planes on every call."""
    shown = []
    for i in range(count):
        frame, random = picture(size, 3, i), np.random.default_rng(100 + i)
        frame.y[:] = np.clip(frame.y + np.rint(random.normal(0, 1.0, frame.y.shape)), 0, 255).astype(np.uint8)
        shown.append(Shown(frame, faces(i), False))
    return shown


def restorer(patch: pytest.MonkeyPatch, network: Network, side: int = 64, **options: Any) -> Restorer:
    """A loaded restorer with a network of squares of `side`."""
    patch.setattr("raydub.stages.restore.restorer.load_network", lambda *_: (network, side))
    made = Restorer(RestoreOptions("fake", **options))
    made.load("cpu")
    return made


def same(a: Frame, b: Frame) -> bool:
    return all(np.array_equal(x, y) for x, y in ((a.y, b.y), (a.u, b.u), (a.v, b.v)))


def planes(shown: Iterable[Shown]) -> list[tuple[int, bytes, bytes, bytes]]:
    return [(s.frame.index, s.frame.y.tobytes(), s.frame.u.tobytes(), s.frame.v.tobytes()) for s in shown]


def identity(squares: U8) -> U8:
    return squares.copy()


def brighter(squares: U8) -> U8:
    return np.asarray(np.minimum(squares.astype(np.int16) + 40, 255), np.uint8)


def points_of(face: ShownFace) -> F32:
    """Eyes, nose tip, mouth corners (5, 2) in the frame."""
    from raydub.stages.restore.align import five_points

    return np.asarray(five_points(face.landmarks), np.float32)
