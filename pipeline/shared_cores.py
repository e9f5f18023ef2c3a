"""Processor sharing, for pipeline.simulate: tasks that run at the same time on one machine slow each other down."""

from __future__ import annotations

import heapq
from typing import Any


class SharedCores:
    """The cores of a node, or one GPU (cores=1). Each task keeps some of them busy for some seconds if it is alone; if
    they want more together than there is, all of them become slower by the same factor.

    Half of the cores are full ones. The others add so much that all cores together do `efficiency` of their number:
    hyper-threads of one core share its units. A task's end is a fixed point on a common clock that runs at the rate of
    all tasks (virtual time), so that an event costs a heap operation, however many there are."""

    __slots__ = (
        "_clock",
        "_demand",
        "_ends",
        "_full",
        "_last",
        "_more",
        "_rate",
        "busy",
        "cores",
        "touched",
        "version",
    )

    def __init__(self, cores: float, efficiency: float = 1.0) -> None:
        self.cores = cores
        self._full = cores / 2
        self._more = max(0.0, 2 * efficiency - 1)
        self._clock = self._last = self._demand = 0.0
        self._rate = 1.0
        self._ends: list[tuple[float, int, float, Any]] = []
        self.version = 0
        self.touched = False
        self.busy = 0.0
        """Seconds times busy cores so far."""

    def throughput(self, demand: float) -> float:
        """Core seconds done per second if tasks want `demand` cores."""
        if demand <= self._full:
            return demand
        return self._full + (min(demand, self.cores) - self._full) * self._more

    def add(self, now: float, number: int, seconds: float, demand: float, task: Any) -> None:
        """Start a task. seconds: that it takes alone; demand: cores that it keeps busy. number: breaks ties."""
        self._pass(now)
        wanted = min(demand, self.cores)
        heapq.heappush(self._ends, (self._clock + seconds * demand / wanted, number, wanted, task))
        self._demand += wanted
        self._settle()

    def pop(self, now: float) -> Any:
        """End the next task and return it."""
        self._pass(now)
        _, _, wanted, task = heapq.heappop(self._ends)
        self._demand = self._demand - wanted if self._ends else 0.0
        self._settle()
        return task

    def next_end(self) -> float | None:
        """When the next task ends if none is added before; None without tasks."""
        return self._last + max(0.0, self._ends[0][0] - self._clock) / self._rate if self._ends else None

    def _pass(self, now: float) -> None:
        passed = now - self._last
        if passed > 0:
            self._clock += passed * self._rate
            self.busy += passed * min(self._demand, self.cores)
            self._last = now

    def _settle(self) -> None:
        self._rate = self.throughput(self._demand) / self._demand if self._demand > 0 else 1.0
