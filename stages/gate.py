"""When the new mouth is shown: on or off per output frame, with ramps between.

Where the gate is 0, the frame keeps its own pixels. `dynamic`: on while the new speech is audible, and while the
source's lips are open (so that they close in a pause); closed lips in a pause keep their pixels. `lips-open`: on while
the source's lips are open, whatever the speech (the literal rule of the dynamic-masking papers). `always`: on wherever
there is a face.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from raydub.arrays import F32, Bools

Policy = Literal["dynamic", "lips-open", "always"]

RAMP = 3
"""Frames over which the gate opens before, and closes after, the frames that need the new mouth."""


def wanted(present: Bools, lips_open: Bools, voiced: Bools, policy: Policy) -> Bools:
    """(n,) bool: frames that need the new mouth in full."""
    if policy == "always":
        return present.copy()
    if policy == "lips-open":
        return np.asarray(present & lips_open, np.bool_)
    if policy == "dynamic":
        return np.asarray(present & (lips_open | voiced), np.bool_)
    raise ValueError(f"unknown masking policy {policy!r}")


def gates(
    present: Bools,
    lips_open: Bools,
    voiced: Bools,
    policy: Policy,
    breaks: Bools | None = None,
    ramp: int = RAMP,
    scope: Bools | None = None,
    limit: F32 | None = None,
) -> F32:
    """(n,) float32 in [0, 1], one per consecutive output frame.

    present, lips_open: of the source frame shown; voiced: the new speech is audible during the frame; breaks: the
    picture does not continue from the frame before; scope: frames that may need the new mouth, None for all. Frames
    that need the new mouth get 1; d frames away from such a frame the gate is 1 − d/(ramp + 1). Ramps cross neither
    breaks nor frames without the face, which get 0. limit: (n,) in [0, 1], how much may show at all (stages.pose); the
    gate closes towards it as slowly as it opens. Frame t depends on t − ramp to t + ramp only, so a chunk is computed
    with that much on both sides.
    """
    on = wanted(present, lips_open, voiced, policy)
    if scope is not None and policy != "always":
        on &= scope
    steps = np.float32(ramp + 1)
    joined = present[1:] & present[:-1]
    if breaks is not None:
        joined &= ~breaks[1:]
    level = np.where(on, ramp + 1, 0)
    for _ in range(ramp):
        spread = level.copy()
        spread[1:] = np.maximum(spread[1:], np.where(joined, level[:-1] - 1, 0))
        spread[:-1] = np.maximum(spread[:-1], np.where(joined, level[1:] - 1, 0))
        level = spread
    gate = (level.astype(np.float32) / steps).astype(np.float32)
    return gate if limit is None else np.minimum(gate, _eased(limit, joined, ramp))


def _eased(limit: F32, joined: Bools, ramp: int) -> F32:
    """The limit (n,) with ramps before and after its lows; not across frames that are not `joined` (n - 1,)."""
    step, far = np.float32(1 / (ramp + 1)), np.float32(2)
    low = limit.astype(np.float32)
    for _ in range(ramp):
        spread = low.copy()
        spread[1:] = np.minimum(spread[1:], np.where(joined, low[:-1] + step, far))
        spread[:-1] = np.minimum(spread[:-1], np.where(joined, low[1:] + step, far))
        low = spread
    return low
