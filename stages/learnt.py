"""What a lip engine learns of a job's people before a frame is drawn: galleries of their mouths, and its own arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raydub.manifests.speech import VoiceTrack
from raydub.stages.engine import ChoosesMouths, LipEngine, SourceSampler
from raydub.stages.job_plan import SOURCE_FILE, JobPlan, voice_file, voices_of
from raydub.stages.mouths.make import make_galleries
from raydub.stages.mouths.sampler import MouthSampler
from raydub.stages.source_profile import source_profile


def learn(plan: JobPlan, engine: LipEngine, deciding: Mapping[str, Any]) -> JobPlan:
    """The plan with the blobs of what the engine learns of each voice's face, and a warning for each voice without
    mouths to draw from. deciding: see source_profile(). Raises what it and make_galleries() raise."""
    arrays, warnings = dict(plan.arrays), list(plan.warnings)
    for number, voice in enumerate(voices_of(plan.job)):
        depends: dict[str, Any] = {**deciding, "voice": number}
        sampler: SourceSampler | None = None
        if isinstance(engine, ChoosesMouths):
            galleries, mouths = make_galleries(plan, number)
            arrays |= galleries
            if mouths:
                sampler = MouthSampler(plan.model_copy(update={"arrays": arrays}), number)
                depends["mouths"] = sorted(galleries.values())
            elif plan.video.kind != "image":
                warnings.append(_few_mouths(voice))
        arrays[voice_file(SOURCE_FILE, number)] = source_profile(plan, engine, depends, number, sampler)
    return plan.model_copy(update={"arrays": arrays, "warnings": tuple(warnings)})


def _few_mouths(voice: VoiceTrack) -> str:
    whose = f"the mouth of {voice.speaker}" if voice.speaker else "the speaker's mouth"
    return (
        f"W_FEW_MOUTHS: the video shows too little of {whose} to draw from: it is short, still, small or blurred; the "
        "frames' own mouths are reshaped (engine warp)"
    )
