"""A job's galleries, as its plan names them."""

from __future__ import annotations

from raydub.stages.job_plan import JobPlan, load_mouths
from raydub.stages.mouths.gallery import Gallery
from raydub.stages.mouths.library import Library


def load_library(plan: JobPlan, voice: int) -> Library:
    """The library of a voice; galleries are read when they are needed, and then raise StageError STORAGE."""
    return Library(plan.video.n_frames, lambda part: Gallery.of(load_mouths(plan, voice, part)))
