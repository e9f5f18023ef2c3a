"""The Ray edge without Ray's machinery: rows from a thread, Ray's exceptions as codes, nodes that are gone."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import ActorDiedError, NodeDiedError, RayTaskError, WorkerCrashedError

from raydub.errors import Code, InputError
from raydub.pipeline.attempts import Attempts, this_worker
from raydub.pipeline.feed import Feed
from raydub.pipeline.nodes import LivingNodes
from raydub.pipeline.ray_errors import as_run_error, is_loss


class Block:
    """Stands for an Arrow table."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self._rows = list(rows)

    def to_pylist(self) -> list[dict[str, Any]]:
        return self._rows


def feed_of(blocks: Callable[[], Iterator[Any]], held: int = 64) -> tuple[Feed, Any]:
    rows: Any = queue.Queue(held)
    return Feed(blocks, rows), rows


def drained(feed: Feed, rows: Any) -> list[dict[str, Any]]:
    found = []
    while True:
        told, row = rows.get(timeout=30)
        assert told is feed
        if row is None:
            return found
        found.append(row)


def test_a_feed_gives_every_row_and_then_ends() -> None:
    feed, rows = feed_of(lambda: iter([Block({"a": 1}, {"a": 2}), Block(), Block({"a": 3})]))
    assert drained(feed, rows) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert feed.error is None
    assert feed.close()


def test_a_feed_has_what_the_iteration_raised_after_its_rows() -> None:
    def blocks() -> Iterator[Block]:
        yield Block({"a": 1})
        raise WorkerCrashedError

    feed, rows = feed_of(blocks)
    assert drained(feed, rows) == [{"a": 1}]
    assert isinstance(feed.error, WorkerCrashedError)


def test_a_closed_feed_ends_the_iteration_wherever_it_is() -> None:
    ended = threading.Event()

    def blocks() -> Iterator[Block]:
        try:
            while True:
                time.sleep(0.01)  # as Ray waits for its next block
        finally:
            ended.set()
        yield Block()

    feed, rows = feed_of(blocks)
    time.sleep(0.1)
    assert feed.close(30)
    assert ended.is_set()
    assert rows.empty()


def test_a_closed_feed_that_nobody_read_ends_too() -> None:
    feed, _ = feed_of(lambda: iter([Block(*({"a": number} for number in range(1000)))]))
    time.sleep(0.05)
    assert feed.close(30)


@pytest.mark.parametrize(
    ("error", "code", "loss"),
    [
        (ExecutionTimeoutError("no progress"), Code.STALLED, False),
        (WorkerCrashedError(), Code.WORKER_LOST, True),
        (ActorDiedError(), Code.WORKER_LOST, True),
        (NodeDiedError("node gone"), Code.WORKER_LOST, True),
        (RayTaskError("f", "trace", OSError(28, "no space")), Code.DISK_FULL, False),
        (RayTaskError("f", "trace", InputError(Code.INPUT_EMPTY, "empty")), Code.INPUT_EMPTY, False),
        (ZeroDivisionError("bug"), Code.INTERNAL, False),
    ],
)
def test_what_ray_raises_has_a_code(error: BaseException, code: Code, loss: bool) -> None:
    found = as_run_error(error, "run", 60.0)
    assert found.code is code
    assert found.message
    assert is_loss(error) == loss


def test_nodes_are_asked_for_rarely_and_doubt_means_alive() -> None:
    now, answers = [0.0], [{"a": 1, "b": 1}, {"a": 1}]
    asked: list[int] = []

    def ask() -> dict[str, int]:
        asked.append(1)
        if not answers:
            raise RuntimeError("Ray is gone")
        return answers.pop(0)

    alive = LivingNodes(ask, lambda: now[0])
    assert alive({"node": "b"})
    assert alive({"node": ""})
    assert not alive({"node": "c"})
    assert len(asked) == 1
    now[0] += 10
    assert not alive({"node": "b"})
    assert alive({"node": "a"})
    now[0] += 10
    assert alive({"node": "b"})
    assert len(asked) == 3


def test_claims_that_were_taken_away_are_no_deaths(tmp_path: Path) -> None:
    attempts = Attempts(str(tmp_path), "r")
    worker = {**this_worker(), "born": ""}  # a process of which nothing is known any more
    first = attempts.begin("j", "track.000000", worker=worker)
    assert len(attempts.deaths("j", "track.000000", lambda _: True)) == 1
    attempts.forgive(lambda record: record["job"] == "another")
    assert len(attempts.deaths("j", "track.000000", lambda _: True)) == 1
    attempts.forgive()
    assert attempts.deaths("j", "track.000000", lambda _: True) == []
    first.end()  # the worker lived on for a moment: nothing happens
    assert attempts.begin("j", "track.000000", worker=worker).number == 2
