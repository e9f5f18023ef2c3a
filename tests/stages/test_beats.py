"""Long stages say how far they have come, and only to who listens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raydub.beat import beat, listening
from raydub.stages.batching import FixedBatches
from raydub.stages.chunk import TrackStage
from raydub.stages.job_plan import chunks_of
from raydub.stages.render import RenderStage
from raydub.stages.synthesise import LipsyncStage
from tests.stages.fakes import DEMO, PaintEngine, babble, make_plan, write_wav


@pytest.mark.slow
def test_track_and_render_tell_every_frame(tmp_path: Path) -> None:
    engine = PaintEngine()
    audio = write_wav(tmp_path / "a.wav", babble(0.8))
    plan = make_plan(tmp_path, engine, str(DEMO / "clip.mp4"), audio)
    [chunk] = chunks_of(plan)
    heard: dict[str, list[int]] = {"track": [], "render": []}
    with listening("track", heard["track"].append):
        tracked = TrackStage().run(chunk)
    made = LipsyncStage(engine).run(tracked)
    with listening("render", heard["render"].append):
        part = RenderStage(engine).run(made, str(tmp_path / "part.mp4"))
    assert sum(heard["render"]) == part.frames == len(chunk.span)
    # faces are looked for around the chunk too
    assert sum(heard["track"]) >= len(chunk.span)


def test_a_network_tells_its_batches_to_its_own_stage_alone() -> None:
    heard: list[int] = []
    rows = np.zeros((7, 2))
    for stage in ("lipsync", ""):
        with listening("lipsync", heard.append):
            FixedBatches(lambda batch: batch, 3, stage=stage).map(rows)
    assert heard == [3, 3, 1]
    beat("lipsync")  # nobody listens
    assert heard == [3, 3, 1]
