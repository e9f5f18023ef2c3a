"""Runs jobs on a Ray cluster: the dataset of pipeline.dataset, stitch tasks beside it, and recovery when nodes are
lost.

The driver starts a job's stitch when its last part is published, while other jobs are still being tracked. A dataset's
pools are planned for the nodes at its start. When nodes are lost, Ray restarts their actors elsewhere as far as they
fit; if there is no progress, or Ray gives up, a new dataset is planned for the remaining nodes and work.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray

from raydub.errors import Code, StageError
from raydub.manifests.job import Job
from raydub.pipeline.attempts import Attempts
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.dataset import blocks, build, stitch
from raydub.pipeline.events import Assembled, Failed, Item, Note, Planned
from raydub.pipeline.failures import failed, stalled
from raydub.pipeline.feed import Feed
from raydub.pipeline.nodes import LivingNodes, nodes_now, store_used_mb
from raydub.pipeline.pools import Node, Pools, plan_pools
from raydub.pipeline.progress_actor import end_workers, start_progress_actor
from raydub.pipeline.ray_errors import as_run_error, is_loss
from raydub.pipeline.registry import Stages, find
from raydub.pipeline.rows import Row, pack, unpack
from raydub.stages.types import Part

_log = logging.getLogger(__name__)
_TICK = 0.2
_LOOK_EVERY = 5.0
_MOST_DATASETS = 10


@dataclass(frozen=True)
class Patience:
    """Seconds without progress. stall: after which the run is stopped; replan: after lost nodes, after which a new
    dataset is planned for the others. A step within its own time limit (pipeline.limits) counts as progress: preparing
    a long film may take longer than `stall`."""

    stall: float = 1800.0
    replan: float = 30.0


class RayExecutor:
    """Runs jobs on the connected Ray cluster. See pipeline.driver.Executor.

    plan: plans the pools of a new dataset for the current nodes. pulse: called several times a second by the thread
    that follows the work, unless Ray blocks it.
    """

    def __init__(
        self,
        settings: WorkSettings,
        stages: Stages,
        pools: Pools,
        *,
        patience: Patience | None = None,
        plan: Callable[[Sequence[Node], int], Pools] = plan_pools,
        clock: Callable[[], float] = time.monotonic,
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._stages = stages
        self._ends = [stage.name for stage in find(stages) if stage.per == "output"]
        self._pools = pools
        self._patience = patience or Patience()
        self._plan = plan
        self._clock = clock
        self._pulse = pulse
        self._alive = LivingNodes(nodes_now)
        self._board = start_progress_actor()
        self._waiting: deque[tuple[Job, str, list[Row]]] = deque()
        self._running: dict[Any, Job] = {}
        self._feed: Feed | None = None
        self._left: dict[str, int | None] = {}  # remaining rows of each job; None before its plan is known
        self._nodes: Mapping[str, Node] = {}
        self._moved = self._looked = self._weighed = clock()
        self.store_peak_mb = 0.0
        """Peak use of the object stores in MiB, all nodes together."""

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """All items as they happen, in any order. Raises StageError STALLED, WORKER_LOST."""
        self._left = {job.id: None for job in jobs}
        for number in range(_MOST_DATASETS):
            open_jobs = [job for job in jobs if self._left.get(job.id, 1) != 0]
            try:
                yield from self._one_dataset(open_jobs)
                return
            except _NodesLost:
                _log.warning("nodes were lost and there is no progress: planning again for the remaining nodes")
            except Exception as error:
                if not is_loss(error) or number + 1 == _MOST_DATASETS:
                    raise as_run_error(error, "run", self._patience.stall) from error
                _log.warning("Ray ended the execution (%s): starting a new one", type(error).__name__)
            self._replan(len(open_jobs))

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Queue a job's stitch (thread-safe). The thread that follows the work starts it."""
        self._waiting.append((job, job_dir, [pack(part) for part in parts]))

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """Stitches that have ended since the last call; with `wait`, all of them."""
        self._start_stitches()
        while self._running:
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=_TICK if wait else 0)
            if not ready:
                if not wait:
                    return
                self._check_stall()
                continue
            self._moved = self._clock()
            job = self._running.pop(ready[0])
            self._start_stitches()
            try:
                item = unpack(ray.get(ready[0]))
            except Exception as error:
                item = failed(job.id, "stitch", as_run_error(error, "stitch", self._patience.stall), line=job.line)
            if isinstance(item, (Assembled, Failed)):
                yield item

    def notes(self) -> list[Note]:
        """Progress of the workers since the last call; [] if the progress actor does not answer."""
        try:
            notes: list[Note] = ray.get(self._board.drain.remote(), timeout=5)
            if self._clock() - self._weighed > 1.0:
                self._weighed = self._clock()
                self.store_peak_mb = max(self.store_peak_mb, store_used_mb())
        except Exception:
            return []
        if notes:
            self._moved = self._clock()
        return notes

    def close(self) -> None:
        """Cancel in-flight work: the dataset's execution and the stitches. Never raises; takes a few seconds."""
        self._end_dataset()
        self._waiting.clear()
        for reference in list(self._running):
            try:
                ray.cancel(reference, force=True)
            except Exception:
                _log.debug("a stitch could not be cancelled", exc_info=True)
        self._running.clear()

    def _one_dataset(self, jobs: Sequence[Job]) -> Iterator[Item]:
        self._nodes = nodes_now()
        self._moved = self._looked = self._clock()
        dataset = build(
            jobs,
            replace(self._settings, nodes=max(1, sum(node.cpus > 0 for node in self._nodes.values()))),
            self._stages,
            self._pools,
            self._board,
            nodes=len(self._nodes),
        )
        self._feed = feed = Feed(lambda: blocks(dataset))
        try:
            while not feed.ended:
                row = feed.get(_TICK)
                if row is None:
                    self._look()
                    yield from self.assembled(wait=False)
                    continue
                self._moved = self._clock()
                item = unpack(row)
                self._count(item)
                yield item
        finally:
            self._end_dataset()

    def _end_dataset(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None
            # Also those of a lost node: Ray would restart them on CPUs that the next dataset needs.
            end_workers(self._board)

    def _count(self, item: Item) -> None:
        """Count the remaining rows, in case a new dataset is needed."""
        if isinstance(item, Planned) and self._left.get(item.job_id) is None:
            self._left[item.job_id] = item.n_chunks if item.finished is None else 0
        elif isinstance(item, Failed):
            self._left[item.job_id] = 0
        elif isinstance(item, Part):
            left = self._left.get(item.chunk.job_id)
            self._left[item.chunk.job_id] = None if left is None else max(0, left - 1)

    def _look(self) -> None:
        """Check for progress, and whether the nodes are still those that the pools were planned for."""
        self._check_stall()
        now = self._clock()
        if now - self._moved > self._patience.replan and now - self._looked > min(_LOOK_EVERY, self._patience.replan):
            self._looked = now
            living = nodes_now()
            if set(self._nodes) - set(living) and self._enough(living) and not self._somebody_works():
                raise _NodesLost

    def _check_stall(self) -> None:
        self._pulse()
        if self._clock() - self._moved <= self._patience.stall:
            return
        if not self._somebody_works():
            raise stalled(self._patience.stall)
        self._moved = self._clock() - self._patience.stall + min(_LOOK_EVERY, self._patience.stall)

    def _somebody_works(self) -> bool:
        return Attempts(self._settings.work_dir, self._settings.run_id).somebody_works(self._alive)

    def _replan(self, jobs: int) -> None:
        living = self._wait_for_nodes()
        # Ending the dataset killed these workers, not their work.
        Attempts(self._settings.work_dir, self._settings.run_id).forgive()
        self._pools = self._plan(list(living.values()), jobs)

    def _wait_for_nodes(self) -> Mapping[str, Node]:
        """Wait for enough living nodes and return them. Raises StageError STALLED, WORKER_LOST."""
        while True:
            self._check_stall()
            try:
                living = nodes_now()
            except Exception as error:
                message = f"no answer from the cluster: {type(error).__name__}"
                raise StageError(Code.WORKER_LOST, message, hint="run again: finished parts are kept") from error
            if self._enough(living):
                return living
            time.sleep(1.0)

    def _enough(self, living: Mapping[str, Node]) -> bool:
        """Whether there is a usable node, with device "cuda" one with a GPU."""
        usable = [node for node in living.values() if node.cpus > 0]
        return any(node.gpus >= 1 for node in usable) if self._settings.device == "cuda" else bool(usable)

    def _start_stitches(self) -> None:
        # One task runs all stages per output of a job, so it reserves the sum of their CPUs.
        pools = [self._pools[name] for name in self._ends]
        while self._waiting and len(self._running) < max(pool.size for pool in pools):
            job, job_dir, parts = self._waiting.popleft()
            task = stitch.options(num_cpus=sum(pool.cpus for pool in pools))
            reference = task.remote(pack(job), job_dir, parts, self._settings, self._stages, self._board)
            self._running[reference] = job


class _NodesLost(Exception):
    """Nodes were lost and there is no progress."""
