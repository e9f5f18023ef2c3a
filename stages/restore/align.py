"""Alignment of a face: a square in the frame, by five points of the landmarks and the template of the restorers'
training.

The square is the FFHQ crop: the transform is the similarity that brings five points of the face closest to the five of
the template (least squares, no reflection). Landmarks are smoothed by the tracker, so the square moves as steadily.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, F64, Box

TEMPLATE_SIDE = 512
TEMPLATE: F64 = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Left eye, right eye (as seen), tip of the nose, corners of the mouth, in pixels of a square of 512: the template for
FFHQ crops as facexlib publishes it (facexlib.utils.face_restoration_helper), which GFPGAN and CodeFormer expect."""

_SMALLEST = 8.0
"""A square with a shorter side in frame pixels is too small to restore."""


@dataclass(frozen=True)
class Aligned:
    """One face's square. matrix: (2, 3) float64, pixels of the frame -> pixels of the square (pixel centres are whole
    numbers); region: x0 y0 x1 y1, even, what the square covers of the frame."""

    matrix: F64
    region: Box

    def from_corner(self, box: Box) -> F64:
        """The matrix for pixels counted from the corner of `box`."""
        return np.concatenate([self.matrix[:, :2], self.matrix @ np.array([[box[0]], [box[1]], [1.0]])], axis=1)


def five_points(landmarks: F32) -> F64:
    """(5, 2) in the template's order: centres of the eyes, nose tip, mouth corners. landmarks: (68, 2), iBUG order."""
    eyes = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    return np.stack([*eyes, *landmarks[[30, 48, 54]]]).astype(np.float64)


def similarity(source: F64, target: F64) -> F64 | None:
    """(2, 3): turn, even scale and shift with the least squared distance from the moved source points to the target's.

    In the plane the closed form of Umeyama (1991) is one division of complex numbers. None where the source points are
    one point or not finite.
    """
    if not np.isfinite(source).all():
        return None
    z, w = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    middle = z.mean(), w.mean()
    spread = float((np.abs(z - middle[0]) ** 2).sum())
    if spread < 1e-6:
        return None
    a = complex((np.conj(z - middle[0]) * (w - middle[1])).sum()) / spread
    b = middle[1] - a * middle[0]
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align(landmarks: F32, size: tuple[int, int], side: int = TEMPLATE_SIDE) -> Aligned | None:
    """The square of `side` pixels around a face in a frame of `size` (width, height, even).

    None when the landmarks make no face, or nothing of the square lies in the frame.
    """
    matrix = similarity(five_points(landmarks), TEMPLATE * (side / TEMPLATE_SIDE))
    if matrix is None or not np.isfinite(matrix).all():
        return None
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale * _SMALLEST > side or scale < 1e-3:
        return None
    edge = np.array([[-0.5, -0.5], [side - 0.5, -0.5], [side - 0.5, side - 0.5], [-0.5, side - 0.5]])
    corners = (edge - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    region = even_box(corners, size, margin=1.0)
    return None if region is None else Aligned(matrix, region)


def even_box(points: npt.NDArray[np.floating], size: tuple[int, int], margin: float) -> Box | None:
    """The smallest even box x0 y0 x1 y1 around `points` and `margin` pixels more, inside a frame of even `size`; None
    when they lie wholly outside."""
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    x0, y0 = (max(0, int(np.floor(value)) & ~1) for value in low)
    x1, y1 = (min(side, int(np.ceil(value)) + 2 & ~1) for value, side in zip(high, size, strict=True))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
