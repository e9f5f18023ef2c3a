"""What a job's result says of the job as a whole."""

from __future__ import annotations

import pytest

from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.pipeline.events import Planned
from raydub.pipeline.jobstate import JobState
from raydub.stages.types import Chunk, Part, Span


@pytest.mark.parametrize(
    ("synthesised", "faceless", "kinds"),
    [
        (4, 0, ["W_BED", "W_FEW_MOUTHS"]),
        (0, 9, ["W_BED", "W_NO_FACE"]),
        (0, 3, ["W_BED", "W_UNCHANGED"]),
    ],
)
def test_without_a_new_mouth_none_is_said_to_be_reshaped(synthesised: int, faceless: int, kinds: list[str]) -> None:
    job = Job(id="j", video="v.mp4", audio="a.wav", output="o.mp4", options=Options())
    part = Part(Chunk("j", "j", 0, 1, Span(0, 9)), "part", 9, synthesised, faceless)
    planned = Planned("j", "j", 1, 9, warnings=("W_BED: no bed", "W_FEW_MOUTHS: mouths are reshaped"))
    state = JobState(job, plan=planned, parts={0: part})
    assert [warning.partition(":")[0] for warning in state.warnings()] == kinds
