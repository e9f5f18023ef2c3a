"""From a move of the lip edges to pixels: the backward map of the lower face, and the opening between the lips.

Every pixel of the region looks up its own column and slides along it: between two edges its displacement runs smoothly
from one edge's to the next's. Above the opening pixels belong to the upper lip, below it to the lower lip, so the lips
part along the opening and each keeps its own texture. Nothing moves at the base of the nose, beside the cheeks and
below the throat, where the region ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, U8, Bools, Box
from raydub.media.chroma import quarter
from raydub.media.frames import Frame
from raydub.stages.lipsync.warp_shape import HALF_WIDTH, Axes, LipCurves, LipMove

BELOW_JAW = 0.45  # face units below the jaw line where the movement has died out
SIDE_FADE = 0.22  # face units over which the region fades at its sides
WIDEN_FADE = 0.40  # face units beside the corner over which a change of width dies out


@dataclass(frozen=True)
class Opening:
    """The opening between the lips, pixel by pixel, over `box` (x0 y0 x1 y1 within the region, even).

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
    x0, y0, x1, y1 = even_box(points, (0, 0, w // 2 * 2, h // 2 * 2))
    return (x0, y0, x1, y1) if x1 - x0 >= 4 and y1 - y0 >= 4 else None


def even_box(points: npt.NDArray[np.floating], within: Box) -> Box:
    """The smallest even box with the pixels beside all points (N, 2) that lies within an even one; empty if there are
    none."""
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    x0, y0, x1, y1 = within
    return (
        int(min(max(left, x0), x1)) // 2 * 2,
        int(min(max(top, y0), y1)) // 2 * 2,
        int(min(max(math.ceil(right) + 2, x0), x1)) // 2 * 2,
        int(min(max(math.ceil(bottom) + 2, y0), y1)) // 2 * 2,
    )


def field_of(region: Box, axes: Axes, curves: LipCurves, move: LipMove, inset: float, frame_height: int) -> Field:
    """The backward map of one move in a frame of `frame_height` pixels.

    inset: pixels by which the lips' own inner edges are trimmed where the source mouth is open, so that no tooth sticks
    to a lip.

    Displacements vary slowly, so they are computed at every few pixels and enlarged; which lip a pixel belongs to, and
    the opening, are decided for each pixel.
    """
    x0, y0, x1, y1 = region
    w, h, u = x1 - x0, y1 - y0, axes.u
    step = min(max(round(u / 45), 1), 5)
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
    column = _column(x - shift_x, half, curves)
    trim = np.minimum(inset, 0.25 * curves.gap)
    lip, edge = curves.inner_upper + move.inner_upper, curves.inner_lower + move.inner_lower
    middle = (lip + edge) / 2
    ends = y[:, [0, -1]]
    over, under = _needed(ends.min(axis=1) <= middle.max()), _needed(ends.max(axis=1) >= middle.min())

    yy = y[over]
    edges = (curves.outer_upper + move.outer_upper, lip)
    e1, e2, d1, d2 = _columns((*edges, move.outer_upper, move.inner_upper + trim), column[over])
    above = _lerp(d1 * smooth((yy - curves.nose) / np.maximum(e1 - curves.nose, 1.0)), d2, _ramp(yy, e1, e2))

    yy = y[under]
    edges_below = (edge, curves.outer_lower + move.outer_lower, curves.jaw + move.jaw)
    shifts = (move.inner_lower - trim, move.outer_lower, move.jaw)
    e3, e4, e5, d3, d4, d5 = _columns((*edges_below, *shifts), column[under])
    below = _lerp(_lerp(d3, d4, _ramp(yy, e3, e4)), d5, smooth((yy - e4) / np.maximum(e5 - e4, 1.0)))
    deepest = bottom[under]
    still = np.minimum(e5, deepest - 0.8 * BELOW_JAW * u)
    below *= 1 - smooth((yy - still) / np.maximum(deepest - still, 1.0))

    both = slice(max(over.start, under.start), min(over.stop, under.stop))
    side = y[both] - (_part(e2, over, both) + _part(e3, under, both)) / 2
    fixed_x, fixed_y = across[None] - shift_x * axes.right[0], along[:, None] - shift_x * axes.right[1]
    map_x, map_y = np.empty((h, w), np.float32), np.empty((h, w), np.float32)
    lower = _enlarged(side, both, step, (h, w)) >= 0
    for made, fixed, down in ((map_x, fixed_x, axes.down[0]), (map_y, fixed_y, axes.down[1])):
        made[_fine(over, step, h)] = _enlarged(fixed[over] - above * down, over, step, (h, w))
        moved = _enlarged(fixed[under] - below * down, under, step, (h, w))
        for rows in slice(under.start, both.start + 2), slice(both.stop - 2, under.stop):
            part = _fine(rows, step, h)
            made[part] = _part(moved, _fine(under, step, h), part)
        part = _fine(both, step, h)
        np.copyto(made[part], _part(moved, _fine(under, step, h), part), where=lower)
    alpha = smooth((y - curves.nose) / (0.10 * u)) * smooth((lowest - y) / (0.2 * u))
    alpha *= smooth((half - np.abs(x)) / (SIDE_FADE * u))
    wide = _enlarged(alpha, slice(0, len(alpha)), step, (h, w))
    # enlarging spreads the edge by a pixel or two: what lies above the nose stays out
    dx, dy = (np.arange(x0, x1) - axes.origin[0]) * axes.down[0], (np.arange(y0, y1) - axes.origin[1]) * axes.down[1]
    near = np.flatnonzero(dy + min(dx[0], dx[-1]) <= curves.nose)
    if len(near):
        wide[: near[-1] + 1] *= dx + dy[: near[-1] + 1, None] > curves.nose
    return Field(map_x, map_y, wide, _opening(region, axes, curves, move))


def _centres(pixels: int, step: int) -> F32:
    return np.asarray((np.arange(-1, -(-pixels // step) + 1, dtype=np.float32) + 0.5) * step - 0.5, np.float32)


def _needed(rows: Bools) -> slice:
    """From the first to the last row that is needed, and two more on each side to enlarge from; at least three."""
    found = np.flatnonzero(rows)
    return slice(max(int(found[0]) - 2, 0), min(int(found[-1]) + 3, len(rows))) if len(found) else slice(0, 3)


def _fine(rows: slice, step: int, h: int) -> slice:
    """The rows of pixels, of h, that coarse rows can be enlarged to: all but those of the first and the last one."""
    return slice(min(rows.start * step, h), min((rows.stop - 2) * step, h))


def _part(array: F32, held: slice, wanted: slice) -> F32:
    """The `wanted` rows of an array that holds the rows `held`."""
    return array[wanted.start - held.start : wanted.stop - held.start]


def _enlarged(coarse: npt.NDArray[np.floating], rows: slice, step: int, shape: tuple[int, int]) -> F32:
    """The pixels of _fine(rows) of a coarse array at _centres that holds `rows`."""
    fine = cv2.resize(coarse, (coarse.shape[1] * step, coarse.shape[0] * step))
    part = _fine(rows, step, shape[0])
    return np.asarray(fine[step : step + part.stop - part.start, step : step + shape[1]], np.float32)


def warp(frame: Frame, region: Box, field: Field) -> tuple[F32, F32, F32]:
    """The region's samples moved: y (h, w), u and v (h/2, w/2) float32, not clipped.

    Luma is cubic, so that an unmoved pixel is exactly itself and a moved one stays sharp. A chroma sample stands for
    its 2x2 pixels and moves as their mean does.
    """
    x0, y0, x1, y1 = region
    luma = _moved(frame.y[y0:y1, x0:x1], field.map_x, field.map_y, cv2.INTER_CUBIC)
    half_x, half_y = quarter(field.map_x) * 0.5 - 0.25, quarter(field.map_y) * 0.5 - 0.25
    planes = [plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] for plane in (frame.u, frame.v)]
    blue, red = (_moved(plane, half_x, half_y, cv2.INTER_LINEAR) for plane in planes)
    return luma, blue, red


def _moved(samples: U8, map_x: F32, map_y: F32, how: int) -> F32:
    # on floats cv2.remap is faster than on bytes, and nothing is rounded before blending
    out = cv2.remap(samples.astype(np.float32), map_x, map_y, how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32)


def _opening(region: Box, axes: Axes, curves: LipCurves, move: LipMove) -> Opening | None:
    """The opening and the line between the lips, at full resolution."""
    u = axes.u
    upper, lower = curves.inner_upper + move.inner_upper, curves.inner_lower + move.inner_lower
    inside = (curves.x >= curves.left - move.widen) & (curves.x <= curves.right + move.widen)
    left, right = curves.left - abs(move.widen) - 4, curves.right + abs(move.widen) + 4
    top, bottom = float(upper[inside].min()) - 0.04 * u - 2, float(lower[inside].max()) + 0.04 * u + 2
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    points = axes.origin + corners[:, :1] * axes.right + corners[:, 1:] * axes.down
    x0, y0, x1, y1 = even_box(points, region)
    if x1 <= x0 or y1 <= y0:
        return None
    x, y = _face_axes(axes, np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
    x = x - _widening(x, curves, move.widen, u)
    shut = _unit(1 - move.opening / (0.03 * u)) * _unit(curves.gap / (0.03 * u))
    soft = max(1.0, 0.018 * u)
    high = _unit(move.opening / soft)
    across = (curves.x - curves.inner_left) / max(curves.inner_right - curves.inner_left, 1e-3)
    e2, e3, high, shut, place = _columns((upper, lower, high, shut, across), _column(x, HALF_WIDTH * u, curves))
    depth, rise = y - e2, e3 - y
    hole = high * _unit(depth / soft + 0.5) * _unit(rise / soft + 0.5)
    if shut.any():
        shut *= np.exp(-np.square((depth - rise) / (2 * max(0.009 * u, 0.8))))
    box = (x0 - region[0], y0 - region[1], x1 - region[0], y1 - region[1])
    return Opening(box, hole, shut, depth, rise, place)


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
    inside = np.minimum(np.maximum(x / reach, -1), 1)
    return np.asarray(widen * inside * (1 - smooth((np.abs(x) - reach) / (WIDEN_FADE * u))), np.float32)


def _mouth_rows(y: F32, nose: float, u: float) -> F32:
    """How much of the widening is felt at a height: all at the mouth, nothing at the nose and the chin."""
    return smooth((y - nose) / max(-nose, 1.0)) * (1 - smooth((y - 0.12 * u) / (0.5 * u)))


def _columns(tables: tuple[npt.NDArray[np.floating], ...], column: F32) -> F32:
    """Every table (COLUMNS,) looked up at fractional columns (h, w), linearly: (len(tables), h, w)."""
    values = np.array(tables, np.float32)
    rises = values[:, 1:] - values[:, :-1]
    i = np.minimum(np.maximum(column, 0), values.shape[1] - 1.001)
    low = i.astype(np.intp)
    found = rises.take(low, axis=1, mode="clip")  # nothing is outside; without the check it takes half the time
    found *= i - low.astype(np.float32)
    found += values.take(low, axis=1, mode="clip")
    return np.asarray(found, np.float32)


def _ramp(y: F32, start: F32, stop: F32) -> F32:
    return _unit((y - start) / np.maximum(stop - start, 0.5))


def smooth(t: npt.NDArray[np.floating]) -> F32:
    """Smoothstep, clipped to [0, 1]."""
    t = np.minimum(np.maximum(t, 0), 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _unit(t: F32) -> F32:
    """Clipped to [0, 1], in place."""
    return np.minimum(np.maximum(t, 0, out=t), 1, out=t)


def _lerp(a: F32, b: F32, t: F32) -> F32:
    return np.asarray(a + (b - a) * t, np.float32)
