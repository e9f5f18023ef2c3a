"""What the driver knows of one job that has no outcome yet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from raydub.manifests.job import Job
from raydub.pipeline.events import Planned
from raydub.stages.types import Part


@dataclass
class JobState:
    """A job under way. started: when it was taken up, by the driver's clock; parts: by chunk."""

    job: Job
    started: float | None = None
    plan: Planned | None = None
    parts: dict[int, Part] = field(default_factory=dict)
    stitching: bool = False

    def complete(self) -> bool:
        """Are all parts there, and the stitch not begun?"""
        return self.plan is not None and len(self.parts) == self.plan.n_chunks and not self.stitching

    def attempts(self, last: int = 0) -> int:
        """The most attempts that any piece of the job took in this run; reused parts took none."""
        made = [part.attempt for part in self._parts() if not part.reused]
        return max([last, self.plan.attempt if self.plan else 0, *made])

    def frames(self) -> dict[str, int]:
        """The counts of a JobResult over the parts that are there."""
        parts = self._parts()
        frames, synthesised = sum(part.frames for part in parts), sum(part.synthesised for part in parts)
        faceless = sum(part.faceless for part in parts)
        return {
            "frames": frames,
            "synthesised": synthesised,
            "untouched": frames - synthesised,
            "faceless": faceless,
        }

    def seconds(self) -> dict[str, float]:
        """Work per stage, reused parts left out."""
        total: Counter[str] = Counter()
        made = [part.seconds for part in self._parts() if not part.reused]
        for seconds in [self.plan.seconds if self.plan else {}, *made]:
            total.update(seconds)
        return {name: round(float(value), 3) for name, value in total.items()}

    def warnings(self) -> tuple[str, ...]:
        """The plan's warnings, and those that only all parts together can tell."""
        if self.plan is None:
            return ()
        made = self.frames()
        if made["synthesised"] or len(self.parts) < self.plan.n_chunks:
            return self.plan.warnings
        if made["faceless"] == made["frames"]:
            return (*self.plan.warnings, "W_NO_FACE: no face was seen; only the sound is new")
        return (
            *self.plan.warnings,
            "W_UNCHANGED: a face was seen, but no frame got a new mouth; only the sound is new",
        )

    def _parts(self) -> list[Part]:
        # A list of its own: a stop asks from another thread.
        return list(self.parts.values())
