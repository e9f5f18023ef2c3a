"""A small Ray actor from which a dataset gets its chunks, one by one, as the driver hands them out; its workers leave
their handles there.

The dataset's first task reads a growing list. What was handed out keeps its place in the list, so a task that Ray
repeats yields the same rows. If the actor is lost, its dataset ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raydub.pipeline.rows import Row

_WAIT_SECONDS = 5.0


class SourceActor:
    """Rows for a dataset, and its workers."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._ended = False
        self._more = asyncio.Event()
        self._workers: list[Any] = []

    async def put(self, rows: Sequence[Row], last: bool) -> None:
        """Append rows; with `last`, no more will come."""
        self._rows += rows
        self._ended = self._ended or last
        self._more.set()

    async def take(self, start: int) -> list[Row] | None:
        """Rows from index `start`, [] if there are none within some seconds, None if there will be none."""
        if len(self._rows) <= start and not self._ended:
            self._more.clear()
            try:
                await asyncio.wait_for(self._more.wait(), _WAIT_SECONDS)
            except TimeoutError:
                return []
        return self._rows[start:] or (None if self._ended else [])

    async def join(self, workers: list[Any]) -> None:
        """Add worker actors. In a list, so that Ray passes the handle."""
        self._workers += workers

    async def joined(self) -> list[Any]:
        """The worker actors since the last call."""
        found, self._workers = self._workers, []
        return found


def start_source() -> Any:
    """A handle of a new source, which lives as long as the handle, on this node."""
    here: Any = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(SourceActor).remote()


def joined(source: Any) -> list[Any]:
    """The workers that have joined since the last call."""
    found: list[Any] = ray.get(source.joined.remote(), timeout=5)
    return found


def read(row: Row, source: Any) -> Iterator[Row]:
    """All rows of the source, as they come; the given row starts it. Without its actor there are no more."""
    start = 0
    while True:
        try:
            rows: list[Row] | None = ray.get(source.take.remote(start))
        except RayActorError:
            return
        if rows is None:
            return
        start += len(rows)
        yield from rows
