"""Raw tracks from pixels: a real face (the public-domain portrait of the demo) on a made-up course."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raydub.errors import Code, DependencyError, InputError, StageError, UsageError
from raydub.media.frames import Frame, open_frames
from raydub.media.probe import probe_video
from raydub.models import face_detectors
from raydub.stages.track.cache import BLOCK, TrackCache, blocks_of, cut_out
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.decide import decide
from raydub.stages.track.embed import SAME_PERSON, embedding, reference_embedding
from raydub.stages.track.raw import CUT, RawTracks, shot_score, thumbnail
from raydub.stages.track.tracker import Tracker
from raydub.stages.types import Span
from raydub.store import Store
from tests.examples import slow
from tests.kept import blob_of, files_in

DEMO = Path(__file__).resolve().parents[3] / "examples" / "demo" / "clip.mp4"
FACELESS = range(33, 51)
MOVED = range(83, 100)


@pytest.fixture(scope="module")
def portrait() -> Frame:
    with open_frames(probe_video(str(DEMO))) as reader:
        return next(iter(reader.frames(0, 1))).copy()


def kept(folder: Path) -> TrackCache:
    return TrackCache(Store(folder), "key")


def block_path(folder: Path, number: int) -> Path:
    return blob_of(folder, f"tracks/key/{number:06d}")


def test_the_frontal_detector_s_file_is_dlib_s(portrait: Frame) -> None:
    import dlib

    library = dlib.get_frontal_face_detector()
    file = dlib.fhog_object_detector(str(face_detectors.HOG_FILE))
    assert file.num_detectors == library.num_detectors == 5
    turned = np.rot90(portrait.y)
    for luma in (portrait.y, portrait.y[::3, ::2], portrait.y[:, ::-1], turned):
        pixels = np.ascontiguousarray(luma)
        found = [[list(part) for part in detector.run(pixels, 0, -1.0)] for detector in (file, library)]
        assert found[0] == found[1]
    assert library.run(portrait.y, 0, 0.0)[0]


class Course:
    """130 frames: the portrait drifting; from 33 to 50 a grey ramp; from 83 to 99 mirrored (another shot)."""

    def __init__(self, portrait: Frame) -> None:
        self.portrait = portrait
        self.n_frames = 130
        self.read: list[int] = []

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        for index in range(start, stop):
            self.read.append(index)
            yield self.frame(index)

    def check(self) -> None:
        pass

    def frame(self, index: int) -> Frame:
        planes: list[np.ndarray] = [self.portrait.y, self.portrait.u, self.portrait.v]
        if index in FACELESS:
            ramp = np.linspace(30, 220, planes[0].shape[1]).astype(np.uint8)
            planes = [
                np.broadcast_to(ramp, planes[0].shape).copy(),
                np.full_like(planes[1], 128),
                np.full_like(planes[2], 128),
            ]
        elif index in MOVED:
            planes = [np.ascontiguousarray(plane[:, ::-1]) for plane in planes]
        else:
            planes = [np.roll(plane, (index % 8) * (2 if plane is self.portrait.y else 1), axis=1) for plane in planes]
        return replace(self.portrait, index=index, y=planes[0], u=planes[1], v=planes[2])


@pytest.fixture(scope="module")
def hog() -> TrackConfig:
    return TrackConfig.plan(FaceChoice(), "hog")


@pytest.fixture(scope="module")
def whole(portrait: Frame, hog: TrackConfig) -> RawTracks:
    course = Course(portrait)
    return Tracker(hog).raw_tracks(course, None, Span(0, 130), 130)


def assert_equal(a: RawTracks, b: RawTracks) -> None:
    assert a.span == b.span
    for name in ("frame", "slot", "level", "score", "box", "landmarks", "embedding", "shot", "cut"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_the_face_is_followed_and_ends_with_its_shot(whole: RawTracks) -> None:
    seen = np.bincount(whole.frame, minlength=130)
    assert (seen[[t for t in range(130) if t not in FACELESS]] >= 1).all()
    assert (seen[list(FACELESS)] == 0).all()
    assert np.flatnonzero(whole.cut).tolist() == [33, 51, 83, 100]
    assert whole.detected == 21  # anchors; every fifth frame of intervals with a cut, and the cuts; the last ones


def test_decided_faces_are_exactly_the_frames_with_a_face(whole: RawTracks) -> None:
    (track,) = decide(whole, Span(0, 130))
    assert np.flatnonzero(~track.present).tolist() == list(FACELESS)
    width = track.box[:, 2] - track.box[:, 0]
    assert width[track.present].std() / width[track.present].mean() < 0.05
    drift = track.landmarks[:8, 30, 0] - track.landmarks[0, 30, 0]
    np.testing.assert_allclose(drift[2:6], 2 * np.arange(2, 6), atol=2.0)


@pytest.mark.parametrize("span", [Span(60, 130), Span(61, 62), slow(Span(10, 70)), slow(Span(119, 130))])
def test_any_span_alone_equals_the_whole(span: Span, whole: RawTracks, portrait: Frame, hog: TrackConfig) -> None:
    part = Tracker(hog).raw_tracks(Course(portrait), None, span, 130)
    assert_equal(part, cut_out(whole, span))


def test_a_second_run_reads_the_cache_and_no_pixel(
    whole: RawTracks, portrait: Frame, hog: TrackConfig, tmp_path: Path
) -> None:
    first = Tracker(hog)
    assert_equal(first.raw_tracks(Course(portrait), kept(tmp_path), Span(0, 130), 130), whole)
    assert first.detected == 21
    course, second = Course(portrait), Tracker(hog)
    again = second.raw_tracks(course, kept(tmp_path), Span(0, 130), 130)
    assert_equal(again, whole)
    assert (second.detected, again.detected, course.read) == (0, 0, [])
    assert Store(tmp_path).names("tracks") == [f"tracks/key/00000{number}" for number in range(3)]


@pytest.mark.parametrize("damage", [slow("truncate"), "garbage", slow("other")])
def test_a_damaged_block_is_computed_again(
    damage: str, whole: RawTracks, portrait: Frame, hog: TrackConfig, tmp_path: Path
) -> None:
    for block in blocks_of(Span(0, 130), 130):
        kept(tmp_path).write(cut_out(whole, block))
    path = block_path(tmp_path, 1)
    content = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "garbage":
        path.write_bytes(b"nothing of the kind")
    else:
        path.write_bytes(block_path(tmp_path, 0).read_bytes())
    course = Course(portrait)
    assert_equal(Tracker(hog).raw_tracks(course, kept(tmp_path), Span(0, 130), 130), whole)
    assert (min(course.read), max(course.read)) == (43, 120)  # an interval and two frames before, one after
    assert path.read_bytes() == content


def test_blocks_cover_a_span_and_end_with_the_source() -> None:
    assert blocks_of(Span(59, 61), 1000) == [Span(0, 60), Span(60, 120)]
    assert blocks_of(Span(-5, 10), 40) == [Span(0, 40)]
    assert blocks_of(Span(125, 500), 130) == [Span(120, 130)]
    assert blocks_of(Span(5, 5), 130) == []
    assert BLOCK == 60


def test_an_empty_span_is_refused(portrait: Frame, hog: TrackConfig) -> None:
    with pytest.raises(ValueError, match="no frames"):
        Tracker(hog).raw_tracks(Course(portrait), None, Span(130, 140), 130)


def test_keys_tell_sources_and_settings_apart(hog: TrackConfig) -> None:
    assert hog.key("a") == hog.key("a") != hog.key("b")
    assert hog.key("a") != hog.model_copy(update={"every": 3}).key("a")
    with pytest.raises(ValueError, match="divide"):
        Tracker(hog.model_copy(update={"every": 7}))


def test_a_flash_is_no_cut_and_another_picture_is(portrait: Frame) -> None:
    dark = thumbnail(portrait.y)
    assert shot_score(dark, np.minimum(1, dark + 0.1).astype(np.float32)) < CUT
    assert shot_score(dark, dark) == 0
    assert shot_score(dark, np.ascontiguousarray(dark[:, ::-1])) > CUT


def test_one_frame_alone(portrait: Frame, hog: TrackConfig) -> None:
    raw = Tracker(hog).faces_of(replace(portrait, index=77))
    assert raw.span == Span(77, 78)
    assert raw.frame.tolist() == [77] * len(raw.frame)
    (track,) = decide(raw, raw.span)
    assert track.present.tolist() == [True]


def test_the_reference_person_is_recognised(portrait: Frame, tmp_path: Path, whole: RawTracks) -> None:
    cv2 = pytest.importorskip("cv2")
    from raydub.media.yuv import to_bgr

    path = tmp_path / "face.png"
    cv2.imwrite(str(path), to_bgr(portrait))
    reference = reference_embedding(str(path))
    assert reference.shape == (128,)
    assert np.linalg.norm(reference - embedding(portrait, whole.landmarks[0])) < SAME_PERSON
    config = TrackConfig.plan(FaceChoice.parse(f"reference:{path}"), "hog")
    assert config.embed
    raw = Tracker(config).raw_tracks(Course(portrait), kept(tmp_path), Span(0, 20), 20)
    choice = FaceChoice.parse(f"reference:{path}")
    assert decide(raw, Span(0, 20), choice, references=[reference])[0].present.all()
    assert not decide(raw, Span(0, 20), choice, references=[-reference])[0].present.any()


@pytest.mark.parametrize(
    ("make", "code"), [("missing", Code.INPUT_MISSING), ("text", Code.INPUT_UNREADABLE), ("grey", Code.REFERENCE_FACE)]
)
def test_reference_pictures_without_use(make: str, code: Code, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "reference.png"
    if make == "text":
        path.write_text("no picture")
    elif make == "grey":
        cv2.imwrite(str(path), np.full((200, 200, 3), 128, np.uint8))
    with pytest.raises(InputError) as caught:
        reference_embedding(str(path))
    assert caught.value.code is code


@pytest.fixture
def no_yunet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Path]:
    """A home without weights; calling it makes a weights folder that is used."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAYDUB_WEIGHTS", raising=False)

    def use() -> Path:
        monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path))
        return tmp_path / face_detectors.YUNET_FILE

    return use


