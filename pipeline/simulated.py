"""What pipeline.simulate simulates: nodes, the loads of jobs, and workers with their queues."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from raydub.pipeline.shared_cores import SharedCores
from raydub.pipeline.turns import Turns


@dataclass(frozen=True)
class Host:
    """A node. gpu: type of its GPUs."""

    cpus: float
    gpus: int = 0
    gpu: str = ""


@dataclass(frozen=True)
class Load:
    """What an item costs in a stage. cpu: core seconds without networks, on `threads` cores on average; network: core
    seconds of networks where no GPU does them; gpu: their seconds on each type of GPU; load: core seconds once in each
    worker."""

    cpu: float
    threads: float = 1.0
    network: float = 0.0
    gpu: Mapping[str, float] = field(default_factory=dict)
    load: float = 0.0

    def scaled(self, factor: float) -> Load:
        """The load of a longer or shorter item."""
        gpu = {name: seconds * factor for name, seconds in self.gpu.items()}
        return replace(self, cpu=self.cpu * factor, network=self.network * factor, gpu=gpu)

    def step(self, kind: str | None, threads: int) -> Step:
        """The step of a worker whose networks run on a GPU of this type, or, None, on `threads` cores."""
        if kind is not None and kind in self.gpu:
            return Step(self.cpu / self.threads, self.threads, self.gpu[kind])
        seconds = self.cpu / self.threads + self.network / threads
        return Step(seconds, (self.cpu + self.network) / seconds if seconds else 1.0, 0.0)


@dataclass(frozen=True)
class Step:
    """seconds: on cores, undisturbed; cores: kept busy in this time; gpu: seconds on a GPU, at the same time."""

    seconds: float
    cores: float
    gpu: float

    def after(self, seconds: float) -> Step:
        """The step with something on one core before it."""
        whole = self.seconds + seconds
        return Step(whole, (self.seconds * self.cores + seconds) / whole if whole else 1.0, self.gpu)


@dataclass(frozen=True)
class JobWork:
    """A job. loads: by stage, for stages per chunk of a full chunk; chunks: their number, at least 1; last: length of
    the last one over the others', above 0 and at most 1; priority: as in a manifest."""

    id: str
    loads: Mapping[str, Load]
    chunks: int
    last: float = 1.0
    priority: int = 0


Item = tuple[int, int, int]  # job, chunk (-1: the job), step of the route


class Line(Protocol):
    """Items that wait."""

    def extend(self, items: Iterable[Item], /) -> None:
        """Add items of one job."""
        ...

    def popleft(self) -> Item:
        """Take the next one."""
        ...

    def __len__(self) -> int: ...


class InTurn:
    """A line in the order of pipeline.turns. A job that is not cut yet counts as short, as in a run."""

    def __init__(self, jobs: Sequence[JobWork]) -> None:
        self._jobs = jobs
        self._turns: Turns[Item] = Turns()

    def extend(self, items: Iterable[Item], /) -> None:
        """See Line."""
        new = list(items)
        number, chunk, _ = new[0]
        job = self._jobs[number]
        self._turns.add(str(number), new, priority=job.priority, size=None if chunk < 0 else job.chunks)

    def popleft(self) -> Item:
        """See Line."""
        item = self._turns.take()
        assert item is not None
        return item

    def __len__(self) -> int:
        return len(self._turns)


class Worker:
    """A worker. known: stages that it has loaded; debt: core seconds of its start, if it has not begun."""

    __slots__ = (
        "busy",
        "cores",
        "debt",
        "gpu",
        "kind",
        "known",
        "number",
        "pool",
        "queue",
        "since",
        "stage",
        "working",
    )

    def __init__(
        self, pool: WorkerPool, cores: SharedCores, gpu: SharedCores | None, kind: str | None, debt: float
    ) -> None:
        self.pool, self.cores, self.gpu, self.kind = pool, cores, gpu, kind
        self.debt = debt  # core seconds of its start, if it has not begun
        self.number = len(pool.workers)
        self.queue: deque[Item] = deque()  # in flight; the first is worked on
        self.known: set[str] = set()  # stages that it has loaded
        self.working = False
        self.stage = 0  # the next one of its item
        self.busy = self.since = 0.0


class WorkerPool:
    """The workers of a stage. flight: most items of each; lanes: waiting items, those of the first lane first; ready:
    items that wait, also for a worker that has them; most_ready: as many of them stop the stage before."""

    def __init__(self, name: str, flight: int, threads: int, lanes: Sequence[Line] | None = None) -> None:
        self.name, self.flight, self.threads = name, flight, threads
        self.workers: list[Worker] = []
        self.lanes: Sequence[Line] = lanes if lanes is not None else (deque[Item](),)
        self.open: list[list[int]] = [[] for _ in range(flight)]  # workers by items in flight; some entries are old
        self.ready = 0  # items that wait, also for a worker that has them
        self.most_ready: float = float("inf")
        self.before: WorkerPool | None = None
        self.after: WorkerPool | None = None

    def add(self, worker: Worker) -> None:
        heapq.heappush(self.open[0], worker.number)
        self.workers.append(worker)

    def offers(self) -> Iterator[Worker]:
        """Give waiting items to the workers with the fewest, and yield each."""
        while any(self.lanes) and (self.after is None or self.after.ready < self.after.most_ready):
            worker = self.free()
            if worker is None:
                return
            worker.queue.append(next(lane for lane in self.lanes if lane).popleft())
            self.note(worker)
            yield worker

    def note(self, worker: Worker) -> None:
        """Note that the number of items of a worker has changed."""
        if len(worker.queue) < self.flight:
            heapq.heappush(self.open[len(worker.queue)], worker.number)

    def free(self) -> Worker | None:
        for count, known in enumerate(self.open):
            while known:
                worker = self.workers[heapq.heappop(known)]
                if len(worker.queue) == count:
                    return worker
        return None
