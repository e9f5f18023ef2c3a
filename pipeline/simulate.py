"""A discrete-event simulation of a run: real jobs, chunks and worker pools, with costs in place of work.

It is pure and deterministic. Workers of a node share its cores (pipeline.shared_cores), those of a GPU share that. On
Ray each stage has its pool of workers, each with at most two items in flight; a stage waits while the next one has four
items ready for each of its workers; a job's stitch starts with its last part. Jobs are prepared by priority, and their
chunks have turns (pipeline.turns). Without Ray each worker process takes stitches first, then what has its turn: a job
or a chunk (pipeline.supervised). Not simulated: transfers, disks, faults, Ray's own processes.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from raydub.pipeline.costs import Start
from raydub.pipeline.pools import Pool, Pools
from raydub.pipeline.registry import STAGES
from raydub.pipeline.shared_cores import SharedCores
from raydub.pipeline.simulated import Host, InTurn, Item, JobWork, Step, Worker, WorkerPool
from raydub.pipeline.stage import Stage

IN_FLIGHT = 2
_READY = 4  # Ray Data's back-pressure: as many again may wait for a stage as are in flight there
_SPARES = 3  # as in pipeline.supervised


@dataclass(frozen=True)
class Outcome:
    """seconds: until the command ends; ended: until each job's output is published; parts: chunks made; workers: number
    by stage; busy: share of the time that a stage's workers work; cores_busy, gpus_busy: share of the time that they
    are busy, None without GPUs. Shares are 0 to 1."""

    seconds: float
    ended: Mapping[str, float]
    parts: int
    workers: Mapping[str, int]
    busy: Mapping[str, float]
    cores_busy: float
    gpus_busy: float | None


def simulate(
    jobs: Sequence[JobWork],
    hosts: Sequence[Host],
    pools: Pools | int,
    *,
    start: Start | None = None,
    efficiency: float = 1.0,
    stages: Sequence[Stage] = STAGES,
) -> Outcome:
    """Run `jobs` on `hosts` with the worker pools of Ray, or with this number of worker processes without Ray on the
    first host."""
    return _Simulation(jobs, hosts, start or Start(), efficiency).run(pools, stages)


class _Simulation:
    def __init__(self, jobs: Sequence[JobWork], hosts: Sequence[Host], start: Start, efficiency: float) -> None:
        self._jobs, self._hosts, self._start = jobs, hosts, start
        self._cores = [SharedCores(host.cpus, efficiency) for host in hosts]
        self._gpus = [[SharedCores(1.0) for _ in range(host.gpus)] for host in hosts]
        self._left = [job.chunks for job in jobs]
        self._ended: dict[str, float] = {}
        self._parts = 0
        self._route: list[tuple[WorkerPool, int, Sequence[str]]] = []  # pool, its lane, stages of the step
        self._last_job = self._last_chunk = 0  # steps of the route
        self._events: list[tuple[float, int, SharedCores, int]] = []
        self._number = 0
        self._now = 0.0
        self._touched: list[SharedCores] = []
        self._steps: dict[tuple[int, str, str | None, bool], Step] = {}
        self._per_item = 0.0

    def run(self, pools: Pools | int, stages: Sequence[Stage]) -> Outcome:
        names = {per: [one.name for one in stages if one.per == per] for per in ("job", "chunk", "output")}
        if isinstance(pools, int):
            self._now = self._start.local
            self._without_ray(pools, names)
        else:
            self._now, self._per_item = self._start.ray, self._start.item
            self._on_ray(pools, names, {one.name for one in stages if one.actors})
        self._enter_jobs()
        self._settle()
        while self._events:
            now, _, cores, version = heapq.heappop(self._events)
            if cores.version != version:
                continue
            self._now = now
            waiting = cores.pop(now)
            self._touch(cores)
            waiting[0] -= 1
            if not waiting[0]:
                self._step_done(waiting[1])
            self._settle()
        return self._outcome()

    # Workers

    def _without_ray(self, workers: int, names: Mapping[str, Sequence[str]]) -> None:
        lanes = (deque[Item](), InTurn(self._jobs))
        pool = WorkerPool("worker", 1, max(1, int(self._hosts[0].cpus) // workers), lanes)
        self._route = [(pool, 1, names["job"]), (pool, 1, names["chunk"]), (pool, 0, names["output"])]
        self._last_chunk = 1
        first = min(len(self._jobs), workers)
        # More than there are steps never start.
        for number in range(min(workers, len(self._jobs) + sum(self._left))):
            worker = Worker(pool, self._cores[0], None, None, self._start.worker)
            pool.add(worker)
            if first <= number < first + _SPARES:
                self._begin_worker(worker)

    def _on_ray(self, pools: Pools, names: Mapping[str, Sequence[str]], actors: set[str]) -> None:
        free = [[host.cpus, float(host.gpus)] for host in self._hosts]
        cards = [[1.0] * host.gpus for host in self._hosts]
        steps = [[name] for per in ("job", "chunk") for name in names[per] if name in pools]
        steps.append([name for name in names["output"] if name in pools])
        self._last_job = sum(name in pools for name in names["job"]) - 1
        self._last_chunk = len(steps) - 2
        for number, step in enumerate(steps):
            plan, stays = pools[step[0]], step[0] in actors
            first_of_chunks = number == self._last_job + 1
            lanes = [InTurn(self._jobs)] if first_of_chunks and number <= self._last_chunk else None
            pool = WorkerPool(step[0], IN_FLIGHT if stays else 1, plan.threads, lanes)
            for place in self._places(plan, free):
                gpu = None
                if plan.gpus:
                    card = cards[place].index(max(cards[place]))
                    cards[place][card] -= plan.gpus
                    gpu = self._gpus[place][card]
                kind = self._hosts[place].gpu if gpu else None
                worker = Worker(pool, self._cores[place], gpu, kind, self._start.worker)
                pool.add(worker)
                if stays:
                    self._begin_worker(worker)
            if self._last_job + 1 < number <= self._last_chunk:
                pool.before, self._route[-1][0].after = self._route[-1][0], pool
                pool.most_ready = _READY * len(pool.workers)
            self._route.append((pool, 0, step))

    def _places(self, plan: Pool, free: list[list[float]]) -> Iterator[int]:
        """Nodes of a pool's workers: Ray spreads them, one to each node in turn, as far as it has room."""
        count = 0
        while count < plan.size:
            before = count
            for place, left in enumerate(free):
                if count < plan.size and left[0] >= plan.cpus - 1e-9 and left[1] >= plan.gpus - 1e-9:
                    left[0], left[1], count = left[0] - plan.cpus, left[1] - plan.gpus, count + 1
                    yield place
            if count == before:
                # Tasks that wait for room in turn share the node that has the most of it.
                place = max(range(len(free)), key=lambda one: (free[one][1] >= plan.gpus, free[one][0], -one))
                free[place][0], count = free[place][0] - plan.cpus, count + 1
                yield place

    def _begin_worker(self, worker: Worker) -> None:
        if worker.debt > 0:
            worker.working, seconds, worker.debt = True, worker.debt, 0.0
            self._work(worker, Step(seconds, 1.0, 0.0))

    # Events

    def _touch(self, cores: SharedCores) -> None:
        if not cores.touched:
            cores.touched = True
            self._touched.append(cores)

    def _settle(self) -> None:
        """Enter the next end of each machine whose tasks have changed."""
        for cores in self._touched:
            cores.touched = False
            cores.version += 1
            end = cores.next_end()
            if end is not None:
                self._number += 1
                heapq.heappush(self._events, (end, self._number, cores, cores.version))
        self._touched.clear()

    def _work(self, worker: Worker, step: Step) -> None:
        gpu = worker.gpu if step.gpu > 0 else None
        waiting = [1 if gpu is None else 2, worker]
        self._number += 1
        worker.cores.add(self._now, self._number, step.seconds, step.cores, waiting)
        self._touch(worker.cores)
        if gpu is not None:
            gpu.add(self._now, self._number, step.gpu, 1.0, waiting)
            self._touch(gpu)

    def _step_done(self, worker: Worker) -> None:
        worker.working = False
        if worker.stage:
            self._go_on(worker)
        elif worker.queue:
            self._begin(worker)

    def _begin(self, worker: Worker) -> None:
        """Begin with the first item of a worker."""
        worker.since, worker.stage = self._now, 0
        pool = worker.pool
        pool.ready -= 1
        self._go_on(worker)
        if pool.before is not None:
            self._offer(pool.before)

    def _go_on(self, worker: Worker) -> None:
        """Start the next stage of the worker's item, or end the item."""
        item = worker.queue[0]
        job, names = self._jobs[item[0]], self._route[item[2]][2]
        while worker.stage < len(names):
            name = names[worker.stage]
            worker.stage += 1
            if name in job.loads:
                step = self._step(worker, item, name)
                once, worker.debt = worker.debt, 0.0
                if name not in worker.known:
                    worker.known.add(name)
                    once += job.loads[name].load
                worker.working = True
                self._work(worker, step.after(once) if once else step)
                return
        worker.stage = 0
        worker.queue.popleft()
        worker.busy += self._now - worker.since
        worker.pool.note(worker)
        if worker.queue:
            self._begin(worker)
        self._leave(item)
        self._offer(worker.pool)

    def _step(self, worker: Worker, item: Item, name: str) -> Step:
        job = self._jobs[item[0]]
        key = (item[0], name, worker.kind, item[1] == job.chunks - 1)
        if key not in self._steps:
            load = job.loads[name].scaled(job.last) if key[3] else job.loads[name]
            self._steps[key] = load.step(worker.kind, worker.pool.threads).after(self._per_item)
        return self._steps[key]

    def _enter_jobs(self) -> None:
        """All jobs wait at once, those of the highest priority first."""
        pool, lane, _ = self._route[0]
        for number in sorted(range(len(self._jobs)), key=lambda one: -self._jobs[one].priority):
            pool.lanes[lane].extend([(number, -1, 0)])
            pool.ready += 1
        self._offer(pool)

    def _enter(self, *items: Item) -> None:
        """Items of one job, for the same step."""
        pool, lane, _ = self._route[items[0][2]]
        pool.lanes[lane].extend(items)
        pool.ready += len(items)
        self._offer(pool)

    def _offer(self, pool: WorkerPool) -> None:
        for worker in pool.offers():
            if not worker.working and len(worker.queue) == 1:
                self._begin(worker)

    def _leave(self, item: Item) -> None:
        """An item has passed a step: what comes next."""
        job, chunk, step = item
        if chunk < 0 and step == self._last_job:
            self._enter(*((job, number, step + 1) for number in range(self._jobs[job].chunks)))
        elif step == self._last_chunk:
            self._left[job] -= 1
            self._parts += 1
            if not self._left[job]:
                self._enter((job, -1, step + 1))
        elif step + 1 < len(self._route):
            self._enter((job, chunk, step + 1))
        else:
            self._ended[self._jobs[job].id] = self._now

    def _outcome(self) -> Outcome:
        whole = self._now + self._start.end
        pools = list(dict.fromkeys(pool for pool, _, _ in self._route))
        gpus = [gpu for host in self._gpus for gpu in host]
        return Outcome(
            whole,
            self._ended,
            self._parts,
            {pool.name: len(pool.workers) for pool in pools},
            {pool.name: sum(one.busy for one in pool.workers) / len(pool.workers) / whole for pool in pools},
            sum(one.busy for one in self._cores) / sum(host.cpus for host in self._hosts) / whole,
            sum(one.busy for one in gpus) / len(gpus) / whole if gpus else None,
        )
