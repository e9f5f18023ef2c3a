"""The description of a stage, used by executors, planners and estimates.

A new stage is one file with its description, and one line in pipeline.registry. Heavy modules are imported in `run`, so
that a worker imports those of its own stage only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from raydub.manifests.job import Job
    from raydub.pipeline.context import WorkerContext
    from raydub.pipeline.limits import StepLimits


@dataclass(frozen=True)
class Demand:
    """Demands of a run's jobs. finish: some job restores or upscales; network: some job's lip engine has a network;
    fit: workers with networks that the memory of one GPU holds in runs that restore or upscale (pools.fit)."""

    finish: bool = False
    network: bool = True
    fit: int = 2


@dataclass(frozen=True)
class OnGpu:
    """share: of a GPU that one worker reserves, for placement; workers: on each GPU."""

    share: float
    workers: int = 1


@dataclass(frozen=True)
class Prefetch:
    """How several workers of a job stage share one long job: it has `count(job)` units, which `run(context, job, first,
    stop)` prefetches in batches of `batch` before the stage runs. Errors of prefetching are ignored; the stage will
    raise them. share: of a set's cores, for the task that divides the jobs."""

    count: Callable[[Job], int]
    run: Callable[[WorkerContext, Job, int, int], None]
    batch: int
    share: float


def _always(_: Any) -> bool:
    return True


def _no_gpu(_: Demand) -> None:
    return None


@dataclass(frozen=True)
class Stage:
    """One stage.

    name: in results, progress and time limits. per: unit of a step: "job" (before it is cut into chunks), "chunk", or
    "output" (after all parts are done). takes: class of the items that it processes, if `wanted` returns True; all
    others pass it unchanged. run: gets the worker's context and such an item and returns

    - per job: a Job (with more in it), or pipeline.events.Prepared, which cuts it into chunks;
    - per chunk: a TrackedChunk, SynthesisedChunk or Part; a Part's file is published by the step;
    - per output: pipeline.events.Output.

    asked: whether a run of these jobs needs workers of this stage. share: of a set's cores that one worker reserves,
    relative to those of the other stages (pipeline.pools); finishing_share: the same in runs that restore or upscale.
    all_cores: its libraries may use as many threads as a set has cores, else one. gpu: its place on GPUs, None if it
    has none. actors: workers keep state between items (else each item is a task). warm_up: loads what items of any job
    need, in a worker that has nothing else to do yet. limit: time limit of a step in seconds.
    optional: for stages per output: "W_WORD" of the warning that stands for a failure, which then fails no job.
    What a stage costs is in pipeline.costs.
    """

    name: str
    per: Literal["job", "chunk", "output"]
    takes: type[Any]
    run: Callable[[WorkerContext, Any], Any]
    limit: Callable[[StepLimits, Any], float]
    share: float
    finishing_share: float | None = None
    all_cores: bool = False
    gpu: Callable[[Demand], OnGpu | None] = _no_gpu
    actors: bool = True
    wanted: Callable[[Any], bool] = _always
    asked: Callable[[Sequence[Job]], bool] = _always
    prefetch: Prefetch | None = None
    warm_up: Callable[[WorkerContext], None] | None = None
    optional: str = ""
