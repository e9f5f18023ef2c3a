"""The plain loop in a child process, which may die: a codec crashes, the kernel runs out of memory, the watchdog kills
a hang. Another process then resumes: finished parts are in the ledger, attempts count the deaths, and work that has
killed two processes is not tried again, so the other chunks and jobs are done.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from raydub.child import ChildProcess
from raydub.errors import Code, RaydubError, StageError
from raydub.manifests.job import Job
from raydub.pipeline.attempts import Attempts
from raydub.pipeline.child import BOOT, with_blob, without_blob
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Assembled, Failed, Item, Note, Reporter, Silent
from raydub.pipeline.failures import stalled
from raydub.pipeline.rows import pack
from raydub.stages.types import Part

UNCHARGED_DEATHS = 3
"""Consecutive processes that may die without working on anything; that is the machine's fault, not a chunk's."""

_LEAVE_SECONDS = 3.0
_LOOK_EVERY = 1.0
_START_SECONDS = 120.0  # loading the stages takes 3 s, on a busy machine 20
_log = logging.getLogger(__name__)


class SupervisedExecutor:
    """Runs jobs one after the other in a child process. See pipeline.driver.Executor; call close() at the end.

    stages: import path of their list, "package.module:NAME". stall: seconds without progress after which the run is
    stopped. A step within its own time limit counts as progress; that limit is checked here too, because a stopped
    child (SIGSTOP) cannot. All methods must be called from one thread: on Linux the child dies with the thread that
    started it.
    """

    def __init__(
        self,
        settings: WorkSettings,
        stages: str,
        reporter: Reporter | None = None,
        *,
        stall: float = 1800.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._stages = stages
        self._reporter = reporter or Silent()
        self._attempts = Attempts(settings.work_dir, settings.run_id)
        self._child: ChildProcess | None = None
        self._stall = stall
        self._clock = clock
        self._moved = clock()
        self._patience = stall
        self._uncharged = 0
        self._stitches: deque[dict[str, Any]] = deque()
        self._assembled: list[Assembled | Failed] = []

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """All items, as they happen. After the death of a child its job's plan and finished parts come again. Raises
        StageError WORKER_LOST if children keep dying, STALLED without progress."""
        for job in jobs:
            yield from self._obeyed({"job": job.model_dump(mode="json")}, job.id)
            self._join()

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Queue a job's stitch; the child runs it before the next job."""
        rows = [without_blob(pack(part)) for part in parts]
        self._stitches.append({"job": job.model_dump(mode="json"), "job_dir": job_dir, "parts": rows})

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """Stitches that have ended since the last call; with `wait`, all that were queued."""
        if wait:
            self._join()
        ready, self._assembled = self._assembled, []
        yield from ready

    def close(self) -> None:
        """End the child and its programs. Its current work is lost; nothing is partly published."""
        if self._child is not None:
            self._child.end(_LEAVE_SECONDS)
            self._child = None

    def _join(self) -> None:
        while self._stitches:
            order = self._stitches.popleft()
            for item in self._obeyed(order, order["job"]["id"]):
                if isinstance(item, (Assembled, Failed)):
                    self._assembled.append(item)

    def _obeyed(self, order: dict[str, Any], job_id: str) -> Iterator[Item]:
        """Yield the items of an order, using as many children as needed. It terminates: each death is charged to one of
        the job's pieces of work, each of which allows two, or counts towards UNCHARGED_DEATHS."""
        while True:
            child = self._child = self._child or self._start()
            self._moved = self._clock()
            try:
                child.send(order)
                while True:
                    message = child.receive(_LOOK_EVERY)
                    if message is None:
                        self._check_stall()
                        continue
                    self._moved, self._patience = self._clock(), self._stall
                    if "ready" in message:
                        continue
                    if "note" in message:
                        self._reporter.note(Note(**message["note"]))
                    elif "item" in message:
                        yield with_blob(message["item"])
                    else:
                        self._uncharged = 0
                        return
            except (EOFError, OSError):
                self._bury(child, job_id)
            except BaseException:
                # The user stopped it, or the driver closed the iterator: a partly done order cannot be continued.
                self.close()
                raise

    def _start(self) -> ChildProcess:
        self._patience = max(self._stall, _START_SECONDS)
        hello = {"settings": dataclasses.asdict(self._settings), "stages": self._stages}
        return ChildProcess(BOOT, hello)

    def _check_stall(self) -> None:
        """Raises StageError STALLED, by the same rule as on Ray."""
        if self._clock() - self._moved <= self._patience:
            return
        # At its limit the child kills itself within three times `grace`, unless it is stopped (SIGSTOP).
        if not self._attempts.somebody_works(lambda record: True, margin=3 * self._settings.limits.grace):
            raise stalled(self._patience)

    def _bury(self, child: ChildProcess, job_id: str) -> None:
        self._child = None
        how = child.end(_LEAVE_SECONDS)
        charged = [death["work"] for death in self._attempts.left_by(job_id, child.pid)]
        _log.warning(
            "the working process %d died (%s) %s", child.pid, how, f"in {charged[-1]}" if charged else "between steps"
        )
        self._uncharged = 0 if charged else self._uncharged + 1
        if self._uncharged >= UNCHARGED_DEATHS:
            raise _lost(how)


def _lost(how: str) -> RaydubError:
    return StageError(
        Code.WORKER_LOST,
        f"the working process died {UNCHARGED_DEATHS} times in a row without working on anything ({how})",
        hint="check its last output above and the machine's memory; run again: finished parts are kept",
        retryable=True,
    )
