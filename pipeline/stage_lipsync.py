"""The stage lipsync: make mouths from speech and faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raydub.pipeline.context import WorkerContext, weights_of
from raydub.pipeline.engines import engine_device, engine_key
from raydub.pipeline.stage import Demand, OnGpu, Stage
from raydub.stages.types import SynthesisedChunk, TrackedChunk

if TYPE_CHECKING:
    from raydub.stages.synthesise import LipsyncStage


def lipsync(context: WorkerContext, chunk: TrackedChunk) -> SynthesisedChunk:
    """Run the lip engine's network over a chunk."""
    from raydub.stages.job_plan import load_plan
    from raydub.stages.synthesise import LipsyncStage

    plan = load_plan(chunk.chunk.job_dir)
    options, digests = plan.job.options, weights_of(plan)
    stage: LipsyncStage = context.keep(
        "lipsync",
        engine_key(options) + digests,
        lambda: LipsyncStage(context.engine(options, digests), engine_device(options, context.settings.device)),
    )
    if chunk.items.open.any():
        with context.loading("lipsync", stage, plan, "the lip engine"):
            stage.load()
    return stage.run(chunk)


def _gpu(demand: Demand) -> OnGpu | None:
    if not demand.finish:
        return OnGpu(1.0)
    return OnGpu(1 / demand.fit) if demand.network else None


LIPSYNC = Stage(
    "lipsync",
    per="chunk",
    takes=TrackedChunk,
    run=lipsync,
    limit=lambda limits, chunk: limits.for_chunk(len(chunk.chunk.span)),
    share=0.4,
    finishing_share=0.25,
    all_cores=True,
    gpu=_gpu,
)
