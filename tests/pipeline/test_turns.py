"""Whose turn it is: all items once, in order within a job, and no lane far behind another."""

from __future__ import annotations

import time
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from raydub.pipeline.turns import SHORT, Turns, lane_of, weight

JOBS = st.lists(st.tuples(st.integers(1, 150), st.integers(-100, 100) | st.just(0)), min_size=1, max_size=12)


def made(jobs: Sequence[tuple[int, int]]) -> Turns[tuple[int, int]]:
    turns: Turns[tuple[int, int]] = Turns()
    for number, (size, priority) in enumerate(jobs):
        turns.add(str(number), [(number, index) for index in range(size)], priority=priority, size=size)
    return turns


def taken(turns: Turns[tuple[int, int]]) -> list[tuple[int, int]]:
    found = []
    while (item := turns.take()) is not None:
        found.append(item)
    assert len(turns) == 0
    return found


@given(JOBS)
def test_every_item_once_and_in_order(jobs: list[tuple[int, int]]) -> None:
    turns = made(jobs)
    assert len(turns) == sum(size for size, _ in jobs)
    found = taken(turns)
    for number, (size, _) in enumerate(jobs):
        assert [index for job, index in found if job == number] == list(range(size))
    assert len(found) == sum(size for size, _ in jobs)
    assert found == taken(made(jobs))


@given(JOBS)
def test_in_a_lane_by_priority_then_as_added(jobs: list[tuple[int, int]]) -> None:
    ends = {job: place for place, (job, _) in enumerate(taken(made(jobs)))}
    for first, (size, priority) in enumerate(jobs):
        for second, (other, less) in enumerate(jobs):
            if lane_of(size) == lane_of(other) and (-priority, first) < (-less, second):
                assert ends[first] < ends[second]


@given(JOBS)
def test_no_lane_is_more_than_a_turn_behind_its_share(jobs: list[tuple[int, int]]) -> None:
    """Between two lanes that both have work, the turns by weight differ by at most one turn of each. Here a lane has
    one priority, so that its weight is constant."""
    jobs = [(size, 7 * lane_of(size)) for size, _ in jobs]
    left: dict[int, int] = {}
    for size, _ in jobs:
        left[lane_of(size)] = left.get(lane_of(size), 0) + size
    share = {lane: weight(7 * lane) for lane in left}
    served = dict.fromkeys(left, 0)
    for job, _ in taken(made(jobs)):
        lane = lane_of(jobs[job][0])
        served[lane], left[lane] = served[lane] + 1, left[lane] - 1
        working = [lane for lane in left if left[lane]]
        for one in working:
            for other in working:
                lag = served[one] / share[one] - served[other] / share[other]
                assert abs(lag) <= 1 / share[one] + 1 / share[other] + 1e-6


def test_chunks_of_many_jobs_are_added_one_by_one_at_once() -> None:
    """As a run adds them. A search of the lane for each of them, by comparing jobs, would take a minute."""
    turns: Turns[tuple[int, int]] = Turns()
    begin = time.process_time()
    for number in range(2000):
        for index in range(SHORT):
            turns.add(str(number), [(number, index)], size=SHORT)
    assert time.process_time() - begin < 2.0
    assert taken(turns) == [(number, index) for number in range(2000) for index in range(SHORT)]


@given(st.integers(1, 30), st.integers(1, SHORT), st.integers(200, 4000))
def test_short_jobs_wait_for_half_the_turns_at_most(clips: int, chunks: int, film: int) -> None:
    found = taken(made([(film, 0), *[(chunks, 0)] * clips]))
    last = max(place for place, (job, _) in enumerate(found) if job > 0)
    assert last + 1 <= 2 * clips * chunks + 1


@given(st.integers(1, 30), st.integers(1, SHORT))
def test_a_high_priority_leaves_little_to_the_others(clips: int, chunks: int) -> None:
    found = taken(made([(3600, 0), *[(chunks, 100)] * clips]))
    last = max(place for place, (job, _) in enumerate(found) if job > 0)
    assert last + 1 <= clips * chunks + 1


@given(st.lists(st.sampled_from(["add", "back", "drop", "take"]), max_size=60), st.randoms(use_true_random=False))
def test_whatever_is_called_nothing_is_lost_or_doubled(calls: list[str], chance: object) -> None:
    """Against a plain account of what waits."""
    pick = chance.choice  # type: ignore[attr-defined]
    turns: Turns[tuple[str, int]] = Turns()
    waiting: set[tuple[str, int]] = set()
    out: list[tuple[str, int]] = []
    for number, call in enumerate(calls):
        name = pick("abc")
        if call == "add":
            turns.add(name, [(name, number)], priority=pick([-100, 0, 5]), size=pick([None, 1, 17, 400]))
            waiting.add((name, number))
        elif call == "back" and out:
            item = out.pop()
            turns.add(item[0], [item], first=True)
            waiting.add(item)
        elif call == "drop":
            turns.drop(name)
            waiting = {item for item in waiting if item[0] != name}
        elif call == "take":
            item = turns.take()
            assert (item is None) == (not waiting)
            if item is not None:
                waiting.remove(item)
                out.append(item)
        assert len(turns) == len(waiting)
    rest = []
    while (item := turns.take()) is not None:
        rest.append(item)
    assert sorted(rest) == sorted(waiting)
