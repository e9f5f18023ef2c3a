"""Exports the metrics of a run through Ray: each node serves those of its processes to Prometheus (docs/metrics.md).
Without `ray[default]` on the node nobody serves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ray.util.metrics import Counter, Gauge, Histogram

from raydub.manifests.job import Job
from raydub.pipeline.events import Assembled, Failed, Item, Note
from raydub.pipeline.metrics import METRICS, Add, Labels, Meter, Metric
from raydub.stages.types import Part

if TYPE_CHECKING:
    from raydub.pipeline.graph import RayExecutor

T = TypeVar("T", bound=Item)


class Metered:
    """A RayExecutor (see pipeline.driver.Executor) whose notes and items are counted in the metrics of run `run`. tell:
    gets the notes of a job before its outcome; call notes() for others."""

    def __init__(self, executor: RayExecutor, run: str, tell: Callable[[Note], None]) -> None:
        self._executor = executor
        self._meter = Meter(exporter(run))
        self._tell = tell

    @property
    def store_peak_mb(self) -> float:
        """Peak use of the object stores in MiB, all nodes together."""
        return self._executor.store_peak_mb

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """See RayExecutor."""
        self._meter.begin(jobs)
        yield from map(self._counted, self._executor.items(jobs))

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """See RayExecutor."""
        self._meter.stitch(job.id)
        self._executor.stitch(job, job_dir, parts)

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """See RayExecutor."""
        yield from map(self._counted, self._executor.assembled(wait))

    def notes(self) -> list[Note]:
        """See RayExecutor."""
        notes = self._executor.notes()
        for note in notes:
            self._meter.note(note)
        return notes

    def _counted(self, item: T) -> T:
        self._meter.item(item)
        if isinstance(item, Assembled):
            for note in self.notes():
                self._tell(note)
        return item


def exporter(run: str) -> Add:
    """A function that adds to the metrics with the label run=`run`. Call it in a process that lives as long as the run:
    metrics end with their process."""
    made: dict[str, Any] = {}

    def add(name: str, value: float, labels: Labels) -> None:
        if name not in made:
            made[name] = _made(name, METRICS[name])
        tags = {"run": run, **labels}
        kind = METRICS[name].kind
        if kind == "gauge":
            made[name].set(value, tags)
        elif kind == "histogram":
            made[name].observe(value, tags)
        else:
            made[name].inc(value, tags)

    return add


def _made(name: str, about: Metric) -> Any:
    keys = ("run", *about.labels)
    if about.kind == "histogram":
        return Histogram(name, about.says, boundaries=list(about.bounds), tag_keys=keys)
    return (Gauge if about.kind == "gauge" else Counter)(name, about.says, tag_keys=keys)
