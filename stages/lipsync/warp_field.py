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

from stages.lipsync.warp_shape import HALF_WIDTH, Axes, LipCurves, LipMove
from stages.types import F32, U8

BELOW_JAW = 0.45  # face units below the jaw line where the movement has died out
SIDE_FADE = 0.22  # face units over which the region fades at its sides
WIDEN_FADE = 0.40  # face units beside the corner over which a change of width dies out


@dataclass(frozen=True)
class Region:
    """The pixels that a draw may touch. box: x0 y0 x1 y1, even, in the frame; x, y: (h, w) face axes of each pixel."""

    box: tuple[int, int, int, int]
    x: F32
    y: F32


@dataclass(frozen=True)
class Field:
    """map_x, map_y (h, w): where each pixel of the region comes from, in pixels of the region; alpha (h, w): the
    region's own feathered extent; hole (h, w): how much of a pixel lies in the opening; seam (h, w): how much of the dark
    line between closed lips has to be drawn (a closed source has its own); depth, rise (h, w): pixels below the upper
    edge of the opening and above the lower one; across (h, w): place between the inner corners, 0 left to 1 right."""

    map_x: F32
    map_y: F32
    alpha: F32
    hole: F32
    seam: F32
    depth: F32
    rise: F32
    across: F32


def region_of(axes: Axes, curves: LipCurves, size: tuple[int, int]) -> Region | None:
    """The region of a face in a frame of size (w, h); None where nothing of it lies inside the frame."""
    half, top, bottom = HALF_WIDTH * axes.u, curves.nose, float(curves.jaw.max()) + BELOW_JAW * axes.u
    corners = np.array([(-half, top), (half, top), (half, bottom), (-half, bottom)], np.float32)
    points = axes.origin + corners[:, :1] * axes.right + corners[:, 1:] * axes.down
    w, h = size
    x0, y0 = (int(v) // 2 * 2 for v in np.maximum(np.floor(points.min(axis=0)), 0))
    x1 = min((int(np.ceil(points[:, 0].max())) + 1) // 2 * 2, w // 2 * 2)
    y1 = min((int(np.ceil(points[:, 1].max())) + 1) // 2 * 2, h // 2 * 2)
    if x1 - x0 < 4 or y1 - y0 < 4:
        return None
    px = np.arange(x0, x1, dtype=np.float32)[None, :] - axes.origin[0]
    py = np.arange(y0, y1, dtype=np.float32)[:, None] - axes.origin[1]
    return Region(
        (x0, y0, x1, y1),
        px * axes.right[0] + py * axes.right[1],
        px * axes.down[0] + py * axes.down[1],
    )


def field_of(region: Region, axes: Axes, curves: LipCurves, move: LipMove, inset: float) -> Field:
    """The backward map of one move. inset: pixels by which the lips' own inner edges are trimmed where the source mouth
    is open, so that no tooth sticks to a lip."""
    u, x, y = axes.u, region.x, region.y
    half, bottom = HALF_WIDTH * u, float(curves.jaw.max()) + BELOW_JAW * u

    shift_x = _widening(x, curves, move.widen, u) * _mouth_rows(y, curves.nose, u)
    column = (x - shift_x + half) * ((len(curves.x) - 1) / (2 * half))
    trim = np.minimum(inset, 0.25 * curves.gap)
    edges = np.stack(
        (
            curves.outer_upper + move.outer_upper,
            curves.inner_upper + move.inner_upper,
            curves.inner_lower + move.inner_lower,
            curves.outer_lower + move.outer_lower,
            curves.jaw + move.jaw,
            (curves.x - curves.inner_left) / max(curves.inner_right - curves.inner_left, 1e-3),
        ),
        axis=-1,
    )
    was_open = np.clip(curves.gap / (0.03 * u), 0, 1)
    shifts = np.stack(
        (
            move.outer_upper,
            move.inner_upper + trim,
            move.inner_lower - trim,
            move.outer_lower,
            move.jaw,
            move.opening,
            was_open,
        ),
        axis=-1,
    )
    e1, e2, e3, e4, e5, across = _columns(edges, column)
    d1, d2, d3, d4, d5, height, was_open = _columns(shifts, column)

    above = _lerp(d1 * _smooth((y - curves.nose) / np.maximum(e1 - curves.nose, 1.0)), d2, _ramp(y, e1, e2))
    below = _lerp(d3, d4, _ramp(y, e3, e4))
    below = _lerp(below, d5, _smooth((y - e4) / np.maximum(e5 - e4, 1.0)))
    below *= 1 - _smooth((y - e5) / np.maximum(bottom - e5, 1.0))
    shift_y = np.where(y < (e2 + e3) / 2, above, below)

    x0, y0, x1, y1 = region.box
    base_x = np.arange(x1 - x0, dtype=np.float32)[None, :]
    base_y = np.arange(y1 - y0, dtype=np.float32)[:, None]
    alpha = _smooth((y - curves.nose) / (0.10 * u)) * _smooth((bottom - y) / (0.2 * u))
    alpha *= _smooth((half - np.abs(x)) / (SIDE_FADE * u))
    soft = max(1.0, 0.012 * u)
    hole = np.clip((y - e2) / soft + 0.5, 0, 1) * np.clip((e3 - y) / soft + 0.5, 0, 1) * np.clip(height / soft, 0, 1)
    shut = np.clip(1 - height / (0.03 * u), 0, 1) * was_open
    seam = shut * np.exp(-(((y - (e2 + e3) / 2) / np.maximum(0.009 * u, 0.8)) ** 2))
    return Field(
        map_x=base_x - shift_x * axes.right[0] - shift_y * axes.down[0],
        map_y=base_y - shift_x * axes.right[1] - shift_y * axes.down[1],
        alpha=alpha.astype(np.float32),
        hole=hole.astype(np.float32),
        seam=seam.astype(np.float32),
        depth=y - e2,
        rise=e3 - y,
        across=across,
    )


def warp(bgr: U8, field: Field) -> U8:
    """The region's pixels moved; cubic, so that an unmoved pixel is exactly itself and a moved one stays sharp."""
    out = cv2.remap(bgr, field.map_x, field.map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)


def _widening(x: F32, curves: LipCurves, widen: float, u: float) -> F32:
    """Horizontal displacement at the height of the mouth: outwards in proportion inside it, dying out beside it."""
    reach = (curves.right - curves.left) / 2 + widen
    inside = np.clip(x / reach, -1, 1)
    return np.asarray(widen * inside * (1 - _smooth((np.abs(x) - reach) / (WIDEN_FADE * u))), np.float32)


def _mouth_rows(y: F32, nose: float, u: float) -> F32:
    """How much of the widening is felt at a height: all at the mouth, nothing at the nose and the chin."""
    return _smooth((y - nose) / max(-nose, 1.0)) * (1 - _smooth((y - 0.12 * u) / (0.5 * u)))


def _columns(table: F32, column: F32) -> tuple[F32, ...]:
    """Look up every channel of table (COLUMNS, K) at fractional columns (h, w), linearly."""
    i = np.clip(column, 0, len(table) - 1.001)
    low = i.astype(np.intp)
    t = (i - low).astype(np.float32)
    return tuple(channel[low] + t * (channel[low + 1] - channel[low]) for channel in table.T.astype(np.float32))


def _ramp(y: F32, start: F32, stop: F32) -> F32:
    return np.asarray(np.clip((y - start) / np.maximum(stop - start, 0.5), 0, 1), np.float32)


def _smooth(t: F32) -> F32:
    """Smoothstep, clipped to [0, 1]."""
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _lerp(a: F32, b: F32, t: F32) -> F32:
    return np.asarray(a + (b - a) * t, np.float32)
