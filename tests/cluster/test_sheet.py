"""The before/after sheet."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from raydub.cluster.commands.demo import _pingpong
from raydub.cluster.sheet import changed_box, contact_sheet, spread
from tests.cluster.clips import make_clip


def test_changed_box_finds_the_change() -> None:
    noise = np.random.default_rng(0)
    before = [noise.integers(100, 110, (120, 160, 3), dtype=np.uint8) for _ in range(3)]
    after = [image.copy() for image in before]
    after[1][60:90, 70:100] = 250
    x0, y0, x1, y1 = changed_box(before, after)
    assert 50 <= x0 <= 70 < 100 <= x1 <= 120
    assert 40 <= y0 <= 60 < 90 <= y1 <= 110
    assert changed_box(before, before) == (0, 0, 160, 120)


def test_sheet_of_a_clip(tmp_path: Path) -> None:
    one, other = make_clip(tmp_path / "a.mp4"), make_clip(tmp_path / "b.mp4", faceless=range(10, 25))
    frames = spread(25, 4)
    assert frames == [3, 9, 16, 22]
    path = contact_sheet(str(one), str(other), frames, frames, tmp_path / "new" / "sheet.png")
    sheet = cv2.imread(str(path))
    assert sheet is not None
    assert sheet.shape == (22 + 4 * 244, 74 + 4 * 244, 3)
    assert sheet.std() > 20


def test_a_sheet_of_an_upscaled_clip(tmp_path: Path) -> None:
    small = make_clip(tmp_path / "a.mp4")
    reader = cv2.VideoCapture(str(small))
    _, first = reader.read()
    large = (first.shape[1] * 2, first.shape[0] * 2)
    writer = cv2.VideoWriter(str(tmp_path / "b.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, large)
    for _ in range(4):
        writer.write(cv2.resize(first, large))
    writer.release()
    path = contact_sheet(str(small), str(tmp_path / "b.mp4"), [0, 0], [0, 3], tmp_path / "sheet.png")
    sheet = cv2.imread(str(path))
    assert sheet is not None
    before, after = sheet[22:262, 78:318].astype(int), sheet[266:506, 78:318].astype(int)
    assert abs(before - after).mean() < 8


def test_pingpong_is_the_default_extension() -> None:
    assert [_pingpong(i, 4) for i in range(10)] == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert [_pingpong(i, 1) for i in range(3)] == [0, 0, 0]
