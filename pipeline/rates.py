"""What the steps of a run take, relative to the table of costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

_KEPT = 0.85
"""Weight of older steps with each new one: half of it is that of the last four, so that a change is followed."""
_SPREAD = 0.6
"""How much of the difference from the table other stages are expected to share, in logarithms: a busy machine slows all
of them, a scene with many faces does not."""
_Evidence = tuple[float, float]  # seconds that work took, seconds by the table


class _Sum:
    """Seconds of steps, and what the table says of them. Old ones fade."""

    def __init__(self) -> None:
        self._took = self._said = self._count = 0.0

    def add(self, took: float, said: float) -> None:
        self._took, self._said, self._count = (
            self._took * _KEPT + took,
            self._said * _KEPT + said,
            self._count * _KEPT + 1,
        )

    def against(self, before: float, weight: float, running: _Evidence = (0.0, 0.0)) -> float:
        """took / said, with what has run of unfinished steps; `before` counts as much as `weight` seconds of the
        table."""
        said = self._said + running[1] + weight
        return (self._took + running[0] + weight * before) / said if said else before

    def a_step(self) -> float:
        """Seconds of a step by the table, 0.0 without any."""
        return self._said / self._count if self._count else 0.0


class Rates:
    """Seconds of a step over those of the table, for a job and stage: what the job's own steps take, as far as there
    are some, then those of the stage in other jobs, then all steps."""

    def __init__(self) -> None:
        self._all = _Sum()
        self._stages: dict[str, _Sum] = defaultdict(_Sum)
        self._jobs: dict[tuple[str, str], _Sum] = defaultdict(_Sum)
        self._running_all: _Evidence = (0.0, 0.0)
        self._running: dict[str, _Evidence] = {}
        self._running_of: dict[tuple[str, str], _Evidence] = {}

    def took(self, job_id: str, stage: str, said: float, took: float) -> None:
        """A step took so many seconds; the table says `said`."""
        if said > 0:
            self._all.add(took, said)
            self._stages[stage].add(took, said)
            self._jobs[(job_id, stage)].add(took, said)

    def running(self, steps: Iterable[tuple[str, str, float, float]]) -> None:
        """What is known of unfinished steps: job, stage, seconds by the table of what they have done, and seconds that
        it took."""
        self._running, self._running_of, self._running_all = {}, {}, (0.0, 0.0)
        for job_id, stage, said, took in steps:
            self._running_all = _added(self._running_all, took, said)
            self._running[stage] = _added(self._running.get(stage), took, said)
            self._running_of[(job_id, stage)] = _added(self._running_of.get((job_id, stage)), took, said)

    def factor(self, job_id: str, stage: str) -> float:
        """Expected seconds over those of the table."""
        overall = float(self._all.against(1.0, 0.0, self._running_all) ** _SPREAD)
        here, running = self._stages.get(stage), self._running.get(stage, (0.0, 0.0))
        if here is None and not running[1]:
            return overall
        a_step = here.a_step() if here is not None else running[1]
        of_stage = (here or _Sum()).against(overall, 0.1 * a_step, running)
        mine, own = self._jobs.get((job_id, stage)), self._running_of.get((job_id, stage), (0.0, 0.0))
        if mine is None and not own[1]:
            return of_stage
        return (mine or _Sum()).against(of_stage, 0.3 * (mine.a_step() if mine is not None else a_step), own)

    def forget(self, job_id: str) -> None:
        """The job has ended."""
        for key in [key for key in self._jobs if key[0] == job_id]:
            del self._jobs[key]


def _added(before: _Evidence | None, took: float, said: float) -> _Evidence:
    return (took, said) if before is None else (before[0] + took, before[1] + said)
