"""Deciding faces from raw tracks: windowed whatever the split, and the right face."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, UsageError
from raydub.stages.track import detect
from raydub.stages.track.cache import cut_out
from raydub.stages.track.chains import face_boxes, smoothed
from raydub.stages.track.config import FaceChoice
from raydub.stages.track.decide import HALO, HOLD, decide, halo
from raydub.stages.track.raw import RawTracks
from raydub.stages.types import FaceTrack, Span
from tests.examples import examples


def template() -> np.ndarray:
    """A plain frontal face of 68 points, about 100 pixels wide, around the origin."""
    jaw = [(50 * -np.cos(a), 10 + 60 * np.sin(a)) for a in np.linspace(0, np.pi, 17)]
    brows = [(x, -35.0) for x in (-40, -34, -28, -22, -15, 15, 22, 28, 34, 40)]
    nose = [(0.0, y) for y in (-20, -12, -4, 4)] + [(x, 12.0) for x in (-10, -5, 0, 5, 10)]
    eyes = [(c + 9 * np.cos(a), -20 + 4 * np.sin(a)) for c in (-22, 22) for a in np.linspace(np.pi, -np.pi, 7)[:6]]
    outer = [(20 * -np.cos(a), 35 - 8 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 13)[:12]]
    inner = [(14 * -np.cos(a), 35 - 3 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 9)[:8]]
    return np.array(jaw + brows + nose + eyes + outer + inner, np.float32)


FACE = template()


def face_at(x: float, y: float, scale: float = 1.0) -> np.ndarray:
    return (FACE * np.float32(scale) + np.array([x, y], np.float32)).astype(np.float32)


def raw_of(faces: list[list[tuple[np.ndarray, int]]], cuts: set[int] = frozenset(), vectors: int = 0) -> RawTracks:
    """Raw tracks from (landmarks, level) lists per frame."""
    rows = [(t, slot, *one) for t, frame in enumerate(faces) for slot, one in enumerate(frame)]
    count = len(rows)
    return RawTracks(
        span=Span(0, len(faces)),
        frame=np.array([row[0] for row in rows], np.int32),
        slot=np.array([row[1] for row in rows], np.int32),
        level=np.array([row[3] for row in rows], np.int8),
        score=np.ones(count, np.float32),
        box=np.zeros((count, 4), np.float32),
        landmarks=np.array([row[2] for row in rows], np.float32).reshape(count, 68, 2),
        embedding=np.zeros((count, vectors), np.float32),
        shot=np.zeros(len(faces), np.float32),
        cut=np.array([t in cuts for t in range(len(faces))], np.bool_),
    )


def level_at(t: int) -> int:
    return detect.SURE if t % 5 == 0 else detect.REFIT


@st.composite
def raw_tracks(draw: st.DrawFn) -> RawTracks:
    """Up to three faces with gaps, twitches and missing support, over shots."""
    n = draw(st.integers(60, 170))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cuts = {int(t) for t in rng.integers(1, n, size=draw(st.integers(0, 3)))}
    frames: list[list[tuple[np.ndarray, int]]] = [[] for _ in range(n)]
    for _ in range(draw(st.integers(0, 3))):
        x, y, scale = rng.uniform(100, 700), rng.uniform(100, 300), rng.uniform(0.6, 1.6)
        level = draw(st.sampled_from([detect.WEAK, detect.STRONG, detect.SURE]))
        first, last = sorted(rng.integers(0, n + 1, size=2).tolist())
        for t in range(first, last):
            x, y, scale = x + rng.normal(0, 2), y + rng.normal(0, 2), scale * np.exp(rng.normal(0, 0.01))
            if rng.random() < 0.9:
                frames[t].append(
                    (face_at(x, y, scale) + rng.normal(0, 1, (68, 2)).astype(np.float32), level if t % 5 == 0 else 0)
                )
    for frame in frames:
        frame.sort(key=lambda one: float(one[0][:, 0].mean()))
    return raw_of(frames, cuts)


def assert_same(a: FaceTrack, b: FaceTrack) -> None:
    for name in ("present", "box", "landmarks", "lips_open", "held"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def rows_of(track: FaceTrack, span: Span) -> FaceTrack:
    at = slice(span.start - track.span.start, span.stop - track.span.start)
    return FaceTrack(span, track.present[at], track.box[at], track.landmarks[at], track.lips_open[at], track.held[at])


@settings(max_examples=examples(50), deadline=None)
@given(
    raw=raw_tracks(),
    kind=st.sampled_from(["largest", "left", "right", "index:1", "all"]),
    no_face=st.sampled_from(["keep", "hold"]),
    data=st.data(),
)
def test_any_window_decides_like_the_whole(raw: RawTracks, kind: str, no_face: str, data: st.DataObject) -> None:
    n, choice = raw.span.stop, FaceChoice.parse(kind)
    whole = decide(raw, raw.span, choice, no_face=no_face)
    start = data.draw(st.integers(0, n - 1))
    span = Span(start, data.draw(st.integers(start + 1, n)))
    wide = Span(max(0, span.start - halo(no_face)), min(n, span.stop + halo(no_face)))
    part = decide(cut_out(raw, wide), span, choice, no_face=no_face)
    for k in range(max(len(part), len(whole))):
        if k < len(part) and k < len(whole):
            assert_same(part[k], rows_of(whole[k], span))
        else:
            rest = part[k] if k < len(part) else rows_of(whole[k], span)
            assert not rest.present.any()


def test_a_steady_face_is_present_everywhere_and_where_it_is() -> None:
    raw = raw_of([[(face_at(200, 150), level_at(t))] for t in range(40)])
    (track,) = decide(raw, Span(0, 40))
    assert track.present.all()
    assert not track.held.any()
    np.testing.assert_allclose(track.landmarks, np.broadcast_to(face_at(200, 150), (40, 68, 2)), atol=1e-3)
    np.testing.assert_allclose(track.box, np.broadcast_to(face_boxes(face_at(200, 150)[None]), (40, 4)), atol=1e-3)


def test_a_weak_detection_alone_is_no_face() -> None:
    raw = raw_of([[(face_at(200, 150), detect.WEAK if t % 5 == 0 else detect.REFIT)] for t in range(40)])
    assert not decide(raw, Span(0, 40))[0].present.any()


def test_a_weak_detection_keeps_a_clear_face_alive() -> None:
    levels = {0: detect.SURE, 5: detect.WEAK, 10: detect.WEAK}
    raw = raw_of([[(face_at(200, 150), levels.get(t, detect.REFIT))] for t in range(15)])
    assert decide(raw, Span(0, 15))[0].present[:11].all()


@pytest.mark.parametrize("gap", [1, 5])
def test_short_gaps_are_filled_inside_a_shot(gap: int) -> None:
    faces = [[(face_at(200 + t, 150), level_at(t))] for t in range(60)]
    for t in range(30, 30 + gap):
        faces[t] = []
    (track,) = decide(raw_of(faces), Span(0, 60))
    assert track.present.all()
    np.testing.assert_allclose(track.landmarks[32, :, 0].mean() - track.landmarks[28, :, 0].mean(), 4, atol=0.1)


def test_long_gaps_and_cuts_stay_faceless() -> None:
    faces = [[(face_at(200, 150), level_at(t))] for t in range(60)]
    for t in range(20, 28):
        faces[t] = []
    faces[40] = []
    (track,) = decide(raw_of(faces, cuts={40}), Span(0, 60))
    assert np.flatnonzero(~track.present).tolist() == [*range(20, 28), 40]


def test_hold_carries_the_last_box_to_its_limit_and_never_over_a_cut() -> None:
    faces = [[(face_at(200, 150), level_at(t))] for t in range(20)] + [[] for _ in range(60)]
    (track,) = decide(raw_of(faces), Span(0, 80), no_face="hold")
    assert track.present[: 20 + HOLD].all()
    assert not track.present[20 + HOLD :].any()
    assert track.held[20 : 20 + HOLD].all()
    assert not track.held[:20].any()
    np.testing.assert_array_equal(track.box[30], track.box[19])
    (track,) = decide(raw_of(faces, cuts={25}), Span(0, 80), no_face="hold")
    assert np.flatnonzero(track.present).tolist() == list(range(25))


def three(t: int) -> list[tuple[np.ndarray, int]]:
    return [
        (face_at(150, 150, 0.8), level_at(t)),
        (face_at(400, 150, 1.4), level_at(t)),
        (face_at(700, 150), level_at(t)),
    ]


@pytest.mark.parametrize(
    ("text", "x"), [("largest", 400), ("left", 150), ("right", 700), ("index:1", 400), ("index:2", 700)]
)
def test_choices(text: str, x: float) -> None:
    raw = raw_of([three(t) for t in range(50)])
    (track,) = decide(raw, Span(0, 50), FaceChoice.parse(text))
    assert track.present.all()
    middle = (track.box[:, 0] + track.box[:, 2]) / 2
    np.testing.assert_allclose(middle, x, atol=2)


def test_an_index_that_never_exists_is_faceless() -> None:
    raw = raw_of([three(t) for t in range(50)])
    assert not decide(raw, Span(0, 50), FaceChoice.parse("index:3"))[0].present.any()


def test_all_gives_one_track_per_face_from_the_left() -> None:
    raw = raw_of([three(t) for t in range(50)])
    tracks = decide(raw, Span(0, 50), FaceChoice.parse("all"))
    assert [round(float(track.box[25, [0, 2]].mean()) / 50) * 50 for track in tracks] == [150, 400, 700]
    empty = decide(raw_of([[] for _ in range(5)]), Span(0, 5), FaceChoice.parse("all"))
    assert len(empty) == 1
    assert not empty[0].present.any()


def test_the_choice_does_not_flicker_when_sizes_cross_for_a_moment() -> None:
    faces = []
    for t in range(80):
        left = 1.02 if t in range(38, 42) else 0.98
        faces.append([(face_at(150, 150, left), level_at(t)), (face_at(500, 150, 1.0), level_at(t))])
    (track,) = decide(raw_of(faces), Span(0, 80))
    assert (track.box[:, 0] > 300).all()


def test_a_chosen_face_that_is_missed_for_a_moment_is_not_replaced_by_another() -> None:
    faces = [three(t) for t in range(60)]
    for t in range(28, 36):
        faces[t] = [faces[t][0], faces[t][2]]
    (track,) = decide(raw_of(faces), Span(0, 60))
    assert np.flatnonzero(~track.present).tolist() == list(range(28, 36))


def test_reference_takes_the_person_and_nobody_else() -> None:
    raw = raw_of([three(t) for t in range(60)], vectors=128)
    me, other = np.full(128, 0.08, np.float32), np.full(128, -0.08, np.float32)
    for row in range(len(raw.frame)):
        if raw.frame[row] % 5 == 0:
            raw.embedding[row] = me if raw.slot[row] == 2 and raw.frame[row] < 30 else other
    (track,) = decide(raw, Span(0, 20), FaceChoice.parse("reference:x.png"), references=[me])
    assert track.present.all()
    assert (track.box[:, 0] > 600).all()
    (track,) = decide(raw, Span(50, 60), FaceChoice.parse("reference:x.png"), references=[me])
    assert not track.present.any()


def test_smoothing_keeps_steady_motion_and_most_of_a_lip_movement() -> None:
    frames = 60
    still = np.stack([face_at(100 + 3 * t, 150 + t) for t in range(frames)])
    np.testing.assert_allclose(smoothed(still), still, atol=1e-3)
    wave = np.sin(2 * np.pi * 5 * np.arange(frames) / 25).astype(np.float32)
    moving = still.copy()
    moving[:, 66, 1] += 5 * wave
    kept = np.abs(smoothed(moving)[5:-5, 66, 1] - still[5:-5, 66, 1]).max() / 5
    assert 0.75 < kept <= 1.0


def test_smoothing_reduces_jitter() -> None:
    rng = np.random.default_rng(0)
    noisy = np.stack([face_at(100, 150)] * 100) + rng.normal(0, 1, (100, 1, 2)).astype(np.float32)
    assert smoothed(noisy)[:, 30].std(axis=0).max() < 0.6 * noisy[:, 30].std(axis=0).min()


def test_track_rejects_a_span_that_raw_does_not_cover() -> None:
    with pytest.raises(ValueError, match="do not cover"):
        decide(raw_of([[] for _ in range(5)]), Span(0, 6))


@pytest.mark.parametrize("text", ["", "biggest", "index:", "index:-1", "index:x", "reference:", "left:1"])
def test_bad_choices_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        FaceChoice.parse(text)
    assert caught.value.code is Code.FIELD_VALUE


def test_halo_covers_every_window() -> None:
    assert halo() == HALO
    assert halo("hold") == HALO + HOLD
