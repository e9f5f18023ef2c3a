"""How the picture outside the faces differs from the source: what an encoder does, and nothing else, if all is well."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from raydub.arrays import F32, U8, Bools

TILE = 32
"""Pixels of a tile's side. A tile that touches a face is left out."""
TRIMMED = 0.05
"""Share of the tiles that differ most and are left out: a label of a film whose plan is gone is a difference on
purpose."""
GROW = 0.4
"""Face boxes are this much larger on each side: masks, chins and restored faces lie within."""
SSIM_EVERY = 10
"""SSIM is measured in every so many frames."""
_SSIM_WIDTH = 640


def outside(shape: tuple[int, int], faces: Sequence[F32], label: Sequence[int] = ()) -> Bools:
    """(tiles high, tiles wide) bool: tiles without a face and without the visible label. shape: (height, width); faces:
    landmarks (68, 2) each, in pixels of the frame; label: left, top, right and bottom of its box, () for none."""
    found = np.ones((-(-shape[0] // TILE), -(-shape[1] // TILE)), np.bool_)
    for points in faces:
        low, high = points.min(axis=0), points.max(axis=0)
        reach = GROW * (high - low)
        x0, y0 = (np.maximum(low - reach, 0) // TILE).astype(int)
        x1, y1 = (np.maximum(high + reach, 0) // TILE).astype(int) + 1
        found[y0:y1, x0:x1] = False
    if label:
        left, top, right, bottom = label
        found[top // TILE : -(-bottom // TILE), left // TILE : -(-right // TILE)] = False
    return found


def squared_error(own: U8, new: U8, where: Bools) -> float:
    """Mean squared difference of two lumas (h, w) uint8 in the tiles `where`, TRIMMED of them left out; NaN if
    there are none."""
    away = cv2.absdiff(own, new).astype(np.float32) ** 2
    tiles = _tiled(np.asarray(away, np.float32), where.shape)[where]
    if not len(tiles):
        return float("nan")
    kept = np.sort(tiles)[: max(1, round(len(tiles) * (1 - TRIMMED)))]
    return float(kept.mean())


def similarity(own: U8, new: U8, where: Bools) -> float:
    """SSIM (Wang et al. 2004: Gaussian window of 1.5 pixels, K1 0.01, K2 0.03) of two lumas in the tiles `where`, in
    pictures at most 640 wide; NaN for none."""
    if not where.any():
        return float("nan")
    height, width = own.shape
    scale = min(1.0, _SSIM_WIDTH / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    a, b = (cv2.resize(one, size, interpolation=cv2.INTER_AREA).astype(np.float32) for one in (own, new))

    def blur(one: F32) -> F32:
        return np.asarray(cv2.GaussianBlur(one, (11, 11), 1.5), np.float32)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    both = blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    picture = ((2 * mean_a * mean_b + c1) * (2 * both + c2)) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    mask = cv2.resize(where.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return float(picture[mask].mean()) if mask.any() else float("nan")


def psnr(error: float) -> float:
    """dB of a mean squared error of 8-bit samples; 100 at most, which stands for none."""
    return float(min(100.0, 10 * np.log10(255.0**2 / max(error, 1e-9))))


def _tiled(values: F32, shape: tuple[int, ...]) -> F32:
    """Means of the tiles; those at the right and lower edge hold fewer pixels."""
    height, width = values.shape
    rows = np.add.reduceat(values, np.arange(0, height, TILE), axis=0)
    sums = np.add.reduceat(rows, np.arange(0, width, TILE), axis=1)
    high = np.minimum(TILE, height - np.arange(0, height, TILE))
    wide = np.minimum(TILE, width - np.arange(0, width, TILE))
    return np.asarray(sums / np.outer(high, wide), np.float32).reshape(shape)
