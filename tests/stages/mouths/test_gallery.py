"""Galleries: what is kept, how much is read, and that it survives storing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.media.frames import Transform
from raydub.models.face_landmarks import LandmarksSpec
from raydub.models.mouth.spoken import SpokenMouth
from raydub.stages.faces import FacePlan, WantedFace
from raydub.stages.mouths import make
from raydub.stages.mouths.collect import BLOCKS, collect
from raydub.stages.mouths.covered import is_covered
from raydub.stages.mouths.direct import direct
from raydub.stages.mouths.gallery import MOST, Gallery, stored
from raydub.stages.mouths.library import PARTS, blocks_of_part, n_parts, part_of
from raydub.stages.mouths.shape import Pose, Shape, fit, reference_of
from raydub.stages.track.cache import blocks_of
from raydub.stages.track.config import FaceChoice
from raydub.stages.track.look import LOOK, Looks, look_of
from raydub.stages.types import Span
from tests.examples import examples
from tests.stages.fakes import DEMO, babble, make_plan, write_wav
from tests.stages.lipsync.test_warp import face, marks_of
from tests.stages.mouths.talker import Talker, marks_at


@pytest.fixture(scope="module")
def talker() -> Talker:
    return Talker(150)


@pytest.fixture(scope="module")
def gallery(talker: Talker) -> Gallery:
    return talker.gallery()


def test_mouths_are_of_runs_of_frames(gallery: Gallery) -> None:
    assert 80 < len(gallery) <= MOST
    assert len(gallery.people) == 1
    assert (gallery.followers(1) >= 0).mean() > 0.85
    assert gallery.people[0].range > 0.1
    assert len(gallery.pixels) < 3e6


def test_arrays_hold_all_of_it(gallery: Gallery) -> None:
    again = Gallery.of({name: values.copy() for name, values in gallery.arrays().items()})
    assert again.arrays().keys() == gallery.arrays().keys()
    for name, values in gallery.arrays().items():
        assert np.array_equal(again.arrays()[name], values), name
    nobody = Gallery.of(Gallery.empty().arrays())
    assert len(nobody) == 0
    assert (nobody.who(np.ones((3, 128), np.float32)) == -1).all()


def test_pictures_are_the_frames_own_pixels(talker: Talker, gallery: Gallery) -> None:
    for mouth in (0, len(gallery) - 1):
        picture, frame = gallery.picture(mouth), talker.frame(int(gallery.frame[mouth]))
        x, y = picture.corner
        h, w = picture.y.shape
        for plane, own, k in ((picture.y, frame.y, 1), (picture.u, frame.u, 2), (picture.v, frame.v, 2)):
            there = own[y // k : (y + h) // k, x // k : (x + w) // k].astype(np.float32)
            assert np.abs(plane - there).mean() < 2.5


def test_large_faces_are_stored_smaller() -> None:
    marks = marks_of((700, 700), 520.0, 0.1)
    data, corner, scale = stored(face((1400, 1400), marks), marks)
    assert max(scale) < 1
    assert min(corner) >= 0
    assert cv2.imdecode(data, cv2.IMREAD_GRAYSCALE).shape[1] == 448


def test_what_is_read_is_bounded() -> None:
    class Counting:
        def __init__(self) -> None:
            self.blocks: list[Span] = []

        def faces(self, block: Span) -> tuple[list[object], np.ndarray]:
            self.blocks.append(block)
            return [], np.zeros(len(block), np.bool_)

        def frames(self, start: int, stop: int) -> list[object]:
            raise AssertionError("no mouth is wanted")

    source = Counting()
    assert len(collect(source, blocks_of(Span(0, 180_000), 180_000), "dlib")) == 0  # type: ignore[arg-type]
    assert len(source.blocks) == BLOCKS


@settings(deadline=None, max_examples=examples(40))
@given(n=st.integers(1, 400_000))
def test_parts_cover_a_source_once(n: int) -> None:
    parts = n_parts(n)
    assert 1 <= parts <= PARTS
    blocks = [block for part in range(parts) for block in blocks_of_part(part, n)]
    assert blocks == blocks_of(Span(0, n), n)
    edges = [blocks_of_part(part, n) for part in range(parts)]
    assert all(edges)
    firsts = np.array([part[0].start for part in edges])
    lasts = np.array([part[-1].stop - 1 for part in edges])
    assert part_of(firsts, n).tolist() == part_of(lasts, n).tolist() == list(range(parts))


def test_bad_sightings_are_left_out(talker: Talker) -> None:
    spoiled = Talker(150)
    spoiled.looks = spoiled.looks.copy()
    for index in range(40, 70):  # something dark before the mouth
        frame = spoiled.frame(index)
        x, y = spoiled.marks[index, 48:60].mean(axis=0).astype(int).tolist()
        cv2.ellipse(frame.y, (x, y), (20, 16), 0, 0, 360, 45, -1)
        for plane in (frame.u, frame.v):
            cv2.ellipse(plane, (x // 2, y // 2), (10, 8), 0, 0, 360, 128, -1)
        spoiled.looks[index] = look_of(frame, spoiled.marks[index])
    for index in range(90, 100):  # motion
        frame = spoiled.frame(index)
        frame.y[:] = cv2.blur(frame.y, (25, 1))
        spoiled.looks[index] = look_of(frame, spoiled.marks[index])
    gallery = spoiled.gallery()
    assert len(gallery) > 50
    assert not np.isin(gallery.frame, [*range(40, 70), *range(90, 100)]).any()
    follows = np.concatenate(([False], np.ones(149, np.bool_)))
    pose = fit(spoiled.marks, gallery.people[0].reference).pose
    covered = is_covered(Looks.of(spoiled.looks), gallery, 0, pose, follows)
    assert covered[41:69].all()
    assert not covered[:39].any()
    assert not covered[100:].any()
    alone = Pose(*(values[45:65] for values in (pose.yaw, pose.pitch, pose.roll, pose.scale)))
    looks = Looks.of(spoiled.looks[45:65])
    assert not is_covered(looks, gallery, 0, alone, follows[:20]).any()  # nothing says that it is not the light


@pytest.mark.parametrize("cut", [True, False])
def test_two_people_in_one_place_are_not_one(cut: bool) -> None:
    """In the second shot another face is where the first was; or, without a cut, it takes its place in a dissolve."""
    two = Talker(150)
    two.cut = two.cut.copy()
    two.cut[80] = cut
    two.who = np.zeros((150, 128), np.float32)
    two.who[:80, 0] = 1.0
    two.who[80:, 0] = 0.45 if cut else 0.3  # their mean is near to both
    gallery = two.gallery()
    assert len(gallery.people) == 2
    whose = gallery.who(two.who)
    assert len(set(whose[:80].tolist())) == len(set(whose[80:].tolist())) == 1
    assert set(whose.tolist()) == {0, 1}
    assert (gallery.person == whose[gallery.frame]).all()


def test_a_mouth_that_is_covered_all_the_time_is_neither_shown_nor_drawn_on() -> None:
    hidden = Talker(80)
    hidden.looks = hidden.looks.copy()
    for index in range(80):
        frame = hidden.frame(index)
        x, y = hidden.marks[index, 48:60].mean(axis=0).astype(int).tolist()
        cv2.rectangle(frame.y, (x - 30, y - 18), (x + 30, y + 18), 130, -1)
        for plane in (frame.u, frame.v):
            cv2.rectangle(plane, (x // 2 - 15, y // 2 - 9), (x // 2 + 15, y // 2 + 9), 128, -1)
        hidden.looks[index] = look_of(frame, hidden.marks[index])
    gallery = hidden.gallery()
    assert len(gallery) == 0
    zeros = np.zeros(80, np.float32)
    said = SpokenMouth(zeros, zeros, zeros, zeros, zeros)
    items, part = hidden.items(), np.zeros(80, np.int32)
    assert not direct(items, part, {0: gallery}, said).bare.any()
    seen = Talker(80)
    assert (direct(seen.items(), part, {0: gallery}, said).bare == 1).all()


def test_a_still_mouth_has_nothing_to_offer() -> None:
    still = Talker(80)
    still.marks = np.repeat(marks_at(0)[None], 80, axis=0)
    still.looks = np.repeat(look_of(still.frame(0), still.marks[0])[None], 80, axis=0)
    assert len(still.gallery()) == 0


def test_shapes_do_not_see_where_the_head_is() -> None:
    plain, moved = marks_of((100, 100), 60.0, 0.12), marks_of((300, 210), 95.0, 0.12, turn=0.4)
    reference = reference_of(plain[None])
    both = fit(np.stack((plain, moved)), reference)
    assert np.allclose(both.points[0], both.points[1], atol=1e-4)
    shape = Shape.of(both.points)
    assert np.allclose(shape.opening, 0.12, atol=1e-3)
    assert np.allclose(shape.width, 0.6, atol=1e-3)
    assert np.allclose(both.to_frame(both.points), np.stack((plain, moved)), atol=1e-3)
    alone = fit(moved[None], reference)
    assert alone.points.tobytes() == both.points[1:].tobytes()


def test_looks_know_light_and_sharpness(talker: Talker) -> None:
    frame, marks = talker.frame(3), talker.marks[3]
    look = look_of(frame, marks)
    assert look.shape == (LOOK,)
    assert look.any()
    frame.y[:] = (frame.y * 0.5).astype(np.uint8)
    darker = Looks.of(np.stack((look, look_of(frame, marks))))
    assert np.allclose(darker.cells()[1], darker.cells()[0] * 0.5, atol=2)
    assert darker.sharpness[1] < darker.sharpness[0]
    assert not look_of(frame, np.zeros((68, 2), np.float32)).any()
    assert look_of(frame, marks + 5000).shape == (LOOK,)


@pytest.mark.slow
def test_a_second_language_makes_no_gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raydub.stages.lipsync.own import OwnEngine

    video = str(DEMO / "clip.mp4")
    one, other = (write_wav(tmp_path / f"{k}.wav", babble(1.0 + 0.5 * k)) for k in range(2))
    first = make_plan(tmp_path, OwnEngine(), video, one)

    def never(*_: object) -> Gallery:
        raise AssertionError("a gallery is made again")

    monkeypatch.setattr(make, "collect", never)
    second = make_plan(tmp_path, OwnEngine(), video, other)
    assert second.n_frames != first.n_frames
    galleries = [{k: v for k, v in plan.arrays.items() if k.startswith("mouths")} for plan in (first, second)]
    assert galleries[0] == galleries[1]
    assert len(galleries[0]) == 1


def test_a_gallery_is_named_by_the_landmarks_of_a_box() -> None:
    """Mouths that dlib's points chose are none for a commercial job, whose bill names the mesh."""
    wanted, box = (WantedFace(choice=FaceChoice()),), (0, 0, 100, 100)
    plans = [
        SimpleNamespace(
            faces=FacePlan(wanted=wanted, track=None, box=box, landmarks=LandmarksSpec(name=name, sha256=name)),
            transform=Transform(),
            video=SimpleNamespace(identity="video"),
        )
        for name in ("dlib", "mesh")
    ]
    dlib, mesh = (make._key(plan, 0) for plan in plans)  # type: ignore[arg-type]
    assert dlib != mesh
