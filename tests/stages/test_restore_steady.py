"""Temporal steadiness: less flicker, nothing smeared, nothing across a cut, the same wherever chunks end."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.arrays import F32, U8
from raydub.stages.post_processor import Shown
from raydub.stages.restore.area import area_alpha
from raydub.stages.restore.restorer import Restorer
from raydub.stages.restore.steady import Look, linked, steadied
from raydub.stages.restore.steady_torch import steadied_on
from tests.examples import examples
from tests.stages.restore_fakes import brighter, clip, face_at, picture, planes, restorer

FACE = face_at((80, 60), 100)


def shimmering(squares: U8) -> U8:
    """Blobs of made-up detail, others for every square, the same whenever it sees the same square."""
    made = []
    for square in squares:
        seed = int.from_bytes(hashlib.sha256(square.tobytes()).digest()[:4], "little")
        noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, square.shape), (0, 0), 2)
        made.append(np.clip(square + noise / noise.std() * 10, 0, 255))
    return np.asarray(made, np.uint8)


def smoothing(squares: U8) -> U8:
    """Takes the grain out, as restorers do."""
    return np.stack([cv2.GaussianBlur(square, (0, 0), 2.5) for square in squares])


def flicker(shown: list[Shown], mask: F32) -> float:
    """Mean absolute difference of the luma from frame to frame inside the mask."""
    luma = np.stack([one.frame.y for one in shown]).astype(float)
    return float(np.abs(np.diff(luma, axis=0))[:, mask > 0.9].mean())


def test_still_skin_flickers_less(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = area_alpha(FACE.landmarks, "face", (0, 0, 160, 120))
    values = {}
    for steady in (0.0, 0.5, 1.0):
        one = restorer(monkeypatch, shimmering, steady=steady, area="face")
        values[steady] = flicker(list(one.map(clip(12, lambda i: (FACE,)))), mask)
    assert values[0.5] < 0.75 * values[0.0]
    assert values[1.0] < 0.5 * values[0.0]


def test_grain_that_the_network_took_out_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = area_alpha(FACE.landmarks, "face", (0, 0, 160, 120))

    def grainy() -> list[Shown]:
        shown = clip(12, lambda i: (FACE,))
        for i, one in enumerate(shown):
            noise = np.random.default_rng(i).normal(0, 3, one.frame.y.shape)
            one.frame.y[:] = np.clip(one.frame.y + np.rint(noise), 0, 255).astype(np.uint8)
        return shown

    values = [
        flicker(list(restorer(monkeypatch, smoothing, 128, steady=s, area="face").map(grainy())), mask)
        for s in (0.0, 1.0)
    ]
    assert values[1] < values[0] < 0.7 * flicker(grainy(), mask)


def test_a_moving_mouth_is_not_smeared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mouth that opens and closes from one frame to the next looks as without steadiness; the rest is steadied."""

    def speaking() -> list[Shown]:
        shown = clip(12, lambda i: (FACE,))
        for i, one in enumerate(shown):
            one.frame.y[:] = 120
            if i % 2:
                cv2.ellipse(one.frame.y, (80, 82), (10, 5), 0, 0, 360, 30, -1)
        return shown

    def lips(squares: U8) -> U8:
        """Deepens what is dark."""
        return np.asarray(np.where(squares < 60, squares // 2, squares + 10), np.uint8)

    plain, steady = (list(restorer(monkeypatch, lips, 128, steady=s, area="face").map(speaking())) for s in (0.0, 1.0))
    inside = np.zeros((120, 160), np.uint8)
    cv2.ellipse(inside, (80, 82), (12, 7), 0, 0, 360, 1, -1)
    for a, b in zip(plain, steady, strict=True):
        assert np.abs(a.frame.y.astype(int) - b.frame.y)[inside == 1].max() <= 1


def test_neighbours_that_show_something_else_do_not_count() -> None:
    random = np.random.default_rng(0)
    squares = [random.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    looks = [Look(FACE.landmarks, square, brighter(square[None])[0]) for square in squares]
    assert np.array_equal(steadied(looks[0], [(1, looks[1])], 1.0), steadied(looks[0], [], 1.0))


def test_torch_mixes_as_opencv_does() -> None:
    random = np.random.default_rng(0)
    looks = []
    for i in range(5):
        square = cv2.resize(random.integers(0, 255, (9, 9, 3), dtype=np.uint8) // 8, (128, 128)) + np.uint8(60 + i)
        square[40:60, 10 * i : 10 * i + 30] = 200
        looks.append(Look(FACE.landmarks, square, shimmering(square[None])[0]))
    around = [(1, looks[1]), (2, looks[2]), (1, looks[3]), (2, looks[4])]
    fading = random.uniform(0, 1, (128, 128, 1)).astype(np.float32)
    mixed, there = steadied(looks[0], around, 0.7), steadied_on("cpu", looks[0], around, 0.7, fading).numpy()
    assert mixed.shape == there.shape == (128, 128, 3)
    assert there.dtype == np.float32
    assert np.abs(mixed * fading - there).max() < 0.3
    alone = steadied_on("cpu", looks[0], [], 0.7, fading).numpy()
    assert np.array_equal(alone, steadied(looks[0], [], 0.7) * fading)
    assert np.abs(mixed - steadied(looks[0], [], 0.7)).max() > 5


def test_links() -> None:
    assert linked(FACE.landmarks, FACE.landmarks + 3)
    assert not linked(FACE.landmarks, FACE.landmarks + 12)
    assert not linked(FACE.landmarks, face_at((80, 60), 140).landmarks)
    assert linked(face_at((400, 400), 800).landmarks, face_at((412, 400), 800).landmarks)


def seen(monkeypatch: pytest.MonkeyPatch) -> tuple[Restorer, list[list[tuple[int, int]]]]:
    """A restorer that writes down which neighbours, as (first value of the square, distance), each face is given."""
    notes: list[list[tuple[int, int]]] = []

    def spy(now: Look, around: list[tuple[int, Look]], steady: float) -> F32:
        notes.append(sorted((int(look.square[0, 0, 0]), distance) for distance, look in around))
        return steadied(now, [], steady)

    monkeypatch.setattr("raydub.stages.restore.restorer.steadied", spy)
    return restorer(monkeypatch, brighter, steady=1.0), notes


def stepping(count: int) -> list[Shown]:
    """Plain frames; frame i is grey of 16 + 10 i, whose square starts with about 12 i."""
    shown = []
    for i in range(count):
        frame = picture((160, 120), 0, i)
        frame.y[:], frame.u[:], frame.v[:] = 16 + 10 * i, 128, 128
        shown.append(Shown(frame, (FACE,)))
    return shown


def levels(*pairs: tuple[int, int]) -> list[tuple[int, int]]:
    return sorted((round(i * 10 * 255 / 219), distance) for i, distance in pairs)


def test_two_frames_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    one, notes = seen(monkeypatch)
    list(one.map(stepping(6)))
    assert notes[0] == levels((1, 1), (2, 2))
    assert notes[2] == levels((0, 2), (1, 1), (3, 1), (4, 2))
    assert notes[5] == levels((3, 2), (4, 1))


def test_nothing_across_a_jump_a_gap_or_another_face(monkeypatch: pytest.MonkeyPatch) -> None:
    one, notes = seen(monkeypatch)
    shown = stepping(9)
    shown[3:] = [replace(s, faces=(face_at((104, 60), 100),)) for s in shown[3:]]  # a cut before frame 3
    shown[5] = replace(shown[5], faces=())  # nobody in frame 5
    shown[8] = replace(shown[8], faces=(face_at((104, 60), 100, number=4),))  # somebody else in the last
    list(one.map(shown))
    assert notes == [
        levels((1, 1), (2, 2)),
        levels((0, 1), (2, 1)),
        levels((0, 2), (1, 1)),
        levels((4, 1)),
        levels((3, 1)),
        levels((7, 1)),
        levels((6, 1)),
        [],
    ]


def test_a_mouth_that_fades_in_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces without a new mouth are not restored, so they do not count as neighbours either."""
    one, notes = seen(monkeypatch)
    shown = stepping(4)
    shown[0] = replace(shown[0], faces=(replace(FACE, gate=0.0),))
    list(one.map(shown))
    assert notes == [levels((2, 1), (3, 2)), levels((1, 1), (3, 1)), levels((1, 2), (2, 1))]


@settings(max_examples=examples(12), deadline=None)
@given(st.lists(st.integers(1, 11), max_size=3), st.integers(1, 4))
def test_chunks_do_not_show(cuts: list[int], batch: int) -> None:
    """Frames of chunks that see two more on both sides equal those of one run, bit for bit."""

    def faces(i: int) -> tuple:  # type: ignore[type-arg]
        moving = face_at((70 + 2 * (i % 4), 60), 100, 0.1 * (i % 2))
        return () if i == 5 else (moving, face_at((130, 90), 50, number=1)) if i % 3 else (moving,)

    edges = [0, *sorted(set(cuts)), 12]
    with pytest.MonkeyPatch.context() as patch:
        whole = planes(restorer(patch, shimmering, steady=0.8, area="face").map(clip(12, faces)))
        parts = []
        one = restorer(patch, shimmering, steady=0.8, area="face", batch_size=batch)
        for start, stop in itertools.pairwise(edges):
            given_ = clip(12, faces)[max(0, start - one.halo) : stop + one.halo]
            parts += [part for part in planes(one.map(given_)) if start <= part[0] < stop]
    assert parts == whole
