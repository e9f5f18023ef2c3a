"""The restorer as a post-processor: what it changes, what it leaves, and in which order frames come."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.arrays import U8
from raydub.errors import Code, StageError, UsageError
from raydub.stages.post_processor import Shown, ShownFace
from raydub.stages.restore.align import TEMPLATE
from raydub.stages.restore.options import RestoreOptions
from raydub.stages.restore.restorer import Restorer
from tests.examples import examples
from tests.stages.restore_fakes import brighter, clip, face_at, identity, picture, planes, points_of, restorer, same

SIZE = (320, 240)
POSES = [
    ((160, 120), 150, 0.0),
    ((150, 130), 180, 0.6),
    ((30, 60), 160, -0.4),
    ((290, 160), 240, 0.2),
    ((90, 90), 40, 3.0),
]


@pytest.mark.parametrize("area", ["mouth", "face"])
@pytest.mark.parametrize(("centre", "side", "tilt"), POSES)
def test_a_network_that_changes_nothing_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, area: str, centre: tuple[float, float], side: float, tilt: float
) -> None:
    before = picture(SIZE, blur=0.8)
    (after,) = restorer(monkeypatch, identity, area=area).map([Shown(before.copy(), (face_at(centre, side, tilt),))])
    assert same(after.frame, before)


@pytest.mark.parametrize("area", ["mouth", "face"])
@pytest.mark.parametrize(("centre", "side", "tilt"), POSES)
def test_outside_the_mask_frames_stay_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch, area: str, centre: tuple[float, float], side: float, tilt: float
) -> None:
    from raydub.stages.restore.area import area_alpha

    before, face = picture(SIZE, blur=0.8), face_at(centre, side, tilt)
    (after,) = restorer(monkeypatch, brighter, area=area).map([Shown(before.copy(), (face,))])
    assert after.changed
    alpha = area_alpha(face.landmarks, area, (0, 0, *SIZE))  # type: ignore[arg-type]
    assert np.array_equal(after.frame.y[alpha == 0], before.y[alpha == 0])
    chroma = alpha.reshape(120, 2, 160, 2).max(axis=(1, 3)) == 0
    for new, old in ((after.frame.u, before.u), (after.frame.v, before.v)):
        assert np.array_equal(new[chroma], old[chroma])
    full = (alpha == 1) & (before.y < 180)
    gain = after.frame.y.astype(int) - before.y
    assert (gain[full] > 30).mean() > 0.8, "40 of 255 in narrow range are 34"


@pytest.mark.parametrize(
    ("centre", "side", "tilt"), [POSES[0], POSES[1], ((160, 120), 110, -1.2), ((150, 130), 330, 0.3)]
)
def test_what_the_network_paints_lands_on_the_landmarks(
    monkeypatch: pytest.MonkeyPatch, centre: tuple[float, float], side: float, tilt: float
) -> None:
    grid = np.stack(np.meshgrid(np.arange(128), np.arange(128)), axis=-1).astype(float)
    dots = sum(np.exp(-np.square(grid - point / 4).sum(axis=2) / 18) for point in TEMPLATE)

    def paint(squares: U8) -> U8:
        return np.asarray(np.clip(squares + 90 * dots[None, :, :, None], 0, 255), np.uint8)

    face = face_at(centre, side, tilt)
    before = picture(SIZE, blur=8)
    before.y[:] = np.clip(before.y, 90, 140)
    (after,) = restorer(monkeypatch, paint, side=128, area="face").map([Shown(before.copy(), (face,))])
    gain = (after.frame.y.astype(float) - before.y).clip(0)
    rows, columns = np.indices(gain.shape)
    for x, y in points_of(face):
        near = gain * (np.hypot(columns - x, rows - y) < side / 12)
        found = (near * columns).sum() / near.sum(), (near * rows).sum() / near.sum()
        assert np.hypot(found[0] - x, found[1] - y) < 0.5


def test_strength_and_gate_are_shares_of_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    before = picture(SIZE, blur=8)
    gains = {}
    for strength, gate in ((1.0, 1.0), (0.5, 1.0), (1.0, 0.5), (0.25, 1.0), (0.5, 0.5)):
        face = face_at((160, 120), 150, gate=gate)
        (after,) = restorer(monkeypatch, brighter, strength=strength).map([Shown(before.copy(), (face,))])
        gains[strength, gate] = after.frame.y.astype(int) - before.y
    for (strength, gate), gain in gains.items():
        assert np.abs(gain - strength * gate * gains[1.0, 1.0]).max() <= 1
    assert np.array_equal(gains[0.25, 1.0], gains[0.5, 0.5])


def test_strength_0_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(squares: U8) -> U8:
        raise AssertionError("no face is wanted")

    before = picture(SIZE)
    shown = Shown(before.copy(), (face_at((160, 120), 150),))
    assert next(restorer(monkeypatch, never, strength=0.0).map([shown])) is shown
    assert same(shown.frame, before)


def test_only_synthesised_faces_unless_all(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = face_at((80, 120), 100, number=0, gate=0.0), face_at((230, 120), 100, number=1, gate=1.0)
    before = picture(SIZE)
    one = restorer(monkeypatch, brighter)
    assert not one.every_face
    (after,) = one.map([Shown(before.copy(), faces)])
    changed = after.frame.y != before.y
    assert not changed[:, :150].any()
    assert changed[:, 150:].any()
    every = restorer(monkeypatch, brighter, frames="all")
    assert every.every_face
    (after,) = every.map([Shown(before.copy(), faces)])
    gain = after.frame.y.astype(int) - before.y
    assert gain[:, :150].max() == gain[:, 150:].max() > 30
    shown = Shown(before.copy(), faces[:1])
    assert next(one.map([shown])) is shown


def test_two_faces_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = face_at((80, 120), 130, number=0), face_at((230, 120), 130, number=1, tilt=0.3)
    before = picture(SIZE)
    alone = [next(restorer(monkeypatch, brighter).map([Shown(before.copy(), (face,))])).frame for face in faces]
    (both,) = restorer(monkeypatch, brighter, batch_size=2).map([Shown(before.copy(), faces)])
    assert np.array_equal(both.frame.y[:, :155], alone[0].y[:, :155])
    assert np.array_equal(both.frame.y[:, 155:], alone[1].y[:, 155:])


def test_super_whites_and_fine_detail_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the difference is pasted: what the square's coarse grid or 8-bit BGR cannot hold stays under it."""
    before = picture(SIZE, blur=8)
    before.y[::2] = 245
    (after,) = restorer(monkeypatch, lambda s: s - np.minimum(s, 20), side=32).map(
        [Shown(before.copy(), (face_at((160, 120), 150),))]
    )
    assert (after.frame.y != before.y).sum() > 1000
    fine = [frame.y.astype(int)[120:180:2] - frame.y[121:181:2] for frame in (after.frame, before)]
    assert np.abs(fine[0] - fine[1]).max() <= 8, "the mask's own slope from row to row"


