"""Heads on their side: the drawn box holds the whole lower face, and its mask fades to nothing at every edge."""

from __future__ import annotations

import numpy as np
import pytest

from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.stages.mouths.gallery import stored
from raydub.stages.mouths.lying import is_lying, reach
from raydub.stages.mouths.paint import _axes, _extent, _mask
from tests.stages.track.test_track_decide import face_at


def turned(degrees: float) -> np.ndarray:
    """A face around (200, 200), its landmarks turned clockwise."""
    marks = face_at(200, 200).astype(np.float64)
    marks -= marks.mean(axis=0)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (marks @ np.array([[cos, sin], [-sin, cos]]) + 200).astype(np.float32)


@pytest.mark.parametrize("degrees", [45, 90, -90, 135, 180, -60])
def test_the_box_holds_the_lower_face_and_the_mask_ends_inside_it(degrees: int) -> None:
    marks = turned(degrees)
    axes = _axes(marks)
    u, right, down = axes
    face = marks[np.r_[2:15, 48:60]]
    low, high = reach(face, marks[31:36], right, (0.25 * u, 0.08 * u, 0.42 * u))
    assert (face >= low).all()
    assert (face <= high).all()
    assert is_lying(right) == (abs(np.sin(np.radians(degrees))) > 0.5)
    box = tuple(int(v) // 2 * 2 for v in (*low, *(high + 2)))
    mask = _mask(marks, marks, axes, box)
    inside = mask[2:-2, 2:-2]
    assert inside.max() > 0.9
    if is_lying(right):
        extent = _extent(box, marks, axes, 400)
        edges = np.concatenate([extent[0], extent[-1], extent[:, 0], extent[:, -1]])
        assert edges.max() < 0.02
        hidden = mask * (extent < 0.5)
        assert hidden.sum() < 0.25 * mask.sum()
    assert float(down @ right) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("degrees", [0, 90, -90, 45])
def test_a_kept_picture_has_the_whole_mouth(degrees: int) -> None:
    marks = turned(degrees)
    grey = np.full((200, 200), 128, np.uint8)
    frame = Frame(0, np.full((400, 400), 90, np.uint8), grey, grey, Colour())
    data, corner, scale = stored(frame, marks)
    assert len(data)
    assert (marks[48:68] >= np.array(corner) + 2).all()
    assert scale == (1.0, 1.0)
