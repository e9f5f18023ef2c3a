"""The embedded engine's drawing, on a painted face: opens, closes, touches nothing else, survives odd places."""

from __future__ import annotations

import pickle
import warnings
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.arrays import F32
from raydub.errors import StageError
from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.media.yuv import to_bgr
from raydub.stages.engine import DrawItem, Speech
from raydub.stages.lipsync import warp_shape
from raydub.stages.lipsync.warp import WarpEngine, draw_mouth
from raydub.stages.lipsync.warp_edges import refine
from raydub.stages.lipsync.warp_field import field_of
from raydub.stages.lipsync.warp_inside import COLS, ROWS, Inside, best_inside, draw_inside, take_inside
from raydub.stages.lipsync.warp_shape import axes_of, curves_of, move_to, openness_of, width_of
from raydub.stages.types import FaceItems
from tests.examples import examples

SKIN, LIP, DARK, TOOTH = (140, 165, 215), (95, 85, 190), (25, 20, 35), (215, 225, 230)


def marks_of(centre: tuple[float, float], u: float, opening: float, turn: float = 0.0) -> F32:
    """68 landmarks of a plain face: origin between the mouth corners, `u` pixels between the outer eye corners."""
    p = np.zeros((68, 2))
    t = np.linspace(np.pi, 0, 17)
    p[0:17] = np.stack((0.75 * np.cos(t), -0.25 + (0.75 + 0.6 * opening) * np.sin(t)), axis=-1)
    p[17:27] = np.stack((np.linspace(-0.55, 0.55, 10), np.full(10, -1.0)), axis=-1)
    p[27:31] = np.stack((np.zeros(4), np.linspace(-0.75, -0.42, 4)), axis=-1)
    p[31:36] = np.stack((np.linspace(-0.14, 0.14, 5), np.full(5, -0.34)), axis=-1)
    for first, x in ((36, -0.5), (42, 0.22)):
        p[first : first + 6] = np.array(((0, 0), (0.09, -0.04), (0.19, -0.04), (0.28, 0), (0.19, 0.04), (0.09, 0.04)))
        p[first : first + 6] += (x, -0.8)
    up, down = -0.24 * opening, 0.76 * opening
    p[48:55] = (
        (-0.3, 0),
        (-0.2, -0.08 + up),
        (-0.08, -0.11 + up),
        (0, -0.1 + up),
        (0.08, -0.11 + up),
        (0.2, -0.08 + up),
        (0.3, 0),
    )
    p[55:60] = ((0.2, 0.1 + down), (0.08, 0.14 + down), (0, 0.14 + down), (-0.08, 0.14 + down), (-0.2, 0.1 + down))
    p[60:65] = ((-0.26, 0), (-0.1, up), (0, up), (0.1, up), (0.26, 0))
    p[65:68] = ((0.1, down), (0, down), (-0.1, down))
    turned = np.array(((np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))))
    return np.asarray(p @ turned * u + np.array(centre), np.float32)


