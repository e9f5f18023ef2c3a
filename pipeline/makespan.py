"""How long orders take that workers take one after the other: a list schedule of what is left of a run.

The rules are those of pipeline.supervised: an idle worker takes a stitch first, then the first job's next order.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

MOST_ORDERS = 3000
"""Orders that are placed one by one; of more, several are placed as one."""


@dataclass
class Rest:
    """What is left of one job, in seconds of a worker. first: up to its plan, 0.0 if it has one; chunks, chunk: orders
    that no worker has, and what one takes; until: when the last of its orders that a worker has will be done, None
    without any; wait: until its chunks can begin, while a worker makes its plan; stitch: 0.0 if a worker has it."""

    first: float = 0.0
    chunks: int = 0
    chunk: float = 0.0
    stitch: float = 0.0
    until: float | None = None
    wait: float = 0.0

    @property
    def orders(self) -> int:
        """Orders that no worker has."""
        return (self.first > 0) + self.chunks + (self.stitch > 0)

    @property
    def seconds(self) -> float:
        """Work that no worker has."""
        return self.first + self.chunks * self.chunk + self.stitch


def makespan(free: Sequence[float], jobs: Sequence[Rest]) -> tuple[float, float]:
    """Seconds until the first worker has nothing left to do, and until all is done. free: seconds until each worker is
    free; jobs: in the order of their turns."""
    if not free:
        return 0.0, 0.0
    together = max(1, -(-sum(job.orders for job in jobs) // MOST_ORDERS))
    left = [-(-job.chunks // together) for job in jobs]
    each = [job.chunk * job.chunks / count if count else 0.0 for job, count in zip(jobs, left, strict=True)]
    until = [job.until or 0.0 for job in jobs]
    workers = list(free)
    heapq.heapify(workers)
    ready: list[tuple[int, int]] = []  # (0 for a stitch, else 1; job)
    later: list[tuple[float, int, int]] = []  # (when, 0 for a stitch, else 1; job)
    for number, job in enumerate(jobs):
        if job.first > 0:
            ready.append((1, number))
        elif job.chunks:
            later.append((job.wait, 1, number))
        elif job.stitch:
            later.append((until[number], 0, number))
    heapq.heapify(ready)
    heapq.heapify(later)
    planning = [job.first > 0 for job in jobs]
    end = max(free)
    while ready or later:
        now = heapq.heappop(workers)
        while later and later[0][0] <= now:
            _, kind, number = heapq.heappop(later)
            heapq.heappush(ready, (kind, number))
        if not ready:
            heapq.heappush(workers, later[0][0])
            continue
        kind, number = ready[0]
        job = jobs[number]
        if kind == 0:
            heapq.heappop(ready)
            done = now + job.stitch
        elif planning[number]:
            heapq.heappop(ready)
            planning[number], done = False, now + job.first
            heapq.heappush(later, (done, 1 if left[number] else 0, number))
        else:
            left[number] -= 1
            done = now + each[number]
            until[number] = max(until[number], done)
            if not left[number]:
                heapq.heappop(ready)
                if job.stitch:
                    heapq.heappush(later, (until[number], 0, number))
        end = max(end, done)
        heapq.heappush(workers, done)
    return min(workers), end
