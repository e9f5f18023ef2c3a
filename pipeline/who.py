"""A description of the face that a job dubbed, from its plan and tracks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raydub.errors import RaydubError
from raydub.stages.job_plan import JobPlan, load_plan
from raydub.stages.track.cache import TrackCache, blocks_of
from raydub.stages.types import Span
from raydub.store import Store

_BLOCKS = 12
"""Blocks of tracks that are read, evenly spread."""


def dubbed(job_dir: str) -> tuple[str, int]:
    """(who was dubbed, such as "the largest face"; most faces in view at once, 0 if unknown). ("", 0) if the folder has
    no plan. Never raises."""
    try:
        plan = load_plan(job_dir)
        return _rule(plan), _in_view(plan)
    except (RaydubError, OSError):
        return "", 0


def _rule(plan: JobPlan) -> str:
    if plan.faces.box is not None:
        return "the face in the given box"
    speech = plan.job.speech
    if speech is not None and len(plan.voices) > 1:
        return "; ".join(f"{voice.speaker}: {_named(voice.face)}" for voice in speech.voices)
    return _named((speech.voices[0].face if speech is not None else "") or plan.job.options.face)


def _named(face: str) -> str:
    """A value of the field `face` in words."""
    kind, _, rest = face.partition(":")
    if kind == "index":
        return f"face {rest} from the left, counted from 0"
    if kind == "reference":
        return f"the face of {rest}"
    return {"all": "all faces", "left": "the leftmost face", "right": "the rightmost face"}.get(
        kind, f"the {kind} face"
    )


def _in_view(plan: JobPlan) -> int:
    if plan.faces.track is None or not plan.faces.track_key:
        return 0
    cache = TrackCache(Store(plan.work_dir), plan.faces.track_key)
    blocks = blocks_of(Span(0, plan.video.n_frames), plan.video.n_frames)
    return max((_most(cache, block, plan) for block in _spread(blocks)), default=0)


def _most(cache: TrackCache, block: Span, plan: JobPlan) -> int:
    assert plan.faces.track is not None
    raw = cache.read(block, plan.faces.track.embed)
    return 0 if raw is None or not len(raw.frame) else int(np.unique(raw.frame, return_counts=True)[1].max())


def _spread(blocks: Sequence[Span]) -> list[Span]:
    step = max(1, len(blocks) // _BLOCKS)
    return list(blocks[::step])
