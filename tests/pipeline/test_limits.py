"""How long steps may take."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.job import Job
from manifests.options import Options
from pipeline.limits import StepLimits


def job(video: str, audio: str = "a.wav") -> Job:
    return Job(id="j", video=video, audio=audio, output="o.mp4")


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_more_frames_more_time(one: int, more: int) -> None:
    limits = StepLimits()
    assert 300 <= limits.for_chunk(one) <= limits.for_chunk(one + more)
    assert limits.for_stitch([one, more]) == pytest.approx(600 + 0.2 * (one + more))


def test_finishing_takes_its_time() -> None:
    limits = StepLimits()
    assert limits.for_chunk(10, 200.0) == 300 + 10 * (2 + 8 * 200)
    assert limits.for_chunk(10, 0.0) == limits.for_chunk(10)
    assert StepLimits(flat=5.0).for_chunk(10, 200.0) == 5.0


def test_a_flat_limit_is_all_there_is(tmp_path: Path) -> None:
    limits = StepLimits(flat=5.0)
    assert [limits.for_chunk(10**6), limits.for_stitch([10**6]), limits.for_prepare(job("x"))] == [5.0] * 3


def test_larger_inputs_more_time(tmp_path: Path) -> None:
    limits = StepLimits()
    big = tmp_path / "v.mp4"
    with open(big, "wb") as file:
        file.truncate(100 << 20)
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in "abcd":
        with open(folder / f"{name}.png", "wb") as file:
            file.truncate(1 << 20)
    assert limits.for_prepare(job(str(big))) == 600 + 100 * 5
    assert limits.for_prepare(job(str(big), str(big))) == 600 + 200 * 5
    assert limits.for_prepare(job(str(folder))) == 600 + 4 * 5
    assert limits.for_prepare(job(str(tmp_path / "absent"))) == 600
    assert limits.for_prepare(job("a\0b")) == 600
    searched = job(str(big)).model_copy(update={"options": Options(no_face="drop")})
    assert limits.for_prepare(searched) == 600 + 100 * 5 * 30
    named = Options(restore="gfpgan", upscale="general", upscale_denoise=0.5, model="/own/wav2lip.pth")
    assert limits.for_prepare(job("a").model_copy(update={"options": named})) == 600 + 3 * 1800
    assert limits.for_prepare(job("https://example.org/v.mp4")) == 6 * 3600
