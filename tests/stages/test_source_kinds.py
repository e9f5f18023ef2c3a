"""Films that are HDR or interlaced as the source of a job: a warning, and the laws hold for the frames as read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raydub.media.frames import open_frames
from raydub.media.hdr import PQ
from raydub.stages import code, prepare
from tests.examples import slow
from tests.media.test_fields import fields_film
from tests.media.test_hdr import deep_film, patches
from tests.stages.fakes import PaintEngine, all_frames, babble, digest, make_plan, write_video, write_wav


def hdr_film(path: Path) -> Path:
    rng = np.random.default_rng(1)
    steps = [patches(rng.uniform(0.1, 0.7, (6, 10, 3))) for _ in range(3)]
    return deep_film(path, [steps[n % 3] for n in range(14)], PQ, "libx265")


def interlaced_film(path: Path) -> Path:
    options = {"flags": "+ildct+ilme", "x264-params": "keyint=10:bframes=2"}
    return fields_film(path, 14, options=options)


@pytest.mark.parametrize(("make", "code"), [(hdr_film, "W_HDR: "), slow(interlaced_film, "W_INTERLACED: ")])
def test_the_job_says_so_and_its_frames_are_the_source_as_read(tmp_path: Path, make: object, code: str) -> None:
    engine = PaintEngine()
    video = str(make(tmp_path / "v.mp4"))  # type: ignore[operator]
    audio = write_wav(tmp_path / "a.wav", babble(0.56))
    plan = make_plan(tmp_path, engine, video, audio, chunk_seconds=0.3, length="video")
    assert [text for text in plan.warnings if text.startswith(code)] == [plan.warnings[0]]
    with open_frames(plan.video) as reader:
        source = [digest(frame) for frame in reader.frames(0, 14)]
    frames, items = all_frames(plan, engine)
    assert sum(map(len, items)) == 0
    assert [digest(frame) for frame in frames] == source
    other = make_plan(tmp_path / "other", engine, video, audio, chunk_seconds=10, length="video")
    assert [digest(frame) for frame in all_frames(other, engine)[0]] == source


def test_tracks_and_parts_are_keyed_by_their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that reads, tracks or draws otherwise must not find what the former code made."""
    engine = PaintEngine()
    video, audio = write_video(tmp_path / "v.mp4", 20), write_wav(tmp_path / "a.wav", babble(0.7))
    before = make_plan(tmp_path, engine, video, audio)
    monkeypatch.setattr(prepare, "running", lambda places: f"{code.code_digest(places)} and an edit")
    after = make_plan(tmp_path, engine, video, audio)
    assert before.faces.track_key != after.faces.track_key
    assert set(before.chunk_keys).isdisjoint(after.chunk_keys)
    assert before.job_dir != after.job_dir
    assert not [text for text in before.warnings if text.startswith(("W_HDR", "W_INTERLACED"))]
