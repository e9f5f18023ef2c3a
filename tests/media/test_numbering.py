"""Folders of pictures: what their numbers say, and when they say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.media.images import natural_key
from raydub.media.numbering import doubts
from raydub.media.probe import probe_video
from raydub.stages.prepare import _warnings
from raydub.stages.source_timeline import Timeline
from tests.media.films import film


def said(*names: str) -> tuple[str, ...]:
    return doubts(sorted(names, key=natural_key))


def frames(*numbers: int, stem: str = "frame", digits: int = 4) -> list[str]:
    return [f"{stem}{number:0{digits}}.png" for number in numbers]


@pytest.mark.parametrize(
    "names",
    [
        frames(*range(10)),
        frames(*range(90, 112)),
        frames(*range(0, 100, 5)),
        frames(*range(1001, 1020, 2)),
        frames(*range(8, 13), digits=1),
        ["a.png"],
        ["front.png", "side.png"],
        ["IMG_20240101_101500.jpg", "IMG_20240101_101733.jpg", "IMG_20240103_090000.jpg", "IMG_20240105_230112.jpg"],
        frames(3, 17, 101, 4000, 5001),
        [f"shot2_take3_{number}.png" for number in range(5)],
        [f"{number:03}_final.png" for number in range(5)],
        ["x1.png", "x2.jpg", "x3.png"],
    ],
)
def test_whole_folders(names: list[str]) -> None:
    assert said(*names) == ()


def test_missing_numbers_are_named() -> None:
    found = said(*frames(*(number for number in range(1, 40) if number not in (7, 8, 20))))
    assert len(found) == 1
    assert found[0].startswith("W_GAPS: the folder lacks 3 numbers between 1 and 39 (0007, 0008, 0020)")
    assert "(15)" in said(*frames(*(number for number in range(0, 60, 5) if number != 15), digits=1))[0]
    assert "lacks 90 numbers" in said(*frames(*range(10), *range(100, 110)))[0]
    assert ", ..." in said(*frames(*range(10), *range(100, 110)))[0]


def test_numbers_twice_and_several_series() -> None:
    found = said("frame1.png", "frame01.png", "frame2.png", "frame3.png")
    assert len(found) == 1
    assert "frame01.png" in found[0]
    assert "frame1.png" in found[0]
    assert "more than once" in said("f1.png", "f2.png", "f1.jpg", "f2.jpg")[0]
    found = said(*frames(*range(5)), *frames(*range(5), stem="mask"))
    assert len(found) == 1
    assert "several series" in found[0]
    assert "several series" in said(*frames(*range(5)), "thumb.png")[0]


def test_a_job_is_told(tmp_path: Path) -> None:
    for number in (0, 1, 2, 4, 5):
        film(tmp_path / f"{number:03}.png", [number], codec="png", pix_fmt="rgb24")
    info = probe_video(str(tmp_path))
    assert info.n_frames == 5
    warnings = _warnings(info, Timeline(n_out=5, n_src=5))
    assert [warning.split(":")[0] for warning in warnings] == ["W_GAPS"]
    assert "(003)" in warnings[0]


@settings(deadline=None)
@given(st.integers(0, 2000), st.integers(1, 40), st.integers(6, 60), st.data())
def test_every_gap_is_counted(start: int, step: int, count: int, data: st.DataObject) -> None:
    numbers = list(range(start, start + step * count, step))
    lost = data.draw(st.sets(st.sampled_from(numbers[1:-1]), max_size=count // 5))
    found = said(*frames(*(number for number in numbers if number not in lost)))
    assert len(found) == bool(lost)
    if lost:
        assert f"lacks {len(lost)} numbers" in found[0]
        assert f"{min(lost):04}" in found[0]
