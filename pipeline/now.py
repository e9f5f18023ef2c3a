"""How far a run is, as one record: for bars, `--json-progress`, `raydub status`, the Python API and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from raydub.pipeline.registry import STAGES
from raydub.pipeline.tally import Tally

SHOWN_JOBS = 8
"""Jobs that are shown of those in work."""


@dataclass(frozen=True)
class StageNow:
    """frames: that passed the stage in this run; seconds: of work, summed over the workers; working: workers at it now;
    share: of the work that is done, 0 to 1, None while nothing is known of it."""

    stage: str
    frames: int
    seconds: float
    working: int
    share: float | None

    def row(self) -> dict[str, Any]:
        """JSON-ready, with rounded numbers."""
        return _rounded(asdict(self))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class JobNow:
    """A job in work. frames: of its output, None before its plan; reached: progress in frames; share: of its work, 0 to
    1; stages: at which workers are now."""

    id: str
    frames: int | None
    reached: int
    share: float
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Now:
    """jobs: all rows of the run, of which jobs_done have an outcome, and jobs_failed one that is not ok; unplanned:
    jobs whose length is not known yet. frames: of the planned jobs, of which frames_done are in finished parts, and
    frames_reached as far as workers have advanced. share: of all work, 0 to 1. frames_per_second: 0.0 while unknown;
    eta: seconds, None while unknown; elapsed: seconds. working: the first jobs in work; working_left_out: number of the
    others."""

    jobs: int
    jobs_done: int
    jobs_failed: int
    unplanned: int
    frames: int
    frames_done: int
    frames_reached: int
    share: float
    frames_per_second: float
    eta: float | None
    elapsed: float
    stages: tuple[StageNow, ...]
    working: tuple[JobNow, ...]
    working_left_out: int

    def row(self) -> dict[str, Any]:
        """JSON-ready, with rounded numbers."""
        return _rounded(asdict(self))  # type: ignore[no-any-return]


def now_of(tally: Tally, most: int = SHOWN_JOBS) -> Now:
    """The state of a run. most: jobs in `working`."""
    left, at_work = tally.left(), tally.working()
    stages = []
    for name in (stage.name for stage in STAGES):
        frames, seconds = tally.stage_frames[name], float(tally.stage_seconds[name])
        stage = StageNow(name, frames, seconds, at_work.get(name, 0), left.stages.get(name))
        if stage.frames or stage.seconds or stage.working or stage.share is not None:
            stages.append(stage)
    named = tally.stages_of()
    begun = [*named, *(job for job, share in left.jobs.items() if share > 0 and job not in named)]
    working = [
        JobNow(name, tally.frames_of(name), tally.reached(name), left.jobs.get(name, 0.0), tuple(named.get(name, ())))
        for name in begun[:most]
    ]
    return Now(
        jobs=tally.jobs,
        jobs_done=tally.finished,
        jobs_failed=tally.failed,
        unplanned=max(0, tally.unplanned),
        frames=tally.planned_frames,
        frames_done=tally.done_frames,
        frames_reached=tally.reached_frames(),
        share=1.0 if tally.jobs and tally.finished >= tally.jobs else left.share,
        frames_per_second=float(tally.speed),
        eta=left.seconds,
        elapsed=float(tally.elapsed),
        stages=tuple(stages),
        working=tuple(working),
        working_left_out=max(0, len(begun) - most),
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