def mixed(i: int) -> tuple[ShownFace, ...]:
    """No face, one, two, one without a new mouth, one outside the frame."""
    one = face_at((60 + i % 3, 60), 70, number=0, gate=1.0)
    two = face_at((120, 60), 60, number=1, gate=0.5)
    return ((), (one,), (one, two), (replace(one, gate=0.0),), (face_at((-900, 60), 60),))[i * 7 % 5]


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 18), st.integers(1, 5), st.sampled_from([0.0, 0.7]))
def test_order_count_and_memory(count: int, batch: int, steady: float) -> None:
    sizes: list[int] = []

    def network(squares: U8) -> U8:
        sizes.append(len(squares))
        return brighter(squares)

    with pytest.MonkeyPatch.context() as patch:
        one = restorer(patch, network, batch_size=batch, steady=steady)
    shown, held, most = clip(count, mixed), 0, 0

    def counted() -> Iterator[Shown]:
        nonlocal held, most
        for frame in shown:
            held += 1
            most = max(most, held)
            yield frame

    done = []
    for after in one.map(counted()):
        held -= 1
        done.append(after)
    assert [after.frame.index for after in done] == list(range(count))
    assert most <= batch + 2 * one.halo
    assert set(sizes) <= {batch}
    before = clip(count, mixed)
    for i, after in enumerate(done):
        touched = any(face.gate > 0 and face.landmarks[0, 0] > 0 for face in before[i].faces)
        assert after.changed == touched
        assert after.frame is shown[i].frame
        assert same(after.frame, before[i].frame) == (not touched)
        assert after.faces is shown[i].faces


@pytest.mark.parametrize("steady", [0.0, 1.0])
def test_faceless_frames_are_not_held_back(monkeypatch: pytest.MonkeyPatch, steady: float) -> None:
    one = restorer(monkeypatch, brighter, batch_size=4, steady=steady)
    taken = []

    def source() -> Iterator[Shown]:
        for shown in clip(6, lambda i: ()):
            taken.append(shown.frame.index)
            yield shown

    for after in one.map(source()):
        assert taken[-1] == after.frame.index


