"""A source is looked at once for many speeches, and again when anything changes that the answer depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydub.stages.engine import SourceSampler
from raydub.stages.job_plan import load_source
from tests.kept import blobs_below
from tests.stages.fakes import DEMO, PaintEngine, babble, make_plan, write_wav

CLIP = str(DEMO / "clip.mp4")


class Counting(PaintEngine):
    """Counts how often it looked at a source."""

    looked = 0

    def prepare(self, video: SourceSampler) -> dict[str, np.ndarray[Any, Any]]:
        self.looked += 1
        return super().prepare(video)


def test_many_speeches_cost_one_look_at_the_source(tmp_path: Path) -> None:
    engine = Counting()
    speeches = [write_wav(tmp_path / f"{n}.wav", babble(0.8, seed=n)) for n in range(3)]
    plans = [make_plan(tmp_path, engine, CLIP, speech) for speech in speeches]
    assert len({plan.job_dir for plan in plans}) == 3
    assert engine.looked == 1
    assert len({load_source(plan)["seen"].tobytes() for plan in plans}) == 1
    # another length shows other frames, another option may mean another face
    longer = make_plan(tmp_path, engine, CLIP, write_wav(tmp_path / "long.wav", babble(1.2)))
    assert engine.looked == 2
    assert load_source(longer)["seen"].max() > load_source(plans[0])["seen"].max()
    make_plan(tmp_path, engine, CLIP, speeches[0], masking="always")
    assert engine.looked == 3


@pytest.mark.slow
def test_a_damaged_copy_is_made_anew(tmp_path: Path) -> None:
    engine = Counting()
    make_plan(tmp_path, engine, CLIP, write_wav(tmp_path / "a.wav", babble(0.8)))
    [copy] = blobs_below(tmp_path / "work", "sources")
    for damage in (copy.read_bytes()[:100], b"", b"not an archive"):
        copy.write_bytes(damage)
        looked = engine.looked
        plan = make_plan(tmp_path, engine, CLIP, write_wav(tmp_path / f"{looked}.wav", babble(0.8, seed=looked)))
        assert engine.looked == looked + 1
        assert len(load_source(plan)["seen"]) == 4
