"""Where the detector runs: on every step-th frame while all faces are steady, on every fifth one elsewhere; the same
whatever the blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.models.face_detectors import DetectorSpec
from raydub.models.face_landmarks import LandmarksSpec
from raydub.stages.track import landmarks as lm
from raydub.stages.track.config import TrackConfig
from raydub.stages.track.detect import STRONG, SURE, WEAK, Found
from raydub.stages.track.raw import SeenFrame
from raydub.stages.track.see import see
from raydub.stages.types import Span
from tests.examples import examples
from tests.stages.track.test_track_decide import face_at

CONFIG = TrackConfig(detector=DetectorSpec(name="hog"), landmarks=LandmarksSpec(name="dlib", sha256=""))
STEP = CONFIG.step


@dataclass(frozen=True)
class Actor:
    """A face: visible in `frames`, at (x + speed · frame, 150). The detector sees it with `levels`, frame by frame (0:
    not); in the frames `turned` its pixels look otherwise."""

    x: float
    frames: range
    speed: float = 0.0
    levels: Callable[[int], int] = lambda frame: SURE
    turned: range = range(0)

    def points(self, frame: int) -> np.ndarray:
        return face_at(self.x + self.speed * frame, 150)


@dataclass
class Scene:
    """Frames of 64x36 pixels whose lowest bits are their number, so that fits and patches know which one they see. A
    source, a detector and a stand-in for the landmarks at once."""

    n_frames: int
    actors: tuple[Actor, ...] = ()
    cuts: frozenset[int] = frozenset()
    restless: bool = False
    detections: list[int] = field(default_factory=list)

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        assert 0 <= start <= stop <= self.n_frames
        for index in range(start, stop):
            shot = sum(cut <= index for cut in self.cuts)
            luma = np.random.default_rng(shot).integers(20, 230, (36, 64)).astype(np.uint8) & 0xFE
            if self.restless:
                luma[20:24, 20:24] = 250 - 100 * (index % 2)
            luma[0, :12] |= np.array([index >> bit & 1 for bit in range(12)], np.uint8)
            grey = np.full((18, 32), 128, np.uint8)
            yield Frame(index, luma, grey, grey, Colour())

    def check(self) -> None:
        """Nothing can change."""

    def find(self, frame: Frame, fine: bool) -> list[Found]:
        self.detections.append(frame.index)
        return [
            Found(lm.square_of(actor.points(frame.index)), 1.0, actor.levels(frame.index))
            for actor in self.actors
            if frame.index in actor.frames and actor.levels(frame.index)
        ]

    def fit(self, luma: np.ndarray, box: np.ndarray) -> np.ndarray:
        index = number_of(luma)
        for actor in self.actors:
            points = actor.points(index)
            if index in actor.frames and lm.overlap(lm.square_of(points), box) > 0.3:
                return points
        return face_at(float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)

    def patch(self, luma: np.ndarray, points: np.ndarray) -> np.ndarray:
        index = number_of(luma)
        for row, actor in enumerate(self.actors):
            if index in actor.frames and np.abs(actor.points(index) - points).max() < 1:
                return np.eye(9, dtype=np.float32)[4 + row if index in actor.turned else row]
        return np.eye(9, dtype=np.float32)[8] * np.float32((index % 2) or -1)

    def see(self, span: Span, config: TrackConfig = CONFIG) -> list[SeenFrame]:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(lm, "fit", self.fit)
            patched.setattr(lm, "patch", self.patch)
            patched.setattr(lm, "unsettled", lambda *_: 0.0)
            patched.setattr(lm, "plausible", lambda *_: True)
            return list(see(self, self, config, span, self.n_frames))

    def detected(self) -> list[int]:
        """On which frames the detector ran, when the whole scene was seen at once."""
        return [one.index for one in self.see(Span(0, self.n_frames)) if one.detected]


def number_of(luma: np.ndarray) -> int:
    return sum(int(luma[0, bit] & 1) << bit for bit in range(12))


def numbers(seen: list[SeenFrame]) -> list[Any]:
    return [
        (one.index, one.shot, one.cut, one.detected, [(f.points.tobytes(), f.born, f.level) for f in one.faces])
        for one in seen
    ]


@st.composite
def scenes(draw: st.DrawFn, apart: int = 1) -> Scene:
    """Up to three faces that come, go, drift, turn and are missed now and then; cuts, on multiples of `apart`."""
    n = draw(st.integers(30, 150))
    actors = []
    for slot in range(draw(st.integers(0, 3))):
        first = draw(st.sampled_from([0, 0, *range(n)]))
        last = draw(st.sampled_from([n, n, *range(first, n)]))
        seed, miss = draw(st.integers(0, 99)), draw(st.sampled_from([0.0, 0.0, 0.2, 0.5]))
        usual = draw(st.sampled_from([SURE, SURE, STRONG, WEAK]))

        def levels(frame: int, seed: int = seed, miss: float = miss, usual: int = usual) -> int:
            return 0 if np.random.default_rng((seed, frame)).random() < miss else usual

        turn = draw(st.integers(0, n))
        turned = range(turn, turn + draw(st.sampled_from([0, 0, 1, 8])))
        actors.append(Actor(100 + 200 * slot, range(first, last), draw(st.sampled_from([0, 0, 1, 8])), levels, turned))
    cuts = frozenset(apart * at for at in draw(st.lists(st.integers(1, (n - 1) // apart), max_size=3)))
    return Scene(n, tuple(actors), cuts, draw(st.booleans()))


@settings(max_examples=examples(80), deadline=None)
@given(scene=scenes(), data=st.data())
def test_any_blocks_see_what_the_whole_sees(scene: Scene, data: st.DataObject) -> None:
    whole = numbers(scene.see(Span(0, scene.n_frames)))
    first = data.draw(st.integers(0, (scene.n_frames - 1) // STEP)) * STEP
    last = min(scene.n_frames, first + data.draw(st.integers(1, 4)) * STEP)
    assert numbers(scene.see(Span(first, last))) == whole[first:last]


@settings(max_examples=examples(80), deadline=None)
@given(scene=scenes(apart=3))  # of cuts in consecutive frames only the first is one (see Shots)
def test_no_face_is_older_than_its_shot_and_every_shot_begins_with_a_search(scene: Scene) -> None:
    for one in scene.see(Span(0, scene.n_frames)):
        assert one.cut == (one.index in scene.cuts)
        if one.cut:
            assert one.detected
            assert all(face.level > 0 for face in one.faces)


def test_a_steady_face_is_searched_on_every_step_th_frame_and_counts_as_seen_on_every_fifth() -> None:
    scene = Scene(4 * STEP + 1, (Actor(100, range(999), speed=1, levels=lambda frame: STRONG),))
    seen = scene.see(Span(0, scene.n_frames))
    assert [one.index for one in seen if one.detected] == [0, 15, 30, 45, 60]
    assert all(len(one.faces) == 1 for one in seen)
    assert [one.index for one in seen if one.faces[0].level == STRONG] == list(range(0, 61, 5))


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("appears", [16, 19, 21, 29])
def test_a_face_that_appears_between_anchors_is_found_within_five_frames(appears: int, alone: bool) -> None:
    """As where the detector runs on every fifth frame."""
    new = Actor(500, range(appears, 999))
    scene = Scene(60, (new,) if alone else (Actor(100, range(999)), new), restless=True)
    seen = scene.see(Span(0, 60))
    there = [one.index for one in seen if len(one.faces) == (1 if alone else 2)]
    assert there == list(range(-(-appears // 5) * 5, 60))


@pytest.mark.parametrize(
    "levels", [lambda frame: SURE if frame % 10 else WEAK, lambda frame: SURE if frame % 10 else 0]
)
def test_a_face_that_one_anchor_shows_badly_is_searched_on_every_fifth_frame(levels: Callable[[int], int]) -> None:
    scene = Scene(61, (Actor(100, range(999), levels=levels),), restless=True)
    assert scene.detected() == list(range(0, 61, 5))


def test_a_face_that_moves_far_between_anchors_is_searched_on_every_fifth_frame() -> None:
    assert Scene(31, (Actor(100, range(999), speed=5),)).detected() == list(range(0, 31, 5))


def test_where_a_steady_face_is_lost_it_is_searched_at_once() -> None:
    scene = Scene(46, (Actor(100, range(999), turned=range(18, 999)),))
    seen = scene.see(Span(0, 46))
    assert [one.index for one in seen if one.detected] == [0, 15, 18, 20, 25, 30, 45]
    assert all(len(one.faces) == 1 for one in seen)


def test_nobody_is_searched_on_every_fifth_frame_unless_the_picture_stands_still() -> None:
    assert Scene(31, restless=True).detected() == list(range(0, 31, 5))
    assert Scene(31).detected() == [0, 15, 30]
    assert Scene(31, cuts=frozenset({17})).detected() == [0, 15, 17, 20, 25, 30]


def test_the_last_frames_before_the_end_have_no_anchor_behind_them() -> None:
    assert Scene(29, (Actor(100, range(999)),)).detected() == [0, 15, 20, 25]
