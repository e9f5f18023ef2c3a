"""A thin-plate spline through a few points, on a coarse grid that is enlarged: a smooth backward map for pixels.

The points of a face in the frame are the knots of all maps of that frame, so the equations are solved once.
"""

from __future__ import annotations

import cv2
import numpy as np

from raydub.arrays import F32, F64, Box


class Spline:
    """Maps of the pixels of `box` with knots (k, 2), frame pixels. stiffness (k,): how little a map bends to each
    knot."""

    def __init__(self, knots: F64, box: Box, step: int, stiffness: F64) -> None:
        self._box, self._step = box, step
        x0, y0, x1, y1 = box
        # one more on each side: cv2.resize holds what lies beyond the outer centres level
        x, y = (
            (np.arange(-1, -(-(stop - start) // step) + 1) + 0.5) * step - 0.5 + start
            for start, stop in ((x0, x1), (y0, y1))
        )
        self._centre, self._size = knots.mean(axis=0), float(knots.std()) or 1.0
        placed = (knots - self._centre) / self._size
        places = (np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2) - self._centre) / self._size
        k = len(knots)
        system = np.zeros((k + 3, k + 3))
        system[:k, :k] = _kernel(_squares(placed, placed)) + np.diag(stiffness)
        system[:k, k:] = np.concatenate((np.ones((k, 1)), placed), axis=1)
        system[k:, :k] = system[:k, k:].T
        self._grid = (len(y), len(x))
        basis = np.concatenate((_kernel(_squares(places, placed)), np.ones((len(places), 1)), places), axis=1)
        # the values of the grid are linear in those of the knots
        self._weights = np.linalg.solve(system, basis.T)[:k].T

    def coarse(self, values: F64) -> F32:
        """(h, w, 2) on the coarse grid, for values (k, 2) at the knots."""
        made = np.einsum("gk,kc->gc", self._weights, values)
        return np.asarray(made.reshape(*self._grid, 2), np.float32)

    def fine(self, coarse: F32, part: Box | None = None) -> F32:
        """(h, w, 2) for each pixel of the box, or of a part of it."""
        step = self._step
        x0, y0 = self._box[:2]
        px0, py0, px1, py1 = part or self._box
        wide = cv2.resize(coarse, (coarse.shape[1] * step, coarse.shape[0] * step))
        return np.asarray(wide[step + py0 - y0 : step + py1 - y0, step + px0 - x0 : step + px1 - x0], np.float32)


def _squares(one: F64, other: F64) -> F64:
    off = one[:, None] - other[None]
    return np.asarray(off[..., 0] ** 2 + off[..., 1] ** 2)


def _kernel(squares: F64) -> F64:
    """r² log r."""
    return np.asarray(0.5 * squares * np.log(np.maximum(squares, 1e-12)))
