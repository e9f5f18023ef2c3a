"""Time limits of steps. A thread in a codec's C code cannot be stopped, so a step that exceeds its limit is killed with
its process; the next worker finds the marked attempt.

Two levels:
1. At the limit a thread marks the attempt and kills this process. Works for hangs in Python, and in C code that has
   released the GIL, as codecs do.
2. A few seconds later, faulthandler's timer, which does not need the GIL, writes the tracebacks of all threads into a
   file of the run and ends the process. For C code that hangs with the GIL.

The file is on the worker's machine, because nothing can be uploaded at that moment. For a work folder in a bucket the
next worker process of this machine publishes it; until then other machines take the hang for another death.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from raydub.errors import RaydubError
from raydub.objects.names import is_object
from raydub.pipeline.attempts import Attempt, run_dir
from raydub.pipeline.run_files import run_files

LONGEST = 365 * 86400.0
"""The longest limit in seconds: timers do not accept infinity."""
_HANGS = "hangs"
_log = logging.getLogger(__name__)


class Watchdog:
    """Watches the steps of this process, one at a time. For dedicated worker processes only: it kills the process.

    worker: this process (attempts.this_worker); grace: seconds between the two levels.
    """

    def __init__(self, work_dir: str, run_id: str, worker: Mapping[str, Any], grace: float = 5.0) -> None:
        self._trace_path = _trace_path(work_dir, run_id, worker)
        _publish(work_dir, run_id)
        self._trace: IO[bytes] | None = None
        self._grace = grace
        self._lock = threading.Lock()
        self._watched: Attempt | None = None

    @contextmanager
    def limit(self, seconds: float, attempt: Attempt) -> Iterator[None]:
        """Kill the process if the body takes longer than `seconds`."""
        seconds = min(seconds, LONGEST)
        timer = threading.Timer(seconds, self._end_process, (attempt, seconds))
        timer.daemon = True
        with self._lock:
            self._watched = attempt
        timer.start()
        self._arm_last(seconds + self._grace)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            # Under the lock: while the process is being killed, the attempt must not be marked as ended.
            with self._lock:
                self._watched = None
            timer.cancel()

    def _end_process(self, attempt: Attempt, seconds: float) -> None:
        with self._lock:
            if self._watched is not attempt:
                return
            attempt.overran(seconds)
            with suppress(OSError, ValueError, RuntimeError):
                faulthandler.dump_traceback(file=self._trace_file(), all_threads=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def _arm_last(self, seconds: float) -> None:
        try:
            faulthandler.dump_traceback_later(seconds, exit=True, file=self._trace_file())
        except (OSError, ValueError, RuntimeError) as error:
            # Without the file the first level still works.
            _log.debug("the watchdog's faulthandler timer cannot be set: %s", error)

    def _trace_file(self) -> Any:
        if self._trace is None:
            self._trace_path.parent.mkdir(parents=True, exist_ok=True)
            self._trace = open(self._trace_path, "ab", buffering=0)  # noqa: SIM115 (lives as long as the process)
        return self._trace


def overran(work_dir: str, run_id: str, record: Mapping[str, Any]) -> bool:
    """Whether the worker of this attempt's record (see pipeline.attempts) was killed because it took too long."""
    if "overran" in record:
        return True
    path = _trace_path(work_dir, run_id, record)
    with suppress(OSError):
        if path.stat().st_size > 0:
            return True
    with suppress(RaydubError):
        return is_object(work_dir) and run_files(work_dir, run_id).exists(f"{_HANGS}/{path.name}")
    return False


def _publish(work_dir: str, run_id: str) -> None:
    """Upload what processes of this machine wrote before they ended. Never raises."""
    if not is_object(work_dir):
        return
    with suppress(OSError, RaydubError):
        for path in (run_dir(work_dir, run_id) / _HANGS).glob("*.txt"):
            text = path.read_bytes()
            if text:
                run_files(work_dir, run_id).create(f"{_HANGS}/{path.name}", text)


def _trace_path(work_dir: str, run_id: str, worker: Mapping[str, Any]) -> Path:
    return run_dir(work_dir, run_id) / _HANGS / f"{worker.get('host', '')}-{worker.get('pid', 0)}.txt"
