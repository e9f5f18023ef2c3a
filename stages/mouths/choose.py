"""Which mouth is shown in which frame: the cheapest sequence, decided in windows at absolute places.

At frames GRID * k the mouth is decided by the cheapest sequence through REACH frames on both sides; between two such
frames by the cheapest sequence that joins them. So a frame's mouth depends on a fixed window around it, wherever chunks
begin and end (law 2); on four clips the result was the same as of one search through the whole clip.
"""

from __future__ import annotations

import itertools

import numpy as np

from raydub.arrays import F32, I64, Bools

GRID = 32
REACH = 24
HALO = GRID - 1 + REACH
"""Frames around a span on which its choice depends."""

_NEVER = np.float32(1e9)


def choose(costs: F32, steps: F32, joined: Bools, start: int) -> I64:
    """(n,): the number of the mouth in each of n consecutive frames, the first of which has the number `start`.

    costs: (n, m) (frame_costs; zeros where a frame needs no mouth); steps: (m, m) (step_costs); joined: (n,) bool, the
    frame follows the one before, so that steps count. What is decided less than HALO frames from an end is only as it
    would be among more frames if none of those needs a mouth.
    """
    cheap, stop = np.ascontiguousarray(steps.T), start + len(costs)
    path = np.zeros(len(costs), np.int64)
    fixed = {}
    for at in range(-(-start // GRID) * GRID, stop, GRID):
        around = slice(max(start, at - REACH) - start, min(stop, at + REACH + 1) - start)
        fixed[at] = int(_cheapest(costs[around], cheap, joined[around])[at - start - around.start])
    edges = sorted({start, *fixed, stop - 1})
    for first, last in itertools.pairwise(edges) if len(edges) > 1 else [(start, start)]:
        between = slice(first - start, last + 1 - start)
        path[between] = _cheapest(costs[between], cheap, joined[between], fixed.get(first), fixed.get(last))
    return path


def _cheapest(costs: F32, cheap: F32, joined: Bools, start: int | None = None, stop: int | None = None) -> I64:
    """(n,) the cheapest sequence, from `start` and to `stop` where they are given. cheap: steps transposed."""
    total = costs[0]
    if start is not None:
        total = np.full_like(total, _NEVER)
        total[start] = costs[0, start]
    back = np.zeros(costs.shape, np.int64)
    for t in range(1, len(costs)):
        if joined[t]:
            ways = total[None, :] + cheap
            best = ways.argmin(axis=1)
            total = ways[np.arange(len(best)), best] + costs[t]
        else:
            # what was before does not count, not even its sum, which would change roundings
            best = np.full(len(total), total.argmin())
            total = costs[t]
        back[t] = best
    at = int(total.argmin()) if stop is None else stop
    path = np.empty(len(costs), np.int64)
    for t in range(len(costs) - 1, -1, -1):
        path[t] = at
        at = int(back[t, at])
    return path
