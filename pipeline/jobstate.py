"""The driver's state of a job without an outcome."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from raydub.manifests.job import Job
from raydub.manifests.results import JobResult
from raydub.pipeline.events import Planned
from raydub.pipeline.strict import kind_of
from raydub.stages.types import Part


@dataclass
class JobState:
    """A job in progress. started: by the driver's clock; parts: by chunk index; earlier: the result of the run that
    published the output, while it is evaluated."""

    job: Job
    started: float | None = None
    plan: Planned | None = None
    parts: dict[int, Part] = field(default_factory=dict)
    stitching: bool = False
    earlier: JobResult | None = None

    def complete(self) -> bool:
        """Whether all parts are done and the stitch has not begun."""
        return self.plan is not None and len(self.parts) == self.plan.n_chunks and not self.stitching

    def unevaluated(self, warning: str) -> JobResult:
        """The result of the run that published the output, with a warning why it has no evaluation."""
        assert self.earlier is not None
        others = [one for one in self.earlier.warnings if kind_of(one) != kind_of(warning)]
        return self.earlier.model_copy(update={"warnings": (*others, warning)})

    def attempts(self, last: int = 0) -> int:
        """The most attempts at any piece of the job in this run; reused parts count 0."""
        made = [part.attempt for part in self._parts() if not part.reused]
        return max([last, self.plan.attempt if self.plan else 0, *made])

    def frames(self) -> dict[str, int]:
        """The frame counts of a JobResult, from the finished parts."""
        parts = self._parts()
        frames, synthesised = sum(part.frames for part in parts), sum(part.synthesised for part in parts)
        faceless = sum(part.faceless for part in parts)
        return {
            "frames": frames,
            "synthesised": synthesised,
            "untouched": frames - synthesised,
            "faceless": faceless,
        }

    def drawn(self) -> dict[str, int]:
        """The frames in which each engine drew a mouth, from the finished parts."""
        total: Counter[str] = Counter()
        for part in self._parts():
            total.update(part.drawn)
        return dict(sorted(total.items()))

    def seconds(self) -> dict[str, float]:
        """Seconds of work per stage, without reused parts."""
        total: Counter[str] = Counter()
        made = [part.seconds for part in self._parts() if not part.reused]
        for seconds in [self.plan.seconds if self.plan else {}, *made]:
            total.update(seconds)
        return {name: round(float(value), 3) for name, value in total.items()}

    def warnings(self) -> tuple[str, ...]:
        """The plan's warnings, and those that depend on all parts."""
        if self.plan is None:
            return ()
        made = self.frames()
        if made["synthesised"] or len(self.parts) < self.plan.n_chunks:
            return self.plan.warnings
        # Where no mouth was drawn, it does not matter from what it would have been.
        others = tuple(warning for warning in self.plan.warnings if kind_of(warning) != "W_FEW_MOUTHS")
        if made["faceless"] == made["frames"]:
            return (*others, "W_NO_FACE: no face was seen; only the sound is new")
        return (*others, "W_UNCHANGED: a face was seen, but no frame got a new mouth; only the sound is new")

    def _parts(self) -> list[Part]:
        # A copy, because a stop reads it from another thread.
        return list(self.parts.values())
