"""Progress of a run as calls of the caller's function."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

from raydub.cluster.api_results import Result
from raydub.cluster.session.stopping import Stopped, StopWatch
from raydub.manifests.results import JobResult
from raydub.pipeline.events import Note
from raydub.pipeline.now import JobNow, StageNow, now_of
from raydub.pipeline.progress import QuietProgress

Event = Literal["planned", "working", "part", "finished"]
_EVERY = 0.5
"""Seconds between two events "working": workers report several times a second."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run. event: a job was "planned", its workers advanced ("working", at most every half second), a
    "part" of its output was made, or it is "finished"; job: its id; result: of a finished job.

    jobs, jobs_done: all rows of the run, and those with an outcome; invalid rows, and jobs that an earlier run
    finished, are counted without an event. frames: of all jobs planned so far, of which frames_done are done; both may
    grow. frames_per_second: 0.0 while unknown; eta: seconds, None while unknown; share: of all work, 0 to 1; stages,
    working: of each stage, and of jobs in work (pipeline.now)."""

    event: Event
    job: str
    jobs: int
    jobs_done: int
    frames: int
    frames_done: int
    frames_per_second: float
    eta: float | None
    result: Result | None = None
    share: float = 0.0
    stages: tuple[StageNow, ...] = ()
    working: tuple[JobNow, ...] = ()


class CallersSignals(StopWatch):
    """A StopWatch that leaves the caller's signal handlers unchanged. stop() ends the run."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __enter__(self) -> Self:
        return self

    def stop(self) -> None:
        """Stop the run: its driver checks `asked`."""
        self.signum = signal.SIGINT


class CallingProgress(QuietProgress):
    """Calls `tell` with the progress. If that raises, the run is stopped, `error` is the exception, and `tell` is not
    called again."""

    def __init__(self, jobs: int, earlier: int, tell: Callable[[Progress], object], stop: CallersSignals) -> None:
        super().__init__(jobs, earlier)
        self.error: BaseException | None = None
        self._tell_caller = tell
        self._stop = stop
        self._thread = threading.get_ident()
        self._last = 0.0

    def planned(self, job_id: str, frames: int, chunks: int, work: Mapping[str, float] | None = None) -> None:
        super().planned(job_id, frames, chunks, work)
        self._tell("planned", job_id)

    def part(self, job_id: str, frames: int, reused: bool) -> None:
        super().part(job_id, frames, reused)
        self._tell("part", job_id)

    def finished(self, result: JobResult) -> None:
        super().finished(result)
        self._tell("finished", result.id, Result.of(result))

    def note(self, note: Note) -> None:
        super().note(note)
        now = time.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            self._tell("working", note.job_id)

    def _tell(self, event: Event, job: str, result: Result | None = None) -> None:
        if self.error is not None:
            return
        now = now_of(self.tally)
        told = Progress(
            event,
            job,
            now.jobs,
            now.jobs_done,
            now.frames,
            now.frames_reached,
            now.frames_per_second,
            now.eta,
            result,
            now.share,
            now.stages,
            now.working,
        )
        try:
            self._tell_caller(told)
        except BaseException as error:
            self.error = error
            self._stop.stop()
            if threading.get_ident() == self._thread:
                raise Stopped("progress") from error  # in other threads the driver notices it later
