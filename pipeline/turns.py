"""Whose turn it is: jobs of one run share its workers, so that short jobs do not wait for long ones to end.

Jobs of about one length form a lane: up to SHORT items, twice as many, four times, and so on. A job whose length is not
known yet counts as short. Lanes take turns; in a lane the job of the highest priority comes first, and of equal ones
the one that was added first. So equal jobs end one after the other, as in a queue, and each of L lanes gets at least
1/L of the turns while it has work. The priority of a lane's first job is the lane's weight: ten more double its turns.

This is start-time fair queueing (Goyal, Vin and Cheng 1996) with items of unit cost. No clock, no chance: the same
calls give the same order.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

SHORT = 16
"""Items of a short job: with chunks of 10 s, less than three minutes."""

T = TypeVar("T")


def lane_of(size: int) -> int:
    """The lane of a job of so many items: 0 up to SHORT, then one more for each doubling."""
    return ((max(size, 1) - 1) // SHORT).bit_length()


def weight(priority: int) -> float:
    """Turns of a lane relative to one of priority 0."""
    return float(2.0 ** (priority / 10))


@dataclass(eq=False)
class _Job(Generic[T]):
    order: int
    priority: int = 0
    lane: int = 0
    items: deque[T] = field(default_factory=deque)

    def __lt__(self, other: _Job[T]) -> bool:
        return (-self.priority, self.order) < (-other.priority, other.order)


class Turns(Generic[T]):
    """Items of jobs, given out one by one. len(): items that wait."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job[T]] = {}
        self._lanes: dict[int, list[_Job[T]]] = {}  # jobs with items, the next one first
        self._start: dict[int, float] = {}  # virtual time at which the lane's next item begins
        self._now = 0.0
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(
        self, name: str, items: Iterable[T], *, priority: int = 0, size: int | None = None, first: bool = False
    ) -> None:
        """Add items of the job `name`, after those that it has, or before them (`first`). size: of the whole job in
        items, which decides its lane; None: as before, or not known."""
        job = self._jobs.setdefault(name, _Job(len(self._jobs)))
        place = priority, job.lane if size is None else lane_of(size)
        # A job that has items and stays where it is keeps its place: finding it costs a search of the lane.
        stays = bool(job.items) and place == (job.priority, job.lane)
        if not stays:
            self._leave(job)
        job.priority, job.lane = place
        new = list(items)
        if first:
            job.items.extendleft(reversed(new))
        else:
            job.items.extend(new)
        self._waiting += len(new)
        if job.items and not stays:
            lane = self._lanes.setdefault(job.lane, [])
            if not lane:
                # A lane that had nothing to do has saved no turns.
                self._start[job.lane] = max(self._start.get(job.lane, 0.0), self._now)
            insort(lane, job)

    def take(self) -> T | None:
        """The next item; None if none waits."""
        if not self._lanes:
            return None
        number = min(self._lanes, key=lambda lane: (self._start[lane], lane))
        job = self._lanes[number][0]
        self._now = self._start[number]
        self._start[number] += 1 / weight(job.priority)
        item = job.items.popleft()
        self._waiting -= 1
        if not job.items:
            self._leave(job, known=True)
        return item

    def drop(self, name: str) -> None:
        """Forget the waiting items of a job."""
        job = self._jobs.get(name)
        if job is not None:
            self._leave(job)
            self._waiting -= len(job.items)
            job.items.clear()

    def _leave(self, job: _Job[T], *, known: bool = False) -> None:
        lane = self._lanes.get(job.lane, [])
        if known or job.items:
            lane.remove(job)
            if not lane:
                del self._lanes[job.lane]
