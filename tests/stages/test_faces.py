"""Faces of a source: the constant box and the tracker see the same shots, one frame and a whole track the same face."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest

from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.models.face_detectors import DetectorSpec
from raydub.models.face_landmarks import LandmarksSpec
from raydub.stages import faces
from raydub.stages.faces import FaceFinder, FacePlan, WantedFace
from raydub.stages.track.choose import choose_one
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.decide import decide
from raydub.stages.track.see import see
from raydub.stages.types import Span
from tests.stages.track.test_track_decide import raw_of, three

FAST, SURE = range(12, 22), 41


class Restless:
    """60 frames of 320x180. From 12 to 21 every frame is another picture, as in fast motion; 41 is a bright one."""

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        for index in range(start, stop):
            shown = index if index in FAST else -1 if index < FAST.start else FAST[-1]
            rng = np.random.default_rng(shown + 1)
            grid = rng.random((18, 32)) * 0.3
            if index >= SURE:
                grid = np.random.default_rng(99).random((18, 32))
            luma = np.kron(grid * 255, np.ones((10, 10))).astype(np.uint8)
            grey = np.full((90, 160), 128, np.uint8)
            yield Frame(index, luma, grey, grey, Colour())

    def check(self) -> None:
        """Nothing can change."""


class Nobody:
    def find(self, frame: Frame, fine: bool) -> list[Any]:
        return []


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("span", [Span(0, 60), Span(10, 30), Span(15, 20), Span(28, 60)])
def test_a_constant_box_and_the_tracker_see_the_same_shots(span: Span, every: int) -> None:
    """One rule, for all spans: fast motion is one cut, where it begins, and not one for every frame."""
    wanted = (WantedFace(choice=FaceChoice()),)
    boxed = FaceFinder(FacePlan(wanted=wanted, track=None, box=(100, 40, 200, 140)))
    seen = boxed.see(cast(Any, Restless()), span, 60)
    config = TrackConfig(
        detector=DetectorSpec(name="hog"), landmarks=LandmarksSpec(name="dlib", sha256=""), every=every, carry=0
    )
    whole = Span(span.start - span.start % every, span.stop)
    tracked = [one for one in see(Restless(), cast(Any, Nobody()), config, whole, 60) if one.index >= span.start]
    expected = [index in (FAST.start, SURE) for index in range(*span)]
    assert seen.cut.tolist() == expected
    assert [one.cut for one in tracked] == expected


@pytest.mark.parametrize("span", [Span(0, 60), Span(FAST.start + 1, 58), Span(31, 33), Span(29, 31)])
def test_who_is_in_a_constant_box_is_asked_in_each_shot(span: Span, monkeypatch: pytest.MonkeyPatch) -> None:
    """And said alike from every span: it decides whose mouths may be shown."""
    monkeypatch.setattr(faces, "embedding", lambda frame, marks: np.full(128, frame.index + 1, np.float32))
    wanted = (WantedFace(choice=FaceChoice()),)
    plan = FacePlan(wanted=wanted, track=None, box=(100, 40, 200, 140), people=True)
    (track,) = FaceFinder(plan).see(cast(Any, Restless()), span, 60).tracks
    asked = sorted({0, 30, FAST.start, SURE})
    expected = [max(at for at in asked if at <= index) + 1 for index in range(*span)]
    assert track.identity[:, 0].tolist() == expected
    nobody = FaceFinder(plan.model_copy(update={"people": False}))
    assert not nobody.see(cast(Any, Restless()), span, 60).tracks[0].identity.any()


@pytest.mark.parametrize(
    "text", ["largest", "left", "right", "index:0", "index:1", "index:2", "index:3", "reference:x"]
)
def test_one_frame_alone_and_a_whole_track_choose_the_same_face(text: str) -> None:
    raw, one = raw_of([three(t) for t in range(50)], vectors=128), raw_of([three(0)], vectors=128)
    me, other = np.full(128, 0.08, np.float32), np.full(128, -0.08, np.float32)
    for track in (raw, one):
        for row in range(len(track.frame)):
            if track.frame[row] % 5 == 0:
                track.embedding[row] = me if track.slot[row] == 1 else other
    choice = FaceChoice.parse(text)
    row = choose_one(one, choice, me)
    (track,) = decide(raw, Span(20, 30), choice, references=[me])
    assert track.present.tolist() == [row is not None] * 10
    if row is not None:
        np.testing.assert_allclose(track.landmarks[0], one.landmarks[row], atol=1e-3)


def test_a_frame_without_the_person_or_without_faces_has_no_chosen_face() -> None:
    nobody, three_faces = raw_of([[]], vectors=128), raw_of([three(0)], vectors=128)
    me = np.full(128, 0.08, np.float32)
    assert choose_one(nobody, FaceChoice(), None) is None
    assert choose_one(three_faces, FaceChoice.parse("reference:x"), me) is None
    assert choose_one(three_faces, FaceChoice.parse("all"), None) == 1
