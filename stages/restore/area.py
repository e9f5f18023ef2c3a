"""What of a face a restorer may change: the lower face, or all of it up to the forehead. Soft at the edge, exactly 0
outside."""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32, Box
from raydub.stages.mask import face_outline, feather, mouth_alpha, soft_shape
from raydub.stages.restore.align import even_box
from raydub.stages.restore.options import Area

_LOWER = [*range(1, 16), *range(30, 36), *range(48, 60)]
_FEATHER = 0.07
"""Half width of the whole face's soft edge, in face heights."""
_MARGIN = 0.16
"""Room for both areas' soft edges and widened lips around their points, in face heights."""


def area_box(landmarks: F32, area: Area, size: tuple[int, int]) -> Box | None:
    """An even box x0 y0 x1 y1 in a frame of `size` outside which area_alpha is 0. None when the area is outside."""
    points = landmarks[_LOWER] if area == "mouth" else face_outline(landmarks)
    return even_box(points, size, margin=_MARGIN * float(np.hypot(*(landmarks[8] - landmarks[27]))) + 2)


def area_alpha(landmarks: F32, area: Area, region: Box) -> F32:
    """(h, w) float32 in [0, 1] for the pixels of `region`. landmarks: (68, 2), iBUG order, in frame pixels.

    "mouth": the shape that lip engines paste (stages.mask.mouth_alpha). "face": jaw line and forehead.
    """
    if area == "mouth":
        return mouth_alpha(landmarks, region)
    return soft_shape(face_outline(landmarks), region, feather(landmarks, _FEATHER))
