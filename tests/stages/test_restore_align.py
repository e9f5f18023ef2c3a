"""Faces onto the template, what a restorer may change of them, and the way there and back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.stages.restore.align import TEMPLATE, align, five_points, similarity
from raydub.stages.restore.area import area_alpha, area_box
from raydub.stages.restore.options import Area
from raydub.stages.restore.warp import CvWarper, TorchWarper, inverted
from tests.examples import examples
from tests.stages.restore_fakes import face_at, picture, template_face

ANGLES = st.floats(-3.1, 3.1)


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


@given(ANGLES, st.floats(0.05, 20), st.floats(-500, 500), st.floats(-500, 500))
def test_a_similarity_is_found_again(angle: float, scale: float, x: float, y: float) -> None:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    true = np.array([[cos, -sin, x], [sin, cos, y]])
    found = similarity(TEMPLATE, moved(TEMPLATE, true))
    assert found is not None
    assert np.abs(found - true).max() < 1e-6


@given(st.integers(0, 10_000))
def test_no_other_similarity_comes_closer(seed: int) -> None:
    """Least squares: every small change of the four numbers makes the sum of squares larger; mirrored faces are not
    mirrored back."""
    random = np.random.default_rng(seed)
    source = TEMPLATE + random.normal(0, 25, TEMPLATE.shape)
    source[:, 0] *= random.choice([-1.0, 1.0])
    found = similarity(source, TEMPLATE)
    assert found is not None
    assert np.linalg.det(found[:, :2]) > 0

    def error(m: np.ndarray) -> float:
        return float(np.square(moved(source, m) - TEMPLATE).sum())

    best = error(found)
    for direction in np.eye(4):
        a, b, x, y = direction * 1e-4
        step = np.array([[a, -b, x], [b, a, y]])
        assert error(found + step) >= best
        assert error(found - step) >= best


def test_points_that_make_no_face() -> None:
    for points in (np.zeros((68, 2)), np.full((68, 2), np.nan), np.full((68, 2), np.inf)):
        assert align(points.astype(np.float32), (320, 240)) is None
    assert align(face_at((100, 100), 5).landmarks, (320, 240)) is None, "too small"
    assert align(face_at((-400, 100), 200).landmarks, (320, 240)) is None, "outside"


@given(st.floats(-80, 400), st.floats(-80, 320), st.floats(20, 400), ANGLES)
def test_the_region_is_what_the_square_covers(x: float, y: float, side: float, tilt: float) -> None:
    face = face_at((x, y), side, tilt)
    found = align(face.landmarks, (320, 240))
    corners = np.array([[0, 0], [511, 0], [511, 511], [0, 511], [255, 255]], float)
    if found is None:
        lies = moved(corners, inverted(similarity(five_points(face.landmarks), TEMPLATE)))
        assert (lies.max(axis=0) < 0).any() or (lies.min(axis=0) > np.array([319, 239])).any()
        return
    x0, y0, x1, y1 = found.region
    assert 0 <= x0 < x1 <= 320
    assert 0 <= y0 < y1 <= 240
    assert not (x0 | y0 | x1 | y1) & 1
    assert np.abs(moved(five_points(face.landmarks), found.matrix) - TEMPLATE).max() < 0.01
    lies = moved(corners, inverted(found.matrix))
    inside = (lies >= 0).all(axis=1) & (lies <= np.array([319, 239])).all(axis=1)
    assert ((lies[inside] >= [x0, y0]) & (lies[inside] <= [x1 - 1, y1 - 1])).all()
    assert np.allclose(found.from_corner(found.region) @ [1.0, 2.0, 1.0], found.matrix @ [x0 + 1.0, y0 + 2.0, 1.0])


def test_the_template_shrinks_with_the_square() -> None:
    found = align(template_face().astype(np.float32), (512, 512), side=128)
    assert found is not None
    assert np.abs(found.matrix - [[0.25, 0, 0], [0, 0.25, 0]]).max() < 1e-4


@pytest.mark.parametrize("side", [60, 200, 900])
@pytest.mark.parametrize("tilt", [0.0, 0.5])
def test_there_and_back(side: float, tilt: float) -> None:
    """A smooth picture survives both ways, at any size of the face; OpenCV and torch agree."""
    size = (int(side * 1.5) // 2 * 2,) * 2
    smooth = picture(size, blur=max(6.0, side / 40)).y
    bgr = cv2.merge([smooth, 255 - smooth, smooth])
    found = align(face_at((size[0] / 2, size[1] / 2), side, tilt).landmarks, size, 256)
    assert found is not None
    ways = CvWarper(), TorchWarper("cpu")
    squares = [way.cut(bgr, found.matrix, 256) for way in ways]
    assert squares[0].shape == (256, 256, 3)
    assert np.abs(squares[0].astype(int) - squares[1]).max() <= 1
    backs = [way.back(squares[0].astype(np.float32), found.matrix, size) for way in ways]
    assert backs[0].shape == (size[1], size[0], 3)
    middle = slice(int(size[0] * 0.3), int(size[0] * 0.7))
    for back in backs:
        assert np.abs(back[middle, middle] - bgr[middle, middle]).max() < 3
        assert back[0, 0].max() == back[-1, -1].max() == 0, "nothing beyond the square"
    assert np.abs(backs[0] - backs[1]).max() < (2 if side == 60 else 6), "the square's edge is a step of 255"
    inner = np.abs(backs[0] - backs[1])[middle, middle]
    assert inner.max() < 0.6


@pytest.mark.parametrize("warper", [CvWarper(), TorchWarper("cpu")])
def test_nothing_aliases(warper: CvWarper | TorchWarper) -> None:
    """A fine chequerboard becomes grey on its way to a coarser grid, in both directions."""
    board = np.indices((800, 800)).sum(axis=0) % 2 * 255.0
    bgr = cv2.merge([board.astype(np.uint8)] * 3)
    found = align(face_at((400, 400), 700, 0.3).landmarks, (800, 800), 128)
    small = align(face_at((60, 60), 70, 0.3).landmarks, (120, 120), 512)
    assert found is not None
    assert small is not None
    assert np.abs(warper.cut(bgr, found.matrix, 128).astype(float) - 127.5).max() < 30
    back = warper.back(bgr[:512, :512].astype(np.float32), small.matrix, (120, 120))
    assert np.abs(back[40:80, 40:80] - 127.5).max() < 30
    tiny = align(face_at((60, 60), 22, 0.3).landmarks, (120, 120), 512)
    assert tiny is not None
    back = warper.back(bgr[:512, :512].astype(np.float32), tiny.matrix, (120, 120))
    assert np.abs(back[56:64, 56:64] - 127.5).max() < 5


@pytest.mark.parametrize("warper", [CvWarper(), TorchWarper("cpu")])
def test_the_frame_s_border_is_repeated_beyond_it(warper: CvWarper | TorchWarper) -> None:
    bgr = np.zeros((120, 160, 3), np.uint8)
    bgr[:, :40], bgr[:, 40:] = (10, 20, 30), 99
    found = align(face_at((0, 60), 80).landmarks, (160, 120), 64)
    assert found is not None
    x0, y0, x1, y1 = found.region
    square = warper.cut(bgr[y0:y1, x0:x1], found.from_corner(found.region), 64)
    assert (square[:, :60] == (10, 20, 30)).all()


@settings(max_examples=examples(40))
@given(
    st.sampled_from(["mouth", "face"]),
    st.floats(-20, 340),
    st.floats(-20, 260),
    st.floats(30, 400),
    st.floats(-0.7, 0.7),
)
def test_an_area_is_soft_and_lies_in_its_box(area: Area, x: float, y: float, side: float, tilt: float) -> None:
    landmarks = face_at((x, y), side, tilt).landmarks
    whole = area_alpha(landmarks, area, (0, 0, 320, 240))
    assert whole.dtype == np.float32
    assert whole.min() >= 0
    assert whole.max() <= 1
    box = area_box(landmarks, area, (320, 240))
    if box is None:
        assert not whole.any()
        return
    x0, y0, x1, y1 = box
    assert not (x0 | y0 | x1 | y1) & 1
    outside = np.ones_like(whole, bool)
    outside[y0:y1, x0:x1] = False
    assert not whole[outside].any()
    if min(x0, y0) > 0 and x1 < 320 and y1 < 240:
        assert np.abs(area_alpha(landmarks, area, box) - whole[y0:y1, x0:x1]).max() < 1e-5
        assert whole.max() > 0.9


def test_areas_hold_what_they_should() -> None:
    face = face_at((256, 256), 480, 0.2)
    alphas = {area: area_alpha(face.landmarks, area, (0, 0, 512, 512)) for area in ("mouth", "face")}  # type: ignore[arg-type]
    at = {name: alpha[tuple(np.rint(face.landmarks).astype(int).T[::-1])] for name, alpha in alphas.items()}
    assert at["face"][[*range(17, 68)]].min() > 0.85, "brows, eyes, nose and mouth"
    assert at["mouth"][48:68].min() > 0.5
    assert at["mouth"][[*range(17, 31), *range(36, 48)]].max() == 0
    assert (alphas["mouth"][alphas["face"] == 0] < 0.5).all()
    for alpha in alphas.values():
        assert max(np.abs(np.diff(alpha, axis=axis)).max() for axis in (0, 1)) < 0.15
