"""Colour conversion by the book, and blending that touches nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.media.frames import Frame
from raydub.media.info import Colour, Matrix
from raydub.media.yuv import blend_bgr, blend_planes, from_bgr, to_bgr
from tests.examples import examples

COLOURS = st.builds(Colour, matrix=st.sampled_from(["bt601", "bt709", "bt2020"]), full_range=st.booleans())


def noise(colour: Colour, seed: int = 0, flat_chroma: bool = False) -> Frame:
    rng = np.random.default_rng(seed)
    y = rng.integers(16, 236, (32, 48), np.uint8)
    u, v = (rng.integers(16, 241, (16, 24), np.uint8) for _ in range(2))
    if flat_chroma:
        u[:], v[:] = 128, 128
    return Frame(0, y, u, v, colour)


@pytest.mark.parametrize(
    ("matrix", "full", "bgr", "yuv"),
    [
        ("bt709", False, (255, 255, 255), (235, 128, 128)),
        ("bt709", False, (0, 0, 0), (16, 128, 128)),
        ("bt709", False, (0, 0, 255), (63, 102, 240)),
        ("bt601", False, (0, 0, 255), (81, 90, 240)),
        ("bt601", False, (255, 0, 0), (41, 240, 110)),
        ("bt601", True, (0, 255, 0), (150, 44, 21)),
        ("bt2020", False, (0, 0, 255), (74, 97, 240)),
        ("bt709", True, (255, 255, 255), (255, 128, 128)),
    ],
)
def test_known_colours(matrix: Matrix, full: bool, bgr: tuple[int, ...], yuv: tuple[int, ...]) -> None:
    frame = noise(Colour(matrix=matrix, full_range=full))
    box = (8, 4, 24, 20)
    blend_bgr(frame, box, np.full((16, 16, 3), bgr, np.uint8), np.ones((16, 16), np.float32))
    got = (frame.y[6, 10], frame.u[3, 5], frame.v[3, 5])
    assert np.abs(np.array(got, int) - yuv).max() <= 1
    back = to_bgr(frame, box)
    assert np.abs(back.astype(int) - np.array(bgr)).max() <= 3


@settings(max_examples=examples(60), deadline=None)
@given(COLOURS, st.integers(0, 1000), st.data())
def test_pixels_with_alpha_zero_are_bit_identical(colour: Colour, seed: int, data: st.DataObject) -> None:
    frame = noise(colour, seed)
    before = frame.copy()
    x0, y0 = (2 * data.draw(st.integers(0, 10)) for _ in range(2))
    x1 = 2 * data.draw(st.integers(x0 // 2 + 1, 24))
    y1 = 2 * data.draw(st.integers(y0 // 2 + 1, 16))
    rng = np.random.default_rng(seed)
    alpha = rng.random((y1 - y0, x1 - x0)).astype(np.float32) * (rng.random((y1 - y0, x1 - x0)) < 0.3)
    blend_bgr(frame, (x0, y0, x1, y1), rng.integers(0, 256, (y1 - y0, x1 - x0, 3), np.uint8), alpha)
    whole = np.zeros((32, 48), np.float32)
    whole[y0:y1, x0:x1] = alpha
    touched = whole.reshape(16, 2, 24, 2).max(axis=(1, 3)) > 0
    assert np.array_equal(frame.y[whole == 0], before.y[whole == 0])
    assert np.array_equal(frame.u[~touched], before.u[~touched])
    assert np.array_equal(frame.v[~touched], before.v[~touched])


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 1000), st.integers(0, 10), st.integers(0, 10))
def test_planes_are_blended_as_pixels_are(seed: int, left: int, top: int) -> None:
    frame, (x0, y0) = noise(Colour(), seed), (2 * left, 2 * top)
    before, box = frame.copy(), (x0, y0, x0 + 12, y0 + 8)
    rng = np.random.default_rng(seed)
    planes = tuple(rng.uniform(-20, 280, shape).astype(np.float32) for shape in ((8, 12), (4, 6), (4, 6)))
    alpha = np.where(rng.random((8, 12)) < 0.4, rng.random((8, 12)), 0).astype(np.float32)
    blend_planes(frame, box, planes, alpha)  # type: ignore[arg-type]
    share = alpha.reshape(4, 2, 6, 2).mean(axis=(1, 3))
    for after, old, new, weight, half in zip(
        (frame.y, frame.u, frame.v),
        (before.y, before.u, before.v),
        planes,
        (alpha, share, share),
        (1, 2, 2),
        strict=True,
    ):
        part = (slice(y0 // half, y0 // half + len(new)), slice(x0 // half, x0 // half + new.shape[1]))
        expected = np.clip(old[part] + weight * (new - old[part]), 0, 255)
        assert np.abs(after[part] - expected).max() <= 0.501
        assert np.array_equal(after[part][weight == 0], old[part][weight == 0])
        after[part] = old[part]
        assert np.array_equal(after, old)


@settings(max_examples=examples(30), deadline=None)
@given(COLOURS, st.integers(0, 1000))
def test_there_and_back(colour: Colour, seed: int) -> None:
    """Inside the RGB cube a box converted there and back changes by rounding only."""
    frame = noise(colour, seed, flat_chroma=True)
    before = frame.copy()
    blend_bgr(frame, (0, 0, 48, 32), to_bgr(frame), np.ones((32, 48), np.float32))
    assert np.abs(frame.y.astype(int) - before.y).max() <= 1
    assert np.abs(frame.u.astype(int) - before.u).max() <= 1


def test_half_alpha_is_half_way() -> None:
    frame = noise(Colour())
    frame.y[:], frame.u[:], frame.v[:] = 35, 128, 128
    blend_bgr(frame, (0, 0, 48, 32), np.full((32, 48, 3), 255, np.uint8), np.full((32, 48), 0.5, np.float32))
    assert (frame.y == 135).all()
    assert (frame.u == 128).all()


@pytest.mark.parametrize("box", [(1, 0, 5, 4), (0, 0, 50, 4), (4, 4, 4, 8), (-2, 0, 4, 4)])
def test_bad_boxes(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="even box"):
        to_bgr(noise(Colour()), box)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="alpha"):
        blend_bgr(noise(Colour()), (0, 0, 4, 4), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 2), np.float32))
    full, half = np.zeros((4, 4), np.float32), np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match="alpha"):
        blend_planes(noise(Colour()), (0, 0, 4, 4), (full, half, full), full)


def gentle(seed: int, width: int = 96, height: int = 300) -> np.ndarray:
    """A picture without hard edges, all colours of its own; taller than what is converted at a time."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (height // 30 + 1, width // 24 + 1, 3)).astype(np.float32)
    return np.rint(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)).clip(0, 255).astype(np.uint8)


