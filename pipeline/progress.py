"""What the user sees while a run goes on: live bars on a terminal, plain lines elsewhere, nothing with --json.

Progress per stage comes from notes (pipeline.events.Note), progress per job from the driver. Both only inform.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from manifests.results import JobResult
from pipeline.events import CHUNK_STAGES, Note

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_JOBS = 8
_LINE_EVERY = 5.0
_POLL_EVERY = 0.5


class Tally:
    """Counts of a run. Notes may come from another thread than the driver's events, hence the lock."""

    def __init__(self, jobs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.jobs = jobs
        self.finished = 0
        self.planned_frames = 0
        self.first_plan: float | None = None
        self.done_frames = 0
        self.stage_frames: Counter[str] = Counter()
        self.stage_seconds: Counter[str] = Counter()
        self.peak_mb: dict[tuple[str, str, int], float] = {}
        self._made_frames = 0
        self._clock = clock
        self._start = clock()
        self._first: float | None = None
        self._lock = threading.Lock()

    def note(self, note: Note) -> None:
        """Book a step of some worker."""
        with self._lock:
            self.stage_frames[note.stage] += note.frames
            self.stage_seconds[note.stage] += note.seconds  # type: ignore[assignment]
            worker = (note.stage, note.host, note.pid)
            self.peak_mb[worker] = max(note.peak_mb, self.peak_mb.get(worker, 0.0))

    def plan(self, frames: int) -> None:
        """Book a prepared job."""
        self.planned_frames += frames
        if self.first_plan is None:
            self.first_plan = self.elapsed

    def part(self, frames: int, reused: bool) -> None:
        """Book a finished part."""
        self.done_frames += frames
        if not reused:
            # The first part also carries the start-up of the workers: speed is measured from there on.
            if self._first is None:
                self._first = self._clock()
            else:
                self._made_frames += frames

    @property
    def elapsed(self) -> float:
        return self._clock() - self._start

    @property
    def speed(self) -> float:
        """Frames a second since the first part; 0.0 while unknown."""
        passed = self._clock() - self._first if self._first is not None else 0.0
        return self._made_frames / passed if passed > 0 else 0.0

    def eta(self) -> float | None:
        """Seconds until the planned frames are done; None while unknown or while jobs are still to be planned."""
        left = self.planned_frames - self.done_frames
        return left / self.speed if self.speed > 0 else None

    def stages(self) -> str:
        """ "track 500  lipsync 250  render 250" """
        with self._lock:
            return "  ".join(
                f"{stage} {self.stage_frames[stage]}" for stage in CHUNK_STAGES if self.stage_frames[stage]
            )


class Progress(Protocol):
    """A view of a run: the driver's Watcher, a Reporter of notes, and a context."""

    tally: Tally

    def planned(self, job_id: str, frames: int, chunks: int) -> None: ...

    def part(self, job_id: str, frames: int, reused: bool) -> None: ...

    def finished(self, result: JobResult) -> None: ...

    def note(self, note: Note) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class QuietProgress:
    """Counts and shows nothing; the base of the others."""

    def __init__(self, jobs: int) -> None:
        self.tally = Tally(jobs)

    def planned(self, job_id: str, frames: int, chunks: int) -> None:
        """A job was prepared."""
        self.tally.plan(frames)

    def part(self, job_id: str, frames: int, reused: bool) -> None:
        """A part of a job is there."""
        self.tally.part(frames, reused)

    def finished(self, result: JobResult) -> None:
        """A job has its outcome."""
        self.tally.finished += 1

    def note(self, note: Note) -> None:
        """A worker has done a step."""
        self.tally.note(note)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class PlainProgress(QuietProgress):
    """One line per event that matters, and a summary line every few seconds."""

    def __init__(self, jobs: int, say: Callable[[str], None]) -> None:
        super().__init__(jobs)
        self._say = say
        self._last = self.tally.elapsed

    def planned(self, job_id: str, frames: int, chunks: int) -> None:
        super().planned(job_id, frames, chunks)
        self._say(f"job {job_id!r}: {frames} frames in {chunks} chunks")

    def part(self, job_id: str, frames: int, reused: bool) -> None:
        super().part(job_id, frames, reused)
        now = self.tally.elapsed
        if now - self._last >= _LINE_EVERY:
            self._last = now
            self._say(summary(self.tally))

    def finished(self, result: JobResult) -> None:
        super().finished(result)
        self._say(outcome(result))


class RichProgress(QuietProgress):
    """Bars: one for the whole run, one for each of the jobs under way."""

    def __init__(self, jobs: int, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bars

        super().__init__(jobs)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[more]}"),
        )
        self._console = console
        self._bars = Bars(*columns, console=console, transient=True)
        self._all = self._bars.add_task("frames", total=None, more="starting")
        self._job_bars: dict[str, int] = {}

    def planned(self, job_id: str, frames: int, chunks: int) -> None:
        super().planned(job_id, frames, chunks)
        self._bars.update(self._all, total=self.tally.planned_frames)
        if len(self._job_bars) < _SHOWN_JOBS:
            self._job_bars[job_id] = self._bars.add_task(job_id[:30], total=frames, more="")

    def part(self, job_id: str, frames: int, reused: bool) -> None:
        super().part(job_id, frames, reused)
        self._refresh()
        if job_id in self._job_bars:
            self._bars.advance(self._job_bars[job_id], frames)  # type: ignore[arg-type]

    def finished(self, result: JobResult) -> None:
        super().finished(result)
        bar = self._job_bars.pop(result.id, None)
        if bar is not None:
            self._bars.remove_task(bar)  # type: ignore[arg-type]
        self._console.print(outcome(result), markup=False, highlight=False, soft_wrap=True)
        self._refresh()

    def note(self, note: Note) -> None:
        super().note(note)
        self._refresh()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def _refresh(self) -> None:
        tally = self.tally
        eta = tally.eta()
        more = [f"{tally.finished}/{tally.jobs} jobs", f"{tally.speed:.0f} fps" if tally.speed else ""]
        more += [f"ETA {clock(eta)}" if eta is not None else "", tally.stages()]
        self._bars.update(self._all, completed=tally.done_frames, more="  ".join(part for part in more if part))


class Poller:
    """Fetches notes from somewhere every half second while a run goes on."""

    def __init__(self, fetch: Callable[[], list[Note]], give: Callable[[Note], None]) -> None:
        self._fetch, self._give = fetch, give
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="raydub-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
    eta = tally.eta()
    parts = [f"{tally.finished}/{tally.jobs} jobs", f"{tally.done_frames}/{tally.planned_frames} frames"]
    parts += [f"{tally.speed:.0f} fps"] if tally.speed else []
    parts += [f"ETA {clock(eta)}"] if eta is not None else []
    parts += [tally.stages()] if tally.stages() else []
    return " · ".join(parts)


def outcome(result: JobResult) -> str:
    """One line about a job that has ended."""
    if result.status == "ok":
        done = "was finished already" if not result.attempts else f"{result.wall_seconds:.1f} s"
        warned = f", {len(result.warnings)} warnings" if result.warnings else ""
        return (
            f"job {result.id!r}: ok, {result.frames} frames ({result.synthesised} new), {done}{warned}: {result.output}"
        )
    place = f", line {result.line}" if result.line is not None else ""
    hint = f" ({result.hint})" if result.hint else ""
    return f"[{result.error_code}] job {result.id!r}{place}: {result.error_message}{hint}"


def clock(seconds: float) -> str:
    """3725 → "1:02:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
