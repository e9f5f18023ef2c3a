"""The Ray Data graph of pipeline.graph: jobs → speak → prepare (1:N) → track → lipsync → render. Speaking is a stage
of runs that have scripts or beds only: its actors keep speech engines running from one job to the next.

One chunk is one row is one block: the unit of scheduling, of loss and of retry. Rows hold crops and boxes, never
frames. Every row carries what became of it: a failing step yields a `Failed` row that passes the later stages
untouched, so one job's trouble never stops the run. No stage waits for another to end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Dataset, ExecutionResources, TaskPoolStrategy

from raydub.manifests.job import Job
from raydub.pipeline.board import BoardReporter
from raydub.pipeline.claims import this_worker
from raydub.pipeline.lazy import LazyToolbox, MakeToolbox
from raydub.pipeline.nodes import LivingNodes, this_node
from raydub.pipeline.pools import Pool, Pools
from raydub.pipeline.rows import Row, is_job, pack, pack_cues, pack_job, unpack, unpack_cues, unpack_job
from raydub.pipeline.steps import Steps, WorkSettings
from raydub.pipeline.threads import limit_threads
from raydub.stages.types import Part
from raydub.tts.ahead import script_length

STORE_MB_PER_NODE = 256
"""What the rows of a run may take of a node's object store: a row is about 7 MB, and a few wait between two stages."""
CUES_AT_ONCE = 24
"""Cues of a script that one worker speaks ahead at a time: a minute or two of speech."""
_STITCH_RETRIES = 10
# Ray's own bound: claims stop a deadly stitch after its second death, the rest is for lost nodes.


class StageWorker:
    """An actor of one stage. Networks load at the first row, so that a load that fails becomes that row's failure."""

    def __init__(self, stage: str, settings: WorkSettings, tools: MakeToolbox, board: Any, threads: int) -> None:
        limit_threads(threads)
        board.join.remote([ray.get_runtime_context().current_actor])
        self._stage = stage
        self._threads = threads
        self._steps = _steps(settings, tools, BoardReporter(board))

    def __call__(self, row: Row) -> Row:
        """One row in, one row out."""
        done = pack(self._steps.advance(self._stage, unpack(row)))
        limit_threads(self._threads)  # again, for libraries that this row was the first to import
        return done


class SpeakWorker:
    """An actor of the speak stage: one job in, the job with its speech out, or what became of it."""

    def __init__(self, settings: WorkSettings, tools: MakeToolbox, board: Any, threads: int) -> None:
        limit_threads(threads)
        board.join.remote([ray.get_runtime_context().current_actor])
        self._steps = _steps(settings, tools, BoardReporter(board))

    def __call__(self, row: Row) -> Row:
        """One row in, one row out."""
        ahead = unpack_cues(row)
        if ahead is not None:
            self._steps.rehearse(*ahead)
            return row
        made = self._steps.speak(unpack_job(row))
        return pack_job(made) if isinstance(made, Job) else pack(made)


def _cues(row: Row, batch: int) -> Iterator[Row]:
    """A job with a long script as rows that speak its cues ahead, in batches, then itself. The job does not wait for
    them: what is not spoken yet when its turn comes is spoken then."""
    job = unpack_job(row)
    count = script_length(job)
    if count > batch:
        for first in range(0, count, batch):
            yield pack_cues(job, first, min(first + batch, count))
    yield row


def _steps(settings: WorkSettings, tools: MakeToolbox, reporter: BoardReporter) -> Steps:
    """Steps in a worker of Ray's: killed with whatever hangs in it, and known by its node."""
    made = LazyToolbox(tools, settings)  # made inside a step, so that a failure there is a row
    return Steps(settings, made, reporter, worker=this_worker(this_node()), alive=LivingNodes())


def _prepare(row: Row, settings: WorkSettings, tools: MakeToolbox, board: Any) -> Iterator[Row]:
    limit_threads(1)
    if not is_job(row):
        if unpack_cues(row) is None:
            yield row
        return
    job = unpack_job(row)
    for item in _steps(settings, tools, BoardReporter(board)).prepare(job):
        yield pack(item)