@pytest.mark.parametrize("batch", [2, 5])
def test_the_batch_does_not_show(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    plain = planes(restorer(monkeypatch, brighter, batch_size=1, steady=0.5).map(clip(9, mixed)))
    assert planes(restorer(monkeypatch, brighter, batch_size=batch, steady=0.5).map(clip(9, mixed))) == plain


def test_out_of_memory_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def network(squares: U8) -> U8:
        sizes.append(len(squares))
        if len(squares) > room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return brighter(squares)

    room = 2
    plain = planes(restorer(monkeypatch, brighter).map(clip(9, mixed)))
    assert planes(restorer(monkeypatch, network, batch_size=8).map(clip(9, mixed))) == plain
    assert sizes[:3] == [8, 4, 2]
    assert set(sizes[3:]) == {2}
    room = 0
    with pytest.raises(StageError) as error:
        list(restorer(monkeypatch, network, batch_size=2).map(clip(9, mixed)))
    assert error.value.code == Code.OUT_OF_MEMORY
    assert "restoration" in str(error.value)


def test_pickles_without_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    one = restorer(monkeypatch, brighter, steady=0.5, frames="all", area="face")
    copy = pickle.loads(pickle.dumps(one))
    assert len(pickle.dumps(one)) < 1500
    assert (copy.options, copy.halo, copy.every_face, copy.name) == (one.options, 2, True, "restore")
    with pytest.raises(RuntimeError, match="load"):
        list(copy.map([]))


def test_loading_again_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def load(options: RestoreOptions, device: str) -> tuple[object, int]:
        calls.append(device)
        return brighter, 64

    monkeypatch.setattr("raydub.stages.restore.restorer.load_network", load)
    one = Restorer(RestoreOptions("fake"))
    one.load("cpu")
    one.load("cpu")
    assert calls == ["cpu"]
    assert one.halo == 0
    assert one.out_size((320, 240)) == (320, 240)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"strength": 1.1}, "restore_strength"),
        ({"strength": float("nan")}, "restore_strength"),
        ({"steady": -0.1}, "restore_steady"),
        ({"fidelity": 2}, "restore_fidelity"),
        ({"area": "nose"}, "restore_area"),
        ({"frames": "some"}, "restore_frames"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_options_out_of_range(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(UsageError) as error:
        RestoreOptions("fake", **wrong)  # type: ignore[arg-type]
    assert (error.value.code, error.value.field) == (Code.FIELD_VALUE, field)


def test_pasting_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the network, for a face of 300 pixels in 720p, in CPU time: far below the network."""
    import time

    cv2.setNumThreads(1)
    try:
        one = restorer(monkeypatch, identity, side=512, area="face")
        shown = Shown(picture((1280, 720)), (face_at((640, 360), 400, 0.1),))
        best = 9.0
        for _ in range(5):
            start = time.process_time()
            list(one.map([shown]))
            best = min(best, time.process_time() - start)
    finally:
        cv2.setNumThreads(-1)
    assert best < 0.15


@pytest.mark.media
@pytest.mark.parametrize("area", ["mouth", "face"])
def test_a_real_face(monkeypatch: pytest.MonkeyPatch, media_dir: Path, area: str) -> None:
    """Aligned on the track's own landmarks at full size: nothing changed leaves every sample; a change stays inside the
    mask, where it moves the face's mean and not its place."""
    from raydub.media.frames import open_frames
    from raydub.media.probe import probe_video
    from raydub.stages.restore.area import area_alpha
    from raydub.stages.track.config import FaceChoice, TrackConfig
    from raydub.stages.track.tracker import Tracker

    with open_frames(probe_video(str(media_dir / "video" / "webcam_en_720p30.mp4"))) as reader:
        (before,) = reader.frames(60, 61)
    seen = Tracker(TrackConfig.plan(FaceChoice(), "hog")).faces_of(before)
    assert len(seen.landmarks) == 1
    face = ShownFace(0, seen.landmarks[0], 1.0)
    (after,) = restorer(monkeypatch, identity, side=512, area=area).map([Shown(before.copy(), (face,))])
    assert same(after.frame, before)
    (after,) = restorer(monkeypatch, brighter, side=512, area=area).map([Shown(before.copy(), (face,))])
    alpha = area_alpha(face.landmarks, area, (0, 0, *before.size))  # type: ignore[arg-type]
    gain = after.frame.y.astype(int) - before.y
    assert not gain[alpha == 0].any()
    inside = (alpha == 1) & (before.y < 180)
    assert 32 < gain[inside].mean() < 36, "40 of 255 in narrow range are 34"
    assert gain[inside].std() < 3
