"""Hostile inputs: playlists and references open nothing else, bombs end in a named error, cheaply."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from raydub.errors import Code, InputError, RaydubError
from raydub.media.images import read_upright
from raydub.media.info import ProbeLimits
from raydub.media.orientation import orientation
from raydub.media.probe import probe_video
from raydub.media.rate import space_frames
from tests.media.films import film
from tests.media.hostile_bombs import bombs
from tests.media.hostile_child import cost_of, use
from tests.media.hostile_samples import SECRET, build, plain_open
from tests.media.watching import canary, opened

MAY_COST_MB = 450
"""Peak above what the imports take. A frame at the limit of 40 million pixels is 60 MB, threads hold several."""


def test_no_pretender_is_accepted_and_none_reads_or_calls_anything(tmp_path: Path) -> None:
    with canary() as (url, calls):
        samples = build(tmp_path, url)
        assert len(samples) > 200
        with opened(tmp_path / SECRET) as events:
            for sample in samples:
                with pytest.raises(RaydubError) as caught:
                    use(sample.role, sample.path)
                assert caught.value.code in sample.codes, (sample.name, str(caught.value))
        assert events == []
        assert calls == []


def test_the_watchers_see_what_libav_does_without_rules(tmp_path: Path) -> None:
    """The control: the same samples, opened plainly, read the other film and call the network."""
    with canary() as (url, calls):
        build(tmp_path, url)
        with opened(tmp_path / SECRET) as events:
            assert plain_open(str(tmp_path / "concat_relative.mp4")) == 10
        assert events
        with pytest.raises(av.error.FFmpegError):
            plain_open(url)
        assert calls


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_bombs_end_in_a_code_and_cost_little(tmp_path: Path) -> None:
    for sample in bombs(tmp_path):
        cost = cost_of(sample.role, sample.path, timeout=120)
        assert cost["code"] in {str(code) for code in sample.codes} or (not sample.codes and not cost["code"]), cost
        assert cost["peak_mb"] - cost["base_mb"] < MAY_COST_MB, (sample.name, cost)


def code_of(path: Path, limits: ProbeLimits) -> Code:
    with pytest.raises(InputError) as caught:
        probe_video(str(path), limits)
    return caught.value.code


def test_a_frame_may_be_held_but_not_for_ever(tmp_path: Path) -> None:
    slides = film(tmp_path / "slides.mp4", range(4), pts=[0, 20_000, 25_001, 90_000])
    assert probe_video(str(slides), ProbeLimits(max_hold_seconds=2600)).variable_rate
    assert code_of(slides, ProbeLimits(max_hold_seconds=2599)) is Code.INPUT_LIMIT


def test_repeats_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slides = film(tmp_path / "slides.mp4", range(4), pts=[0, 2000, 2501, 9000])
    monkeypatch.setattr("raydub.media.index._FREE_FRAMES", 0)
    frames = probe_video(str(slides)).n_frames
    assert frames >= 9000
    assert code_of(slides, ProbeLimits(max_repeats=frames // 4 - 1)) is Code.INPUT_LIMIT


def test_frames_a_day_apart_have_a_rate() -> None:
    """Two frames 80,000 s apart made a rate of 0 and a division by it."""
    from fractions import Fraction

    spacing = space_frames(np.array([0, 80_000_000]), Fraction(1, 1000), [None])
    assert spacing.rate >= 1


@pytest.mark.parametrize("tagged", range(1, 9))
def test_reference_pictures_are_upright(tmp_path: Path, tagged: int) -> None:
    """As OpenCV turns them by the EXIF tag; read through the one door, which has limits."""
    path = tmp_path / "a.jpg"
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16, :16] = (0, 0, 255)
    image[-16:, -16:] = (255, 0, 0)
    cv2.imwrite(str(path), image)
    tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([tagged]) + b"\0\0\0\0\0\0"
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + data[2:])
    with av.open(str(path), format="jpeg_pipe") as container:
        assert orientation(next(container.decode(video=0))) is not None  # PyAV has no name for EXIF and raised
    wanted = cv2.imread(str(path))
    found = read_upright(str(path))
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() < 3
