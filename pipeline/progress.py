"""Progress of a run, and its display as lines of text. Bars: pipeline.progress_bars; JSON lines:
pipeline.progress_lines.

Progress per stage comes from notes (pipeline.events.Note), progress per job from the driver. What is left, and for how
long, is in pipeline.outlook; all numbers at one moment in pipeline.now.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Self

from raydub.logs import doing
from raydub.manifests.results import JobResult
from raydub.pipeline.events import Note
from raydub.pipeline.tally import Tally
from raydub.pipeline.trace import TraceRecorder

_LINE_EVERY = 5.0
_POLL_EVERY = 0.5


class QuietProgress:
    """The driver's Watcher, a Reporter of notes, and a context manager. Counts and shows nothing; the base of the
    others. earlier: number of jobs with an outcome before the run."""

    def __init__(self, jobs: int, earlier: int = 0) -> None:
        self.tally = Tally(jobs, earlier=earlier)
        self._also: TraceRecorder | None = None

    def expect(self, job_ids: Iterable[str], workers: int | None = None, failed: int = 0) -> None:
        """What is known before the work: the jobs in their order; workers: of a run without Ray; failed: rows that were
        refused, among `earlier`."""
        self.tally.failed += failed
        self.tally.expect(job_ids, workers)

    def planned(self, job_id: str, frames: int, chunks: int, work: Mapping[str, float] | None = None) -> None:
        """A job was prepared. work: see Planned."""
        self.tally.plan(job_id, frames, chunks, work)

    def part(self, job_id: str, frames: int, reused: bool) -> None:
        """A part of a job is finished."""
        self.tally.part(job_id, frames, reused)

    def finished(self, result: JobResult) -> None:
        """A job has its outcome."""
        self.tally.end(result.id, failed=result.status != "ok")

    def note(self, note: Note) -> None:
        """A worker has finished or advanced a step."""
        self.tally.note(note)
        if self._also is not None:
            self._also.note(note)

    @contextmanager
    def traced(self, recorder: TraceRecorder) -> Iterator[None]:
        """Pass notes on to a recorder within the context, and close it at its end."""
        self._also = recorder
        try:
            yield
        finally:
            self._also = None
            recorder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class PlainProgress(QuietProgress):
    """One line per planned or finished job, and a summary line every few seconds."""

    def __init__(self, jobs: int, say: Callable[[str], None], earlier: int = 0) -> None:
        super().__init__(jobs, earlier)
        self._say = say
        self._last = self.tally.elapsed
        self._one = threading.Lock()
        self._ticker = Ticker(_LINE_EVERY, self._sum_up)

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ticker.stop()

    def planned(self, job_id: str, frames: int, chunks: int, work: Mapping[str, float] | None = None) -> None:
        super().planned(job_id, frames, chunks, work)
        with doing(job=job_id):
            self._say(f"job {job_id!r}: {frames} frames in {chunks} {'chunk' if chunks == 1 else 'chunks'}")

    def part(self, job_id: str, frames: int, reused: bool) -> None:
        super().part(job_id, frames, reused)
        self._sum_up()

    def finished(self, result: JobResult) -> None:
        super().finished(result)
        with doing(job=result.id, code=result.error_code):
            for line in lines_of(result):
                self._say(line)

    def note(self, note: Note) -> None:
        super().note(note)
        self._sum_up()

    def _sum_up(self) -> None:
        with self._one:
            now = self.tally.elapsed
            known = self.tally.planned_frames or self.tally.stages()
            if not known or now - self._last < _LINE_EVERY:
                return
            self._last = now
        self._say(summary(self.tally))


class Ticker:
    """Calls a function every few seconds, from its own thread, between start() and stop()."""

    def __init__(self, every: float, call: Callable[[], None]) -> None:
        self._every, self._call = every, call
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="raydub-ticker", daemon=True)

    def start(self) -> None:
        """Begin. An OSError of the function, as of a closed terminal, ends it."""
        self._thread.start()

    def stop(self) -> None:
        """End; a call that runs is waited for."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _tick(self) -> None:
        with suppress(OSError):
            while not self._stop.wait(self._every):
                self._call()


class Poller:
    """Fetches notes every half second while the context is active."""

    def __init__(self, fetch: Callable[[], list[Note]], give: Callable[[Note], None]) -> None:
        self._fetch, self._give = fetch, give
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="raydub-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        if kind is None:
            self._once()

    def _poll(self) -> None:
        while not self._stop.wait(_POLL_EVERY):
            self._once()

    def _once(self) -> None:
        for note in self._fetch():
            self._give(note)


def summary(tally: Tally) -> str:
    """One line about the whole run."""
    parts = [f"{tally.finished}/{tally.jobs} jobs"]
    parts += [f"{tally.reached_frames()}/{tally.planned_frames} frames"] if tally.planned_frames else []
    share = tally.left().share
    parts += [f"{share:.0%}"] if share else []
    parts += [f"{tally.speed:.0f} fps"] if tally.speed else []
    return " · ".join(part for part in [*parts, eta_words(tally), tally.stages()] if part)


def eta_words(tally: Tally) -> str:
    """ "ETA 1:05", "ETA about 1:05" while some jobs are not planned, "" while unknown."""
    eta = tally.eta()
    if eta is None:
        return ""
    return f"ETA {'about ' if tally.unplanned > 0 else ''}{clock(eta)}"


def lines_of(result: JobResult) -> list[str]:
    """The lines for a finished job: its outcome and its warnings."""
    said = []
    for warning in result.warnings:
        kind, colon, text = warning.partition(": ")
        said.append(f"[{kind}] job {result.id!r}: {text}" if colon else f"job {result.id!r}: {warning}")
    return [outcome(result), *said]


def outcome(result: JobResult) -> str:
    """One line about a finished job."""
    if result.status == "ok":
        done = "already finished" if not result.attempts else f"{result.wall_seconds:.1f} s"
        frames = f"ok, {result.frames} frames ({result.synthesised} new)"
        if unchanged(result):
            frames = f"ok, BUT NO FRAME GOT A NEW MOUTH ({result.frames} frames)"
        return f"job {result.id!r}: {frames}, {done}: {result.output}"
    place = f", line {result.line}" if result.line is not None else ""
    hint = f" ({result.hint})" if result.hint else ""
    return f"[{result.error_code}] job {result.id!r}{place}: {result.error_message}{hint}"


def unchanged(result: JobResult) -> bool:
    """Whether a job succeeded without changing any frame."""
    return result.status == "ok" and result.frames > 0 and not result.synthesised


def clock(seconds: float) -> str:
    """3725 → "1:02:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
