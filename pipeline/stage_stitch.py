"""The stage stitch: join a job's parts, add the sound, publish the output."""

from __future__ import annotations

import dataclasses

from raydub.objects.names import is_object
from raydub.pipeline.context import WorkerContext
from raydub.pipeline.events import Output
from raydub.pipeline.leases import refuse_lost
from raydub.pipeline.stage import Stage, Workload
from raydub.store import verified

# Seconds per job; core milliseconds per frame, and per frame and megapixel.
_FIXED, _FRAME, _MEGAPIXEL = 0.5, 0.3, 0.1


def stitch(context: WorkerContext, output: Output) -> Output:
    """Join the parts and publish the output. The plan's job is replaced, because jobs that differ only in their output
    share a plan."""
    from raydub.stages.job_plan import load_plan
    from raydub.stages.stitch import stitch_job

    plan = load_plan(output.job_dir)
    for part in output.parts:
        verified(part.path)
    goal, run_id = output.job.output, context.settings.run_id

    def allowed() -> None:
        if is_object(goal):
            refuse_lost(goal, run_id)

    done = stitch_job(plan.model_copy(update={"job": output.job}), output.parts, allowed)
    return dataclasses.replace(output, path=done.output, frames=done.frames)


def _cost(work: Workload) -> float:
    return _FIXED + work.frames * (_FRAME + _MEGAPIXEL * work.made) / 1000


STITCH = Stage(
    "stitch",
    per="output",
    takes=Output,
    run=stitch,
    limit=lambda limits, output: limits.for_stitch([part.frames for part in output.parts]),
    cost=_cost,
    # Not zero, so that it never runs on a head node without CPUs.
    share=0.02,
    actors=False,
)
