"""The remaining time: of worlds whose end is known, because they are simulated here."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.pipeline.events import Note
from raydub.pipeline.expected import PER
from raydub.pipeline.makespan import MOST_ORDERS, Rest, makespan
from raydub.pipeline.outlook import Outlook
from raydub.pipeline.rates import Rates
from raydub.pipeline.tally import Tally

WORK = {"prepare": 1.0, "track": 4.0, "lipsync": 1.0, "render": 8.0, "stitch": 0.5}
"""Seconds by the table, of a job of 100 frames."""


class World:
    """A run without Ray on two workers that take `slow` times what the table says, with a second of noise in ten. Each
    event is told to the outlook at its time; `told` has (time, seconds that it says are left)."""

    def __init__(self, jobs: Mapping[str, int], chunks: int, slow: Mapping[str, float], foreseen: bool) -> None:
        self.now = 0.0
        self.outlook = Outlook(lambda: self.now)
        self.outlook.expect(jobs)
        self.outlook.workers = 2
        self.told: list[tuple[float, float | None]] = []
        self._frames, self._chunks, self._slow = jobs, chunks, slow
        self._random, self._unplanned = random.Random(7), len(jobs)
        if foreseen:
            for name, frames in jobs.items():
                self.outlook.foresee(name, frames, chunks, self._work(name))
        self._run()

    def _work(self, name: str) -> dict[str, float]:
        return {stage: seconds * self._frames[name] / 100 for stage, seconds in WORK.items()}

    def _run(self) -> None:
        orders: list[tuple[str, str, int]] = [(name, "job", 0) for name in self._frames]
        left = dict.fromkeys(self._frames, self._chunks)
        busy: list[tuple[float, int, Iterator[tuple[float, tuple[str, str, int] | None]]]] = []
        idle = [1, 2]
        while orders or busy:
            while orders and idle:
                pid = idle.pop(0)
                heapq.heappush(busy, (self.now, pid, self._order(pid, *orders.pop(0))))
            at, pid, order = heapq.heappop(busy)
            self.now = at
            seconds, ended = next(order)
            if ended is None:
                heapq.heappush(busy, (self.now + seconds, pid, order))
            else:
                idle.append(pid)
                name, kind, _ = ended
                if kind == "job":
                    self._unplanned -= 1
                    self.outlook.plan(name, self._frames[name], self._chunks, self._work(name))
                    orders[:0] = [(name, "chunk", index) for index in range(self._chunks)]
                elif kind == "chunk":
                    left[name] -= 1
                    if not left[name]:
                        orders.insert(0, (name, "output", 0))
                else:
                    self.outlook.end(name)
            self.told.append((self.now, self.outlook.left(self._unplanned).seconds))

    def _order(self, pid: int, name: str, kind: str, chunk: int) -> Iterator[tuple[float, tuple[str, str, int] | None]]:
        frames = self._frames[name] // self._chunks if kind == "chunk" else 0
        for stage in (stage for stage in WORK if PER[stage] == kind):
            seconds = self._work(name)[stage] * self._slow.get(stage, 1.0) * self._random.uniform(0.9, 1.1)
            seconds /= self._chunks if kind == "chunk" else 1
            index = chunk if kind == "chunk" else None
            for part in range(4):
                self._tell(stage, name, frames * part // 4, 0.0, pid, index, False)
                yield seconds / 4, None
            self._tell(stage, name, frames, seconds, pid, index, True)
        yield 0.0, (name, kind, chunk)

    def _tell(self, stage: str, name: str, frames: int, took: float, pid: int, chunk: int | None, done: bool) -> None:
        self.outlook.note(Note(stage, name, frames, took, pid, "here", 1.0, done, chunk))


@pytest.mark.parametrize(
    ("jobs", "chunks", "slow"),
    [
        ({"film": 4000}, 13, {}),
        ({"film": 4000}, 13, {"track": 3.0, "render": 0.5, "lipsync": 2.0}),
        ({f"job {number}": 60 + 37 * number % 200 for number in range(12)}, 2, {"prepare": 2.5, "render": 1.7}),
        ({"long": 3000, **{f"short {number}": 80 for number in range(6)}}, 5, {"track": 0.4}),
    ],
)
def test_the_remaining_time_is_true_from_the_half_on(jobs: dict[str, int], chunks: int, slow: dict[str, float]) -> None:
    world = World(jobs, chunks, slow, foreseen=True)
    end = world.now
    checked = 0
    for at, told in world.told:
        if end / 2 <= at <= 0.9 * end:
            assert told is not None
            assert told == pytest.approx(end - at, rel=0.2), (at, told, end)
            checked += 1
    assert checked > 10


def test_without_foresight_jobs_are_taken_to_be_like_the_others() -> None:
    world = World({f"job {number}": 100 for number in range(20)}, 2, {"render": 2.0}, foreseen=False)
    halves = [(told, world.now - at) for at, told in world.told if world.now / 2 <= at <= 0.9 * world.now]
    assert all(told == pytest.approx(left, rel=0.2) for told, left in halves)


def test_what_is_told_before_the_plan_counts() -> None:
    """On Ray notes are faster than items."""
    now = 0.0
    outlook = Outlook(lambda: now)
    outlook.note(Note("prepare", "a", 100, 1.0, 1, "h", 1.0))
    outlook.note(Note("track", "a", 50, 2.0, 2, "h", 1.0, chunk=0))
    assert outlook.left(1).seconds is None
    outlook.plan("a", 100, 2, WORK)
    left = outlook.left(0)
    assert left.stages["track"] == pytest.approx(0.5)
    assert left.jobs["a"] == pytest.approx((1 + 2) / sum(WORK.values()), rel=0.4)
    assert left.seconds is not None


def test_on_ray_the_busiest_stage_decides() -> None:
    outlook = Outlook(lambda: 0.0)
    outlook.plan("a", 1000, 10, {stage: 10 * seconds for stage, seconds in WORK.items()})
    for stage, pid in (("track", 1), ("lipsync", 2), ("render", 3)):
        outlook.note(Note(stage, "a", 100, WORK[stage], pid, "h", 1.0, chunk=0))
    # 72 s of rendering by one worker, then the stitch; not (36 + 9 + 72 + 5) / 3.
    assert outlook.left(0).seconds == pytest.approx(72 + 5, rel=0.05)
    outlook.note(Note("render", "a", 0, 0.0, 4, "other", 1.0, done=False, chunk=1, attempt=1))
    seconds = outlook.left(0).seconds
    assert seconds is not None
    assert seconds == pytest.approx(36 + 1 + 8 + 5, rel=0.2)  # of tracking now


def test_work_that_is_there_is_not_waited_for_and_failures_neither() -> None:
    outlook = Outlook(lambda: 0.0)
    for name in "ab":
        outlook.plan(name, 100, 2, WORK)
    outlook.note(Note("track", "a", 50, 2.0, 1, "h", 1.0, chunk=0))
    before = outlook.left(0).seconds
    outlook.part("b", 50, reused=True)
    after = outlook.left(0).seconds
    outlook.note(Note("render", "b", 0, 9.0, 1, "h", 1.0, chunk=1, code="E_STORAGE"))
    assert outlook.left(0).seconds == after
    outlook.end("b")
    assert before is not None
    assert after is not None
    assert before > after > (outlook.left(0).seconds or 0.0)
    outlook.end("a")
    assert outlook.left(0).seconds is None


def test_a_chunk_whose_worker_died_is_worked_on_once() -> None:
    now = [0.0]
    outlook = Outlook(lambda: now[0])
    outlook.plan("a", 100, 2, WORK)
    for pid in (1, 2):
        outlook.note(Note("track", "a", 0, 0.0, pid, "h", 1.0, done=False, chunk=0, attempt=pid))
    assert outlook.working() == {"track": 1}


@given(
    st.lists(st.floats(0, 50), min_size=1, max_size=5),
    st.lists(
        st.builds(
            Rest,
            first=st.floats(0, 20),
            chunks=st.integers(0, 20),
            chunk=st.floats(0.1, 10),
            stitch=st.floats(0, 9),
            until=st.none() | st.floats(0, 50),
            wait=st.floats(0, 50),
        ),
        max_size=8,
    ),
)
def test_a_schedule_is_within_its_bounds(free: list[float], jobs: list[Rest]) -> None:
    """No schedule beats all workers busy or the longest way; no list schedule waits for more than all of both."""
    idle, end = makespan(free, jobs)
    assert 0 <= idle <= end
    work = sum(job.seconds for job in jobs)
    assert end >= max(free) - 1e-9
    assert end * len(free) >= sum(free) + work - 1e-6
    ways = [job.first + (job.chunk if job.chunks else 0.0) + job.stitch for job in jobs]
    assert end >= max(ways, default=0.0) - 1e-9
    latest = max([*free, *(job.until or 0.0 for job in jobs), *(job.wait for job in jobs)])
    assert end <= latest + work + 1e-6


def test_many_orders_take_milliseconds_and_change_little() -> None:
    free = [0.0] * 8
    jobs = [Rest(chunks=400, chunk=3.0, stitch=1.0) for _ in range(100)]
    start = time.process_time()
    _, end = makespan(free, jobs)
    assert time.process_time() - start < 1.0
    assert sum(job.orders for job in jobs) > MOST_ORDERS
    assert end == pytest.approx((100 * 400 * 3.0 + 100) / 8, rel=0.02)


def test_rates_follow_a_change_and_trust_a_job_that_is_different() -> None:
    rates = Rates()
    assert rates.factor("a", "track") == 1.0
    for _ in range(20):
        rates.took("a", "track", 1.0, 2.0)
    assert rates.factor("b", "track") == pytest.approx(2.0, rel=0.01)
    assert 1.0 < rates.factor("b", "render") < 2.0  # the machine may be slow
    for _ in range(40):
        rates.took("b", "track", 1.0, 4.0)
    assert rates.factor("c", "track") == pytest.approx(4.0, rel=0.1)
    assert rates.factor("a", "track") < 2.2
    rates.took("d", "stitch", 0.0, 5.0)  # nothing is known of it
    rates.forget("a")
    assert rates.factor("a", "track") == pytest.approx(rates.factor("c", "track"))
    rates.running([("e", "lipsync", 0.5, 3.0), ("e", "lipsync", 0.5, 3.0)])
    assert rates.factor("e", "lipsync") == pytest.approx(6.0, rel=0.2)  # before the first step has ended


def test_the_outlook_of_ten_thousand_jobs_is_quick() -> None:
    tally = Tally(10_000)
    tally.expect([f"{number}" for number in range(10_000)])
    for number in range(2000):
        tally.plan(f"{number}", 100, 2, WORK)
    tally.note(Note("track", "0", 50, 2.0, 1, "h", 1.0, chunk=0))
    start = time.process_time()
    for _ in range(50):
        assert tally.eta() is not None
    assert time.process_time() - start < 2.0
