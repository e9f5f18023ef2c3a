"""Corrects the inner lip edges by the pixels.

The landmark predictor draws the inside of a wide open mouth too small, by up to a twentieth of the face unit, which
leaves teeth and dark on the lips; moved with a lip they look like a second lip. It also sees narrow openings in closed
mouths, or the line between the lips a little off. Here the inner edges are moved according to the pixels: into the lips
as far as they do not look like lip, together if a narrow opening looks like lip, onto the darkest line if the lips are
closed. All measures are soft counts and means, no searches, so they vary as smoothly as the picture.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, U8
from raydub.stages.lipsync.warp_shape import Axes, LipCurves

Floats = npt.NDArray[np.floating]

_COLS, _ROWS = 56, 20  # of a straightened lip
_PLACES = (np.arange(_ROWS, dtype=np.float32) + 0.5) / _ROWS
_CENTRED = 2 * _PLACES - 1
_ALONG = np.linspace(0, 1, _COLS, dtype=np.float32)
_TAPER = np.minimum(np.minimum(_ALONG, 1 - _ALONG) / np.float32(0.15), 1)
_NARROW, _WIDE = 0.07, 0.11  # face units of opening between which the predicted opening is trusted increasingly
_SEAM_SEARCH = 0.02  # face units around it where the line between closed lips may lie
_REACH = 0.75  # share of a lip's height that may be corrected
_MOST = 0.07  # face units: the largest correction
_OPEN_FROM, _OPEN_FULL = 0.02, 0.05  # face units of opening between which the correction comes in
_HUE, _LIGHTER, _DARKER = 9.0, 26.0, 34.0  # differences in 8-bit Lab that count as one, at ordinary brightness


def refine(bgr: U8, offset: tuple[int, int], axes: Axes, curves: LipCurves, *, exact: bool = False) -> LipCurves:
    """The curves with their inner edges at the lips' true ends. exact: the landmarks are those of the mesh, which sees
    open mouths as wide as they are: no edge is moved into a lip.

    bgr: (h, w, 3) uint8 pixels around the mouth, whose (0, 0) lies at `offset` (x, y) of the frame.
    """
    x = np.linspace(curves.left, curves.right, _COLS, dtype=np.float32)
    top, high, low, bottom = (
        np.interp(x, curves.x, edge).astype(np.float32)
        for edge in (curves.outer_upper, curves.inner_upper, curves.inner_lower, curves.outer_lower)
    )

    gap = float(curves.gap.max()) / axes.u
    narrow = 1 - _share((gap - _NARROW) / (_WIDE - _NARROW))
    middle, half = (low + high) / 2, 0.5 * (low - high)
    reach = half + _SEAM_SEARCH * axes.u * _TAPER
    bands: list[tuple[Floats, Floats]] = [(high, top), (low, bottom)]
    if narrow > 0:
        bands += [(high, low), (middle - reach, middle + reach)]
    upper_lip, lower_lip, *between = _strips(bgr, offset, axes, x, bands)
    upper_is, lower_is = _usual(upper_lip), _usual(lower_lip)

    kept: Floats = np.ones(_COLS, np.float32)
    new_high: Floats = high
    new_low: Floats = low
    if narrow > 0:
        gap_seen, around = between
        weight = np.exp(-(around[..., 0] - around[..., 0].min(axis=0)) / 6.0)
        place = (weight * _CENTRED[:, None]).sum(axis=0) / weight.sum(axis=0)
        line = middle + _even(place * reach)
        strange = np.minimum(_strange(gap_seen, upper_is), _strange(gap_seen, lower_is)).mean(axis=0)
        kept = np.minimum(_even(strange) / 0.5, 1)
        kept = 1 - narrow * (1 - kept * kept * (3 - 2 * kept))
        centre = middle + (1 - kept) * (line - middle)
        new_high, new_low = centre + kept * (high - middle), centre + kept * (low - middle)

    open_share = 0.0 if exact else _share((gap - _OPEN_FROM) / (_OPEN_FULL - _OPEN_FROM))
    if open_share > 0:
        new_high = new_high - open_share * _TAPER * kept * _push(_strange(upper_lip, upper_is), high - top, axes.u)
        new_low = new_low + open_share * _TAPER * kept * _push(_strange(lower_lip, lower_is), bottom - low, axes.u)

    def back(edge: Floats, old: Floats) -> F32:
        return np.asarray(np.interp(curves.x, x, edge - old, left=0, right=0), np.float32)

    # the opening of an open mouth reaches nearly to the outer corners
    wider = 0.5 * open_share
    return replace(
        curves,
        inner_upper=curves.inner_upper + back(new_high, high),
        inner_lower=curves.inner_lower + back(new_low, low),
        inner_left=curves.inner_left + wider * (curves.left - curves.inner_left),
        inner_right=curves.inner_right + wider * (curves.right - curves.inner_right),
    )


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _strips(bgr: U8, offset: tuple[int, int], axes: Axes, x: F32, bands: list[tuple[Floats, Floats]]) -> list[F32]:
    """For each pair of edges (_ROWS, _COLS, 3) float32 8-bit Lab of the band between them, row 0 at the first."""
    starts, stops = np.stack([start for start, _ in bands]), np.stack([stop for _, stop in bands])
    y = starts[:, None] + (stops - starts)[:, None] * _PLACES[:, None]
    pixels = straighten(bgr, offset, axes, x, y.reshape(-1, _COLS), cv2.INTER_LINEAR)
    lab = cv2.cvtColor(cv2.blur(pixels, (3, 1)), cv2.COLOR_BGR2LAB).astype(np.float32)
    return list(lab.reshape(len(bands), _ROWS, _COLS, 3))


def straighten(bgr: U8, offset: tuple[int, int], axes: Axes, x: F32, y: Floats, how: int) -> U8:
    """(h, w, 3) pixels of bgr at face axes x (w,), y (h, w); `how` is cv2's interpolation."""
    px = axes.origin[0] + x[None] * axes.right[0] + y * axes.down[0] - offset[0]
    py = axes.origin[1] + x[None] * axes.right[1] + y * axes.down[1] - offset[1]
    maps = px.astype(np.float32), py.astype(np.float32)
    return np.asarray(cv2.remap(bgr, *maps, how, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _usual(lip: F32) -> F32:
    """(3,) Lab of a lip: the median of its outer part, which no tooth reaches."""
    sure = lip[int(0.6 * _ROWS) : int(0.9 * _ROWS), _COLS // 5 : -_COLS // 5].reshape(-1, 3)
    half = len(sure) // 2  # of an even number
    ordered = np.partition(sure, (half - 1, half), axis=0)
    return np.asarray((ordered[half - 1] + ordered[half]) / 2, np.float32)


def _strange(band: F32, lip: F32) -> F32:
    """(_ROWS, _COLS) 0..1: how little each pixel looks like this lip."""
    d = (band - lip) / min(max(float(lip[0]) / 120.0, 0.35), 1.0)
    light = np.maximum(d[..., 0] / _LIGHTER, d[..., 0] / -_DARKER)
    far = np.sqrt((d[..., 1] / _HUE) ** 2 + 0.5 * (d[..., 2] / _HUE) ** 2 + light**2)
    return np.asarray(1 / (1 + np.exp(-6 * (far - 1.1))), np.float32)


def _push(strange: F32, height: Floats, u: float) -> F32:
    """(_COLS,) pixels of each column, counted from the inner edge without a break, that do not look like lip."""
    unbroken = np.cumprod(strange[: int(_REACH * _ROWS)], axis=0)
    push = _even(unbroken.sum(axis=0) / _ROWS * np.abs(height))
    most = _MOST * u
    return np.asarray(most * np.tanh(push / most), np.float32)


def _even(values: Floats) -> F32:
    """Smoothed over the columns."""
    return np.asarray(cv2.GaussianBlur(values[None].astype(np.float32), (0, 0), 4.0)[0], np.float32)
