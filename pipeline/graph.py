"""Runs jobs on a Ray cluster: the datasets of pipeline.dataset, stitch tasks beside them, and what happens when nodes
come and go.

The driver hands out chunks: it gets those of all jobs from the dataset of jobs, keeps them in turns (pipeline.turns),
and gives each lane (pipeline.lanes) as many as keep its workers busy. It starts a job's stitch when its last part is
published, while other jobs are still being tracked.

Growth: nodes that no lane was planned for get a lane of their own. Ray Data's growing pools were measured instead (Ray
2.60, bench/NOTES.md): its shares of CPUs per operator let one pool of three grow, 17 s after a node had joined.

Loss: Ray restarts actors elsewhere as far as they fit. A lane whose nodes are all gone, or that lost some and makes no
progress, or whose dataset Ray gives up, ends; its chunks have their turn again, and its other nodes get a new lane.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from raydub.errors import Code, StageError
from raydub.manifests.job import Job
from raydub.pipeline.attempts import Attempts
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.dataset import JOBS, blocks, chunks_dataset, jobs_dataset, stitch
from raydub.pipeline.events import Assembled, Dropped, Failed, Item, Note, Planned
from raydub.pipeline.failures import failed, stalled
from raydub.pipeline.feed import HELD_ROWS, Feed
from raydub.pipeline.lanes import Key, Lane, joined, unused, window, works_on
from raydub.pipeline.nodes import LivingNodes, free_now, nodes_now, rather_stay, store_used_mb
from raydub.pipeline.pools import Node, Pools, plan_pools
from raydub.pipeline.progress_actor import start_progress_actor
from raydub.pipeline.ray_errors import as_run_error, is_loss
from raydub.pipeline.registry import Stages, find
from raydub.pipeline.rows import Row, pack, unpack
from raydub.pipeline.source import end_workers, start_source
from raydub.pipeline.turns import Turns
from raydub.stages.types import Chunk, Part

_log = logging.getLogger(__name__)
_TICK = 0.2
_LOOK_EVERY = 2.0
_SETTLE = 4.0  # until restarted workers of other lanes have taken what they get of a new node
_MOST_FAILURES = 10
_LAST_SECONDS = 5.0


@dataclass(frozen=True)
class Patience:
    """Seconds without progress. stall: after which the run is stopped; replan: after lost nodes, after which a lane
    ends. A step within its own time limit (pipeline.limits) counts as progress: preparing a long film may take longer
    than `stall`."""

    stall: float = 1800.0
    replan: float = 30.0


class RayExecutor:
    """Runs jobs on the connected Ray cluster. See pipeline.driver.Executor.

    plan: plans the pools for some nodes. pulse: called several times a second by the thread that follows the work,
    unless Ray blocks it.
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
        self._attempts = Attempts(settings.work_dir, settings.run_id)
        self._board = start_progress_actor()
        self._source = start_source()
        self._waiting: deque[tuple[Job, str, list[Row]]] = deque()
        self._running: dict[Any, Job] = {}
        self._rows: queue.Queue[tuple[Feed, dict[str, Any] | None]] = queue.Queue(HELD_ROWS)
        self._jobs: dict[str, Job] = {}
        self._seen: dict[str, set[int]] = {}  # chunks of each planned job that came out of the dataset of jobs
        self._chunks: dict[str, int] = {}  # how many it has
        self._turns: Turns[Chunk] = Turns()
        self._planning: Feed | None = None
        self._lanes: list[Lane] = []
        self._lane_count = self._failures = 0
        self._nodes: Mapping[str, Node] = {}
        self._since: dict[str, float] = {}  # when each node was first seen
        self._planned_on: Mapping[str, Node] = {}
        self._moved = self._looked = self._weighed = self._planned = clock()
        self.store_peak_mb = 0.0
        """Peak use of the object stores in MiB, all nodes together."""

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """All items as they happen, in any order. Raises StageError STALLED, WORKER_LOST."""
        self._jobs = {job.id: job for job in sorted(jobs, key=lambda job: -job.options.priority)}
        self._moved = self._looked = self._clock()
        self._nodes = nodes_now()
        small = unused([], self._nodes)
        if len(small) < sum(node.cpus > 0 and not node.leaving for node in self._nodes.values()):
            _log.warning("nodes with one core are not used beside larger ones")
        try:
            self._start_planning()
            if small:
                self._start_lane(small, self._pools)
            while self._planning is not None or self._turns or any(lane.flight for lane in self._lanes):
                self._hand_out()
                try:
                    feed, row = self._rows.get(timeout=_TICK)
                except queue.Empty:
                    yield from self.assembled(wait=False)
                else:
                    self._moved = self._clock()
                    yield from self._took(feed, row)
                self._look()
            for lane in self._lanes:
                self._source.put.remote(lane.number, [], True)
            for lane in self._lanes:
                lane.feed.join(_LAST_SECONDS)
        finally:
            self._end_datasets()

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
        """Cancel in-flight work: the datasets' executions and the stitches. Never raises; takes a few seconds."""
        self._end_datasets()
        self._waiting.clear()
        for reference in list(self._running):
            try:
                ray.cancel(reference, force=True)
            except Exception:
                _log.debug("a stitch could not be cancelled", exc_info=True)
        self._running.clear()

    def _took(self, feed: Feed, row: dict[str, Any] | None) -> Iterator[Item]:
        """Take a row of a dataset, or its end."""
        lane = next((lane for lane in self._lanes if lane.feed is feed), None)
        if row is None:
            if lane is not None:
                self._end_lane(lane)
            elif feed is self._planning:
                self._end_planning()
            if feed.error is not None:
                self._failed(feed.error)
                self._start_planning()
            return
        item = unpack(row)
        if lane is not None:
            lane.moved = self._clock()
            key = _key(item)
            if key is not None:
                lane.flight.pop(key, None)
        elif feed is self._planning:
            self._planned = self._clock()
            if isinstance(item, (Chunk, Part)) and not self._is_new(item):
                return
        if isinstance(item, Chunk):
            self._queue(item)
            return
        if isinstance(item, Planned):
            self._seen.setdefault(item.job_id, set())
            known = self._chunks.get(item.job_id, item.n_chunks)
            self._chunks[item.job_id] = known if item.finished is None else 0
        elif isinstance(item, Failed):
            self._turns.drop(item.job_id)
            self._seen[item.job_id], self._chunks[item.job_id] = set(), 0
        yield item

    def _is_new(self, item: Chunk | Part) -> bool:
        """Whether a chunk of the dataset of jobs is the first of its kind, and of a job that has not failed."""
        chunk = item if isinstance(item, Chunk) else item.chunk
        seen = self._seen.setdefault(chunk.job_id, set())
        new = chunk.index not in seen and self._chunks.get(chunk.job_id) != 0
        seen.add(chunk.index)
        return new

    def _queue(self, chunk: Chunk, *, again: bool = False) -> None:
        priority = self._jobs[chunk.job_id].options.priority
        self._turns.add(chunk.job_id, [chunk], priority=priority, size=chunk.n_chunks, first=again)

    def _hand_out(self) -> None:
        """Give chunks to the lanes with the most room."""
        rows: dict[int, list[Row]] = {}
        room = {lane.number: lane.room(self._nodes) for lane in self._lanes}
        while self._turns and any(left > 0 for left in room.values()):
            lane = max(self._lanes, key=lambda lane: room[lane.number])
            chunk = self._turns.take()
            assert chunk is not None
            if not lane.flight:
                lane.moved = self._clock()
            lane.flight[chunk.job_id, chunk.index] = chunk
            room[lane.number] -= 1
            rows.setdefault(lane.number, []).append(pack(chunk))
        for number, some in rows.items():
            self._source.put.remote(number, some, False)

    def _look(self) -> None:
        """Check for progress, for lost nodes, and for new ones."""
        self._check_stall()
        now = self._clock()
        if now - self._looked < min(_LOOK_EVERY, self._patience.replan):
            return
        self._looked = now
        try:
            self._nodes = nodes_now()
        except Exception as error:
            message = f"no answer from the cluster: {type(error).__name__}"
            raise StageError(Code.WORKER_LOST, message, hint="run again: finished parts are kept") from error
        for lane in list(self._lanes):
            lost = [name for name in lane.nodes if name not in self._nodes]
            late = bool(lane.flight) and now - lane.moved > self._patience.replan
            if len(lost) == len(lane.nodes) or (lost and late and not self._works(lane)):
                _log.warning("%d of %d nodes were lost: their chunks are done again", len(lost), len(lane.nodes))
                self._end_lane(lane)
            elif not lane.flight and lane.room(self._nodes) <= 0:
                _log.info("%d nodes that are being drained have nothing left to do", len(lane.nodes))
                self._end_lane(lane)
        late = self._planning is not None and now - self._planned > self._patience.replan
        if late and set(self._planned_on) - set(self._nodes) and not self._plans():
            _log.warning("nodes were lost while jobs were prepared: preparing the rest again")
            self._end_planning()
            self._start_planning()
        self._grow(now)

    def _grow(self, now: float) -> None:
        """Start a lane on nodes that have none, if there is work for it."""
        self._since = {name: self._since.get(name, now) for name in self._nodes}
        settle = min(_SETTLE, self._patience.replan) if self._lanes else 0.0
        old = {name: node for name, node in self._nodes.items() if now - self._since[name] >= settle}
        if not self._turns or not unused(self._lanes, old):
            return
        need_gpu = self._settings.device == "cuda" or any(lane.gpu for lane in self._lanes)
        new = joined(self._lanes, old, free_now(), need_gpu)
        if new:
            _log.info("%d more nodes get work", len(new))
            self._start_lane(new, self._plan(list(new.values()), len(self._jobs)))
            self._pools = self._plan(list(self._nodes.values()), len(self._jobs))

    def _start_planning(self) -> None:
        """Start the dataset of jobs, with those whose plan or chunks are not all known."""
        jobs = [
            job
            for name, job in self._jobs.items()
            if name not in self._chunks or len(self._seen[name]) < self._chunks[name]
        ]
        self._planned, self._planned_on = self._clock(), self._nodes
        if jobs:
            dataset = jobs_dataset(jobs, self._settings, self._stages, self._pools, self._board, self._source)
            self._planning = Feed(lambda: blocks(dataset), self._rows)

    def _end_planning(self) -> None:
        if self._planning is not None:
            self._planning.close()
            self._planning = None
            end_workers(self._source, JOBS)
            self._attempts.forgive(self._of_jobs)

    def _start_lane(self, nodes: Mapping[str, Node], pools: Pools) -> None:
        self._lane_count += 1
        number = self._lane_count
        dataset = chunks_dataset(self._settings, self._stages, pools, self._board, self._source, number)
        feed = Feed(lambda: blocks(dataset), self._rows)
        stages = find(self._stages)
        gpu = any(pools[stage.name].gpus for stage in stages if stage.name in pools)
        self._lanes.append(Lane(number, nodes, window(pools, stages), feed, self._clock(), gpu))

    def _end_lane(self, lane: Lane) -> None:
        """End a lane. Its chunks have their turn again, before others of their jobs."""
        self._lanes.remove(lane)
        lane.feed.close()
        # Also those of lost nodes: Ray would restart them on CPUs that other lanes need.
        end_workers(self._source, lane.number)
        # That killed these workers, not their work.
        self._attempts.forgive(lambda record: works_on(lane, find(self._stages), record))
        for chunk in reversed(lane.flight.values()):
            if self._chunks.get(chunk.job_id):
                self._queue(chunk, again=True)

    def _end_datasets(self) -> None:
        self._turns = Turns()
        self._end_planning()
        for lane in list(self._lanes):
            self._end_lane(lane)

    def _failed(self, error: BaseException) -> None:
        """A dataset has ended with an error. Raises it, unless it is a loss, and not one of many."""
        self._failures += 1
        if not is_loss(error) or self._failures == _MOST_FAILURES:
            raise as_run_error(error, "run", self._patience.stall) from error
        _log.warning("Ray ended the execution (%s): starting a new one", type(error).__name__)

    def _check_stall(self) -> None:
        self._pulse()
        if self._clock() - self._moved <= self._patience.stall:
            return
        if not self._attempts.somebody_works(self._alive):
            raise stalled(self._patience.stall)
        self._moved = self._clock() - self._patience.stall + min(_LOOK_EVERY, self._patience.stall)

    def _works(self, lane: Lane) -> bool:
        """Whether somebody works on a chunk of this lane."""
        stages = find(self._stages)
        return self._attempts.somebody_works(lambda record: works_on(lane, stages, record) and self._alive(record))

    def _plans(self) -> bool:
        """Whether somebody works on a job's stages."""
        return self._attempts.somebody_works(lambda record: self._of_jobs(record) and self._alive(record))

    def _of_jobs(self, record: Mapping[str, Any]) -> bool:
        stage = str(record.get("work")).partition(".")[0]
        return any(one.name == stage and one.per == "job" for one in find(self._stages))

    def _start_stitches(self) -> None:
        # One task runs all stages per output of a job, so it reserves the sum of their CPUs.
        pools = [self._pools[name] for name in self._ends]
        while self._waiting and len(self._running) < max(pool.size for pool in pools):
            job, job_dir, parts = self._waiting.popleft()
            task = stitch.options(num_cpus=sum(pool.cpus for pool in pools), **rather_stay(self._nodes))
            reference = task.remote(pack(job), job_dir, parts, self._settings, self._stages, self._board)
            self._running[reference] = job


def _key(item: Item) -> Key | None:
    """Job and chunk of what came out of a lane."""
    if isinstance(item, Part):
        return item.chunk.job_id, item.chunk.index
    if isinstance(item, (Dropped, Failed)) and item.chunk is not None:
        return item.job_id, item.chunk
    return None
