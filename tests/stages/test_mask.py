"""Where a new mouth is blended in."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.arrays import F32
from raydub.stages.mask import mouth_alpha


def face(centre: tuple[float, float], height: float, tilt: float = 0.0) -> F32:
    """68 landmarks of a drawn face: `height` from the bridge of the nose to the chin."""
    points = np.zeros((68, 2))
    turn = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([0.75 * np.cos(turn), 0.2 + 0.8 * np.sin(turn)], axis=1)
    points[17:27] = np.stack([np.linspace(-0.6, 0.6, 10), np.full(10, -0.2)], axis=1)
    points[27:31] = np.stack([np.zeros(4), np.linspace(0, 0.33, 4)], axis=1)
    points[31:36] = np.stack([np.linspace(-0.13, 0.13, 5), np.full(5, 0.4)], axis=1)
    points[36:48, 0], points[36:48, 1] = np.linspace(-0.45, 0.45, 12), 0.0
    around = np.linspace(np.pi, -np.pi, 13)[:12]
    points[48:60] = np.stack([0.26 * np.cos(around), 0.63 - 0.1 * np.sin(around)], axis=1)
    inner = np.linspace(np.pi, -np.pi, 9)[:8]
    points[60:68] = np.stack([0.2 * np.cos(inner), 0.63 - 0.03 * np.sin(inner)], axis=1)
    turned = points @ np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    return (turned * height + np.array(centre)).astype(np.float32)


@given(st.floats(20, 300), st.floats(-0.6, 0.6), st.floats(-40, 500), st.floats(-40, 500))
def test_the_mouth_is_inside_and_the_nose_outside(height: float, tilt: float, x: float, y: float) -> None:
    points = face((x, y), height, tilt)
    alpha = mouth_alpha(points, (0, 0, 480, 480))
    assert alpha.shape == (480, 480)
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1

    def at(point: F32) -> float | None:
        column, row = np.rint(point).astype(int)
        return float(alpha[row, column]) if 0 <= column < 480 and 0 <= row < 480 else None

    if height > 60:
        assert all(value is None or value > 0.5 for value in map(at, points[48:68]))
    for number in (*range(27, 31), *range(36, 48), 0, 16, 8):
        assert at(points[number]) in (None, 0.0) or number == 8
    # Nothing at all above the tip of the nose, along the face's own axis.
    down = (points[8] - points[27]) / np.hypot(*(points[8] - points[27]))
    rows, columns = np.nonzero(alpha)
    assert all((np.stack([columns, rows], axis=1) - points[29]) @ down > -1) if len(rows) else True


def test_the_edge_is_soft() -> None:
    alpha = mouth_alpha(face((240, 150), 200), (0, 0, 480, 480))
    assert np.abs(np.diff(alpha, axis=0)).max() < 0.2
    assert np.abs(np.diff(alpha, axis=1)).max() < 0.2
    assert (alpha == 1).sum() > 2000


def test_a_region_is_a_window_on_the_same_shape() -> None:
    points = face((240, 150), 200)
    whole = mouth_alpha(points, (0, 0, 480, 480))
    part = mouth_alpha(points, (100, 200, 380, 460))
    assert np.abs(whole[220:440, 120:360] - part[20:240, 20:260]).max() < 1e-5


def test_the_shape_fades_inside_the_box() -> None:
    points = face((240, 150), 200)
    box = (180, 160, 300, 330)
    alpha = mouth_alpha(points, (160, 140, 320, 360), "mask", box)
    outside = np.ones_like(alpha, bool)
    outside[20:190, 20:140] = False
    assert alpha[outside].max() == 0
    assert alpha.max() == 1


def test_the_classic_rectangle() -> None:
    alpha = mouth_alpha(face((50, 20), 60), (10, 10, 30, 30), "box", (12, 9, 25, 28))
    wanted = np.zeros((20, 20), np.float32)
    wanted[:18, 2:15] = 1
    assert np.array_equal(alpha, wanted)
    with pytest.raises(ValueError, match="needs the box"):
        mouth_alpha(face((50, 20), 60), (10, 10, 30, 30), "box")


def test_it_is_fast() -> None:
    points = face((150, 80), 150)
    mouth_alpha(points, (0, 0, 300, 300))
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        mouth_alpha(points, (0, 0, 300, 300))
        best = min(best, time.perf_counter() - start)
    assert best < 0.003
