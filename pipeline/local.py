"""The plain loop: every step in this process, one after the other. No start-up cost, and the reference for the Ray
graph. It survives no crash and knows no time limits; pipeline.supervised runs the same loop in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raydub.manifests.job import Job
from raydub.pipeline.events import Assembled, Failed, Item, Reporter
from raydub.pipeline.lazy import LazyToolbox, MakeToolbox
from raydub.pipeline.steps import Steps, WorkSettings
from raydub.stages.types import Part


def through_stages(steps: Steps, job: Job) -> Iterator[Item]:
    """One job up to its last part: its plan, then a part, a failure or a dropped chunk for every chunk."""
    said = steps.speak(job)
    if isinstance(said, Failed):
        yield said
        return
    for item in steps.prepare(said):
        done: Item = item
        for stage in ("track", "lipsync", "render"):
            done = steps.advance(stage, done)
        yield done


class LocalExecutor:
    """Runs jobs one after the other. See pipeline.driver.Executor."""

    def __init__(self, settings: WorkSettings, tools: MakeToolbox, reporter: Reporter | None = None) -> None:
        self._steps = Steps(settings, LazyToolbox(tools, settings), reporter)
        self._assembled: list[Assembled | Failed] = []

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """Everything that happens, as it happens."""
        for job in jobs:
            yield from through_stages(self._steps, job)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Join a job's parts now."""
        self._assembled.append(self._steps.stitch(job, job_dir, parts))

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """Stitches that have ended since the last call."""
        ready, self._assembled = self._assembled, []
        yield from ready
