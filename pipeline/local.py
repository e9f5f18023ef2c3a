"""The plain loop: every step in this process, one after the other. No start-up cost, and the reference for the Ray
graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from manifests.job import Job
from pipeline.events import Assembled, Failed, Item, Reporter
from pipeline.steps import Steps, Toolbox, WorkSettings
from stages.types import Part


class LocalExecutor:
    """Runs jobs one after the other. See pipeline.driver.Executor."""

    def __init__(
        self, settings: WorkSettings, tools: Callable[[WorkSettings], Toolbox], reporter: Reporter | None = None
    ) -> None:
        self._steps = Steps(settings, tools(settings), reporter)
        self._assembled: list[Assembled | Failed] = []

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """Everything that happens, as it happens."""
        for job in jobs:
            for item in self._steps.prepare(job):
                done: Item = item
                for stage in ("track", "lipsync", "render"):
                    done = self._steps.advance(stage, done)
                yield done

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Join a job's parts now."""
        self._assembled.append(self._steps.stitch(job, job_dir, parts))

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """Stitches that have ended since the last call."""
        ready, self._assembled = self._assembled, []
        yield from ready
