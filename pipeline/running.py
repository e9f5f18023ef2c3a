"""A dataset that is running: its source, its feed and its workers."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from typing import Any

import ray

from raydub.pipeline.dataset import blocks
from raydub.pipeline.feed import Feed
from raydub.pipeline.rows import Row
from raydub.pipeline.source import joined, start_source

_log = logging.getLogger(__name__)


class Running:
    """make: the dataset from its source; rows: where its rows go."""

    def __init__(self, make: Callable[[Any], Any], rows: queue.Queue[tuple[Feed, Row | None]]) -> None:
        self._source = start_source()
        self._workers: list[Any] = []
        dataset = make(self._source)
        self.feed = Feed(lambda: blocks(dataset), rows)

    def put(self, rows: Sequence[Row], *, last: bool = False) -> None:
        """Hand out rows; with `last`, no more will come."""
        self._source.put.remote(rows, last)

    def meet(self) -> None:
        """Get the handles of new workers: the source may be lost later. Never raises."""
        try:
            self._workers += joined(self._source)
        except Exception:
            _log.debug("the source does not answer", exc_info=True)

    def end(self) -> None:
        """End the dataset's execution and kill its workers, also those that Ray is restarting: they would take CPUs
        that others need. Never raises."""
        self.meet()
        self.feed.close()
        for worker in self._workers:
            try:
                ray.kill(worker)
            except Exception:
                _log.debug("a worker could not be ended", exc_info=True)
