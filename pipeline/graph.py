"""Runs jobs on a Ray cluster: the datasets of pipeline.dataset, stitch tasks beside them, and what happens when nodes
come and go.

The driver hands out chunks: it gets those of all jobs from the dataset of jobs, keeps them in turns (pipeline.turns),
and gives each lane (pipeline.lanes) as many as keep its workers busy. It starts a job's stitch when its last part is
published, while other jobs are still being tracked.

Growth: nodes that no lane was planned for get a lane. Ray Data's own growing pools (2.60) grew late and unevenly.

Loss: Ray restarts actors elsewhere as far as they fit. Chunks that wait for one have their turn again. A lane whose
nodes are all gone, or that lost some and stands still, or that Ray gives up, ends; its other nodes get a new lane.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import ray

from raydub.errors import Code, StageError
from raydub.manifests.job import Job
from raydub.pipeline import lanes
from raydub.pipeline.attempts import Attempts
from raydub.pipeline.backlog import Backlog
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.dataset import chunks_dataset, jobs_dataset
from raydub.pipeline.events import Assembled, Failed, Item, Note
from raydub.pipeline.failures import stalled
from raydub.pipeline.feed import HELD_ROWS, Feed
from raydub.pipeline.lanes import Key, Lane
from raydub.pipeline.nodes import LivingNodes, free_now, nodes_now, store_used_mb
from raydub.pipeline.pools import Node, Pools, plan_pools
from raydub.pipeline.progress_actor import start_progress_actor
from raydub.pipeline.ray_errors import as_run_error, is_loss
from raydub.pipeline.registry import Stages, find
from raydub.pipeline.rows import Row, pack, unpack
from raydub.pipeline.running import Running
from raydub.pipeline.stitches import Stitches
from raydub.stages.types import Part

_log = logging.getLogger(__name__)
_TICK = 0.2
_LOOK_EVERY = 2.0
_SETTLE = 4.0  # until restarted workers of other lanes have taken what they get of a new node
_MOST_FAILURES, _LAST_SECONDS = 10, 5.0


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
    unless Ray blocks it. grow: use nodes that join; else only in place of others.
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
        grow: bool = True,
    ) -> None:
        self._settings = settings
        self._stages = stages
        self._pools = pools
        self._patience = patience or Patience()
        self._plan, self._may_grow = plan, grow
        self._clock, self._pulse = clock, pulse
        self._alive = LivingNodes(nodes_now)
        self._attempts = Attempts(settings.work_dir, settings.run_id)
        self._board = start_progress_actor()
        self._stitches = Stitches(settings, stages, self._board, self._patience.stall)
        self._rows: queue.Queue[tuple[Feed, dict[str, Any] | None]] = queue.Queue(HELD_ROWS)
        self._backlog = Backlog()
        self._planning: Running | None = None
        self._lanes: list[Lane] = []
        self._failures = 0
        self._nodes: Mapping[str, Node] = {}
        self._since: dict[str, float] = {}  # when each node was first seen
        self._planned_on: Mapping[str, Node] = {}
        self._moved = self._looked = self._weighed = self._planned = clock()
        self.store_peak_mb = 0.0
        """Peak use of the object stores in MiB, all nodes together."""

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """All items as they happen, in any order. Raises StageError STALLED, WORKER_LOST."""
        self._backlog = Backlog(jobs)
        self._moved = self._looked = self._clock()
        self._nodes = nodes_now()
        small = lanes.unused([], self._nodes)
        if len(small) < sum(node.cpus > 0 and not node.leaving for node in self._nodes.values()):
            _log.warning("nodes with one core are not used beside larger ones")
        try:
            self._start_planning()
            if small:
                self._start_lane(small, self._pools)
            while self._planning is not None or self._backlog or any(lane.flight for lane in self._lanes):
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
                lane.running.put([], last=True)
                lane.running.feed.join(_LAST_SECONDS)
        finally:
            self._end_datasets()

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Queue a job's stitch (thread-safe). The thread that follows the work starts it."""
        self._stitches.add(job, job_dir, parts)

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """Stitches that have ended since the last call; with `wait`, all of them."""
        self._stitches.start(self._pools, self._nodes)
        while self._stitches:
            ended = list(self._stitches.ended(_TICK if wait else 0))
            if ended:
                self._moved = self._clock()
                self._stitches.start(self._pools, self._nodes)
                yield from ended
            elif wait:
                self._check_stall()
            else:
                return

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
        self._stitches.cancel()

    def _took(self, feed: Feed, row: dict[str, Any] | None) -> Iterator[Item]:
        """Take a row of a dataset, or its end."""
        lane = next((lane for lane in self._lanes if lane.running.feed is feed), None)
        planning = self._planning is not None and self._planning.feed is feed
        if row is None:
            unfinished = lane is not None and bool(lane.flight)
            if lane is not None:
                self._end_lane(lane)
            if planning:
                self._end_planning()
            if feed.error is not None or unfinished:
                self._failed(feed.error)
            if planning and feed.error is not None:
                self._start_planning()
            return
        item = unpack(row)
        if lane is not None:
            lane.moved = self._clock()
            lane.flight.pop(lanes.key_of(item), None)
        elif planning:
            self._planned = self._clock()
            if not self._backlog.new(item):
                return
        if isinstance(item, Failed):
            self._backlog.give_up(item.job_id)
        yield item

    def _hand_out(self) -> None:
        """Give chunks to the lanes with the most room."""
        rows: dict[Lane, list[Row]] = {}
        room = {lane: lane.room(self._nodes) for lane in self._lanes}
        while self._backlog and any(left > 0 for left in room.values()):
            lane = max(room, key=room.__getitem__)
            chunk = self._backlog.take()
            assert chunk is not None
            if not lane.flight:
                lane.moved = self._clock()
            lane.flight[chunk.job_id, chunk.index] = chunk
            room[lane] -= 1
            rows.setdefault(lane, []).append(pack(chunk))
        for lane, some in rows.items():
            lane.running.put(some)

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
            message, hint = f"no answer from the cluster: {type(error).__name__}", "run again: finished parts are kept"
            raise StageError(Code.WORKER_LOST, message, hint=hint) from error
        for lane in list(self._lanes):
            lane.running.meet()
            lost = [name for name in lane.nodes if name not in self._nodes]
            late = bool(lane.flight) and now - lane.moved > self._patience.replan
            if len(lost) == len(lane.nodes) or (lost and late and not self._worked_on(lane)):
                _log.warning("%d of %d nodes were lost: their chunks are done again", len(lost), len(lane.nodes))
                self._end_lane(lane)
            elif lost:
                # Rows of restarting workers wait for them, even while the others of the lane go on.
                for chunk in lane.overdue(len(lost), now, self._patience.replan, partial(self._worked_on, lane)):
                    self._backlog.queue(chunk, again=True)
            elif lane.leaving(self._nodes):
                # Ray gives nothing to workers on such nodes: what they have not begun would wait for the nodes' end.
                lane.idle = 0 if self._worked_on(lane) else lane.idle + 1
                if not lane.flight or lane.idle > 1:
                    _log.warning("%d nodes are being drained, and have nothing left to do", len(lane.nodes))
                    self._end_lane(lane)
        late = self._planning is not None and now - self._planned > self._patience.replan
        lost_some = bool(set(self._planned_on) - set(self._nodes))
        if late and lost_some and not lanes.planned_on(find(self._stages), self._attempts, self._alive):
            _log.warning("nodes were lost while jobs were prepared: preparing the rest again")
            self._end_planning()
            self._start_planning()
        self._grow(now)

    def _grow(self, now: float) -> None:
        """Start a lane on nodes that have none, if there is work for it."""
        since = self._since = {name: self._since.get(name, now) for name in self._nodes}
        settle = min(_SETTLE, self._patience.replan)
        old = {name: node for name, node in self._nodes.items() if now - since[name] >= settle}
        if not self._backlog or not lanes.unused(self._lanes, old) or (self._lanes and not self._may_grow):
            return
        need_gpu = self._settings.device == "cuda" or any(lane.gpu for lane in self._lanes)
        late = {name for name in old if now - since[name] >= self._patience.replan}
        new = lanes.joined(self._lanes, old, free_now(), need_gpu, late)
        if new:
            _log.warning("%d more nodes get work", len(new))
            self._start_lane(new, self._plan(list(new.values()), self._backlog.size))
            self._pools = self._plan(list(self._nodes.values()), self._backlog.size)

    def _start_planning(self) -> None:
        """Start the dataset of jobs, with those whose plan or chunks are not all known."""
        jobs = self._backlog.unplanned()
        self._planned, self._planned_on = self._clock(), self._nodes
        if jobs:
            make = partial(jobs_dataset, jobs, self._settings, self._stages, self._pools, self._board)
            self._planning = Running(make, self._rows)

    def _end_planning(self) -> None:
        planning, self._planning = self._planning, None
        if planning is not None:
            planning.end()
            self._attempts.forgive(lambda record: lanes.of_job(find(self._stages), record))

    def _start_lane(self, nodes: Mapping[str, Node], pools: Pools) -> None:
        settings = replace(self._settings, nodes=len(self._nodes) or 1)
        running = Running(partial(chunks_dataset, settings, self._stages, pools, self._board), self._rows)
        stages = find(self._stages)
        gpu = any(pools[stage.name].gpus for stage in stages if stage.name in pools)
        self._lanes.append(Lane(nodes, lanes.window(pools, stages), running, self._clock(), gpu))

    def _end_lane(self, lane: Lane) -> None:
        """End a lane. Its chunks have their turn again, before others of their jobs."""
        self._lanes.remove(lane)
        self._since.update(dict.fromkeys(lane.nodes, self._clock()))
        lane.running.end()
        # That killed these workers, not their work.
        self._attempts.forgive(lambda record: lanes.works_on(lane, find(self._stages), record))
        for chunk in reversed(lane.flight.values()):
            self._backlog.queue(chunk, again=True)

    def _end_datasets(self) -> None:
        for lane in self._lanes:
            lane.running.feed.close(0.0)  # all at once
        self._end_planning()
        for lane in list(self._lanes):
            self._end_lane(lane)

    def _failed(self, error: BaseException | None) -> None:
        """A dataset has ended with an error, or without its source. Raises it, unless it is a loss, and not one of
        many."""
        self._failures += 1
        error = error or ray.exceptions.RayActorError()
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

    def _worked_on(self, lane: Lane) -> set[Key]:
        return lanes.worked_on(lane, find(self._stages), self._attempts, self._alive)
