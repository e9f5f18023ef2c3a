"""The work of a job by stage, by the table of costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from raydub.pipeline.costs import COSTS, Workload
from raydub.pipeline.registry import STAGES

if TYPE_CHECKING:
    from raydub.manifests.job import Job

PER: dict[str, str] = {stage.name: stage.per for stage in STAGES}
"""The unit of each stage: "job", "chunk" or "output"."""
_LAST = [stage.name for stage in STAGES if stage.per == "chunk"][-1]
_READ_A_MINUTE = 600
"""Frames of each minute whose mouths `own` looks at while it prepares: their faces are tracked then."""
TRACKED = "tracked"
"""Beside the stages: the share of the output's frames after which the source comes again, whose tracks are kept."""
_AGAIN = 0.05  # of the work of tracking, for reading what is kept
_NOT_EVERYBODY = ("speak", "evaluate")  # stages that only some jobs have
_FLOOR = 1e-3  # seconds of a stage that the table does not know


def expected_work(job: Job, frames: int, extent: Mapping[str, float | str]) -> dict[str, float]:
    """Core seconds of each stage of a job that has been planned, and TRACKED; {} without an extent
    (pipeline.extent.extent_of). What is tracked already is not counted."""
    if not extent:
        return {}
    size, rate = (int(extent["width"]), int(extent["height"])), Fraction(str(extent["rate"]))
    work = work_of_size(job, size, rate, frames, int(extent["source"]))
    work["track"] = round(max(_AGAIN, float(extent["untracked"])) * _tracking(job, size, rate, frames), 4)
    return work


def work_of_size(
    job: Job, size: tuple[int, int], rate: Fraction, frames: int, source: int, *, again: bool = False
) -> dict[str, float]:
    """The same for a source of this size (width, height), rate and number of frames, and an output of `frames`. again:
    another job of the run has the same video."""
    from raydub.pipeline.plan import estimated

    found = estimated(job, size, rate, frames, float(frames / rate))
    work = {stage: found.seconds[stage] for stage in PER if stage in found.seconds}
    work["render"] += sum(took for name, took in found.seconds.items() if name not in PER)
    each, shown = work["track"] / max(1, frames), min(source, frames)
    read = min(source, _READ_A_MINUTE * math.ceil(source / float(rate) / 60)) if found.engine == "own" else 0
    if not again:
        work["prepare"] += each * read
    work["track"] = max(_AGAIN * each * frames, 0.0 if again else each * (shown - read))
    work = {stage: round(max(took, _FLOOR), 4) for stage, took in work.items()}
    return {**work, TRACKED: min(1.0, shown / max(1, frames))}


def _tracking(job: Job, size: tuple[int, int], rate: Fraction, frames: int) -> float:
    """Seconds of tracking every output frame."""
    from raydub.pipeline.plan import estimated

    return estimated(job, size, rate, frames, float(frames / rate)).seconds["track"]


def assumed_work(frames: int, chunks: int) -> dict[str, float]:
    """The same for a talking head in 720p, for a job of which only its length is known."""
    size = Workload(frames, chunks, frames / 25, 0.92, 0.92)
    return {name: max(COSTS.of(name, "own").seconds(size), _FLOOR) for name in PER if name not in _NOT_EVERYBODY}


def load_of(stage: str) -> float:
    """Seconds in which a worker loads what the stage needs, by the table."""
    return COSTS.of(stage, "own").load


def later(stage: str, plan: PlannedJob) -> list[str]:
    """The stages behind this one that the same order contains, without Ray."""
    names = [name for name in PER if PER[name] == PER[stage] and name in plan.weights]
    return names[names.index(stage) + 1 :] if stage in names else []


@dataclass
class PlannedJob:
    """weights: seconds of each stage by the table; tracked: see TRACKED; reused, reused_chunks: frames and number of
    parts that were there; made: chunks whose parts this run has made; passed: frames of ended steps by stage per chunk;
    ended: the other stages that have."""

    frames: int
    chunks: int
    weights: Mapping[str, float]
    tracked: float = 1.0
    reused: int = 0
    reused_chunks: int = 0
    made: set[int | None] = field(default_factory=set)
    passed: Counter[str] = field(default_factory=Counter)
    ended: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, frames: int, chunks: int, work: Mapping[str, float], *, prepared: bool = True) -> PlannedJob:
        """A job that has its plan, or, if it is not prepared, is expected to be so. work: by stage, with TRACKED."""
        known = {stage: seconds for stage, seconds in work.items() if stage in PER}
        plan = cls(frames, max(1, chunks), known or assumed_work(frames, chunks), work.get(TRACKED, 1.0))
        plan.ended |= {stage for stage in plan.weights if PER[stage] == "job" and prepared}
        return plan

    def step(self, stage: str, chunk: int | None, frames: int) -> None:
        """A step has ended."""
        if PER[stage] == "chunk":
            self.passed[stage] += frames
            if stage == _LAST:
                self.made.add(chunk)
        else:
            self.ended.add(stage)

    def items(self, stage: str) -> int:
        """Steps of a stage."""
        return max(1, self.chunks - self.reused_chunks) if PER[stage] == "chunk" else 1

    def work(self, stage: str) -> float:
        """Seconds of a stage by the table, without parts that were there."""
        seconds = self.weights.get(stage, 0.0)
        if PER[stage] != "chunk" or not self.frames:
            return seconds
        return seconds * (1 - min(1.0, self.reused / self.frames))

    def share(self, stage: str) -> float:
        """How much of this work has ended, 0 to 1."""
        if PER[stage] != "chunk":
            return float(stage in self.ended)
        return self.share_of(stage, self.passed[stage])

    def share_of(self, stage: str, frames: int) -> float:
        """How much of a stage per chunk is done when so many frames have passed it."""
        made = self.frames - self.reused
        if stage == "track":
            made = round(made * self.tracked)
        return min(1.0, frames / made) if made > 0 else 1.0

    def chunks_left(self) -> int:
        """Chunks without a part."""
        return max(0, self.chunks - self.reused_chunks - len(self.made))


class Alike:
    """Jobs with a plan, for what jobs without one will be like."""

    def __init__(self) -> None:
        self.last: PlannedJob | None = None
        self._count = self._frames = self._chunks = 0
        self._weights: Counter[str] = Counter()

    def add(self, plan: PlannedJob) -> None:
        """A job has its plan."""
        self.last, self._count = plan, self._count + 1
        self._frames, self._chunks = self._frames + plan.frames, self._chunks + plan.chunks
        self._weights.update(plan.weights)

    def times(self, count: int) -> PlannedJob:
        """So many jobs of mean length, as one."""
        share = count / self._count
        return PlannedJob(
            max(1, round(self._frames * share)),
            max(1, round(self._chunks * share)),
            {stage: seconds * share for stage, seconds in self._weights.items()},
        )
