"""From a move of the lip edges to pixels: the backward map of the lower face, and the opening between the lips.

Every pixel of the region looks up its own column and slides along it: between two edges its displacement runs smoothly
from one edge's to the next's. Above the opening pixels belong to the upper lip, below it to the lower lip, so the lips
part along the opening and each keeps its own texture. Nothing moves at the base of the nose, beside the cheeks and
below the throat, where the region ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, U8, Box
from raydub.stages.lipsync.warp_shape import HALF_WIDTH, Axes, LipCurves, LipMove

BELOW_JAW = 0.45  # face units below the jaw line where the movement has died out
SIDE_FADE = 0.22  # face units over which the region fades at its sides
WIDEN_FADE = 0.40  # face units beside the corner over which a change of width dies out


@dataclass(frozen=True)
class Opening:
    """The opening between the lips, pixel by pixel, over `box` (x0 y0 x1 y1 within the region).

    hole (h, w): how much of a pixel lies in the opening; seam (h, w): how much of the dark line between closed lips has
    to be drawn (a closed source has its own); depth, rise (h, w): pixels below the upper edge of the opening and above
    the lower one; across (h, w): place between the inner corners, 0 left to 1 right.
    """

    box: Box
    hole: F32
    seam: F32
    depth: F32
    rise: F32
    across: F32


@dataclass(frozen=True)
class Field:
    """map_x, map_y (h, w): where each pixel of the region comes from, in pixels of the region; alpha (h, w): the
    region's own feathered extent; opening: what lies between the lips, None where the mouth is outside the frame."""

    map_x: F32
    map_y: F32
    alpha: F32
    opening: Opening | None


