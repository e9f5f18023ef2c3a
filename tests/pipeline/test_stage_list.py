"""A new stage is a description and its place in the list: every executor, planner and estimate follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from raydub.pipeline.context import WorkerContext, WorkSettings
from raydub.pipeline.driver import Driver
from raydub.pipeline.events import Note, Output
from raydub.pipeline.graph import RayExecutor
from raydub.pipeline.pools import Node, plan_pools
from raydub.pipeline.registry import STAGES, find
from raydub.pipeline.stage import Stage
from raydub.pipeline.supervised import SupervisedExecutor
from raydub.stages.types import TrackedChunk
from tests.examples import slow
from tests.pipeline.fakes import FAKE_STAGES, LocalExecutor
from tests.pipeline.test_driver import make_job


def count_faces(context: WorkerContext, chunk: TrackedChunk) -> TrackedChunk:
    """A stage of chunks: takes what track gives, and gives the same with one face less."""
    return dataclasses.replace(chunk, faceless=chunk.faceless + 1)


def judge(context: WorkerContext, output: Output) -> Output:
    """A stage of outputs, after the stitch."""
    assert Path(output.path).exists()
    return dataclasses.replace(output, warnings=(*output.warnings, f"W_TOY: {len(output.parts)} parts"))


COUNT = Stage(
    "count",
    per="chunk",
    takes=TrackedChunk,
    run=count_faces,
    limit=lambda limits, chunk: limits.for_chunk(1),
    share=0.1,
)
JUDGE = Stage(
    "judge",
    per="output",
    takes=Output,
    run=judge,
    limit=lambda limits, output: limits.for_stitch([1]),
    share=0.02,
    actors=False,
)


def with_toys(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    at = [stage.name for stage in stages].index("lipsync")
    return (*stages[:at], COUNT, *stages[at:], JUDGE)


TOYS = with_toys(FAKE_STAGES)
HERE = "tests.pipeline.test_stage_list:TOYS"


class Notes:
    def __init__(self) -> None:
        self.stages: set[str] = set()

    def note(self, note: Note) -> None:
        self.stages.add(note.stage)


@pytest.mark.parametrize("where", ["local", "supervised", slow("ray")])
def test_a_new_stage_is_one_line_in_the_list(tmp_path: Path, where: str, request: pytest.FixtureRequest) -> None:
    if where == "ray":
        request.getfixturevalue("ray_here")
    settings, notes = WorkSettings(str(tmp_path / "work"), "r"), Notes()
    jobs = [make_job(tmp_path, "ok:3", "j"), make_job(tmp_path, "bad-track:2", "bad")]
    executor: Any
    if where == "local":
        executor = LocalExecutor(settings, TOYS, notes)
    elif where == "supervised":
        executor = SupervisedExecutor(settings, HERE, notes)
    else:
        pools = plan_pools([Node(2.0)], len(jobs), stages=[stage for stage in TOYS if stage.asked(jobs)])
        executor = RayExecutor(settings, HERE, pools)
    try:
        (result, failed), _ = Driver(executor).run(jobs)
        if where == "ray":
            notes.stages = {note.stage for note in executor.notes()}
    finally:
        if where != "local":
            executor.close()
    assert (result.status, failed.error_code) == ("ok", "E_INPUT_TRUNCATED")
    assert result.faceless == 3 * 2, "one by the fake tracker, one by the toy, in each chunk"
    assert result.warnings[-1] == "W_TOY: 3 parts"
    assert {"count", "judge", "stitch"} <= set(result.seconds)
    assert {"count", "judge"} <= notes.stages


def test_the_other_workers_make_room() -> None:
    before, after = plan_pools([Node(2.0)], 2), plan_pools([Node(2.0)], 2, stages=with_toys(STAGES))
    assert set(after) - set(before) == {"count", "judge"}
    assert sum(pool.cpus + pool.prefetch_cpus for pool in after.values()) <= 2.0
    assert after["track"].cpus < before["track"].cpus


def test_names_are_unique_and_one_stage_cuts_jobs_into_chunks() -> None:
    names = [stage.name for stage in STAGES]
    assert len(set(names)) == len(names)
    assert [stage.per for stage in STAGES] == sorted(
        (stage.per for stage in STAGES), key=["job", "chunk", "output"].index
    )
    assert find("raydub.pipeline.registry:STAGES") is STAGES
