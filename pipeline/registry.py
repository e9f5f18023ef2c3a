"""The pipeline: the list of its stages, in order. Executors, pools, progress and estimates follow this list."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from raydub.pipeline.stage import Stage
from raydub.pipeline.stage_evaluate import EVALUATE
from raydub.pipeline.stage_lipsync import LIPSYNC
from raydub.pipeline.stage_prepare import PREPARE
from raydub.pipeline.stage_render import RENDER
from raydub.pipeline.stage_speak import SPEAK
from raydub.pipeline.stage_stitch import STITCH
from raydub.pipeline.stage_track import TRACK

STAGES: tuple[Stage, ...] = (SPEAK, PREPARE, TRACK, LIPSYNC, RENDER, STITCH, EVALUATE)

Stages = Sequence[Stage] | str
"""A list of stages, or its import path "package.module:NAME" for other processes."""


def find(stages: Stages) -> Sequence[Stage]:
    """Resolve a list of stages."""
    if not isinstance(stages, str):
        return stages
    module, _, name = stages.partition(":")
    found: Sequence[Stage] = getattr(importlib.import_module(module), name)
    return found
