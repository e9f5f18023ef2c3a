"""What the speech says about the mouth, frame by frame: the result of models.mouth.infer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raydub.arrays import F32

ARTICULATORS = ("closure", "rounding", "lip_teeth")
"""closure: the lips touch (p, b, m); rounding: they are rounded (o, u, w); lip_teeth: the lower lip touches the upper
teeth (f, v)."""

THRESHOLD = 0.5
"""From here on an articulator counts as there."""
_RAMP = 0.25
"""Below the threshold: the part over which lips move together."""
TEETH_OPENING = 0.45
"""Share of the opening that is left where the lower lip touches the teeth."""


@dataclass(frozen=True)
class SpokenMouth:
    """Mouth shapes of n frames, (n,) float32 each.

    open, width: inner-lip opening and mouth width as z-scores (see models.mouth.infer.MouthConfig); closure, rounding,
    lip_teeth: 0 to 1, see ARTICULATORS. closure and lip_teeth are the largest values within the frame's own period, so
    that a short closure is in at least one frame at any frame rate.
    """

    open: F32
    width: F32
    closure: F32
    rounding: F32
    lip_teeth: F32

    def __len__(self) -> int:
        return len(self.open)

    @property
    def touch(self) -> F32:
        """(n,) float32: 1 in frames where the lips must touch (closure at THRESHOLD or above), 0 where nothing closes
        them, between 0 and 1 while they move together."""
        t = np.clip((self.closure - np.float32(THRESHOLD - _RAMP)) / np.float32(_RAMP), 0, 1)
        return np.asarray(t * t * (3 - 2 * t), np.float32)

    @property
    def aperture(self) -> F32:
        """(n,) float32, 0 to 1: the share of the opening that closures and contact with the teeth leave."""
        return np.asarray((1 - self.touch) * (1 - np.float32(1 - TEETH_OPENING) * self.lip_teeth), np.float32)
