"""Worker processes on this machine, without Ray. Any of them may die: a codec crashes, the kernel runs out of memory,
the watchdog kills a hang. Another process then does its work again: finished parts are in the ledger, attempts count
the deaths, and work that has killed two processes is not tried again, so the other chunks and jobs are done.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from typing import Any, Literal

from raydub.child import ChildProcess
from raydub.errors import Code, RaydubError, StageError
from raydub.manifests.job import Job
from raydub.pipeline.attempts import Attempts
from raydub.pipeline.child import BOOT, with_blob, without_blob
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Assembled, Failed, Item, Note, Reporter, Silent
from raydub.pipeline.failures import stalled
from raydub.pipeline.rows import pack
from raydub.pipeline.threads import usable_cores
from raydub.pipeline.turns import Turns
from raydub.stages.types import Chunk, Part

UNCHARGED_DEATHS = 3
"""Consecutive processes that may die without working on anything; that is the machine's fault, not a chunk's."""

_SPARES = 3  # a short video has few chunks
_LEAVE_SECONDS = 3.0
_LOOK_EVERY = 1.0
_START_SECONDS = 120.0  # loading the stages takes 1 s, on a busy machine 20
_log = logging.getLogger(__name__)


class _Worker:
    """A worker process with at most one order in progress."""

    def __init__(self, child: ChildProcess, now: float, patience: float) -> None:
        self.child = child
        self.order: _Order | None = None
        self.items: list[Item] = []  # of its order, and the chunks to be done
        self.chunks: list[_Order] = []
        self.moved = now  # time of its last message
        self.patience = patience


@dataclasses.dataclass(frozen=True)
class _Order:
    """Work for one worker: a job up to its plan, a chunk, a stitch, or loading what chunks will need (warm)."""

    job_id: str
    message: Mapping[str, Any]
    kind: Literal["job", "chunk", "stitch", "warm"]


_WARM_UP = _Order("", {"warm": True}, "warm")


class SupervisedExecutor:
    """Runs jobs in `workers` child processes. See pipeline.driver.Executor; call close() at the end.

    A worker does stitches first, then what has its turn (pipeline.turns): a chunk, or preparing a job. While all of
    them prepare jobs, up to three more are started ahead, which load what chunks need. stages: import path of their
    list, "package.module:NAME". stall: seconds without a message from a working process after which the run is stopped.
    A step within its own time limit is not stopped; that limit is checked here too, because a stopped child (SIGSTOP)
    cannot. All methods must be called from one thread: on Linux the children die with the thread that
    started them.
    """

    def __init__(
        self,
        settings: WorkSettings,
        stages: str,
        reporter: Reporter | None = None,
        *,
        workers: int = 1,
        stall: float = 1800.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._stages = stages
        self._reporter = reporter or Silent()
        self._attempts = Attempts(settings.work_dir, settings.run_id)
        self._most = workers
        self._workers: list[_Worker] = []
        self._stall = stall
        self._clock = clock
        self._uncharged = 0
        self._spares = _SPARES
        self._jobs: dict[str, Job] = {}
        self._turns: Turns[_Order] = Turns()
        self._stitches: deque[_Order] = deque()

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """All items, those of stitches too, as their orders end. Raises StageError WORKER_LOST if workers keep dying,
        STALLED without progress."""
        for job in jobs:
            self._jobs[job.id] = job
            self._queue([_Order(job.id, {"job": job.model_dump(mode="json")}, "job")])
        yield from self._worked_off()

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Queue a job's stitch; the next idle worker runs it."""
        rows = [without_blob(pack(part)) for part in parts]
        message = {"job": job.model_dump(mode="json"), "job_dir": job_dir, "parts": rows}
        self._stitches.append(_Order(job.id, message, "stitch"))

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """With `wait`, after the end of items(), the stitches that were queued since."""
        if wait:
            yield from (item for item in self._worked_off() if isinstance(item, (Assembled, Failed)))

    def close(self) -> None:
        """End the workers and their programs. Their current work is lost; nothing is partly published."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.child.hang_up()
        until = time.monotonic() + _LEAVE_SECONDS
        for worker in workers:
            worker.child.end(max(0.0, until - time.monotonic()))

    def _worked_off(self) -> Iterator[Item]:
        """Yield the items of all orders. It terminates: each death is charged to a piece of work, each of which allows
        two, or counts towards UNCHARGED_DEATHS."""
        try:
            while self._assign():
                busy = [worker for worker in self._workers if worker.order is not None]
                ready = wait([worker.child.fileno() for worker in busy], _LOOK_EVERY)
                for worker in busy:
                    if worker.child.fileno() in ready:
                        yield from self._heard(worker)
                    else:
                        self._check_stall(worker)
        except BaseException:
            # The user stopped it, or the driver closed the iterator: partly done orders cannot be continued.
            self.close()
            raise

    def _assign(self) -> bool:
        """Give orders to idle workers; False if there is nothing left to do or to wait for."""
        idle = [worker for worker in self._workers if worker.order is None]
        while (self._stitches or self._turns) and (idle or len(self._workers) < self._most):
            if not idle:
                self._workers.append(self._start())
                idle.append(self._workers[-1])
            self._give(idle.pop(0), self._next_order())
        self._start_ahead()
        return any(worker.order not in (None, _WARM_UP) for worker in self._workers)

    def _start_ahead(self) -> None:
        """While all workers prepare jobs, start some for the chunks that will come."""
        doing = [worker.order.kind if worker.order else "" for worker in self._workers]
        if "job" not in doing or "chunk" in doing or "stitch" in doing:
            return
        spare = len(doing) - doing.count("job")
        for _ in range(min(self._spares - spare, self._most - len(doing))):
            self._workers.append(self._start())
            self._give(self._workers[-1], _WARM_UP)

    def _give(self, worker: _Worker, order: _Order) -> None:
        worker.order, worker.moved = order, self._clock()
        try:
            worker.child.send({**order.message, "threads": self._threads()})
        except OSError:
            self._bury(worker)

    def _threads(self) -> int:
        """Threads for the order that was assigned last: the cores are shared with those that run or wait."""
        running = sum(worker.order is not None for worker in self._workers)
        waiting = len(self._stitches) + len(self._turns)
        return max(1, usable_cores() // min(self._most, running + waiting))

    def _next_order(self) -> _Order:
        order = self._stitches.popleft() if self._stitches else self._turns.take()
        assert order is not None
        return order

    def _queue(self, orders: Sequence[_Order], *, size: int | None = None, again: bool = False) -> None:
        """Queue orders of one job. size: its number of chunks, None if unchanged; again: before its other orders."""
        if orders:
            name = orders[0].job_id
            self._turns.add(name, orders, priority=self._jobs[name].options.priority, size=size, first=again)

    def _heard(self, worker: _Worker) -> Iterator[Item]:
        """Take one message of a worker. The items of an order are released at its end: the worker is idle then, so that
        no other has to be started for what follows from them."""
        order = worker.order
        assert order is not None
        try:
            message = worker.child.receive(0)
        except (EOFError, OSError):
            self._bury(worker)
            return
        worker.moved, worker.patience = self._clock(), self._stall
        if message is None or "ready" in message:
            return
        if "note" in message:
            self._reporter.note(Note(**message["note"]))
        elif "item" in message:
            item = with_blob(message["item"])
            if isinstance(item, Chunk):
                worker.chunks.append(_Order(item.job_id, {"chunk": message["item"]}, "chunk"))
            else:
                worker.items.append(item)
        else:
            # Workers get chunks that are not neighbours: those track the same faces, and read the same frames, twice.
            stride = -(-len(worker.chunks) // self._most)
            self._queue(
                [chunk for first in range(stride) for chunk in worker.chunks[first::stride]], size=len(worker.chunks)
            )
            items, worker.items, worker.chunks = worker.items, [], []
            worker.order, self._uncharged = None, 0
            yield from items

    def _start(self) -> _Worker:
        hello = {"settings": dataclasses.asdict(self._settings), "stages": self._stages}
        return _Worker(ChildProcess(BOOT, hello), self._clock(), max(self._stall, _START_SECONDS))

    def _check_stall(self, worker: _Worker) -> None:
        """Raises StageError STALLED, by the same rule as on Ray."""
        if worker.order == _WARM_UP or self._clock() - worker.moved <= worker.patience:
            return
        # At its limit the child kills itself within three times `grace`, unless it is stopped (SIGSTOP).
        pid, margin = worker.child.pid, 3 * self._settings.limits.grace
        if not self._attempts.somebody_works(lambda record: bool(record.get("pid") == pid), margin=margin):
            raise stalled(worker.patience)

    def _bury(self, worker: _Worker) -> None:
        """End a dead worker and queue its order again, first in line."""
        order = worker.order
        assert order is not None
        self._workers.remove(worker)
        how = worker.child.end(_LEAVE_SECONDS)
        deaths = self._attempts.left_by(order.job_id, worker.child.pid)
        place = f"in {deaths[-1]['work']}" if deaths else "between steps"
        _log.warning("the working process %d died (%s) %s", worker.child.pid, how, place)
        if how == "SIGKILL" and self._most > 1 and not any("overran" in death for death in deaths):
            # Nobody but the kernel kills by itself, and it does so for lack of memory: fewer workers need less of it.
            self._most -= 1
            _log.warning("continuing with fewer worker processes: %d", self._most)
        self._uncharged = 0 if deaths else self._uncharged + 1
        if self._uncharged >= UNCHARGED_DEATHS:
            raise _lost(how)
        if order.kind == "warm":
            self._spares = 0
        elif order.kind == "stitch":
            self._stitches.appendleft(order)
        else:
            self._queue([order], again=True)


def _lost(how: str) -> RaydubError:
    return StageError(
        Code.WORKER_LOST,
        f"the working process died {UNCHARGED_DEATHS} times in a row without working on anything ({how})",
        hint="check its last output above and the machine's memory; run again: finished parts are kept",
        retryable=True,
    )
