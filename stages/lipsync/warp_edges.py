"""Where the lips of an open mouth really end.

The landmark predictor draws the inside of an open mouth too small, by up to a twentieth of the face unit, which leaves
teeth and dark standing on the lips; moved with a lip they look like a second lip. Here the inner edges are pushed into
the lips as far as the pixels do not look like lip. The measure is a soft count, not a search, so it varies as smoothly
as the picture does.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from stages.lipsync.warp_shape import Axes, LipCurves
from stages.types import F32, U8

_COLS, _ROWS = 56, 20  # of a straightened lip
_REACH = 0.75  # share of a lip's height that may turn out not to be lip
_MOST = 0.07  # face units: further the predictor is not off
_OPEN_FROM, _OPEN_FULL = 0.02, 0.05  # face units of opening between which the correction comes in
_HUE, _LIGHTER, _DARKER = 9.0, 26.0, 34.0  # differences in 8-bit Lab that count as one, at ordinary brightness


def refine(bgr: U8, offset: tuple[int, int], axes: Axes, curves: LipCurves) -> LipCurves:
    """The curves with their inner edges at the lips' true ends.

    bgr: (h, w, 3) uint8 pixels around the mouth, whose (0, 0) lies at `offset` (x, y) of the frame.
    """
    open_share = float(np.clip((curves.gap.max() / axes.u - _OPEN_FROM) / (_OPEN_FULL - _OPEN_FROM), 0, 1))
    if open_share == 0.0:
        return curves
    x = np.linspace(curves.left, curves.right, _COLS, dtype=np.float32)

    def at(edge: F32) -> F32:
        return np.interp(x, curves.x, edge).astype(np.float32)

    upper = _not_lip(bgr, offset, axes, x, at(curves.inner_upper), at(curves.outer_upper)) * open_share
    lower = _not_lip(bgr, offset, axes, x, at(curves.inner_lower), at(curves.outer_lower)) * open_share

    def back(push: F32) -> F32:
        return np.interp(curves.x, x, push, left=0, right=0).astype(np.float32)

    # the opening of an open mouth reaches nearly to the outer corners
    wider = 0.5 * open_share
    return replace(
        curves,
        inner_upper=curves.inner_upper - back(upper),
        inner_lower=curves.inner_lower + back(lower),
        inner_left=curves.inner_left + wider * (curves.left - curves.inner_left),
        inner_right=curves.inner_right + wider * (curves.right - curves.inner_right),
    )


def _not_lip(bgr: U8, offset: tuple[int, int], axes: Axes, x: F32, inner: F32, outer: F32) -> F32:
    """(_COLS,) pixels of each column, counted from the inner edge without a break, that do not look like this lip."""
    t = (np.arange(_ROWS, dtype=np.float32)[:, None] + 0.5) / _ROWS
    y = inner[None] + (outer - inner)[None] * t
    px = axes.origin[0] + x[None] * axes.right[0] + y * axes.down[0] - offset[0]
    py = axes.origin[1] + x[None] * axes.right[1] + y * axes.down[1] - offset[1]
    strip = cv2.remap(bgr, px.astype(np.float32), py.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lab = cv2.cvtColor(cv2.blur(strip, (3, 1)), cv2.COLOR_BGR2LAB).astype(np.float32)
    sure = lab[int(0.6 * _ROWS) : int(0.9 * _ROWS), _COLS // 5 : -_COLS // 5].reshape(-1, 3)
    lip = np.median(sure, axis=0)
    scale = float(np.clip(lip[0] / 120.0, 0.35, 1.0))
    d = (lab - lip) / scale
    light = np.where(d[..., 0] > 0, d[..., 0] / _LIGHTER, d[..., 0] / _DARKER)
    far = np.sqrt((d[..., 1] / _HUE) ** 2 + 0.5 * (d[..., 2] / _HUE) ** 2 + light**2)
    strange = 1 / (1 + np.exp(-6 * (far - 1.1)))
    unbroken = np.cumprod(strange[: int(_REACH * _ROWS)], axis=0)
    push = unbroken.sum(axis=0) / _ROWS * np.abs(outer - inner)
    push = cv2.GaussianBlur(push[None].astype(np.float32), (0, 0), 2.5)[0]
    most = _MOST * axes.u
    s = np.linspace(0, 1, _COLS, dtype=np.float32)
    return np.asarray(most * np.tanh(push / most) * np.clip(np.minimum(s, 1 - s) / 0.15, 0, 1), np.float32)
