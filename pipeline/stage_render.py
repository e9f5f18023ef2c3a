"""The stage render: draw the mouths into the frames, restore and upscale if requested, encode the part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raydub.pipeline.context import WorkerContext, weights_of
from raydub.pipeline.engines import engine_key, finish_key, finishes, make_post_processors, pick_device
from raydub.pipeline.stage import Demand, OnGpu, Stage
from raydub.stages.types import Part, SynthesisedChunk

if TYPE_CHECKING:
    from raydub.stages.render import RenderStage


def render(context: WorkerContext, chunk: SynthesisedChunk) -> Part:
    """Render the part into a temporary file of the store."""
    from raydub.stages.job_plan import load_plan
    from raydub.stages.render import RenderStage

    plan = load_plan(chunk.chunk.job_dir)
    options, digests = plan.job.options, weights_of(plan)
    stage: RenderStage = context.keep(
        "render",
        engine_key(options) + finish_key(options) + digests,
        lambda: RenderStage(context.engine(options, digests), make_post_processors(options)),
    )
    if finishes(options):
        with context.loading("render", stage, plan, "restoring and upscaling"):
            stage.load(pick_device(context.settings.device))
    return stage.run(chunk, str(context.ledger.store.temp(".mp4")))


def _warm_up(_: WorkerContext) -> None:
    import raydub.stages.lipsync.own
    import raydub.stages.render  # noqa: F401


def _gpu(demand: Demand) -> OnGpu | None:
    if not demand.finish:
        return None
    if demand.network:
        return OnGpu(1 / demand.fit, demand.fit - 1)
    # Without a lip network beside it: alone, unless the memory is known to hold more.
    workers = demand.fit if demand.fit > 2 else 1
    return OnGpu(1 / workers, workers)


RENDER = Stage(
    "render",
    per="chunk",
    takes=SynthesisedChunk,
    run=render,
    limit=lambda limits, chunk: limits.for_chunk(len(chunk.chunk.span), chunk.chunk.post_seconds),
    share=0.28,
    finishing_share=0.5,
    all_cores=True,
    gpu=_gpu,
    warm_up=_warm_up,
)
