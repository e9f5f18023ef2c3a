"""The plain loop in one process of its own, which may die: a codec that crashes, the kernel short of memory, a hang
that the watchdog ended. Another process then goes on where it was. Finished parts lie in the ledger, claims count the
deaths, and what has ended two processes is not begun a third time, so the other chunks and jobs are done.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from manifests.job import Job
from pipeline.child import BOOT, with_blob, without_blob
from pipeline.claims import Claims
from pipeline.events import Assembled, Failed, Item, Note, Reporter, Silent
from pipeline.lazy import MakeToolbox, reference
from pipeline.rows import pack
from pipeline.steps import WorkSettings
from raydub.errors import Code, RaydubError, StageError
from stages.types import Part

UNCHARGED_DEATHS = 3
"""Processes in a row that may die without working on anything. It is then the machine's fault, not a chunk's."""

_LEAVE_SECONDS = 3.0
_log = logging.getLogger(__name__)


class SupervisedExecutor:
    """Runs jobs one after the other in a child process. See pipeline.driver.Executor; close() it at the end.

    tools: a class or function at the top of a module, or "package.module:Name", which spares this process the import.
    All methods are for one thread: on Linux the child dies with the thread that started it.
    """

    def __init__(self, settings: WorkSettings, tools: MakeToolbox | str, reporter: Reporter | None = None) -> None:
        self._settings = settings
        self._tools = reference(tools)
        self._reporter = reporter or Silent()
        self._claims = Claims(settings.work_dir, settings.run_id)
        self._child: _Child | None = None
        self._uncharged = 0
        self._stitches: deque[dict[str, Any]] = deque()
        self._assembled: list[Assembled | Failed] = []

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """Everything that happens, as it happens. After the death of a child its job's plan and finished parts come
        again. Raises StageError WORKER_LOST when no child stays alive."""
        for job in jobs:
            yield from self._obeyed({"job": job.model_dump(mode="json")}, job.id)
            self._join()

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Queue a job's stitch: the child does it before the next job."""
        rows = [without_blob(pack(part)) for part in parts]
        self._stitches.append({"job": job.model_dump(mode="json"), "job_dir": job_dir, "parts": rows})

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """Stitches that have ended since the last call; with `wait`, all that were queued."""
        if wait:
            self._join()
        ready, self._assembled = self._assembled, []
        yield from ready

    def close(self) -> None:
        """End the child and its programs. What it was doing is left undone; nothing is half published."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _join(self) -> None:
        while self._stitches:
            order = self._stitches.popleft()
            for item in self._obeyed(order, order["job"]["id"]):
                if isinstance(item, (Assembled, Failed)):
                    self._assembled.append(item)

    def _obeyed(self, order: dict[str, Any], job_id: str) -> Iterator[Item]:
        """What comes of an order, given to as many children as it takes. It ends: each death is charged to a piece of
        the job's work, of which there are so many and each bears two, or counts towards UNCHARGED_DEATHS."""
        while True:
            child = self._child = self._child or _Child(self._settings, self._tools)
            try:
                child.send(order)
                while True:
                    message = child.receive()
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
                # The user, or a driver that wants no more of it: half an order cannot be gone on with.
                self.close()
                raise

    def _bury(self, child: _Child, job_id: str) -> None:
        self._child = None
        how = child.end()
        charged = [death["work"] for death in self._claims.left_by(job_id, child.pid)]
        _log.warning(
            "the working process %d died (%s) %s", child.pid, how, f"in {charged[-1]}" if charged else "between steps"
        )
        self._uncharged = 0 if charged else self._uncharged + 1
        if self._uncharged >= UNCHARGED_DEATHS:
            raise _lost(how)


class _Child:
    """The working process, and the line to it."""

    def __init__(self, settings: WorkSettings, tools: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, str(theirs.fileno()), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        self.pid = self._process.pid
        self._line = Connection(ours.detach())
        hello = {"parent": os.getpid(), "settings": dataclasses.asdict(settings), "tools": tools}
        with suppress(OSError):
            # A child that is dead already is noticed at its first order.
            self.send(hello)

    def send(self, message: dict[str, Any]) -> None:
        """Raises OSError when the child is dead."""
        self._line.send_bytes(json.dumps(message).encode())

    def receive(self) -> dict[str, Any]:
        """The next message. Raises EOFError or OSError when the child is dead."""
        message: dict[str, Any] = json.loads(self._line.recv_bytes())
        return message

    def end(self) -> str:
        """Make sure that the process is gone; says how it ended."""
        self._line.close()
        try:
            # It leaves by itself when the line is closed, and takes its programs along.
            code = self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code >= 0:
            return f"exit {code}"
        with suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"


def _lost(how: str) -> RaydubError:
    return StageError(
        Code.WORKER_LOST,
        f"the working process died {UNCHARGED_DEATHS} times in a row without working on anything ({how})",
        hint="look at its last words above and at the machine's memory; run again: finished parts are kept",
        retryable=True,
    )
