"""The Ray Data graph: jobs → prepare (1:N) → track → lipsync → render, and stitch tasks beside it.

One chunk is one row is one block: the unit of scheduling, of loss and of retry. Rows hold crops and boxes, never
frames. Every row carries what became of it: a failing step yields a `Failed` row that passes the later stages
untouched, so one job's trouble never stops the run. No stage waits for another to end: the driver sees a job's last
part as it is published and has it stitched while other jobs are still being tracked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Dataset, TaskPoolStrategy

from manifests.job import Job
from pipeline.board import BoardReporter, start_board
from pipeline.events import Assembled, Failed, Item, Note
from pipeline.failures import failed
from pipeline.pools import Pool, Pools
from pipeline.rows import Row, pack, pack_job, unpack, unpack_job
from pipeline.steps import Steps, Toolbox, WorkSettings
from pipeline.threads import limit_threads
from stages.types import Part

MakeToolbox = Callable[[WorkSettings], Toolbox]
# A stitch copies packets and encodes one audio track: two at a time keep up with any cluster's rendering.
_STITCHES_AT_ONCE = 2


class StageWorker:
    """An actor of one stage. Networks load at the first row, so that a load that fails becomes that row's failure."""

    def __init__(self, stage: str, settings: WorkSettings, tools: MakeToolbox, board: Any, threads: int) -> None:
        limit_threads(threads)
        self._stage = stage
        self._threads = threads
        self._steps = Steps(settings, tools(settings), BoardReporter(board))

    def __call__(self, row: Row) -> Row:
        """One row in, one row out."""
        done = pack(self._steps.advance(self._stage, unpack(row)))
        limit_threads(self._threads)  # again, for libraries that this row was the first to import
        return done


def _prepare(row: Row, settings: WorkSettings, tools: MakeToolbox, board: Any) -> Iterator[Row]:
    limit_threads(1)
    job = unpack_job(row)
    for item in Steps(settings, tools(settings), BoardReporter(board)).prepare(job):
        yield pack(item)


@ray.remote(num_cpus=0)
def _stitch(job: Row, job_dir: str, parts: list[Row], settings: WorkSettings, tools: MakeToolbox, board: Any) -> Row:
    limit_threads(1)
    reporter = BoardReporter(board)
    found = [part for part in map(unpack, parts) if isinstance(part, Part)]
    done = pack(Steps(settings, tools(settings), reporter).stitch(unpack_job(job), job_dir, found))
    reporter.flush()
    return done


@contextmanager
def _quiet_context() -> Iterator[None]:
    """Ray Data settings of our graph; a dataset copies them when it is built."""
    context = DataContext.get_current()
    # They advise on memory and hanging tasks in the middle of our output; a slow chunk is no issue.
    detectors, context.issue_detectors_config.detectors = context.issue_detectors_config.detectors, []
    wanted = {
        # Every row is a block of its own: a job's first chunk is being tracked while its last is still being planned.
        "target_max_block_size": 1,
        "target_min_block_size": 1,
        "enable_progress_bars": False,
        "print_on_execution_start": False,
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


class RayExecutor:
    """Runs jobs on the connected Ray cluster. See pipeline.driver.Executor."""

    def __init__(self, settings: WorkSettings, tools: MakeToolbox, pools: Pools) -> None:
        self._settings = settings
        self._tools = tools
        self._pools = pools
        self._board = start_board()
        self._waiting: deque[tuple[Job, str, list[Row]]] = deque()
        self._running: dict[Any, Job] = {}

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """Everything that happens, as it happens, in no order."""
        with _quiet_context():
            dataset = self._graph(jobs)
            # Whole blocks and no prefetching: iter_rows() holds a row back until the next block is there.
            blocks: Any = dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow")
            for block in blocks:
                for row in block.to_pylist():
                    yield unpack(row)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Queue a job's stitch."""
        self._waiting.append((job, job_dir, [pack(part) for part in parts]))
        self._start_stitches()

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """Stitches that ended since the last call; with `wait`, all of them."""
        while self._running:
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=None if wait else 0)
            if not ready:
                return
            job = self._running.pop(ready[0])
            self._start_stitches()
            try:
                item = unpack(ray.get(ready[0]))
            except Exception as error:
                item = failed(job.id, "stitch", error, line=job.line)
            if isinstance(item, (Assembled, Failed)):
                yield item

    def notes(self) -> list[Note]:
        """Progress of the workers since the last call; [] when the board does not answer."""
        try:
            notes: list[Note] = ray.get(self._board.drain.remote(), timeout=5)
        except Exception:
            return []
        return notes

    def _graph(self, jobs: Sequence[Job]) -> Dataset:
        # Ray's types know neither functions with fn_kwargs nor callable classes for map.
        prepare: Any = _prepare
        worker: Any = StageWorker
        shared = {"settings": self._settings, "tools": self._tools, "board": self._board}
        dataset: Dataset = ray.data.from_items([pack_job(job) for job in jobs], override_num_blocks=len(jobs))
        dataset = dataset.flat_map(
            prepare,
            fn_kwargs=shared,
            compute=TaskPoolStrategy(size=max(1, self._pools.track.size)),
            num_cpus=self._pools.prepare_cpus,
        )
        for stage in ("track", "lipsync", "render"):
            pool: Pool = getattr(self._pools, stage)
            dataset = dataset.map(
                worker,
                fn_constructor_kwargs={"stage": stage, "threads": pool.threads, **shared},
                compute=ActorPoolStrategy(size=pool.size),
                num_cpus=pool.cpus,
                num_gpus=pool.gpus or None,
            )
        return dataset

    def _start_stitches(self) -> None:
        while self._waiting and len(self._running) < _STITCHES_AT_ONCE:
            job, job_dir, parts = self._waiting.popleft()
            reference = _stitch.remote(pack_job(job), job_dir, parts, self._settings, self._tools, self._board)
            self._running[reference] = job
