"""Mouth shapes and head poses from 68 landmarks, in units of one person's face.

A person's reference is the usual place of the points that speech does not move (eyes and nose), with the outer eye
corners one unit apart. Landmarks of a frame are moved, turned and scaled so that these points fit the reference; what
is left is the shape, and the move says where the head is. Landmark numbers are 0-based iBUG.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raydub.arrays import F32, F64
from raydub.stages.track.look import summed

STILL = np.arange(27, 48)
"""Nose and eyes."""
MOUTH = np.arange(48, 68)
PAIRS = np.array(((61, 67), (62, 66), (63, 65)))
"""Inner lips, above and below."""
_TIP, _EYES = 30, np.array((36, 45))
_YAW_REACH, _PITCH_REACH = 0.45, 0.6
"""How far the tip of the nose goes, in units, when the head turns by 90 degrees."""


@dataclass(frozen=True)
class Pose:
    """n head poses. yaw, pitch, roll: degrees against the reference; scale: logarithm of pixels a unit."""

    yaw: F64
    pitch: F64
    roll: F64
    scale: F64

    def stacked(self) -> F64:
        """(n, 4)."""
        return np.stack((self.yaw, self.pitch, self.roll, self.scale), axis=1)


@dataclass(frozen=True)
class Fitted:
    """n faces in units of the reference. points (n, 68, 2); turn (n, 2): cosine and sine of the roll, times the pixels
    of a unit; place (n, 2): of the reference's origin in the frame; pose."""

    points: F64
    turn: F64
    place: F64
    pose: Pose

    @staticmethod
    def joined(parts: list[Fitted]) -> Fitted:
        """All faces of the parts, in order."""
        if not parts:
            return fit(np.zeros((0, 68, 2), np.float32), np.zeros((68, 2)))
        poses = np.concatenate([part.pose.stacked() for part in parts])
        return Fitted(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.turn for part in parts]),
            np.concatenate([part.place for part in parts]),
            Pose(*poses.T),
        )

    def to_frame(self, points: F64) -> F64:
        """(n, k, 2) points in units -> frame pixels."""
        cos, sin = self.turn[:, None, 0], self.turn[:, None, 1]
        x, y = points[..., 0], points[..., 1]
        return np.stack((x * cos - y * sin, x * sin + y * cos), axis=-1) + self.place[:, None]


@dataclass(frozen=True)
class Shape:
    """n mouth shapes, in units. opening: mean distance of the inner lips; width: of the corners; height: of the outer
    lips, without the opening."""

    opening: F64
    width: F64
    height: F64

    @staticmethod
    def of(points: F64) -> Shape:
        """points: (n, 68, 2) of Fitted."""
        inner = points[:, PAIRS[:, 0]] - points[:, PAIRS[:, 1]]
        opening = summed(np.hypot(inner[..., 0], inner[..., 1]), 1) / len(PAIRS)
        return Shape(opening, _apart(points, 48, 54), _apart(points, 51, 57) - _apart(points, 62, 66))


def reference_of(landmarks: F32) -> F64:
    """(68, 2): the usual face of n frames (n, 68, 2), middle of the outer eye corners at 0, unit their distance."""
    points = landmarks.astype(np.float64)
    across = points[:, 45] - points[:, 36]
    placed = _turned_back(points - (points[:, 36] + points[:, 45])[:, None] / 2, across)
    return np.asarray(np.median(placed, axis=0), np.float64)


def fit(landmarks: F32, reference: F64) -> Fitted:
    """landmarks: (n, 68, 2) frame pixels. Least squares over STILL; every face by itself, to the same bits whichever
    others are given (no complex numbers: their products differ at the ends of arrays)."""
    points = landmarks.astype(np.float64)
    seen, wanted = points[:, STILL], reference[STILL]
    seen_middle, wanted_middle = summed(seen, 1) / len(STILL), wanted.mean(axis=0)
    off, on = seen - seen_middle[:, None], wanted - wanted_middle
    size = float((on * on).sum())
    cos = summed(off[..., 0] * on[:, 0] + off[..., 1] * on[:, 1], 1) / size
    sin = summed(off[..., 1] * on[:, 0] - off[..., 0] * on[:, 1], 1) / size
    cos = np.where(np.hypot(cos, sin) > 1e-6, cos, 1e-6)
    x, y = wanted_middle.tolist()
    place = seen_middle - np.stack((x * cos - y * sin, x * sin + y * cos), axis=1)
    turn = np.stack((cos, sin), axis=1)
    shape = _turned_back(points - place[:, None], turn)
    tip = shape[:, _TIP] - reference[_TIP] - (summed(shape[:, _EYES], 1) - reference[_EYES].sum(axis=0)) / 2
    yaw, pitch = (
        np.degrees(np.arcsin(np.minimum(np.maximum(side / reach, -1), 1)))
        for side, reach in ((tip[:, 0], _YAW_REACH), (tip[:, 1], _PITCH_REACH))
    )
    pose = Pose(yaw, pitch, np.degrees(np.arctan2(sin, cos)), np.log(np.hypot(cos, sin)))
    return Fitted(shape, turn, place, pose)


def _turned_back(points: F64, turn: F64) -> F64:
    """(n, k, 2) divided by the similarities turn (n, 2)."""
    cos, sin = turn[:, None, 0], turn[:, None, 1]
    size = np.maximum(cos * cos + sin * sin, 1e-12)
    x, y = points[..., 0], points[..., 1]
    return np.stack(((x * cos + y * sin) / size, (y * cos - x * sin) / size), axis=-1)


def _apart(points: F64, one: int, other: int) -> F64:
    away = points[:, one] - points[:, other]
    return np.hypot(away[:, 0], away[:, 1])
