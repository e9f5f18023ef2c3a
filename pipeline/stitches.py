"""The stages per output of jobs, as Ray tasks beside the datasets."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray

from raydub.manifests.job import Job
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.dataset import stitch
from raydub.pipeline.events import Assembled, Failed
from raydub.pipeline.failures import failed
from raydub.pipeline.nodes import rather_stay
from raydub.pipeline.pools import Node, Pools
from raydub.pipeline.ray_errors import as_run_error
from raydub.pipeline.registry import Stages, find
from raydub.pipeline.rows import Row, pack, unpack
from raydub.stages.types import Part

_log = logging.getLogger(__name__)


class Stitches:
    """Queued and running stitches. stall: seconds, for messages."""

    def __init__(self, settings: WorkSettings, stages: Stages, board: Any, stall: float) -> None:
        self._settings, self._stages, self._board, self._stall = settings, stages, board, stall
        self._ends = [stage.name for stage in find(stages) if stage.per == "output"]
        self._waiting: deque[tuple[Job, str, list[Row]]] = deque()
        self._running: dict[Any, Job] = {}

    def __bool__(self) -> bool:
        return bool(self._running)

    def add(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Queue a job's stitch (thread-safe)."""
        self._waiting.append((job, job_dir, [pack(part) for part in parts]))

    def start(self, pools: Pools, nodes: Mapping[str, Node]) -> None:
        """Start what the pools have room for. One task runs all stages per output of a job, so it reserves the sum of
        their CPUs."""
        own = [pools[name] for name in self._ends if name in pools]
        while self._waiting and len(self._running) < max(pool.size for pool in own):
            job, job_dir, parts = self._waiting.popleft()
            task = stitch.options(num_cpus=sum(pool.cpus for pool in own), **rather_stay(nodes))
            reference = task.remote(pack(job), job_dir, parts, self._settings, self._stages, self._board)
            self._running[reference] = job

    def ended(self, seconds: float) -> Iterator[Assembled | Failed]:
        """The outcome of one that has ended or ends within so many seconds."""
        for reference in ray.wait(list(self._running), num_returns=1, timeout=seconds)[0]:
            job = self._running.pop(reference)
            try:
                item = unpack(ray.get(reference))
            except Exception as error:
                item = failed(job.id, "stitch", as_run_error(error, "stitch", self._stall), line=job.line)
            if isinstance(item, (Assembled, Failed)):
                yield item

    def cancel(self) -> None:
        """Cancel them all. Never raises."""
        self._waiting.clear()
        for reference in list(self._running):
            try:
                ray.cancel(reference, force=True)
            except Exception:
                _log.debug("a stitch could not be cancelled", exc_info=True)
        self._running.clear()
