"""What a planned job tells the driver of its size, from which pipeline.expected foretells its work.

It is a module of its own because stages that prepare jobs may not import the list of stages, which pipeline.expected
needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raydub.stages.track.cache import BLOCK
from raydub.store import Store

if TYPE_CHECKING:
    from raydub.stages.job_plan import JobPlan


def extent_of(plan: JobPlan) -> dict[str, float | str]:
    """width, height: pixels of the source; rate: of the output, as a fraction; source: frames of the source; untracked:
    share of the output's frames whose faces are not tracked yet, by this job's preparation or another job."""
    shown = {plan.timeline.source(frame) // BLOCK for frame in range(0, plan.n_frames, BLOCK // 2)}
    tracked = {int(name.rpartition("/")[2]) for name in Store(plan.work_dir).names(f"tracks/{plan.faces.track_key}")}
    return {
        "width": plan.video.width,
        "height": plan.video.height,
        "rate": str(plan.rate),
        "source": plan.video.n_frames,
        "untracked": len(shown - tracked) * BLOCK / max(1, plan.n_frames),
    }
