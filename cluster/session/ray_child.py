"""The process that talks to Ray for a run. Ray's native code may end its process (after losing the head or a raylet) or
hang; then only this process is lost, and the parent (session.ray_process) still writes the results."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from raydub.bound import end_with_parent
from raydub.cluster.session.ray_process import LEAVE_SECONDS
from raydub.errors import RaydubError
from raydub.manifests.job import Job
from raydub.pipeline.child import Line, settings_of, with_blob
from raydub.places import path_at
from raydub.stages.types import Part
from raydub.tree import kill_below

if TYPE_CHECKING:
    from raydub.cluster.request import RunRequest
    from raydub.pipeline.ray_metrics import Metered

_PULSE_EVERY = 1.0
_log = logging.getLogger(__name__)
_TICK = 0.1


class _HungUp(BaseException):
    """The parent has closed the connection."""


def main() -> None:
    """Run the jobs for the parent until it closes the connection."""
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, _hung_up)
    os.set_inheritable(int(sys.argv[1]), False)
    connection = Connection(int(sys.argv[1]))
    hello = json.loads(connection.recv_bytes())
    sys.argv[0] = hello["program"]  # Ray's workers import modules next to it
    end_with_parent(hello["parent"])
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, orders), name="listen", daemon=True).start()
    with suppress(_HungUp):
        _serve(hello, Line(connection), orders)
    os._exit(0)  # ray.shutdown() is done; Ray's exit handlers may hang


def _hung_up(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    raise _HungUp


def _listen(connection: Connection, orders: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Queue orders as they arrive; when the connection closes, end this process."""
    with suppress(OSError, EOFError):
        while True:
            orders.put(json.loads(connection.recv_bytes()))
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    time.sleep(LEAVE_SECONDS)
    kill_below(os.getpid())
    os._exit(1)


def _serve(hello: Mapping[str, Any], line: Line, orders: queue.SimpleQueue[dict[str, Any]]) -> None:
    from raydub.cluster.request import RunRequest
    from raydub.cluster.session.connect import is_own, ray_session
    from raydub.cluster.session.where import ray_executor
    from raydub.logs import set_up_logging

    settings = settings_of(hello["settings"])
    jobs = tuple(map(Job.model_validate, hello["jobs"]))
    request = RunRequest(jobs=jobs, bad=(), work_dir=path_at(settings.work_dir), results=None, **hello["request"])
    set_up_logging(request.verbose, settings.log_format)
    if settings.log_format == "json":
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # it would add words to lines
    pulse = _Pulse(line)
    try:
        with ExitStack() as stack:
            own = is_own(request.address)
            session = ray_session(
                request.address,
                request.num_cpus,
                request.verbose,
                folder=Path(hello["folder"]),
                found=lambda: line.send(found=True),
            )
            stack.enter_context(session)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # replaces Ray's handler, which is slow
            line.send(joined=_daemons() if own else {})
            executor = ray_executor(stack, request, settings, hello["stages"], line.note, own=own, pulse=pulse)
            pulse.weigh = lambda: executor.store_peak_mb
            line.send(ready=True)
            _follow(request, executor, line, orders, pulse)
    except Exception as error:
        known = _known(error, request.stall_timeout)
        line.send(error=known.to_dict(), kind=type(known).__name__)
        time.sleep(LEAVE_SECONDS)  # the parent reads it and closes the connection


def _known(error: Exception, stall: float) -> RaydubError:
    if isinstance(error, RaydubError):
        return error
    from raydub.pipeline.ray_errors import as_run_error

    _log.debug("the Ray process failed", exc_info=True)
    return as_run_error(error, "run", stall)


def _follow(
    request: RunRequest,
    executor: Metered,
    line: Line,
    orders: queue.SimpleQueue[dict[str, Any]],
    pulse: Callable[[], None],
) -> None:
    threading.Thread(target=_stitch, args=(executor, orders), name="orders", daemon=True).start()
    for item in executor.items(request.jobs):
        line.item(item)
        for ended in executor.assembled(wait=False):
            line.item(ended)
    line.send(through=True)
    while True:
        pulse()
        for ended in executor.assembled(wait=False):
            line.item(ended)
        time.sleep(_TICK)


def _stitch(executor: Metered, orders: queue.SimpleQueue[dict[str, Any]]) -> None:
    while True:
        order = orders.get()
        parts = [part for part in map(with_blob, order["parts"]) if isinstance(part, Part)]
        executor.stitch(Job.model_validate(order["job"]), order["job_dir"], parts)


def _daemons() -> dict[str, int]:
    """Pids of gcs_server and raylet, without which Ray does not work."""
    from ray._private.worker import _global_node

    return {name: pid for name, pid in _processes(_global_node) if name in ("gcs_server", "raylet")}


def _processes(node: Any) -> Iterator[tuple[str, int]]:
    for name, infos in node.all_processes.items():
        for info in infos:
            yield str(name), int(info.process.pid)


class _Pulse:
    """Tells the parent every second that the thread that follows the work is not blocked."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._last = 0.0
        self.weigh: Callable[[], float] = lambda: 0.0

    def __call__(self) -> None:
        if time.monotonic() - self._last >= _PULSE_EVERY:
            self._last = time.monotonic()
            self._line.send(alive=True, store_mb=self.weigh())
