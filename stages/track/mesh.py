"""MediaPipe's face mesh as landmarks: crops, points of a face, and how it is followed by its own last points.

The network sees a square picture in which the face is upright, so the crop is turned by the line of the eyes: heads
tilted by any angle are as good as upright ones. It gives 468 points; what goes on to the rest of raydub are 68 of them
in the layout of iBUG (IBUG), which masks, lip state and engines use.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import cv2
import numpy as np

from raydub.arrays import F32, F64, U8
from raydub.media.frames import Frame
from raydub.media.yuv import to_bgr
from raydub.models.face_landmarks import require_mesh
from raydub.models.face_mesh import SIDE, FaceMesh

IBUG = np.array(
    [
        # the jaw from ear to chin to ear, as even as dlib's: some points lie between two of the mesh
        *((127, 127), (234, 234), (93, 93), (132, 58), (58, 172), (136, 136), (149, 149), (148, 176), (152, 152)),
        *((377, 400), (378, 378), (365, 365), (288, 397), (361, 288), (323, 323), (454, 454), (356, 356)),
        *((70, 70), (63, 63), (105, 105), (66, 66), (107, 55)),  # brow on the left of the picture
        *((336, 285), (296, 296), (334, 334), (293, 293), (300, 300)),
        *((168, 168), (197, 197), (5, 5), (4, 4)),  # bridge and tip of the nose
        *((240, 240), (97, 97), (2, 2), (326, 326), (460, 460)),  # its base
        *((33, 33), (160, 160), (158, 158), (133, 133), (153, 153), (144, 144)),  # eye on the left of the picture
        *((362, 362), (385, 385), (387, 387), (263, 263), (373, 373), (380, 380)),
        *((61, 61), (39, 39), (37, 37), (0, 0), (267, 267), (269, 269)),  # outer edge of the lips
        *((291, 291), (405, 405), (314, 314), (17, 17), (84, 84), (181, 181)),
        *((78, 78), (82, 82), (13, 13), (312, 312), (308, 308), (317, 317), (14, 14), (87, 87)),  # inner edge
    ],
    np.intp,
)
"""(68, 2): the two points of the mesh whose mean stands for each of iBUG's 68. Against dlib on 20 frames of four people
the lips, eyes and nose are 0.02 to 0.04 of the outer-eye distance apart, the jaw 0.03 to 0.08."""

FACE, LOST = 12.0, 3.0
"""A new face needs log odds of FACE; one that is followed is lost below LOST."""
UNSURE, NO_FACE = 0.05, 0.07
"""Above UNSURE a detection starts no face, it only continues one; above NO_FACE it is dropped (see unsettled)."""
_LEFT, _RIGHT = 33, 263
"""Outer corners of the eyes."""
_TOP, _CHIN = 10, 152
_ROOM = 1.5
"""Side of the crop over the larger side of the mesh: what the network was made for."""
_OF_BOX = 1.68
"""The same over the side of a detector's square (mean over 20 frames of four people; both have the same centre)."""


@dataclass(frozen=True)
class Square:
    """The crop of a face in a frame. centre: x, y (the edge of the frame's first pixel is 0); side: pixels; angle:
    radians by which the face is turned clockwise."""

    centre: tuple[float, float]
    side: float
    angle: float


def ibug(mesh: F32) -> F32:
    """(68, 2) float32 of a mesh (468, 3)."""
    return np.asarray(mesh[IBUG, :2].mean(axis=1), np.float32)


@functools.lru_cache(maxsize=1)
def network() -> FaceMesh:
    """The network, 0.2 s once per process. Raises DependencyError WEIGHTS_*, DEPENDENCY_MISSING."""
    return FaceMesh(require_mesh())


def square_of_mesh(mesh: F32) -> Square:
    """Where the face of these points (468, 3) is cropped in the next frame."""
    across = mesh[_RIGHT, :2] - mesh[_LEFT, :2]
    angle = float(np.arctan2(float(across[1]), float(across[0])))
    turned = mesh[:, :2].astype(np.float64) @ _turn(angle).T
    low, high = turned.min(axis=0), turned.max(axis=0)
    middle = _turn(angle).T @ ((low + high) / 2)
    return Square((float(middle[0]), float(middle[1])), _ROOM * float((high - low).max()), angle)


def square_of_box(box: F32, tilt: float) -> Square:
    """Where a detected face is cropped. box: (4,) x0 y0 x1 y1; tilt: radians by which it is turned clockwise."""
    x0, y0, x1, y1 = (float(side) for side in box)
    return Square(((x0 + x1) / 2, (y0 + y1) / 2), _OF_BOX * max(x1 - x0, y1 - y0), tilt)


def fit(frame: Frame, square: Square) -> tuple[F32, float] | None:
    """The mesh (468, 3) of the face in a square of the frame, in its pixels, and the log odds of a face; None where the
    square lies outside the frame."""
    if not (square.side >= 4 and np.isfinite([*square.centre, square.side, square.angle]).all()):
        return None
    picture = crop(frame, square)
    if picture is None:
        return None
    points, score = network().run(picture)
    scale = square.side / SIDE
    flat = (points[:, :2].astype(np.float64) - SIDE / 2) * scale @ _turn(square.angle) + np.array(square.centre)
    return np.column_stack([flat - 0.5, points[:, 2] * scale]).astype(np.float32), score


