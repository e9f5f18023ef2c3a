"""How far a head is turned away, from its 68 landmarks alone, whichever found them; and what of it an engine can draw.

In a profile half of the mouth is hidden, landmarks guess the other half (the mesh with full confidence), and no engine
has an idea of it: there the source keeps its own pixels.
"""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32

FULL, NONE = 35.0, 45.0
"""Degrees of yaw up to which the new mouth shows in full, and from which it does not show at all: beyond 40 the far
half of the lips begins to lie beside the face, with both landmarks."""
TILTED = 30.0, 45.0
"""The same of tilt, for engines that see upright squares: while dlib's landmarks ended there, they met no others."""
_NOSE = 1.14
"""How far the tip of the nose stands out before the outer corners of the eyes, over half their distance: by a straight
line through 64 frames of nine people, whose yaw the mesh's depths say; off by 1 degree on average with the mesh's
points, by 1.5 with dlib's."""


def yaw_of(landmarks: F32) -> F32:
    """(n,) float32 degrees for (n, 68, 2), iBUG order: above 0 where the face looks to the right of the picture, below
    90 in absolute value. By how far the tip of the nose lies from the middle of the eyes, along their line.
    0 for landmarks that are all zero."""
    points = landmarks.astype(np.float64)
    across = points[:, 45] - points[:, 36]
    wide = np.maximum(np.hypot(across[:, 0], across[:, 1]), 1e-9)
    nose = points[:, 30] - (points[:, 36] + points[:, 45]) / 2
    aside = (nose * across).sum(axis=1) / wide**2 * 2
    return np.asarray(np.degrees(np.arctan(aside / _NOSE)), np.float32)


def tilt_of(landmarks: F32) -> F32:
    """(n,) float32 degrees for (n, 68, 2): how far the line of the eyes is turned, clockwise above 0."""
    across = landmarks[:, 45].astype(np.float64) - landmarks[:, 36]
    return np.asarray(np.degrees(np.arctan2(across[:, 1], across[:, 0])), np.float32)


def drawable(landmarks: F32, *, upright: bool = False) -> F32:
    """(n,) float32 in [0, 1]: how much of a new mouth may show on faces of these landmarks (n, 68, 2). upright: the
    engine sees upright squares (LipEngine.needs_crops) and was made for upright faces, so tilted ones are left alone,
    too."""
    shown = _falling(np.abs(yaw_of(landmarks)), FULL, NONE)
    return np.minimum(shown, _falling(np.abs(tilt_of(landmarks)), *TILTED)) if upright else shown


def _falling(values: F32, full: float, none: float) -> F32:
    return np.asarray(np.clip((none - values) / np.float32(none - full), 0, 1), np.float32)
