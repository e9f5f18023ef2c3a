"""The plain loop: all steps in this process, one after the other. No start-up cost, and the reference for the Ray
graph. No protection against crashes and no time limits; pipeline.supervised runs the same loop in a child process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

from raydub.manifests.job import Job
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Assembled, Failed, Item, Output, Reporter
from raydub.pipeline.registry import STAGES, Stages
from raydub.pipeline.steps import Steps
from raydub.stages.types import Part


def through_stages(steps: Steps, job: Job) -> Iterator[Item]:
    """Run one job up to its last part: yields its plan, then a part, a failure or a dropped chunk for every chunk."""
    items: Iterable[Item] = [job]
    for stage in steps.stages:
        if stage.per != "output":
            # Each item goes through all stages before the next one begins: iterators pull from each other.
            items = chain.from_iterable(map(partial(steps.advance, stage), items))
    yield from items


class LocalExecutor:
    """Runs jobs one after the other. See pipeline.driver.Executor."""

    def __init__(self, settings: WorkSettings, stages: Stages = STAGES, reporter: Reporter | None = None) -> None:
        self._steps = Steps(settings, stages, reporter)
        self._assembled: list[Assembled | Failed] = []

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """All items, as they happen."""
        for job in jobs:
            yield from through_stages(self._steps, job)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Run a job's stitch now."""
        self._assembled.append(self._steps.finish(Output(job, job_dir, parts)))

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """Stitches that have ended since the last call."""
        ready, self._assembled = self._assembled, []
        yield from ready
