"""The face mesh as landmarks: its crops, the 68 points, tilted faces, law 2; with a network that finds two coloured
eyes, and with the real one where the test media are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, DependencyError, UsageError
from raydub.media.frames import Frame, open_frames
from raydub.media.info import Colour
from raydub.media.probe import probe_video
from raydub.media.yuv import from_bgr, to_bgr
from raydub.models import face_landmarks
from raydub.models.face_detectors import DetectorSpec
from raydub.models.face_landmarks import MESH_FILE, MESH_SHA256, LandmarksSpec, resolve_landmarks
from raydub.stages.gate import gates
from raydub.stages.pose import NONE, drawable, yaw_of
from raydub.stages.track import landmarks as lm
from raydub.stages.track import mesh as fm
from raydub.stages.track.chains import eased
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.decide import HALO, decide
from raydub.stages.track.detect import SURE, Found, find_tilted
from raydub.stages.track.landmarker import MeshLandmarks
from raydub.stages.track.see import see
from raydub.stages.track.tracker import Tracker
from raydub.stages.types import Span
from tests.examples import examples

CONFIG = TrackConfig(detector=DetectorSpec(name="hog"), landmarks=LandmarksSpec(name="mesh", sha256=MESH_SHA256))
FACE = np.random.default_rng(3).uniform(-1.2, 1.2, (468, 3)).astype(np.float32)
"""A face with its eyes at (-1, 0) and (1, 0)."""
FACE[[33, 263]] = [[-1, 0, 0], [1, 0, 0]]


def turned(points: np.ndarray, angle: float, scale: float, centre: tuple[float, float]) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]]) * scale + np.array(centre)


class TwoEyes:
    """Stands in for the network: finds a red eye and a blue one, and sees a face only within 50 degrees of upright."""

    def run(self, bgr: np.ndarray) -> tuple[np.ndarray, float]:
        wide = bgr.astype(np.int32)
        spots = []
        for other, own in ((0, 2), (2, 0)):
            weight = np.clip(wide[:, :, own] - wide[:, :, other] - 60, 0, None).astype(np.float64)
            if weight.sum() < 200:
                return np.zeros((468, 3), np.float32), -8.0
            rows, columns = np.mgrid[0:192, 0:192] + 0.5
            spots.append((np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()).round(3))
        across = (spots[1] - spots[0]) / 2
        angle, scale = float(np.arctan2(across[1], across[0])), float(np.hypot(*across))
        flat = turned(FACE[:, :2].astype(np.float64), angle, scale, tuple((spots[0] + spots[1]) / 2))
        logit = 20.0 if abs(angle) < np.radians(50) and scale > 5 else -6.0
        return np.column_stack([flat, FACE[:, 2] * scale]).astype(np.float32), logit


@pytest.fixture
def two_eyes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fm, "network", lambda: TwoEyes())


def drawn(angle: float, centre: tuple[float, float], index: int = 0, size: tuple[int, int] = (320, 240)) -> Frame:
    """A frame with a face of 60 pixels between the eyes, turned clockwise by `angle` (radians)."""
    picture = np.full((size[1], size[0], 3), 90, np.uint8)
    for x, colour in ((-1.0, (0, 0, 255)), (1.0, (255, 0, 0))):
        at = turned(np.array([[x, 0.0]]), angle, 30.0, centre)[0]
        cv2.circle(picture, (round(float(at[0]) * 16), round(float(at[1]) * 16)), 8 * 16, colour, -1, cv2.LINE_AA, 4)
    return from_bgr(picture, Colour(), index)


@dataclass
class Rolling:
    """A source and a detector: a head that rolls from upright to lying; the detector sees it only near upright, in the
    frame that it is shown."""

    n: int

    def angle(self, index: int) -> float:
        return float(np.radians(90 * index / self.n))

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        for index in range(start, stop):
            yield drawn(self.angle(index), (150.0 + index * 0.4, 120.0), index)

    def check(self) -> None:
        """Nothing can change."""

    def find(self, frame: Frame, fine: bool) -> list[Found]:
        made = TwoEyes().run(cv2.resize(to_bgr(frame), (192, 192)))
        if made[1] < 0:
            return []
        scale = np.array([frame.y.shape[1] / 192, frame.y.shape[0] / 192])
        box = lm.square_of(fm.ibug(made[0] * np.array([*scale, 1], np.float32)))
        return [Found(box, 1.0, SURE)]


def test_a_rolling_head_is_followed_and_found_again_lying_down(two_eyes: None) -> None:
    scene = Rolling(60)
    seen = list(see(scene, scene, CONFIG, Span(0, 60), 60))
    assert [len(one.faces) for one in seen] == [1] * 60
    for one in seen:
        mesh = one.faces[0].mesh
        assert mesh is not None
        across = mesh[263, :2] - mesh[33, :2]
        assert np.arctan2(across[1], across[0]) == pytest.approx(scene.angle(one.index), abs=0.05)
        assert np.hypot(*across) == pytest.approx(60, rel=0.06)


@given(st.lists(st.integers(1, 59), min_size=1, max_size=3, unique=True))
@settings(max_examples=examples(3), deadline=None)
def test_law_2_any_cut_of_the_work_gives_the_same_bits(borders: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fm, "network", lambda: TwoEyes())
        scene = Rolling(60)
        whole = list(see(scene, scene, CONFIG, Span(0, 60), 60))
        edges = [0, *sorted({border // CONFIG.step * CONFIG.step for border in borders} - {0}), 60]
        parts = [
            one for start, stop in itertools.pairwise(edges) for one in see(scene, scene, CONFIG, Span(start, stop), 60)
        ]
    assert [one.index for one in parts] == [one.index for one in whole]
    for one, other in zip(parts, whole, strict=True):
        assert one.detected == other.detected
        for face, same in zip(one.faces, other.faces, strict=True):
            assert face.points.tobytes() == same.points.tobytes()
            assert face.level == same.level


@pytest.mark.parametrize("degrees", [0, 40, 90, 135, 180, -120])
@pytest.mark.parametrize("side", [300, 60])
def test_a_crop_is_upright_and_points_come_back_to_their_place(two_eyes: None, degrees: int, side: int) -> None:
    angle = float(np.radians(degrees))
    frame = drawn(angle, (160.0, 120.0), size=(320, 240))
    made = fm.fit(frame, fm.Square((161.0, 118.0), float(side * 2), angle))
    assert made is not None
    mesh, logit = made
    assert logit > fm.FACE
    eyes = turned(np.array([[-1.0, 0.0], [1.0, 0.0]]), angle, 30.0, (160.0, 120.0))
    assert mesh[[33, 263], :2] == pytest.approx(eyes, abs=1.5)


def test_a_face_partly_outside_the_frame_and_one_wholly_outside(two_eyes: None) -> None:
    frame = drawn(0.0, (20.0, 10.0))
    assert fm.crop(frame, fm.Square((0.0, 0.0), 200.0, 0.3)) is not None
    assert fm.fit(frame, fm.Square((-500.0, -500.0), 60.0, 0.0)) is None
    assert fm.fit(frame, fm.Square((100.0, float("nan")), 60.0, 0.0)) is None
    assert fm.fit(frame, fm.Square((100.0, 100.0), 0.0, 0.0)) is None
    assert fm.crop(frame, fm.Square((160.0, 120.0), 5000.0, 1.0)) is not None
    tiny = from_bgr(np.full((2, 2, 3), 7, np.uint8), Colour(), 0)
    assert fm.crop(tiny, fm.Square((1.0, 1.0), 900.0, 0.0)) is not None


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_frames_have_no_faces(two_eyes: None, level: int) -> None:
    flat = from_bgr(np.full((90, 160, 3), level, np.uint8), Colour(), 0)
    box = np.array([20, 20, 80, 80], np.float32)
    landmarker = MeshLandmarks()
    assert landmarker.fresh(flat, flat.y, Found(box, 1.0, SURE)) is None
    assert landmarker.inside(flat, flat.y, box).shape == (68, 2)


def test_tilted_detections_come_back_to_the_frame() -> None:
    frame = drawn(float(np.radians(90)), (200.0, 90.0))
    scene = Rolling(1)
    assert scene.find(frame, fine=True) == []
    (found,) = find_tilted(scene, frame)
    assert found.quarters == 1
    assert found.tilt == pytest.approx(np.pi / 2)
    assert abs(float(found.box[[0, 2]].mean()) - 200) < 25
    assert abs(float(found.box[[1, 3]].mean()) - 90) < 25
    (other,) = find_tilted(scene, drawn(float(np.radians(-90)), (60.0, 150.0)))
    assert other.quarters == -1
    assert abs(float(other.box[[0, 2]].mean()) - 60) < 25
    assert abs(float(other.box[[1, 3]].mean()) - 150) < 25


def test_every_point_of_the_layout_is_used_once_and_has_its_mirror() -> None:
    assert fm.IBUG.shape == (68, 2)
    assert len({tuple(sorted(pair)) for pair in fm.IBUG.tolist()}) == 68
    assert fm.IBUG.min() >= 0
    assert fm.IBUG.max() < 468


@given(st.integers(5, 40), st.integers(0, 30))
@settings(max_examples=examples(30), deadline=None)
def test_smoothing_reads_two_frames_to_each_side(n: int, at: int) -> None:
    points = np.random.default_rng(n).normal(size=(n, 68, 2)).astype(np.float32)
    whole = eased(points)
    part = eased(points[max(0, at - 2) :])
    start = at - max(0, at - 2)
    if at < n and at >= 2:
        assert part[start : start + 1].tobytes() == whole[at : at + 1].tobytes()
    assert whole.shape == points.shape
    still = np.repeat(points[:1], n, axis=0)
    assert eased(still) == pytest.approx(still, abs=1e-5)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path))
    return tmp_path


def test_auto_without_the_file_is_dlib_and_mesh_fails_with_the_command(folder: Path) -> None:
    assert resolve_landmarks("auto").name == "dlib"
    with pytest.raises(DependencyError) as caught:
        resolve_landmarks("mesh")
    assert caught.value.code is Code.WEIGHTS_MISSING
    assert caught.value.field == "landmarks"
    assert "raydub models pull mesh" in caught.value.hint
    with pytest.raises(UsageError):
        resolve_landmarks("eyes")


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x1c\x00\x00\x00TFL3" + b"\0" * 1000])
def test_another_file_is_refused_by_its_digest(folder: Path, content: bytes) -> None:
    (folder / MESH_FILE).write_bytes(content)
    for name in ("auto", "mesh"):
        with pytest.raises(DependencyError) as caught:
            resolve_landmarks(name)
        assert caught.value.code is Code.WEIGHTS_HASH
        assert MESH_FILE in caught.value.message


def test_without_openvino_auto_is_dlib_and_mesh_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, media_dir: Path
) -> None:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(media_dir / "weights"))
    monkeypatch.setattr(face_landmarks, "has_openvino", lambda: False)
    assert resolve_landmarks("auto").name == "dlib"
    with pytest.raises(DependencyError) as caught:
        resolve_landmarks("mesh")
    assert caught.value.code is Code.DEPENDENCY_MISSING
    assert caught.value.exit_code == 3
    assert "raydub[openvino]" in caught.value.hint


def test_the_two_kinds_of_landmarks_have_different_tracks(folder: Path) -> None:
    other = CONFIG.model_copy(update={"landmarks": LandmarksSpec(name="dlib", sha256="0" * 64)})
    assert CONFIG.key("film") != other.key("film")


class Still:
    """A source of given frames."""

    def __init__(self, frames: list[Frame]) -> None:
        self._frames = [replace(frame, index=index) for index, frame in enumerate(frames)]

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        yield from self._frames[start:stop]

    def check(self) -> None:
        """Nothing can change."""


def rolled(frame: Frame, degrees: float) -> tuple[Frame, np.ndarray]:
    """The frame turned clockwise, on a canvas that holds all of it, and the (2, 3) matrix back."""
    width, height = frame.size
    cos, sin = abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees)))
    size = int(width * cos + height * sin) // 2 * 2, int(width * sin + height * cos) // 2 * 2
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), -degrees, 1)
    matrix[:, 2] += [size[0] / 2 - width / 2, size[1] / 2 - height / 2]
    made = from_bgr(cv2.warpAffine(to_bgr(frame), matrix, size), frame.colour, frame.index)
    return made, cv2.invertAffineTransform(matrix)


@pytest.mark.media
@pytest.mark.slow
@pytest.mark.parametrize("degrees", [30, 45, 75, 90, -90, 180])
def test_real_heads_at_any_tilt_have_the_lips_of_the_upright_ones(
    degrees: int, media_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(media_dir / "weights"))
    pytest.importorskip("openvino")
    for clip in ("webcam_en_720p30.mp4", "grid_2.mpg"):
        with open_frames(probe_video(str(media_dir / "video" / clip))) as reader:
            frames = [replace(one, y=one.y.copy(), u=one.u.copy(), v=one.v.copy()) for one in reader.frames(0, 24)]
        tracker = Tracker(TrackConfig.plan(FaceChoice(), "yunet", landmarks="mesh"))
        (upright,) = decide(tracker.raw_tracks(Still(frames), None, Span(0, 24), 24), Span(0, 24))
        assert upright.present.all()
        turned_frames = [rolled(frame, degrees) for frame in frames]
        source = Still([frame for frame, _ in turned_frames])
        (track,) = decide(tracker.raw_tracks(source, None, Span(0, 24), 24), Span(0, 24))
        assert track.present.mean() > 0.6
        back = turned_frames[0][1]
        points = track.landmarks @ back[:, :2].T + back[:, 2]
        eyes = np.linalg.norm(upright.landmarks[:, 36] - upright.landmarks[:, 45], axis=1)
        away = np.linalg.norm(points - upright.landmarks, axis=2)[:, 48:].mean(axis=1) / eyes
        assert away[track.present].mean() < 0.02  # dlib: 0.09 at 30 degrees, nothing from 45 on


@pytest.mark.media
def test_odd_pictures_never_raise(media_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(media_dir / "weights"))
    pytest.importorskip("openvino")
    portrait = cv2.imread(str(media_dir / "image" / "portrait_720p.jpg"))[:720, :1280]
    drawing = np.full((360, 480, 3), 255, np.uint8)
    cv2.circle(drawing, (240, 180), 100, (0, 0, 0), 4)
    for x in (200, 280):
        cv2.circle(drawing, (x, 150), 12, (0, 0, 0), -1)
    cv2.ellipse(drawing, (240, 220), (50, 20), 0, 0, 180, (0, 0, 0), 4)
    small = cv2.resize(portrait, (40, 22), interpolation=cv2.INTER_AREA)  # a face of 12 pixels
    edge = portrait[:, 400:760]
    close = cv2.resize(portrait[150:600, 400:1200], (3840, 2160), interpolation=cv2.INTER_CUBIC)
    pictures = [np.zeros((90, 160, 3), np.uint8), drawing, small, edge, close, portrait]
    found = []
    for picture in pictures:
        even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
        tracker = Tracker(TrackConfig.plan(FaceChoice(), "yunet", landmarks="mesh"))
        frames = [from_bgr(np.ascontiguousarray(even), Colour(), 0)] * 2
        raw = tracker.raw_tracks(Still(frames), None, Span(0, 2), 2)
        assert np.isfinite(raw.landmarks).all()
        found.append(len(raw.frame))
    assert found[0] == 0
    assert found[2] == 0
    assert found[-1] > 0


@pytest.mark.media
@pytest.mark.slow
def test_law_2_on_a_talk_with_cuts_and_profiles(media_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decided faces are equal to the bit however the work is cut; where the speaker shows his profile, the gate is
    closed, slowly."""
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(media_dir / "weights"))
    pytest.importorskip("openvino")
    n, whole_span = 600, Span(420, 600)
    tracker = Tracker(TrackConfig.plan(FaceChoice(), "yunet", landmarks="mesh"))
    with open_frames(probe_video(str(media_dir / "video" / "stage_talk_cuts_480p30.mp4"))) as reader:
        whole = tracker.raw_tracks(reader, None, whole_span, n)
        inner = Span(whole_span.start + HALO, whole_span.stop)
        (track,) = decide(whole, inner)
        for start, stop in ((470, 520), (497, 581), (590, 600)):
            around = Span(max(0, start - HALO), min(n, stop + HALO))
            (part,) = decide(tracker.raw_tracks(reader, None, around, n), Span(start, stop))
            for name in ("present", "box", "landmarks", "lips_open"):
                assert (
                    getattr(part, name).tobytes()
                    == getattr(track, name)[start - inner.start : stop - inner.start].tobytes()
                )
    assert whole.cut.sum() == 2
    always = np.ones(len(inner), np.bool_)
    cut = whole.cut[inner.start - whole_span.start :]
    gate = gates(track.present, always, always, "always", cut, limit=drawable(track.landmarks))
    turned_away = track.present & (np.abs(yaw_of(track.landmarks)) > NONE)
    assert (gate[turned_away] == 0).all()
    assert gate.max() == 1
