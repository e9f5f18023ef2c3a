"""A small Ray actor from which the datasets of a run get their chunks, one by one, as the driver hands them out; and
which keeps handles of their workers, so that those of one dataset can be killed.

A dataset's first task reads a growing list. What was handed out keeps its place in the list, so a task that Ray repeats
yields the same rows. The actor runs on the driver's node and ends with the driver.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raydub.pipeline.rows import Row

_WAIT_SECONDS = 5.0
_log = logging.getLogger(__name__)


class SourceActor:
    """Rows and workers of datasets, by number."""

    def __init__(self) -> None:
        self._rows: dict[int, list[Row]] = defaultdict(list)
        self._ended: set[int] = set()
        self._more: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._workers: dict[int, list[Any]] = defaultdict(list)

    async def put(self, dataset: int, rows: Sequence[Row], last: bool) -> None:
        """Append rows; with `last`, no more will come."""
        self._rows[dataset] += rows
        if last:
            self._ended.add(dataset)
        self._more[dataset].set()

    async def take(self, dataset: int, start: int) -> list[Row] | None:
        """Rows from index `start`, [] if there are none within some seconds, None if there will be none."""
        if len(self._rows[dataset]) <= start and dataset not in self._ended:
            self._more[dataset].clear()
            try:
                await asyncio.wait_for(self._more[dataset].wait(), _WAIT_SECONDS)
            except TimeoutError:
                return []
        found = self._rows[dataset][start:]
        return found or (None if dataset in self._ended else [])

    async def join(self, dataset: int, workers: list[Any]) -> None:
        """Add worker actors of a dataset. In a list, so that Ray passes the handle."""
        self._workers[dataset] += workers

    async def leave(self, dataset: int) -> list[Any]:
        """Forget the dataset, and return its worker actors."""
        self._ended.add(dataset)
        self._rows.pop(dataset, None)
        return self._workers.pop(dataset, [])


def start_source() -> Any:
    """A handle of a new source, which lives as long as the handle."""
    here: Any = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(SourceActor).remote()


def read(row: Row, source: Any) -> Iterator[Row]:
    """The rows of the dataset whose number is row["dataset"], until the last."""
    start = 0
    while True:
        rows: list[Row] | None = ray.get(source.take.remote(row["dataset"], start))
        if rows is None:
            return
        start += len(rows)
        yield from rows


def end_workers(source: Any, dataset: int) -> None:
    """Kill the actors of a dataset, including those that Ray is restarting. Never raises."""
    try:
        for worker in ray.get(source.leave.remote(dataset), timeout=5):
            ray.kill(worker)
    except Exception:
        _log.debug("the workers could not be ended", exc_info=True)
