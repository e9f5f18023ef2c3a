"""Which frames of a film are measured, so that two hours cost no more than some minutes.

A film of up to WINDOWS * LENGTH frames is measured whole. Of a longer one WINDOWS windows of LENGTH frames are, spread
evenly from its first frame to its last, every frame in them. The rule depends on the number of frames alone.
"""

from __future__ import annotations

from raydub.stages.types import Span

LENGTH = 240
"""Frames of a window: whole blocks of the tracker, so that nothing is tracked twice."""
WINDOWS = 24
_BLOCK = 60


def windows_of(n: int) -> list[Span]:
    """The windows of a film of n frames, in order; [] for none."""
    if n <= LENGTH * WINDOWS:
        return [Span(start, min(start + LENGTH, n)) for start in range(0, n, LENGTH)]
    last = (n - LENGTH) // _BLOCK
    starts = [round(last * k / (WINDOWS - 1)) * _BLOCK for k in range(WINDOWS)]
    return [Span(start, start + LENGTH) for start in starts]
