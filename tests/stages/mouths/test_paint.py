"""Drawing with real mouths: the right pixels at the right place, and nowhere else; odd places do no harm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.arrays import F64
from raydub.media.yuv import to_bgr
from raydub.stages.engine import DrawItem
from raydub.stages.lipsync.own import OwnEngine
from raydub.stages.lipsync.warp_shape import openness_of
from raydub.stages.mouths.gallery import Gallery
from raydub.stages.mouths.library import Learnt, library_of
from raydub.stages.mouths.paint import Donor, paint
from raydub.stages.mouths.place import FREEDOM, moved, shapes
from raydub.stages.mouths.shape import Shape, fit
from raydub.stages.mouths.spline import Spline
from raydub.stages.mouths.wanted import Wanted
from tests.examples import examples
from tests.stages.lipsync.test_warp import face, marks_of
from tests.stages.mouths.talker import Talker


@pytest.fixture(scope="module")
def talker() -> Talker:
    return Talker(80)


@pytest.fixture(scope="module")
def gallery(talker: Talker) -> Gallery:
    return talker.gallery()


def donor(gallery: Gallery, mouth: int, share: float = 1.0) -> Donor:
    return Donor(gallery.picture(mouth), gallery.marks[mouth], share)


def test_a_mouth_in_its_own_place_changes_little(talker: Talker, gallery: Gallery) -> None:
    mouth = len(gallery) // 2
    before = talker.frame(int(gallery.frame[mouth]))
    after = before.copy()
    patch = paint(after, gallery.marks[mouth], gallery.marks[mouth], [donor(gallery, mouth)])
    assert patch is not None
    patch.blend(after)
    assert np.abs(after.y.astype(int) - before.y).mean() < 1.5
    inside = patch.alpha > 0
    assert (
        np.abs(patch.planes[0] - before.y[patch.box[1] : patch.box[3], patch.box[0] : patch.box[2]])[inside].mean() < 4
    )


def test_the_other_mouth_is_shown_and_nothing_above_the_nose(talker: Talker, gallery: Gallery) -> None:
    closed, opened = (int(at) for at in (gallery.shape.opening.argmin(), gallery.shape.opening.argmax()))
    for shown, under in ((opened, closed), (closed, opened)):
        before = talker.frame(int(gallery.frame[under]))
        marks, after = gallery.marks[under], before.copy()
        fitted = fit(marks[None], gallery.people[0].reference)
        goal = fitted.to_frame(gallery.fitted.points[shown][None])[0]
        goal = (marks + FREEDOM[:, None] * (goal - marks)).astype(np.float32)
        patch = paint(after, marks, goal, [donor(gallery, shown), donor(gallery, under, 0.2)])
        assert patch is not None
        patch.blend(after)
        nose = int(marks[31:36, 1].min())
        assert (after.y[:nose] == before.y[:nose]).all()
        x, y = (goal[62] + goal[66]).astype(int) // 2
        skin = to_bgr(before)[int(marks[8, 1]) - 12, x].astype(int)
        middle = to_bgr(after)[y - 1 : y + 2, x - 3 : x + 4].reshape(-1, 3).astype(int)
        dark_or_tooth = np.abs(middle - skin).sum(axis=1).max() > 150
        assert dark_or_tooth or shown == closed
        assert openness_of(goal) == pytest.approx(float(gallery.shape.opening[shown]), abs=0.02)


@settings(deadline=None, max_examples=examples(25))
@given(
    x=st.floats(-80, 280),
    y=st.floats(-80, 280),
    u=st.floats(5, 200),
    turn=st.floats(-1.5, 1.5),
    opening=st.floats(0, 0.3),
    mouth=st.integers(0, 39),
)
def test_odd_places(
    talker: Talker, gallery: Gallery, x: float, y: float, u: float, turn: float, opening: float, mouth: int
) -> None:
    frame = face((192, 192), marks_of((96, 96), 50.0, 0.1))
    marks = marks_of((x, y), u, 0.1, turn)
    patch = paint(frame, marks, marks_of((x, y), u, opening, turn), [donor(gallery, mouth), donor(gallery, 3, 0.3)])
    if patch is not None:
        x0, y0, x1, y1 = patch.box
        assert 0 <= x0 < x1 <= 192
        assert 0 <= y0 < y1 <= 192
        assert all(np.isfinite(plane).all() for plane in (*patch.planes, patch.alpha))
        assert patch.alpha.min() >= 0
        assert patch.alpha.max() <= 1
        patch.blend(frame)


def test_the_engine_goes_over_to_the_warp(talker: Talker, gallery: Gallery) -> None:
    engine, source = OwnEngine(), Learnt({}, library_of([gallery], talker.n))
    marks = talker.marks[5]
    item = DrawItem(5, 5, 0, np.zeros(4, np.float32), marks)
    mouth = {
        "shapes": np.array((0.1, 1.0), np.float32),
        "part": np.int32(0),
        "donors": np.array((4, 9), np.int32),
        "shares": np.array((0.6, 0.4), np.float32),
        "goal": marks,
    }
    seen = {}
    for own, bare in ((1.0, 1.0), (0.75, 1.0), (0.25, 1.0), (0.0, 1.0), (1.0, 0.5), (1.0, 0.0)):
        frame = talker.frame(5)
        patch = engine.draw(frame, item, mouth | {"own": np.float32(own), "bare": np.float32(bare)}, source)
        if patch is None:
            assert bare == 0
            continue
        assert patch.by == ("own" if own > 0.5 else "warp")
        patch.blend(frame)
        seen[own, bare] = frame.y.astype(int)
    between = np.abs(seen[0.75, 1.0] - (0.75 * seen[1.0, 1.0] + 0.25 * seen[0.0, 1.0]))
    assert between.mean() < 1.0
    assert np.abs(seen[1.0, 0.5] - (seen[1.0, 1.0] + talker.frame(5).y) / 2).max() <= 1.0


def test_splines_go_through_their_knots() -> None:
    rng = np.random.default_rng(1)
    knots = rng.uniform(10, 90, (12, 2))
    spline = Spline(knots, (0, 0, 100, 100), 4, np.zeros(12))

    def at(values: F64) -> F64:
        made = spline.fine(spline.coarse(values)).astype(np.float64)
        x, y = (knots + 0.5).astype(int).T
        return made[y, x]

    plane = knots @ np.array(((0.2, -0.1), (0.05, 0.3))) + 3
    assert np.abs(at(plane) - plane).max() < 0.3
    bent = plane + rng.normal(0, 2, plane.shape)
    assert np.abs(at(bent) - bent).max() < 1.5
    part = spline.fine(spline.coarse(bent), (20, 30, 60, 70))
    assert (part == spline.fine(spline.coarse(bent))[30:70, 20:60]).all()


def test_runs_join_without_a_step(gallery: Gallery) -> None:
    """Shapes pass from one run to another over some frames; the wanted opening is reached as far as it may be."""
    n = len(gallery)
    path = np.concatenate((np.arange(5, 15), np.arange(n - 15, n - 5)))
    joined = np.array([False] + [True] * 19)
    own = gallery.shape.opening[path]
    wide, no = gallery.shape.width[path], np.zeros(20)
    free = shapes(gallery, path, joined, Wanted(own, wide, no))
    apart, made = Shape.of(gallery.fitted.points[path]).opening, Shape.of(free).opening
    assert np.abs(np.diff(free[:, 57, 1])).max() <= np.abs(np.diff(gallery.fitted.points[path][:, 57, 1])).max() + 1e-9
    assert np.abs(made - apart)[[0, 1, 2, -3, -2, -1]].max() < 0.01
    more = Shape.of(shapes(gallery, path, joined, Wanted(own + 0.03, wide, no))).opening
    assert (more > made + 0.005).mean() > 0.8
    assert np.allclose(Shape.of(moved(free, no, no)).opening, made)
    wider = Shape.of(moved(free, no, no + 0.02)).width
    assert np.allclose(wider, Shape.of(free).width + 0.02, atol=2e-3)
