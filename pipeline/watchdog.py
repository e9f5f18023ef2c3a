"""Ends what hangs. There is no way to stop a thread that sits in a codec's C code, so a step that overruns its limit is
ended together with its process; the next worker finds the attempt and knows what happened.

Two lines, the second for what the first cannot reach:
1. At the limit the attempt is marked and this process killed. That is for hangs in C code that has let go of the
   interpreter, as the codecs do, or in Python.
2. A few seconds after that, a timer that needs no interpreter (faulthandler's) writes where every thread stood into a
   file of the run and ends the process. That is for C code that hangs with the interpreter's lock.
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

from raydub.pipeline.attempts import Attempt, run_dir

LONGEST = 365 * 86400.0
"""Seconds of the longest limit that is kept: timers of the interpreter and the kernel refuse "inf"."""
_log = logging.getLogger(__name__)


class Watchdog:
    """Watches the steps of this process, one at a time. Only for processes that exist to work: it kills.

    worker: this process (attempts.this_worker); grace: seconds from line to line.
    """

    def __init__(self, work_dir: str, run_id: str, worker: Mapping[str, Any], grace: float = 5.0) -> None:
        self._trace_path = _trace_path(work_dir, run_id, worker)
        self._trace: IO[bytes] | None = None
        self._grace = grace
        self._lock = threading.Lock()
        self._watched: Attempt | None = None

    @contextmanager
    def limit(self, seconds: float, attempt: Attempt) -> Iterator[None]:
        """The body may take this long. The process does not survive a body that takes longer and cannot be stopped."""
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
            # Under the lock: a process that is being killed must not end the attempt first.
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
            # Without a file for it the first line still stands.
            _log.debug("no last line of the watchdog: %s", error)

    def _trace_file(self) -> Any:
        if self._trace is None:
            self._trace_path.parent.mkdir(parents=True, exist_ok=True)
            self._trace = open(self._trace_path, "ab", buffering=0)  # noqa: SIM115 (lives as long as the process)
        return self._trace


def overran(work_dir: str, run_id: str, record: Mapping[str, Any]) -> bool:
    """Was the worker of this attempt's record (see pipeline.attempts) ended because it took too long?"""
    if "overran" in record:
        return True
    try:
        return _trace_path(work_dir, run_id, record).stat().st_size > 0
    except OSError:
        return False


def _trace_path(work_dir: str, run_id: str, worker: Mapping[str, Any]) -> Path:
    return run_dir(work_dir, run_id) / "hangs" / f"{worker.get('host', '')}-{worker.get('pid', 0)}.txt"