@settings(max_examples=examples(20), deadline=None)
@given(COLOURS, st.integers(0, 1000))
def test_smooth_pictures_survive_a_round_trip(colour: Colour, seed: int) -> None:
    """Within 1 on average of what 8 bits of narrow-range YUV can carry, and without any drift."""
    bgr = gentle(seed)
    frame = from_bgr(bgr, colour, 7)
    assert (frame.index, frame.size, frame.colour) == (7, (96, 300), colour)
    difference = to_bgr(frame, smooth=True).astype(int) - bgr
    assert np.abs(difference).max() <= 6
    assert np.abs(difference).mean() <= 1
    assert np.abs(difference.mean(axis=(0, 1))).max() <= 0.2
    again = from_bgr(to_bgr(frame, smooth=True), colour, 7)
    assert np.abs(again.y.astype(int) - frame.y).max() <= 1
    assert np.abs(again.u.astype(int) - frame.u)[:, 1:-1].max() <= 1


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 100), st.data())
def test_a_smooth_box_is_cut_out_of_the_smooth_frame(seed: int, data: st.DataObject) -> None:
    frame = noise(Colour(), seed)
    x0, y0 = 2 * data.draw(st.integers(0, 23)), 2 * data.draw(st.integers(0, 15))
    x1 = 2 * data.draw(st.integers(x0 // 2 + 1, 24))
    y1 = 2 * data.draw(st.integers(y0 // 2 + 1, 16))
    assert np.array_equal(to_bgr(frame, (x0, y0, x1, y1), smooth=True), to_bgr(frame, smooth=True)[y0:y1, x0:x1])


def test_chroma_lies_on_the_left_pixels_between_the_rows() -> None:
    """A ramp of chroma over x and y comes out as the same ramp where the samples lie, not half a pixel beside."""
    colour = Colour(full_range=True)
    across = np.tile(np.arange(24, dtype=np.uint8) * 4 + 80, (16, 1))
    frame = Frame(0, np.full((32, 48), 128, np.uint8), np.full((16, 24), 128, np.uint8), across, colour)
    red = to_bgr(frame, smooth=True)[..., 2].astype(float)
    expected = 128 + (2 * (np.arange(48) / 2 * 4 + 80) - 256) * (1 - 0.2126)
    assert np.abs(red[:, 1:-1] - expected[1:-1]).max() <= 0.51
    frame.v[:] = np.arange(16, dtype=np.uint8)[:, None] * 4 + 80
    red = to_bgr(frame, smooth=True)[..., 2].astype(float)
    expected = 128 + (2 * ((np.arange(32) - 0.5) / 2 * 4 + 80) - 256) * (1 - 0.2126)
    assert np.abs(red[1:-1] - expected[1:-1, None]).max() <= 0.51
    back = from_bgr(to_bgr(frame, smooth=True), colour, 0)
    assert np.abs(back.v.astype(int) - frame.v).max() <= 1


@pytest.mark.parametrize("shape", [(3, 4, 3), (4, 3, 3), (4, 4), (4, 4, 4), (0, 4, 3)])
def test_pictures_that_cannot_be_frames(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="BGR"):
        from_bgr(np.zeros(shape, np.uint8), Colour(), 0)


@settings(max_examples=examples(30), deadline=None)
@given(COLOURS, st.integers(0, 1000))
def test_smooth_blending_touches_nothing_where_alpha_is_zero(colour: Colour, seed: int) -> None:
    frame = noise(colour, seed)
    before = frame.copy()
    rng = np.random.default_rng(seed)
    alpha = np.zeros((20, 32), np.float32)
    alpha[4:-4, 4:-4] = rng.random((12, 24))
    blend_bgr(frame, (8, 6, 40, 26), rng.integers(0, 256, (20, 32, 3), np.uint8), alpha, smooth=True)
    whole = np.zeros((32, 48), np.float32)
    whole[6:26, 8:40] = alpha
    weight = np.concatenate([np.zeros((32, 1), np.float32), whole], axis=1)  # a sample sees the column before it
    touched = (
        np.stack([weight[:, 0:-1:2], weight[:, 1::2], weight[:, 2::2]]).max(axis=0).reshape(16, 2, 24).max(axis=1) > 0
    )
    assert np.array_equal(frame.y[whole == 0], before.y[whole == 0])
    for new, old in ((frame.u, before.u), (frame.v, before.v)):
        assert np.array_equal(new[~touched], old[~touched])
        assert not np.array_equal(new[touched], old[touched])


def test_smooth_blending_of_a_whole_picture_is_the_picture() -> None:
    frame, bgr = noise(Colour()), gentle(3, 48, 32)
    blend_bgr(frame, (0, 0, 48, 32), bgr, np.ones((32, 48), np.float32), smooth=True)
    made = from_bgr(bgr, frame.colour, 0)
    assert all(np.array_equal(a, b) for a, b in ((frame.y, made.y), (frame.u, made.u), (frame.v, made.v)))