def unsettled(frame: Frame, mesh: F32) -> float:
    """How much the mesh depends on where the fit begins: the mean distance to a fit in a crop turned by 20 degrees,
    over the outer-eye distance. Measured on five faces turned by 0 to 180 degrees: at most 0.04 where the points are
    right, at least 0.076 where they are wrong."""
    square = square_of_mesh(mesh)
    made = fit(frame, replace(square, angle=square.angle + float(np.radians(20))))
    if made is None:
        return float("inf")
    apart = np.linalg.norm(made[0][:, :2] - mesh[:, :2], axis=1).mean()
    return float(apart) / max(float(np.linalg.norm(mesh[_RIGHT, :2] - mesh[_LEFT, :2])), 1.0)


def found_in(frame: Frame, box: F32, tilt: float, patient: bool = True) -> tuple[F32, float] | None:
    """The mesh (468, 3) of the face in a detector's square, and unsettled() of it; None where there is none.

    tilt: where the search begins; a fit finds its way over 45 degrees. Without a face there it is searched at five
    more tilts, if there is time (patient). Fitted three times, each in the square of the one before: a detector's
    square is not where the network's own would be."""
    made = _settled(frame, fit(frame, square_of_box(box, tilt)))
    if made is not None or not patient:
        return made
    tries = [fit(frame, square_of_box(box, tilt + float(np.radians(turn)))) for turn in (60, -60, 120, -120, 180)]
    best = max((one for one in tries if one is not None), key=lambda one: one[1], default=None)
    return _settled(frame, best)


def _settled(frame: Frame, made: tuple[F32, float] | None) -> tuple[F32, float] | None:
    for _ in range(2):
        made = None if made is None else fit(frame, square_of_mesh(made[0]))
    if made is None or made[1] < FACE:
        return None
    doubt = unsettled(frame, made[0])
    return (made[0], doubt) if doubt <= NO_FACE else None


def pose(mesh: F32) -> tuple[float, float]:
    """(yaw, pitch) in degrees of a mesh (468, 3): yaw above 0 to the left of the picture, pitch above 0 downwards."""
    square = square_of_mesh(mesh)
    upright = mesh.astype(np.float64)
    upright[:, :2] = upright[:, :2] @ _turn(square.angle).T
    normal = np.cross(upright[_RIGHT] - upright[_LEFT], upright[_CHIN] - upright[_TOP])
    normal /= max(float(np.linalg.norm(normal)), 1e-9)
    yaw, pitch = np.arctan2(normal[0], normal[2]), np.arcsin(normal[1])
    return float(np.degrees(yaw)), float(np.degrees(pitch))


def crop(frame: Frame, square: Square) -> U8 | None:
    """(192, 192, 3) BGR of a square, upright; the frame's edge is repeated beyond it. None where nothing of it lies in
    the frame. Large faces are shrunk by averaging before they are turned, which takes 5 to 10 % off the jitter of the
    points; the planes are shrunk before they are converted, because a face in 4K has millions of pixels."""
    width, height = frame.size
    centre, scale = np.array(square.centre), SIDE / square.side
    turn = _turn(square.angle)
    reach = square.side / 2 * float(np.abs(turn[0]).sum()) + 2
    x0, y0 = (int(max(0.0, value - reach)) // 2 * 2 for value in square.centre)
    x1 = int(min(float(width), square.centre[0] + reach + 2)) // 2 * 2
    y1 = int(min(float(height), square.centre[1] + reach + 2)) // 2 * 2
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    part = replace(
        frame,
        y=frame.y[y0:y1, x0:x1],
        u=frame.u[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2],
        v=frame.v[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2],
    )
    half = (x1 - x0) // 2, (y1 - y0) // 2
    if scale < 0.8:
        half = max(1, round(half[0] * scale)), max(1, round(half[1] * scale))
        y, u, v = (
            np.asarray(cv2.resize(np.ascontiguousarray(plane), to, interpolation=cv2.INTER_AREA), np.uint8)
            for plane, to in ((part.y, (2 * half[0], 2 * half[1])), (part.u, half), (part.v, half))
        )
        part = replace(part, y=y, u=u, v=v)
    grown = np.array([(x1 - x0) / (2 * half[0]), (y1 - y0) / (2 * half[1])])
    matrix = scale * turn * grown
    offset = scale * turn @ (np.array([x0, y0]) + 0.5 * grown - centre) + SIDE / 2 - 0.5
    flags = cv2.INTER_LINEAR
    made = cv2.warpAffine(
        to_bgr(part), np.column_stack([matrix, offset]), (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(made, np.uint8)


def _turn(angle: float) -> F64:
    """Rotation that makes a face upright that is turned clockwise by `angle`."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])