def region_of(axes: Axes, curves: LipCurves, size: tuple[int, int]) -> Box | None:
    """The pixels that a draw may touch in a frame of size (w, h): x0 y0 x1 y1, even; None where none is in it."""
    half, top, bottom = HALF_WIDTH * axes.u, curves.nose, _bottom(axes, curves)
    corners = np.array([(-half, top), (half, top), (half, bottom), (-half, bottom)], np.float32)
    points = axes.origin + corners[:, :1] * axes.right + corners[:, 1:] * axes.down
    w, h = size
    x0, y0 = (int(v) // 2 * 2 for v in np.maximum(np.floor(points.min(axis=0)), 0))
    x1 = min((int(np.ceil(points[:, 0].max())) + 1) // 2 * 2, w // 2 * 2)
    y1 = min((int(np.ceil(points[:, 1].max())) + 1) // 2 * 2, h // 2 * 2)
    return (x0, y0, x1, y1) if x1 - x0 >= 4 and y1 - y0 >= 4 else None


def field_of(region: Box, axes: Axes, curves: LipCurves, move: LipMove, inset: float, frame_height: int) -> Field:
    """The backward map of one move in a frame of `frame_height` pixels.

    inset: pixels by which the lips' own inner edges are trimmed where the source mouth is open, so that no tooth sticks
    to a lip.

    Displacements vary slowly, so they are computed at every few pixels and enlarged; which lip a pixel belongs to, and
    the opening, are decided for each pixel.
    """
    x0, y0, x1, y1 = region
    w, h, u = x1 - x0, y1 - y0, axes.u
    step = int(np.clip(round(u / 45), 1, 5))
    # the centre of a coarse pixel lies in the middle of the pixels that it stands for, as cv2.resize has it; there is
    # one more on each side, because cv2.resize holds what lies beyond the outer centres level
    across, along = _centres(w, step), _centres(h, step)
    x, y = _face_axes(axes, x0 + across, y0 + along)
    half = HALF_WIDTH * u
    # at the bottom of the frame the movement ends: there are no pixels below to move in
    end = (frame_height - 1 - axes.origin[1] - x * axes.right[1]) / max(float(axes.down[1]), 0.3)
    lowest = _bottom(axes, curves)
    bottom = np.minimum(lowest, end)
    shift_x = _widening(x, curves, move.widen, u) * _mouth_rows(y, curves.nose, u)
    trim = np.minimum(inset, 0.25 * curves.gap)
    edges = (
        curves.outer_upper + move.outer_upper,
        curves.inner_upper + move.inner_upper,
        curves.inner_lower + move.inner_lower,
        curves.outer_lower + move.outer_lower,
        curves.jaw + move.jaw,
    )
    shifts = (move.outer_upper, move.inner_upper + trim, move.inner_lower - trim, move.outer_lower, move.jaw)
    e1, e2, e3, e4, e5, d1, d2, d3, d4, d5 = _columns((*edges, *shifts), _column(x - shift_x, half, curves))

    under_nose = y - curves.nose
    above = _lerp(d1 * smooth(under_nose / np.maximum(e1 - curves.nose, 1.0)), d2, _ramp(y, e1, e2))
    below = _lerp(d3, d4, _ramp(y, e3, e4))
    below = _lerp(below, d5, smooth((y - e4) / np.maximum(e5 - e4, 1.0)))
    still = np.minimum(e5, bottom - 0.8 * BELOW_JAW * u)
    below *= 1 - smooth((y - still) / np.maximum(bottom - still, 1.0))
    alpha = smooth(under_nose / (0.10 * u)) * smooth((lowest - y) / (0.2 * u))
    alpha *= smooth((half - np.abs(x)) / (SIDE_FADE * u))

    side = y - (e2 + e3) / 2
    fixed_x, fixed_y = across[None] - shift_x * axes.right[0], along[:, None] - shift_x * axes.right[1]
    map_x = _parted(fixed_x - above * axes.down[0], fixed_x - below * axes.down[0], side, step, (h, w))
    map_y = _parted(fixed_y - above * axes.down[1], fixed_y - below * axes.down[1], side, step, (h, w))
    wide = _enlarged(alpha, step, 0, h, w)
    # enlarging spreads the edge by a pixel or two: what lies above the nose stays out
    dx, dy = (np.arange(x0, x1) - axes.origin[0]) * axes.down[0], (np.arange(y0, y1) - axes.origin[1]) * axes.down[1]
    near = np.flatnonzero(dy + min(dx[0], dx[-1]) <= curves.nose)
    if len(near):
        wide[: near[-1] + 1] *= dx + dy[: near[-1] + 1, None] > curves.nose
    return Field(map_x, map_y, wide, _opening(region, axes, curves, move))


def _centres(pixels: int, step: int) -> F32:
    return np.asarray((np.arange(-1, -(-pixels // step) + 1, dtype=np.float32) + 0.5) * step - 0.5, np.float32)


def _enlarged(coarse: F32, step: int, start: int, stop: int, width: int) -> F32:
    """Rows start..stop-1 of (.., width) pixels of a coarse array at _centres."""
    first = start // step
    part = coarse[first : -(-stop // step) + 2]
    fine = cv2.resize(part, (part.shape[1] * step, part.shape[0] * step))
    top = start + step - first * step
    return np.asarray(fine[top : top + stop - start, step : step + width], np.float32)


def _parted(above: F32, below: F32, side: F32, step: int, shape: tuple[int, int]) -> F32:
    """(h, w): coarse `above` enlarged where coarse `side` enlarged is negative, `below` elsewhere; only as many rows of
    each as are needed."""
    h, w = shape
    upper = side < 0
    first, last = np.flatnonzero(~upper.all(axis=1)), np.flatnonzero(upper.any(axis=1))
    start = min(max((int(first[0]) - 2) * step, 0), h) if len(first) else h
    stop = min(max((int(last[-1]) + 1) * step, start), h) if len(last) else start
    made = np.empty(shape, np.float32)
    if start < h:
        made[start:] = _enlarged(below, step, start, h, w)
    if stop > 0:
        high = _enlarged(above, step, 0, stop, w)
        made[:start] = high[:start]
        if stop > start:
            np.copyto(made[start:stop], high[start:], where=_enlarged(side, step, start, stop, w) < 0)
    return made


def warp(bgr: U8, field: Field) -> U8:
    """The region's pixels moved; cubic, so that an unmoved pixel is exactly itself and a moved one stays sharp."""
    out = cv2.remap(bgr, field.map_x, field.map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)


def _opening(region: Box, axes: Axes, curves: LipCurves, move: LipMove) -> Opening | None:
    """The opening and the line between the lips, at full resolution."""
    u = axes.u
    upper, lower = curves.inner_upper + move.inner_upper, curves.inner_lower + move.inner_lower
    inside = (curves.x >= curves.left - move.widen) & (curves.x <= curves.right + move.widen)
    left, right = curves.left - abs(move.widen) - 4, curves.right + abs(move.widen) + 4
    top, bottom = float(upper[inside].min()) - 0.04 * u - 2, float(lower[inside].max()) + 0.04 * u + 2
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    points = axes.origin + corners[:, :1] * axes.right + corners[:, 1:] * axes.down
    x0, y0 = np.maximum(np.floor(points.min(axis=0)), region[:2]).astype(int)
    x1, y1 = np.minimum(np.ceil(points.max(axis=0)), region[2:]).astype(int)
    if x1 <= x0 or y1 <= y0:
        return None
    x, y = _face_axes(axes, np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
    x = x - _widening(x, curves, move.widen, u)
    across = (curves.x - curves.inner_left) / max(curves.inner_right - curves.inner_left, 1e-3)
    was_open = np.clip(curves.gap / (0.03 * u), 0, 1)
    e2, e3, height, open_before, place = _columns(
        (upper, lower, move.opening, was_open, across), _column(x, HALF_WIDTH * u, curves)
    )
    soft = max(1.0, 0.018 * u)
    hole = np.clip((y - e2) / soft + 0.5, 0, 1) * np.clip((e3 - y) / soft + 0.5, 0, 1) * np.clip(height / soft, 0, 1)
    shut = np.clip(1 - height / (0.03 * u), 0, 1) * open_before
    seam = shut * np.exp(-(((y - (e2 + e3) / 2) / max(0.009 * u, 0.8)) ** 2))
    box = (int(x0) - region[0], int(y0) - region[1], int(x1) - region[0], int(y1) - region[1])
    return Opening(box, hole.astype(np.float32), seam.astype(np.float32), y - e2, e3 - y, place)


def _bottom(axes: Axes, curves: LipCurves) -> float:
    return float(curves.jaw.max()) + BELOW_JAW * axes.u


def _face_axes(axes: Axes, px: F32, py: F32) -> tuple[F32, F32]:
    """x and y in the face axes, (len(py), len(px)) each, of the grid of frame pixels px by py."""
    dx, dy = (px - axes.origin[0])[None, :], (py - axes.origin[1])[:, None]
    return dx * axes.right[0] + dy * axes.right[1], dx * axes.down[0] + dy * axes.down[1]


def _column(x: F32, half: float, curves: LipCurves) -> F32:
    """Fractional index into the curves' tables."""
    return np.asarray((x + half) * ((len(curves.x) - 1) / (2 * half)), np.float32)


def _widening(x: F32, curves: LipCurves, widen: float, u: float) -> F32:
    """Horizontal displacement at the height of the mouth: outwards in proportion inside it, dying out beside it."""
    reach = (curves.right - curves.left) / 2 + widen
    inside = np.clip(x / reach, -1, 1)
    return np.asarray(widen * inside * (1 - smooth((np.abs(x) - reach) / (WIDEN_FADE * u))), np.float32)


def _mouth_rows(y: F32, nose: float, u: float) -> F32:
    """How much of the widening is felt at a height: all at the mouth, nothing at the nose and the chin."""
    return smooth((y - nose) / max(-nose, 1.0)) * (1 - smooth((y - 0.12 * u) / (0.5 * u)))


def _columns(tables: tuple[F32, ...], column: F32) -> F32:
    """Every table (COLUMNS,) looked up at fractional columns (h, w), linearly: (len(tables), h, w)."""
    values = np.stack(tables).astype(np.float32)
    rises = values[:, 1:] - values[:, :-1]
    i = np.minimum(np.maximum(column, 0), values.shape[1] - 1.001)
    low = i.astype(np.intp)
    found = rises.take(low, axis=1)
    found *= i - low.astype(np.float32)
    found += values.take(low, axis=1)
    return found


def _ramp(y: F32, start: F32, stop: F32) -> F32:
    t = (y - start) / np.maximum(stop - start, 0.5)
    return np.minimum(np.maximum(t, 0, out=t), 1, out=t)


def smooth(t: npt.NDArray[np.floating]) -> F32:
    """Smoothstep, clipped to [0, 1]."""
    t = np.minimum(np.maximum(t, 0), 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _lerp(a: F32, b: F32, t: F32) -> F32:
    return np.asarray(a + (b - a) * t, np.float32)
