"""Counts of a run in progress: jobs, frames, speed, remaining time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from raydub.pipeline.events import Note
from raydub.pipeline.left import Left
from raydub.pipeline.metrics import Sums, count_note
from raydub.pipeline.outlook import Outlook
from raydub.pipeline.registry import STAGES

_FRESH = 0.5
"""Seconds for which what is left is not computed again."""
_PER_CHUNK = [stage.name for stage in STAGES if stage.per == "chunk"]


class Tally:
    """Thread-safe: notes may come from another thread than the driver's events.

    jobs: all rows of the run; earlier: those with an outcome before the work began; finished: rows with an outcome;
    failed: those of them that are not ok, without earlier ones; planned_frames: of planned jobs, without failed ones;
    done_frames: of finished parts.
    """

    def __init__(self, jobs: int, clock: Callable[[], float] = time.monotonic, earlier: int = 0) -> None:
        self.jobs = jobs
        self.finished = earlier
        self.failed = 0
        self.planned_frames = 0
        self.first_plan: float | None = None
        self.done_frames = 0
        self.stage_frames: Counter[str] = Counter()
        self.stage_seconds: Counter[str] = Counter()
        self.sums = Sums()
        self.peak_mb: dict[tuple[str, str, int], float] = {}
        self._plans: dict[str, int] = {}
        self._parts: Counter[str] = Counter()
        self._worked: Counter[str] = Counter()  # frames through a stage of a chunk, by job
        self._under_way: dict[tuple[str, str, int], tuple[str, int]] = {}
        self._made_frames = 0
        self._clock = clock
        self._start = clock()
        self._first: float | None = None
        self._lock = threading.RLock()
        self._outlook = Outlook(clock)
        self._left, self._fresh_until = Left(), -1.0

    def expect(self, job_ids: Iterable[str], workers: int | None = None) -> None:
        """The jobs of the run in their order; workers: the most of a run without Ray, None if not known."""
        with self._lock:
            self._outlook.workers = workers
            self._outlook.expect(job_ids)

    def foresee(self, job_id: str, frames: int, chunks: int, work: Mapping[str, float]) -> None:
        """What a job will be like, before its plan (pipeline.foresight)."""
        with self._lock:
            self._outlook.foresee(job_id, frames, chunks, work)

    def note(self, note: Note) -> None:
        """Count a finished or advanced step of a worker."""
        worker = (note.stage, note.host, note.pid)
        with self._lock:
            count_note(note, self.sums.add)
            self._outlook.note(note)
            self.peak_mb[worker] = max(note.peak_mb, self.peak_mb.get(worker, 0.0))
            if not note.done:
                self._under_way[worker] = (note.job_id, note.frames)
                return
            self._under_way.pop(worker, None)
            self.stage_frames[note.stage] += note.frames
            self.stage_seconds[note.stage] += note.seconds  # type: ignore[assignment]
            if note.stage in _PER_CHUNK:
                # On Ray the plan may arrive later than notes of its chunks.
                self._worked[note.job_id] += note.frames

    def plan(self, job_id: str, frames: int, chunks: int = 1, work: Mapping[str, float] | None = None) -> None:
        """Count a prepared job. work: see Planned."""
        with self._lock:
            self._outlook.plan(job_id, frames, chunks, work or {})
            self.planned_frames += frames
            self._plans[job_id] = frames
            if self.first_plan is None:
                self.first_plan = self.elapsed

    def part(self, job_id: str, frames: int, reused: bool) -> None:
        """Count a finished part."""
        with self._lock:
            self._outlook.part(job_id, frames, reused)
            self.done_frames += frames
            self._parts[job_id] += frames
            if not reused:
                # Speed is measured from the first part on, because its time includes the start of the workers.
                if self._first is None:
                    self._first = self._clock()
                else:
                    self._made_frames += frames

    def end(self, job_id: str, failed: bool = False) -> None:
        """Count the outcome of a job; failed: it is not ok; its missing frames no longer count as planned."""
        with self._lock:
            self._outlook.end(job_id)
            self.finished, self.failed = self.finished + 1, self.failed + failed
            if job_id in self._plans:
                self.planned_frames -= self._plans.pop(job_id) - self._parts.pop(job_id, 0)
            self._worked.pop(job_id, None)
            for worker, (job, _) in list(self._under_way.items()):
                if job == job_id:
                    del self._under_way[worker]

    @property
    def elapsed(self) -> float:
        return self._clock() - self._start

    @property
    def speed(self) -> float:
        """Frames a second since the first part; 0.0 while unknown."""
        passed = self._clock() - self._first if self._first is not None else 0.0
        return self._made_frames / passed if passed > 0 else 0.0

    @property
    def unplanned(self) -> int:
        """Jobs of unknown length."""
        return self.jobs - self.finished - len(self._plans)

    def eta(self) -> float | None:
        """Seconds until all jobs are done (pipeline.outlook); None while unknown, and when nothing is left."""
        return self.left().seconds

    def left(self) -> Left:
        """What is left of the run. At most every half second, and less often where it takes long, it is computed
        anew."""
        with self._lock:
            now = self._clock()
            if now >= self._fresh_until:
                before = time.perf_counter()
                left = self._outlook.left(max(0, self.unplanned))
                # A bar that goes back says less than one that waits.
                self._left = replace(left, share=max(left.share, self._left.share))
                self._fresh_until = now + max(_FRESH, 20 * (time.perf_counter() - before))
            return self._left

    def working(self) -> Mapping[str, int]:
        """Number of workers at a step of each stage."""
        with self._lock:
            return self._outlook.working()

    def stages_of(self) -> Mapping[str, list[str]]:
        """The stages at which each job is worked on now, those first that have been for longest."""
        with self._lock:
            return self._outlook.stages_of()

    def frames_of(self, job_id: str) -> int | None:
        """Frames of a planned job, None before."""
        with self._lock:
            return self._plans.get(job_id)

    def reached(self, job_id: str) -> int:
        """Progress of a planned job in frames: those of finished parts, plus for other frames a share for each stage
        per chunk that they have passed."""
        with self._lock:
            return self._reached(job_id)

    def reached_frames(self) -> int:
        """The same for the whole run; at most planned_frames."""
        with self._lock:
            active = {*self._worked, *(job for job, _ in self._under_way.values())}
            return self.done_frames + sum(self._reached(job) - self._parts.get(job, 0) for job in active)

    def _reached(self, job_id: str) -> int:
        passed = self._worked.get(job_id, 0) + sum(n for job, n in self._under_way.values() if job == job_id)
        return max(self._parts.get(job_id, 0), min(self._plans.get(job_id, 0), passed // len(_PER_CHUNK)))

    def stages(self) -> str:
        """ "track 500  lipsync 250  render 250  stitch ..": frames by stage, and other stages in progress."""
        with self._lock:
            now: Counter[str] = Counter()
            for (stage, _, _), (_, frames) in self._under_way.items():
                now[stage] += frames
            said = []
            for stage in (known.name for known in STAGES):
                frames = (self.stage_frames[stage] if stage in _PER_CHUNK else 0) + now[stage]
                if frames or stage in now:
                    said.append(f"{stage} {frames or '..'}")
            return "  ".join(said)
