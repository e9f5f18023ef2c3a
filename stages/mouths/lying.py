"""How far the lower face of a head on its side reaches in the frame: boxes of upright heads end at the nose, and would
cut through a mouth that lies beside it."""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32, F64

LYING = 0.5
"""Sine of the tilt from which a head counts as lying: 30 degrees."""


def is_lying(right: F32) -> bool:
    """right: (2,) unit vector along the eyes."""
    return abs(float(right[1])) > LYING


def reach(face: F32, nose: F32, right: F32, room: tuple[float, float, float]) -> tuple[F64, F64]:
    """Lowest and highest x, y (2,) in the frame of the rectangle along the face's own axes that holds `face` (n, 2),
    from the nose's points (m, 2) down. room: pixels beside it, above the nose, below."""
    axes = np.stack((right, (-right[1], right[0]))).astype(np.float64)
    x, y = axes @ face.T.astype(np.float64)
    beside, above, below = room
    top = float((axes[1] @ nose.T.astype(np.float64)).min()) - above
    ends = np.array([(a, b) for a in (x.min() - beside, x.max() + beside) for b in (top, y.max() + below)])
    corners = ends @ axes
    return corners.min(axis=0), corners.max(axis=0)