def face(size: tuple[int, int], marks: F32, seed: int = 0) -> Frame:
    """A frame of (w, h) with the face painted on grainy ground."""
    w, h = size
    bgr = np.full((h, w, 3), SKIN, np.uint8)

    def fill(points: F32, colour: tuple[int, int, int]) -> None:
        cv2.fillPoly(bgr, [np.round(points * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)

    fill(marks[48:60], LIP)
    if openness_of(marks) > 0.01:
        fill(marks[60:68], DARK)
        fill(np.concatenate((marks[60:65], 0.6 * marks[[63, 62, 61]] + 0.4 * marks[[65, 66, 67]])), TOOTH)
    else:
        cv2.polylines(bgr, [np.round(marks[60:65] * 16).astype(np.int32)], False, (60, 50, 110), 1, cv2.LINE_AA, 4)
    grain = np.random.default_rng(seed).integers(-6, 7, (h, w, 1))
    bgr = np.clip(bgr.astype(int) + grain, 0, 255).astype(np.uint8)
    yuv = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    quarter = (h // 2, w // 2)
    u, v = yuv[h : h + h // 4].reshape(quarter), yuv[h + h // 4 :].reshape(quarter)
    return Frame(
        0, yuv[:h].copy(), u.copy(), v.copy(), Colour(matrix="bt601", full_range=False, primaries=6, transfer=6)
    )


def drawn(frame: Frame, marks: F32, opening: float, width: float | None = None, inside: Inside | None = None) -> Frame:
    patch = draw_mouth(frame, marks, opening, width_of(marks) if width is None else width, inside)
    assert patch is not None
    out = frame.copy()
    patch.blend(out)
    return out


GREEN = Inside(
    np.full((ROWS, COLS, 3), (0, 220, 0), np.uint8), np.array((120, 140, 200), np.float32), np.ones(COLS, np.float32)
)


def green_height(frame: Frame, marks: F32) -> float:
    """Pixels of inside, in the column through the mouth's middle, of a mouth drawn with the inside GREEN."""
    axes = axes_of(marks)
    assert axes is not None
    blue, green, red = to_bgr(frame)[:, int(axes.origin[0])].astype(int).T
    return float((green - np.maximum(blue, red) > 40).sum())


@pytest.mark.parametrize("source", [0.0, 0.12])
def test_the_wider_the_target_the_wider_the_mouth(source: float) -> None:
    marks = marks_of((160, 150), 100, source)
    frame = face((320, 320), marks)
    heights = [green_height(drawn(frame, marks, target, inside=GREEN), marks) for target in (0.0, 0.06, 0.12, 0.2)]
    assert heights == sorted(heights)
    assert heights[0] == 0
    assert heights[2] == pytest.approx(12, abs=3)
    assert heights[3] == pytest.approx(20, abs=4)


def test_an_open_mouth_closes_without_teeth_left_over() -> None:
    marks = marks_of((160, 150), 100, 0.15)
    frame = face((320, 320), marks)
    out = to_bgr(drawn(frame, marks, 0.0))
    mouth = out[120:200, 120:200].reshape(-1, 3).astype(int)
    teeth = np.abs(mouth - TOOTH).max(axis=1) < 30
    before = to_bgr(frame)[120:200, 120:200].reshape(-1, 3).astype(int)
    assert (np.abs(before - TOOTH).max(axis=1) < 30).sum() > 100
    assert teeth.sum() < 10


def test_nothing_above_the_nose_and_nothing_outside_alpha_changes() -> None:
    marks = marks_of((160, 150), 100, 0.05, turn=0.15)
    frame = face((320, 320), marks)
    patch = draw_mouth(frame, marks, 0.2, 0.65, None)
    assert patch is not None
    axes = axes_of(marks)
    assert axes is not None
    x0, y0, x1, y1 = patch.box
    assert (x0 | y0 | x1 | y1) & 1 == 0
    assert patch.alpha.shape == (y1 - y0, x1 - x0)
    assert [plane.dtype for plane in patch.planes] == [np.float32] * 3
    assert patch.alpha.min() >= 0
    assert patch.alpha.max() <= 1
    down = (np.arange(x0, x1)[None] - axes.origin[0]) * axes.down[0] + (
        np.arange(y0, y1)[:, None] - axes.origin[1]
    ) * axes.down[1]
    nose = float(axes.to_face(marks)[31:36, 1].max())
    assert (patch.alpha[down <= nose] == 0).all()
    out = drawn(frame, marks, 0.2, 0.65)
    touched = np.zeros(frame.y.shape, bool)
    touched[y0:y1, x0:x1] = patch.alpha > 0
    assert (out.y[~touched] == frame.y[~touched]).all()
    assert (out.y[touched] != frame.y[touched]).mean() > 0.2


def test_the_mouth_that_is_there_already_stays_as_sharp() -> None:
    marks = marks_of((160, 150), 100, 0.0)
    frame = face((320, 320), marks)
    patch = draw_mouth(frame, marks, 0.0, width_of(marks), None)
    assert patch is not None
    x0, y0, x1, y1 = patch.box
    assert (np.abs(patch.planes[0] - frame.y[y0:y1, x0:x1]) <= 1).mean() > 0.9


def test_the_same_arguments_give_the_same_bits() -> None:
    marks = marks_of((160, 150), 100, 0.08)
    frame = face((320, 320), marks)
    one, two = (draw_mouth(frame.copy(), marks.copy(), 0.11, 0.6, None) for _ in range(2))
    assert one is not None
    assert two is not None
    assert one.box == two.box
    assert all((a == b).all() for a, b in zip(one.planes, two.planes, strict=True))
    assert (one.alpha == two.alpha).all()


@settings(max_examples=examples(60), deadline=None)
@given(
    x=st.floats(-60, 220),
    y=st.floats(-60, 220),
    u=st.floats(4, 160),
    turn=st.floats(-1.5, 1.5),
    source=st.floats(0, 0.4),
    target=st.floats(-0.1, 2.0),
    width=st.floats(0.0, 2.0),
)
def test_no_place_size_or_shape_breaks_it(
    x: float, y: float, u: float, turn: float, source: float, target: float, width: float
) -> None:
    marks = marks_of((x, y), u, source, turn)
    frame = face((160, 160), marks_of((80, 80), 40, 0.1))
    patch = draw_mouth(frame, marks, target, width, None)
    if patch is None:
        return
    x0, y0, x1, y1 = patch.box
    assert 0 <= x0 < x1 <= 160
    assert 0 <= y0 < y1 <= 160
    assert np.isfinite(patch.alpha).all()
    patch.blend(frame)


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.3])
def test_a_face_upside_down_has_the_field_upside_down(turn: float) -> None:
    marks, region = marks_of((160, 150), 100, 0.06, turn), (60, 80, 260, 240)
    fields = []
    for points, box in ((marks, region), (319 - marks, tuple(320 - side for side in region[2:] + region[:2]))):
        axes = axes_of(points)
        assert axes is not None
        curves = curves_of(points, axes)
        assert curves is not None
        fields.append(field_of(box, axes, curves, move_to(curves, axes.u, 0.2, 0.65), 1.0, 5000))
    one, two = fields
    h, w = one.map_x.shape
    for there, back, size in (one.map_x, two.map_x, w), (one.map_y, two.map_y, h):
        assert (np.abs(size - 1 - back[::-1, ::-1] - there) < 0.01).mean() > 0.998
    assert np.abs(one.alpha - two.alpha[::-1, ::-1]).max() < 0.01


def test_degenerate_landmarks_draw_nothing() -> None:
    frame = face((160, 160), marks_of((80, 80), 40, 0.1))
    assert draw_mouth(frame, np.zeros((68, 2), np.float32), 0.1, 0.6, None) is None
    assert draw_mouth(frame, np.full((68, 2), np.nan, np.float32), 0.1, 0.6, None) is None
    folded = marks_of((80, 80), 40, 0.1)
    folded[48:68, 0] = 80
    assert draw_mouth(frame, folded, 0.1, 0.6, None) is None


def test_the_move_reaches_what_was_asked() -> None:
    marks = marks_of((160, 150), 100, 0.1)
    axes = axes_of(marks)
    assert axes is not None
    curves = curves_of(marks, axes)
    assert curves is not None
    for target in (0.0, 0.05, 0.2):
        move = move_to(curves, axes.u, target, 0.6)
        upper, lower = curves.inner_upper + move.inner_upper, curves.inner_lower + move.inner_lower
        at = np.interp((-10, 0, 10), curves.x, lower - upper) / 100
        assert at.mean() == pytest.approx(target, abs=0.02)
        assert (lower - upper >= -1e-3).all()


def test_edges_are_found_where_the_landmarks_are_wrong() -> None:
    true = marks_of((160, 150), 100, 0.16)
    frame = face((320, 320), true)
    wrong = true.copy()
    wrong[65:68, 1] -= 5  # the predictor's usual mistake: the lower edge is drawn on the teeth or the dark
    axes = axes_of(wrong)
    assert axes is not None
    curves = curves_of(wrong, axes)
    assert curves is not None
    better = refine(to_bgr(frame), (0, 0), axes, curves)
    middle = len(curves.x) // 2
    want = float(axes.to_face(true)[66, 1])
    assert abs(better.inner_lower[middle] - want) < abs(curves.inner_lower[middle] - want) - 1.5
    exact = refine(to_bgr(frame), (0, 0), axes, curves, exact=True)  # the mesh makes no such mistake
    assert exact.inner_lower.tobytes() == curves.inner_lower.tobytes()
    assert exact.inner_left == curves.inner_left


def test_insides_come_from_the_widest_mouth_and_travel_as_arrays() -> None:
    shut, ajar = marks_of((160, 150), 100, 0.0), marks_of((160, 150), 100, 0.16)
    samples = [(to_bgr(face((320, 320), marks)), marks) for marks in (shut, ajar)]
    inside = best_inside(samples)
    assert inside is not None
    assert inside.seen
    assert not inside.standing  # the painted teeth are upper ones
    row = inside.pixels[8, 60:100].astype(int).mean(axis=0)
    assert np.abs(row - TOOTH).max() < 40
    again = Inside.of(inside.arrays())
    assert again is not None
    assert (again.pixels == inside.pixels).all()
    assert best_inside(samples[:1]) is None
    assert take_inside(samples[0][0], (0, 0), np.zeros((68, 2), np.float32)) is None


def test_an_inside_of_one_brightness_is_taken_without_complaint() -> None:
    """As in a drawing: there is no brighter part, whose mean numpy would warn of."""
    marks = marks_of((120.0, 120.0), 90.0, 0.25)
    paper = np.full((240, 240, 3), 255, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inside = take_inside(paper, (0, 0), marks)
    assert inside is not None
    assert not inside.standing


def test_a_dim_face_gets_dim_teeth() -> None:
    bright, dim = (draw_inside(np.full(3, level, np.float32)).pixels.max() for level in (180.0, 40.0))
    assert dim < 0.75 * bright


class Sampler:
    landmarks = "dlib"

    def __init__(self, openings: tuple[float, ...]) -> None:
        self.marks = [marks_of((160, 150), 100, opening) for opening in openings]

    def sample(self, count: int) -> list[tuple[Frame, F32, F32]]:
        return [
            (face((320, 320), marks, i), np.zeros(4, np.float32), marks) for i, marks in enumerate(self.marks[:count])
        ]


def items_of(marks: F32, frames: list[int]) -> FaceItems:
    n = len(frames)
    number = np.array(frames, np.int32)
    return FaceItems(
        number,
        number,
        np.zeros(n, np.int32),
        np.zeros((n, 4), np.float32),
        np.repeat(marks[None], n, axis=0),
        np.ones(n, np.float32),
        np.zeros((0, 96, 96, 3), np.uint8),
    )


def test_the_engine_from_sound_to_pixels() -> None:
    engine = pickle.loads(pickle.dumps(WarpEngine()))
    engine.load("cpu")
    (record,) = engine.weights()
    assert len(record.sha256) == 64
    source = engine.prepare(Sampler((0.0, 0.05, 0.15)))
    assert {"mouth_person", "inside_pixels", "inside_light"} <= set(source)
    assert engine.prepare(Sampler(())) == {}
    mel = np.random.default_rng(1).uniform(-4, 3, (80, 400)).astype(np.float32)
    speech = Speech(mel, Fraction(25), 120)
    marks = marks_of((160, 150), 100, 0.05)
    whole = engine.infer(items_of(marks, list(range(40, 60))), speech)["shapes"]
    part = engine.infer(items_of(marks, [50, 55]), speech)["shapes"]
    assert whole.shape == (20, 2)
    assert (part == whole[[10, 15]]).all()
    assert (whole[:, 0] >= 0).all()
    frame = face((320, 320), marks)
    item = DrawItem(50, 50, 0, np.zeros(4, np.float32), marks)
    assert engine.draw(frame, item, {"shapes": whole[10]}, source) is not None
    assert engine.draw(frame, item, {"shapes": whole[10]}, {}) is not None
    with pytest.raises(StageError):
        engine.draw(frame, item, {"shapes": np.array([np.nan, 1.0], np.float32)}, source)


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_curves_are_scipy_s_splines(seed: int, folded: bool) -> None:
    from scipy.interpolate import CubicHermiteSpline

    marks = np.random.default_rng(seed).normal(0, 40, (68, 2)).astype(np.float32)
    x = np.linspace(-120, 120, 257, dtype=np.float32)
    if not folded:
        for chain in warp_shape._CHAINS:
            marks[list(chain)] = marks[list(chain)][marks[list(chain), 0].argsort()]
    for chain, found in zip(warp_shape._CHAINS, warp_shape._curves(marks, x), strict=True):
        points = marks[list(chain)]
        step = 0.02 * max(float(points[-1, 0] - points[0, 0]), 1.0) * np.arange(len(chain))
        px = np.maximum.accumulate(points[:, 0].astype(np.float64) - step) + step
        py = points[:, 1].astype(np.float64)
        expected = CubicHermiteSpline(px, py, np.gradient(py, px))(np.clip(x, px[0], px[-1]))
        assert np.abs(found - expected).max() < 1e-3 + 1e-6 * np.abs(expected).max()  # folded chains shoot far over
