"""Are the source's lips open? Inner-lip height over mouth width, with hysteresis, from landmarks alone."""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32, Bools
from raydub.models.face_landmarks import LandmarksName

OPEN, CLOSED = 0.10, 0.055
"""At or above OPEN the lips are open, at or below CLOSED they are closed; in between the last clear state holds. On
the test clips dlib measures 0.02 – 0.05 for closed lips, 0.08 – 0.14 for parted ones, above 0.17 for vowels; it
underestimates open lips, and lips wrongly taken for closed stay open in a pause, so the thresholds are low."""
MESH_OPEN, MESH_CLOSED = 0.08, 0.05
"""The same for the mesh: 0.01 – 0.045 for closed lips of six people, up to 0.06 for a seventh's, from 0.06 on for lips
that are seen to be parted."""
MEMORY = 10
"""The last clear state is searched in this many frames before; without one the lips count as closed."""


def openness(landmarks: F32) -> F32:
    """(m,) float32 for landmarks (m, 68, 2): mean of the three inner-lip heights over the distance of the mouth's
    corners (iBUG points, 0-based: 61–67, 62–66, 63–65 over 48–54). A turned head narrows both eye and mouth
    distances; the mouth's own width keeps the ratio stable. A mouth of no width gives 0."""
    heights = np.linalg.norm(landmarks[:, [61, 62, 63]] - landmarks[:, [67, 66, 65]], axis=2).mean(axis=1)
    width = np.linalg.norm(landmarks[:, 48] - landmarks[:, 54], axis=1)
    return np.where(width > 1e-3, heights / np.maximum(width, 1e-3), 0.0).astype(np.float32)


def lips_open(landmarks: F32, by: LandmarksName = "dlib") -> Bools:
    """(m,) bool for the landmarks (m, 68, 2) of one face over consecutive frames of one shot; by: what found them.

    Single-frame twitches are removed first (median of three; the ends keep their own value). Frame t depends on frames
    t − MEMORY − 1 to t + 1 only.
    """
    ratio = openness(landmarks)
    if len(ratio) >= 3:
        inner = np.median(np.stack([ratio[:-2], ratio[1:-1], ratio[2:]]), axis=0)
        ratio = np.concatenate([ratio[:1], inner, ratio[-1:]])
    return hysteresis(ratio) if by == "dlib" else hysteresis(ratio, MESH_OPEN, MESH_CLOSED)


def hysteresis(ratio: F32, opened: float = OPEN, closed: float = CLOSED) -> Bools:
    """(m,) bool: the last clear state within MEMORY frames (see OPEN, CLOSED)."""
    m = len(ratio)
    clear = np.where(ratio >= opened, 1, np.where(ratio <= closed, -1, 0))
    frames = np.arange(m)
    last = np.maximum.accumulate(np.where(clear != 0, frames, -MEMORY - 2)) if m else frames
    known = frames - last <= MEMORY
    return np.asarray(known & (clear[np.maximum(last, 0)] > 0), np.bool_)
