"""What a stage is: one description, from which every executor, planner and estimate takes what it needs.

A new stage is one file with its description, and one line in pipeline.registry. Code that is heavy to import is
imported in `run`, so that a worker pays for its own stage only.
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
    """What the jobs of a run ask for. finish: some job restores or upscales; network: some job's lip engine has a
    network."""

    finish: bool = False
    network: bool = True


@dataclass(frozen=True)
class Workload:
    """A job's size, before it is run. frames: of the output; spoken, seconds: of the speech and of the output; source,
    made: megapixels of a frame as it is tracked and as it is written; engine: lip engine."""

    frames: int
    spoken: float
    seconds: float
    source: float
    made: float
    engine: str


@dataclass(frozen=True)
class Prefetch:
    """How several workers of a job stage share one long job: `count(job)` units of work, which `run(context, job,
    first, stop)` does ahead, in batches of `batch`, so that the stage itself finds them done. What goes wrong ahead is
    left to the stage. share: of a set's cores, for the task that divides the jobs."""

    count: Callable[[Job], int]
    run: Callable[[WorkerContext, Job, int, int], None]
    batch: int
    share: float


def _always(_: Any) -> bool:
    return True


def _no_gpu(_: Demand) -> float:
    return 0.0


@dataclass(frozen=True)
class Stage:
    """One stage.

    name: in results, progress and time limits. per: what is one step: "job" (before it is cut into chunks), "chunk", or
    "output" (after all its parts are there). takes: class of the items that are its business, of which `wanted` may
    leave some out; all others pass it untouched. run: from the worker's context and such an item to

    - per job: a Job (with more in it), or pipeline.events.Prepared, which cuts it into chunks;
    - per chunk: a TrackedChunk, SynthesisedChunk or Part; a Part's file is published by the step;
    - per output: pipeline.events.Output.

    asked: does a run of these jobs need workers of this stage? share: of a set's cores that one worker books
    (pipeline.pools), other in runs that restore or upscale (finishing_share). all_cores: may its libraries run as many
    threads as a set has cores, or one? gpu: share of a GPU that one worker wants. actors: workers keep their state from
    item to item (else each item is a task of its own). limit: seconds that a step on an item may take. cost: core
    seconds of a job that asks for the stage, for estimates.
    """

    name: str
    per: Literal["job", "chunk", "output"]
    takes: type[Any]
    run: Callable[[WorkerContext, Any], Any]
    limit: Callable[[StepLimits, Any], float]
    cost: Callable[[Workload], float]
    share: float
    finishing_share: float | None = None
    all_cores: bool = False
    gpu: Callable[[Demand], float] = _no_gpu
    actors: bool = True
    wanted: Callable[[Any], bool] = _always
    asked: Callable[[Sequence[Job]], bool] = _always
    prefetch: Prefetch | None = None