@ray.remote(max_retries=_STITCH_RETRIES)
def stitch(job: Row, job_dir: str, parts: list[Row], settings: WorkSettings, tools: MakeToolbox, board: Any) -> Row:
    """The stitch of one job as a task of its own."""
    limit_threads(1)
    reporter = BoardReporter(board)
    found = [part for part in map(unpack, parts) if isinstance(part, Part)]
    done = pack(_steps(settings, tools, reporter).stitch(unpack_job(job), job_dir, found))
    reporter.flush()
    return done


def build(
    jobs: Sequence[Job],
    settings: WorkSettings,
    tools: MakeToolbox,
    pools: Pools,
    board: Any,
    *,
    nodes: int = 1,
) -> Dataset:
    """The dataset of a run; nothing is started yet. nodes: how many there are, each with an object store."""
    # Ray's types know neither functions with fn_kwargs nor callable classes for map.
    prepare: Any = _prepare
    worker: Any = StageWorker
    speaker: Any = SpeakWorker
    cues: Any = _cues
    shared = {"settings": settings, "tools": tools, "board": board}
    with _context(nodes):
        dataset: Dataset = ray.data.from_items([pack_job(job) for job in jobs], override_num_blocks=len(jobs))
        if pools.speak is not None:
            if pools.speak.size > 1:
                dataset = dataset.flat_map(
                    cues,
                    fn_kwargs={"batch": CUES_AT_ONCE},
                    compute=TaskPoolStrategy(size=1),
                    num_cpus=pools.cues_cpus,
                )
            dataset = dataset.map(
                speaker,
                fn_constructor_kwargs={"threads": pools.speak.threads, **shared},
                compute=ActorPoolStrategy(size=pools.speak.size),
                num_cpus=pools.speak.cpus,
            )
        dataset = dataset.flat_map(
            prepare,
            fn_kwargs=shared,
            compute=TaskPoolStrategy(size=max(1, pools.track.size)),
            num_cpus=pools.prepare_cpus,
        )
        for stage in ("track", "lipsync", "render"):
            pool: Pool = getattr(pools, stage)
            dataset = dataset.map(
                worker,
                fn_constructor_kwargs={"stage": stage, "threads": pool.threads, **shared},
                compute=ActorPoolStrategy(size=pool.size),
                num_cpus=pool.cpus,
                num_gpus=pool.gpus or None,
            )
        return dataset


def blocks(dataset: Dataset) -> Iterator[Any]:
    """The dataset's blocks as Arrow tables, each as soon as it is there. Whoever ends the iteration, by an exception in
    its thread too, ends Ray's execution of the dataset and its actors."""
    # Not iter_batches(): it reads ahead in a thread of its own, which nobody can end; after lost nodes the old actors
    # would then keep the CPUs that the next dataset needs.
    for bundle in dataset.iter_internal_ref_bundles():
        for reference in bundle.block_refs:
            yield ray.get(reference)


@contextmanager
def _context(nodes: int) -> Iterator[None]:
    """Ray Data settings of our graph; a dataset copies them when it is built."""
    context = DataContext.get_current()
    # They advise on memory and hanging tasks in the middle of our output; a slow chunk is no issue.
    detectors, context.issue_detectors_config.detectors = context.issue_detectors_config.detectors, []
    limits = context.execution_options.resource_limits
    store = STORE_MB_PER_NODE * max(1, nodes) << 20
    context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=store)
    wanted = {
        # Every row is a block of its own: a job's first chunk is being tracked while its last is still being planned.
        "target_max_block_size": 1,
        "target_min_block_size": 1,
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        # Ray's own guard knows blocks only, not a step of an hour that is under way: pipeline.graph watches instead.
        "execution_no_progress_timeout_s": -1,
    }
    before = {name: getattr(context, name) for name in wanted}
    for name, value in wanted.items():
        setattr(context, name, value)
    try:
        yield
    finally:
        context.issue_detectors_config.detectors = detectors
        context.execution_options.resource_limits = limits
        for name, value in before.items():
            setattr(context, name, value)
