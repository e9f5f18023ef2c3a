"""Threads beside a slow step: order, bounds, errors, and no thread left."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar

import pytest

from raydub.stages.ahead import ahead, behind

WHO: ContextVar[str] = ContextVar("who", default="nobody")
MOST = [0, 1, 4]


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


class Source:
    """Numbers; remembers the threads that it ran in, and how far it is."""

    def __init__(self, count: int, error: BaseException | None = None) -> None:
        self.count, self.error = count, error
        self.made, self.closed = 0, threading.Event()
        self.threads: set[threading.Thread] = set()

    def __call__(self) -> Generator[int]:
        try:
            for number in range(self.count):
                self.threads.add(threading.current_thread())
                self.made += 1
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.threads.add(threading.current_thread())
            self.closed.set()


def through(source: Source, most: int, take: Callable[[int], None], bad: int | None = None) -> None:
    """All items from one side to the other; ZeroDivisionError between them at `bad`."""
    with ahead(source(), most, "a") as items, behind(take, most, "b") as give:
        for item in items:
            give(item)
            if item == bad:
                raise ZeroDivisionError


@pytest.mark.parametrize("most", MOST)
def test_all_items_in_order_through_both(most: int) -> None:
    source, taken = Source(50), list[int]()
    with ahead(source(), most, "a") as items, behind(taken.append, most, "b") as give:
        for item in items:
            give(item * 2)
    assert taken == list(range(0, 100, 2))
    assert source.closed.is_set()
    assert len(source.threads) == 1, "made and closed in one thread"
    assert (threading.current_thread() in source.threads) == (most == 0)


def test_at_most_so_many_wait() -> None:
    source, room = Source(100), threading.Semaphore(0)
    taken: list[int] = []

    def take(item: int) -> None:
        room.acquire()
        taken.append(item)

    with ahead(source(), 3, "a") as items, behind(take, 2, "b") as give:
        for number, item in enumerate(items):
            assert source.made <= number + 1 + 3 + 1, "waiting, taken, and one at work"
            assert number <= len(taken) + 2 + 1
            if number >= 3:
                room.release()
            give(item)
        for _ in range(3):
            room.release()
    assert taken == list(range(100))


def test_both_sides_work_while_the_middle_waits() -> None:
    """Deadlocks where they do not: the first item is only finished when the next are made and the last is taken."""
    source, took = Source(6), threading.Event()
    with ahead(source(), 4, "a") as items, behind(lambda item: took.set(), 2, "b") as give:
        give(next(items))
        assert took.wait(30)
        assert next(items) == 1
        for _ in range(3000):
            if source.made == 6:
                break
            took.clear()
            took.wait(0.01)
        assert source.made == 6
        assert list(items) == [2, 3, 4, 5]


@pytest.mark.parametrize("most", MOST)
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_of_the_source_is_raised_in_its_place(most: int, kind: type[BaseException]) -> None:
    error, seen = kind("bad frame"), list[int]()

    def follow() -> None:
        with ahead(Source(5, error)(), most, "a") as items:
            for item in items:
                seen.append(item)

    with pytest.raises(kind) as raised:
        follow()
    assert raised.value is error
    assert seen == [0, 1, 2, 3, 4], "all items before it came"


@pytest.mark.parametrize("most", MOST)
@pytest.mark.parametrize("at", [0, 30, 49])
def test_an_error_of_the_taker_ends_the_block(most: int, at: int) -> None:
    error, source = RuntimeError("disk full"), Source(50)

    def take(item: int) -> None:
        if item == at:
            raise error

    with pytest.raises(RuntimeError) as raised:
        through(source, most, take)
    assert raised.value is error
    assert source.closed.is_set()


@pytest.mark.parametrize("most", MOST)
def test_an_error_between_them_ends_both(most: int) -> None:
    source, taken = Source(50), list[int]()
    with pytest.raises(ZeroDivisionError):
        through(source, most, taken.append, bad=7)
    assert source.closed.is_set()
    assert source.made <= 8 + most + 1
    assert taken == list(range(len(taken)))


@pytest.mark.parametrize("most", MOST)
def test_leaving_early_closes_the_source(most: int) -> None:
    source = Source(50)
    with ahead(source(), most, "a") as items:
        assert next(items) == 0
    assert source.closed.is_set()
    with contextlib.suppress(StopIteration):
        next(items)
        raise AssertionError("nothing more after the block")


def test_threads_have_the_caller_s_context() -> None:
    heard: list[str] = []

    def words() -> Generator[str]:
        yield WHO.get()

    token = WHO.set("the stage")
    try:
        with ahead(words(), 1, "a") as items, behind(lambda item: heard.append(item + WHO.get()), 1, "b") as give:
            give(next(items))
    finally:
        WHO.reset(token)
    assert heard == ["the stagethe stage"]
