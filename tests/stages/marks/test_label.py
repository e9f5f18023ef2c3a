"""The label: drawn in its box, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, DependencyError, InputError
from raydub.manifests.options import Options
from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.stages.marks import label as module
from raydub.stages.marks.label import Label, check_label, draw_label
from tests.stages.fakes import PaintEngine, all_frames, babble, make_plan, write_video, write_wav

FONTS = sorted(Path("/usr/share/fonts").rglob("DejaVuSans.ttf"))


def drawn(size: tuple[int, int] = (320, 240), **fields: Any) -> Label:
    arrays = draw_label(Options(**{"label": "AI dubbed", **fields}), size)
    assert arrays is not None
    return Label.of(arrays)


def noise(width: int, height: int, full: bool = False) -> Frame:
    random = np.random.default_rng(width * height)
    planes = [
        random.integers(0, 256, (h, w), np.uint8) for w, h in ((width, height), *((width // 2, height // 2),) * 2)
    ]
    return Frame(7, planes[0], planes[1], planes[2], Colour(full_range=full))


@given(
    width=st.integers(90, 300).map(lambda side: side * 2),
    height=st.integers(60, 200).map(lambda side: side * 2),
    corner=st.sampled_from(["top-left", "top-right", "bottom-left", "bottom-right"]),
    size=st.floats(0.02, 0.08),
)
def test_only_the_box_changes(width: int, height: int, corner: str, size: float) -> None:
    label, frame = drawn((width, height), label_corner=corner, label_size=size), noise(width, height)
    before = frame.copy()
    after = label.on(frame)
    rows, columns = label.opacity.shape
    assert after.index == 7
    assert (label.x < width // 2, label.y < height // 2) == (corner.endswith("left"), corner.startswith("top"))
    for plane, scale in (("y", 1), ("u", 2), ("v", 2)):
        was, now = getattr(before, plane), getattr(after, plane)
        assert np.array_equal(getattr(frame, plane), was)  # the frame itself may be shown again
        outside = np.ones(was.shape, bool)
        outside[label.y // scale : (label.y + rows) // scale, label.x // scale : (label.x + columns) // scale] = False
        assert np.array_equal(was[outside], now[outside])
        assert not np.array_equal(was[~outside], now[~outside])


@pytest.mark.parametrize(("full", "white"), [(False, 235), (True, 255)])
def test_letters_are_white_on_a_dark_box(full: bool, white: int) -> None:
    label = drawn(label_size=0.1)
    frame = label.on(Frame(0, *(np.full(shape, 200, np.uint8) for shape in ((240, 320), (120, 160), (120, 160))),
                           Colour(full_range=full)))  # fmt: skip
    rows, columns = label.opacity.shape
    box = frame.y[label.y : label.y + rows, label.x : label.x + columns]
    assert box.max() == white
    assert box[0, 0] == round(200 * 0.45 + (0 if full else 16) * 0.55)
    assert 0.02 < (box > 180).mean() < 0.5


def test_none_is_drawn_where_none_is_asked_for() -> None:
    assert draw_label(Options(), (320, 240)) is None
    assert draw_label(Options(label="none"), (320, 240)) is None


@pytest.mark.parametrize("text", ["ИИ-дубляж", "AI 吹き替え", "مدبلج", "Ä", "a\u0301", "😀"])
def test_letters_that_the_font_lacks_are_named(text: str) -> None:
    with pytest.raises(InputError, match=r"no glyph for .*U\+") as found:
        check_label(Options(label=text))
    assert (found.value.code, found.value.field) == (Code.FIELD_VALUE, "label")
    assert "label_font" in found.value.hint


@pytest.mark.skipif(not FONTS, reason="no font with other letters is installed")
@pytest.mark.parametrize("text", ["ИИ-дубляж", "Ä ß ñ", "مدبلج"])
def test_a_font_of_ones_own(text: str) -> None:
    assert drawn(label=text, label_font=str(FONTS[0])).opacity.max() > 200


def test_what_is_no_font(tmp_path: Path) -> None:
    (tmp_path / "font.ttf").write_bytes(b"no font")
    with pytest.raises(InputError, match="cannot be read") as found:
        check_label(Options(label="x", label_font=str(tmp_path / "font.ttf")))
    assert found.value.field == "label_font"
    check_label(Options(label="x", label_font=str(tmp_path / "elsewhere.ttf")))  # may be on the nodes


@pytest.mark.parametrize("text", ["\u200b", "\u00ad\u202e"])
def test_a_label_that_nobody_sees(text: str) -> None:
    with pytest.raises(InputError, match="nothing of it can be seen"):
        check_label(Options(label=text))


def test_marks_of_direction_are_not_drawn() -> None:
    plain, marked = (drawn(label=text) for text in ("AI", "\u200eA\u200bI\u200f"))
    assert np.array_equal(plain.opacity, marked.opacity)


def test_a_font_with_damaged_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFont

    def damaged(*_: Any, **__: Any) -> Any:
        raise OSError("invalid outline")

    monkeypatch.setattr(ImageFont.FreeTypeFont, "getmask2", damaged)
    with pytest.raises(InputError, match="the font is damaged: invalid outline") as found:
        check_label(Options(label="AI"))
    assert found.value.field == "label"


def test_a_label_that_does_not_fit() -> None:
    with pytest.raises(InputError, match="of a frame of 64x64") as found:
        draw_label(Options(label="a label that is far too long"), (64, 64))
    assert "label_size" in found.value.hint


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL.ImageFont", None)
    with pytest.raises(DependencyError) as found:
        module.check_label(Options(label="x"))
    assert found.value.code is Code.DEPENDENCY_MISSING
    check_label(Options())


def test_frames_of_a_job(tmp_path: Path) -> None:
    """Laws 2 and 3: the same frames for any chunk length, equal to the source outside the box; only parts with a label
    are new work."""
    engine = PaintEngine()
    video = write_video(tmp_path / "v.mp4", 12)
    audio = write_wav(tmp_path / "a.wav", babble(0.48))
    plain = make_plan(tmp_path, engine, video, audio, length="video")
    plans = [
        make_plan(tmp_path, engine, video, audio, length="video", label="AI", label_size=0.06, chunk_seconds=seconds)
        for seconds in (0.2, 10.0)
    ]
    source, *labelled = ([frame.copy() for frame in all_frames(plan, engine)[0]] for plan in (plain, *plans))
    short, long = labelled
    width, height = plain.out_size
    label = drawn((width, height), label="AI", label_size=0.06)
    assert len(source) == len(short) == len(long) == 12
    for one, other, before in zip(short, long, source, strict=True):
        wanted = label.on(before)
        assert all(np.array_equal(getattr(one, plane), getattr(other, plane)) for plane in "yuv")
        assert all(np.array_equal(getattr(one, plane), getattr(wanted, plane)) for plane in "yuv")
    assert not set(plain.chunk_keys) & set(plans[1].chunk_keys)
    again = make_plan(tmp_path, engine, video, audio, length="video", consent="Ana", mark_synthetic=False)
    assert again.chunk_keys == plain.chunk_keys
    assert again.key != plain.key