def test_detectors_are_settled_once(no_yunet: Callable[[], Path]) -> None:
    hog = face_detectors.resolve_detector("auto")
    assert (hog.name, len(hog.sha256)) == ("hog", 64)
    assert len(face_detectors.resolve_detector("mmod").sha256) == 64
    with pytest.raises(DependencyError) as absent:
        face_detectors.resolve_detector("yunet")
    assert absent.value.code is Code.WEIGHTS_MISSING
    with pytest.raises(UsageError):
        face_detectors.resolve_detector("haar")
    no_yunet().write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(DependencyError) as wrong:
        face_detectors.resolve_detector("auto")
    assert wrong.value.code is Code.WEIGHTS_HASH


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_detectors.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DependencyError) as caught:
        face_detectors.dlib_file(face_detectors.PREDICTOR_FILE)
    assert caught.value.code is Code.DEPENDENCY_MISSING


@pytest.mark.media
def test_yunet_sees_what_hog_sees(
    media_dir: Path, portrait: Frame, whole: RawTracks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(media_dir / "weights"))
    spec = face_detectors.resolve_detector("auto")
    assert spec.name == "yunet"
    raw = Tracker(TrackConfig.plan(FaceChoice(), "auto")).raw_tracks(Course(portrait), None, Span(0, 60), 60)
    hog_track, yunet_track = (decide(one, Span(0, 60))[0] for one in (cut_out(whole, Span(0, 60)), raw))
    np.testing.assert_array_equal(hog_track.present, yunet_track.present)
    size = np.ptp(hog_track.landmarks[0, :, 0])
    assert np.abs(hog_track.landmarks - yunet_track.landmarks).mean() < 0.02 * size


@pytest.mark.media
@pytest.mark.parametrize(
    ("name", "first", "last", "faceless"),
    [
        ("cut_to_graphic_720p30.mov", 312, 360, range(318, 360)),
        slow("cut_to_graphic_720p30.mov", 420, 460, range(420, 438)),
        slow("grid_1.mpg", 0, 75, range(0)),
    ],
)
def test_real_clips_are_faceless_exactly_where_they_are(
    media_dir: Path, name: str, first: int, last: int, faceless: range, hog: TrackConfig
) -> None:
    info = probe_video(str(media_dir / "video" / name))
    with open_frames(info) as reader:
        raw = Tracker(hog).raw_tracks(reader, None, Span(first, last), info.n_frames)
    (track,) = decide(raw, raw.span)
    assert (np.flatnonzero(~track.present) + first).tolist() == list(faceless)


def test_writing_a_block_leaves_no_temporary_file_behind(
    whole: RawTracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(StageError) as caught:
        kept(tmp_path).write(cut_out(whole, Span(0, 60)))
    assert caught.value.code == Code.DISK_FULL
    assert files_in(tmp_path) == []
