"""Run jobs on Ray from a child process (session.ray_child): if Ray or that process fails, this process continues,
reports why, and writes the results."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from raydub.child import ChildProcess, boot
from raydub.cluster.request import RunRequest
from raydub.cluster.session.address import no_cluster, reachable
from raydub.cluster.session.connect import asked_address
from raydub.cluster.session.private import PrivateFolder
from raydub.errors import Code, DependencyError, RaydubError, StageError, rebuilt
from raydub.manifests.job import Job
from raydub.pipeline.child import with_blob, without_blob
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Assembled, Failed, Item, Note, Reporter
from raydub.pipeline.failures import stalled
from raydub.pipeline.rows import pack
from raydub.process import born, place
from raydub.stages.types import Part

BOOT = boot("raydub.cluster.session.ray_child")
LEAVE_SECONDS = 3.0
"""For shutting down Ray after the parent has closed the connection."""
# Importing Ray takes 2 to 4 s, on a busy machine 15; the address was checked before.
_ANSWER_SECONDS = 30.0
_JOIN_SECONDS = 60.0
_START_SECONDS = 180.0
_MARGIN = 15.0  # beyond --stall-timeout, which the child enforces itself if it can
_LOOK_EVERY = 0.5
_KEPT = "run again: finished parts are kept"


class RayProcess:
    """See pipeline.driver.Executor. Call start() first and close() at the end, from one thread.

    jobs: all jobs of items(); stages: import path of their list, "package.module:NAME".
    """

    def __init__(
        self, request: RunRequest, settings: WorkSettings, jobs: Sequence[Job], stages: str, reporter: Reporter
    ) -> None:
        self._request, self._settings, self._jobs, self._stages = request, settings, jobs, stages
        self._reporter = reporter
        self._address = asked_address(request.address)
        self._child: ChildProcess | None = None
        self._folder: PrivateFolder | None = None
        self._daemons: dict[str, tuple[int, str]] = {}
        self._stitching: set[str] = set()
        self._error: RaydubError | None = None
        self._through = False
        self.store_peak_mb = 0.0
        """Peak use of the object stores in MiB, all nodes together."""

    def start(self) -> None:
        """Start or join Ray. Raises DependencyError CLUSTER_UNREACHABLE, NO_GPU."""
        own = self._address == "local"
        if not own:
            reachable(self._address)
        self._folder = PrivateFolder()
        request = {
            name: getattr(self._request, name)
            for name in ("num_cpus", "workers", "device", "verbose", "wait_gpu", "stall_timeout")
        }
        hello = {
            "program": sys.argv[0],
            "folder": str(self._folder.path),
            "request": {**request, "address": self._address},
            "jobs": [job.model_dump(mode="json") for job in self._jobs],
            "settings": dataclasses.asdict(self._settings),
            "stages": self._stages,
        }
        self._child = ChildProcess(BOOT, hello, own_session=True)
        if not own:
            self._await("found", _ANSWER_SECONDS, "no answer from a Ray head")
        for name, pid in self._await(
            "joined", _START_SECONDS if own else _JOIN_SECONDS, "it does not accept the connection"
        ).items():
            self._daemons[name] = (pid, born(pid))
        self._await("ready", _JOIN_SECONDS + self._request.wait_gpu, "it does not report its nodes")

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """All items as they happen, in any order, including ended stitches. Raises StageError STALLED, WORKER_LOST."""
        while not self._through:
            yield from self._next()

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Queue a job's stitch."""
        self._stitching.add(job.id)
        rows = [without_blob(pack(part)) for part in parts]
        with suppress(OSError):  # if it is dead, receiving raises
            self._alive().send({"job": job.model_dump(mode="json"), "job_dir": job_dir, "parts": rows})

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """With `wait`, the stitches as they end, until all have ended. Raises StageError STALLED, WORKER_LOST."""
        while wait and self._stitching:
            for item in self._next():
                if isinstance(item, (Assembled, Failed)):
                    yield item

    def close(self) -> None:
        """Cancel in-flight work, end the process and everything that it started, and remove Ray's files. Never raises;
        takes a few seconds."""
        child, self._child = self._child, None
        if child is not None:
            child.end(LEAVE_SECONDS + 1.0)
        if self._folder is not None:
            self._folder.remove()

    def _next(self) -> Iterator[Item]:
        """Wait for the next message and yield its item, if it has one."""
        message = self._receive(self._request.stall_timeout + _MARGIN, lambda: stalled(self._request.stall_timeout))
        if "item" in message:
            item = with_blob(message["item"])
            if isinstance(item, (Assembled, Failed)):
                self._stitching.discard(item.job_id)
            yield item
        elif "through" in message:
            self._through = True

    def _await(self, what: str, seconds: float, else_: str) -> Any:
        """Wait for the message `what` and return its value. Raises DependencyError CLUSTER_UNREACHABLE after
        `seconds`."""
        until = time.monotonic() + seconds
        try:
            while True:
                left = max(0.0, until - time.monotonic())
                message = self._receive(left, lambda: self._no_start(f"{else_} within {seconds:.0f} s"))
                if what in message:
                    return message[what]
        except StageError as error:
            raise self._no_start(error.message) from error

    def _no_start(self, found: str) -> DependencyError:
        if self._address != "local":
            return no_cluster(self._address, found)
        hint = "check the machine's load and memory and try again, or use --no-ray"
        return DependencyError(Code.CLUSTER_UNREACHABLE, f"Ray does not start: {found}", hint=hint)

    def _receive(self, seconds: float, silent: Callable[[], RaydubError]) -> Mapping[str, Any]:
        """The next message other than notes. Raises errors of the process, `silent()` after `seconds` without a
        message, StageError WORKER_LOST if it or one of Ray's daemons has died."""
        until = time.monotonic() + seconds
        child = self._alive()
        while True:
            try:
                message = child.receive(min(_LOOK_EVERY, max(0.0, until - time.monotonic())))
            except (EOFError, OSError):
                raise self._lost(child) from None
            if message is None:
                self._check_daemons(child)
                if time.monotonic() >= until:
                    raise silent()
            elif "note" in message:
                self._reporter.note(Note(**message["note"]))
            elif "error" in message:
                raise rebuilt(message["kind"], message["error"])
            else:
                self.store_peak_mb = max(self.store_peak_mb, message.get("store_mb", 0.0))
                self._check_daemons(child)
                return message

    def _check_daemons(self, child: ChildProcess) -> None:
        for name, (pid, birth) in self._daemons.items():
            # Without a birth it was dead when it was reported (on Linux).
            if place() and (not birth or born(pid) != birth):
                time.sleep(_LOOK_EVERY)
                if not child.lives():  # the daemons end with the process that started them
                    raise self._lost(child)
                raise StageError(Code.WORKER_LOST, f"Ray's {name} (process {pid}) has died", hint=_KEPT, retryable=True)

    def _lost(self, child: ChildProcess) -> RaydubError:
        if self._error is None:
            how = child.end(LEAVE_SECONDS)
            self._child = None
            who = "the process that talks to Ray" if self._daemons else "the process that talks to the cluster"
            hint = f"check the machine's memory and the cluster's head; {_KEPT}"
            self._error = StageError(Code.WORKER_LOST, f"{who} has died ({how})", hint=hint, retryable=True)
        return self._error

    def _alive(self) -> ChildProcess:
        if self._child is None:
            raise self._error or StageError(Code.WORKER_LOST, "Ray is not running", hint=_KEPT)
        return self._child
