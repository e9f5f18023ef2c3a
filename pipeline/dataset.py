"""The Ray Data graphs of pipeline.graph: one in which jobs pass the stages per job, the last of which cuts them into
chunks, and one for each group of nodes in which chunks pass the stages per chunk. Stages that no job of the run needs
are left out.

One chunk is one row and one block, the unit of scheduling, loss and retry. Rows contain crops and boxes, never frames.
A failing step yields a `Failed` row that passes the later stages unchanged, so that a failed job does not stop the run.
No stage waits for another to end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Dataset, TaskPoolStrategy

from raydub.logs import set_up_logging
from raydub.manifests.job import Job
from raydub.pipeline.attempts import this_worker
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Output
from raydub.pipeline.nodes import LivingNodes, this_node
from raydub.pipeline.pools import Pools
from raydub.pipeline.progress_actor import ActorReporter
from raydub.pipeline.registry import Stages, find
from raydub.pipeline.rows import Row, pack, pack_ahead, unpack, unpack_ahead
from raydub.pipeline.source import read
from raydub.pipeline.stage import Prefetch
from raydub.pipeline.steps import Steps
from raydub.pipeline.threads import limit_threads
from raydub.stages.types import Part

_STITCH_RETRIES = 10
# Retries for lost nodes. Attempts stop a stitch that kills its worker after the second death.


class StageWorker:
    """An actor of one stage. Networks are loaded at the first row, so that a failed load fails that row only."""

    def __init__(
        self, stage: str, settings: WorkSettings, stages: Stages, board: Any, threads: int, source: Any
    ) -> None:
        limit_threads(threads)
        source.join.remote([ray.get_runtime_context().current_actor])
        self._threads = threads
        self._steps = _steps(settings, stages, ActorReporter(board))
        self._stage = self._steps.named(stage)

    def __call__(self, row: Row) -> Row:
        """One row in, one row out."""
        ahead = unpack_ahead(row)
        if ahead is not None:
            self._steps.prefetch(self._stage, *ahead)
            return row
        [item] = self._steps.advance(self._stage, unpack(row))
        limit_threads(self._threads)  # again, for libraries that this row imported
        return pack(item)


def _stage_task(
    row: Row, stage: str, settings: WorkSettings, stages: Stages, board: Any, threads: int
) -> Iterator[Row]:
    """The same as a task, for stages without state. Consumes prefetch rows."""
    limit_threads(threads)
    if unpack_ahead(row) is None:
        steps = _steps(settings, stages, ActorReporter(board))
        yield from map(pack, steps.advance(steps.named(stage), unpack(row)))


def _divide(row: Row, prefetch: Prefetch) -> Iterator[Row]:
    """A long job as prefetch rows, in batches, followed by the job's own row. The job does not wait for them: it does
    itself what is not done yet."""
    job = unpack(row)
    count = prefetch.count(job) if isinstance(job, Job) else 0
    if isinstance(job, Job) and count > prefetch.batch:
        for first in range(0, count, prefetch.batch):
            yield pack_ahead(job, first, min(first + prefetch.batch, count))
    yield row


def _steps(settings: WorkSettings, stages: Stages, reporter: ActorReporter) -> Steps:
    """Steps for a Ray worker: with time limits, and its node in the records."""
    set_up_logging(settings.verbose, settings.log_format)
    return Steps(settings, stages, reporter, worker=this_worker(this_node()), alive=LivingNodes())


@ray.remote(max_retries=_STITCH_RETRIES)
def stitch(job: Row, job_dir: str, parts: list[Row], settings: WorkSettings, stages: Stages, board: Any) -> Row:
    """The stages per output of one job, as a Ray task."""
    limit_threads(1)
    reporter = ActorReporter(board)
    found, whole = [part for part in map(unpack, parts) if isinstance(part, Part)], unpack(job)
    assert isinstance(whole, Job)
    done = pack(_steps(settings, stages, reporter).finish(Output(whole, job_dir, found)))
    reporter.flush()
    return done


def jobs_dataset(
    jobs: Sequence[Job], settings: WorkSettings, stages: Stages, pools: Pools, board: Any, source: Any
) -> Dataset:
    """The dataset that makes plans and chunks of jobs, not started."""
    with _context():
        rows = ray.data.from_items([pack(job) for job in jobs], override_num_blocks=len(jobs))
        return _staged(rows, "job", settings, stages, pools, board, source, len(jobs))


def chunks_dataset(settings: WorkSettings, stages: Stages, pools: Pools, board: Any, source: Any) -> Dataset:
    """A dataset that makes parts of the chunks that are put into the source, not started."""
    hand: Any = read
    with _context():
        rows = ray.data.from_items([{"start": 0}]).flat_map(
            hand, fn_kwargs={"source": source}, compute=TaskPoolStrategy(size=1), num_cpus=0
        )
        return _staged(rows, "chunk", settings, stages, pools, board, source)


def _staged(
    dataset: Dataset,
    per: str,
    settings: WorkSettings,
    stages: Stages,
    pools: Pools,
    board: Any,
    source: Any,
    rows: int | None = None,
) -> Dataset:
    # Ray's type hints cover neither functions with fn_kwargs nor callable classes for map.
    worker: Any = StageWorker
    task: Any = _stage_task
    divide: Any = _divide
    for stage in find(stages):
        pool = pools.get(stage.name)
        if pool is None or stage.per != per:
            continue
        told = {"stage": stage.name, "settings": settings, "stages": stages, "board": board, "threads": pool.threads}
        if stage.prefetch is not None and pool.size > 1:
            dataset = dataset.flat_map(
                divide,
                fn_kwargs={"prefetch": stage.prefetch},
                compute=TaskPoolStrategy(size=1),
                num_cpus=pool.prefetch_cpus,
            )
        if stage.actors:
            dataset = dataset.map(
                worker,
                fn_constructor_kwargs={**told, "source": source},
                compute=ActorPoolStrategy(size=pool.size),
                num_cpus=pool.cpus,
                num_gpus=pool.gpus or None,
            )
        else:
            # Ray warns of more tasks than rows.
            size = pool.size if rows is None else min(pool.size, rows)
            dataset = dataset.flat_map(task, fn_kwargs=told, compute=TaskPoolStrategy(size=size), num_cpus=pool.cpus)
    return dataset


def blocks(dataset: Dataset) -> Iterator[Any]:
    """The dataset's blocks as Arrow tables, as they are produced. Ending the iteration, also by an exception in its
    thread, ends Ray's execution of the dataset and its actors."""
    # Not iter_batches(): it reads ahead in a thread that cannot be stopped; after lost nodes the old actors would keep
    # the CPUs that the next dataset needs.
    for bundle in dataset.iter_internal_ref_bundles():
        for reference in bundle.block_refs:
            yield ray.get(reference)


@contextmanager
def _context() -> Iterator[None]:
    """Ray Data settings of our graph; a dataset copies them when it is built."""
    context = DataContext.get_current()
    # They print advice on memory and hanging tasks into our output; slow chunks are normal here.
    detectors, context.issue_detectors_config.detectors = context.issue_detectors_config.detectors, []
    wanted = {
        # One block per row: a job's first chunk is tracked while its last is still being planned.
        "target_max_block_size": 1,
        "target_min_block_size": 1,
        # Ray would divide the cluster among our datasets, and starve one. Pools have the size that was planned, and
        # the driver limits the rows in flight.
        "op_resource_reservation_enabled": False,
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        # Ray's own check counts blocks only and would end a step of an hour; pipeline.graph checks instead.
        "execution_no_progress_timeout_s": -1,
    }
    before = {name: getattr(context, name) for name in wanted}
    for name, value in wanted.items():
        setattr(context, name, value)
    try:
        yield
    finally:
        context.issue_detectors_config.detectors = detectors
        for name, value in before.items():
            setattr(context, name, value)
