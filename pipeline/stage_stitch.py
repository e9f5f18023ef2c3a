"""The stage stitch: join a job's parts, add the sound, publish the output."""

from __future__ import annotations

import dataclasses

from raydub.blobs import verified
from raydub.objects.names import is_object
from raydub.pipeline.context import WorkerContext
from raydub.pipeline.events import Output
from raydub.pipeline.leases import refuse_lost
from raydub.pipeline.stage import Stage


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

    own = plan.model_copy(update={"job": output.job.model_copy(update={"speech": plan.job.speech})})
    done = stitch_job(own, output.parts, allowed, context.signer())
    return dataclasses.replace(output, path=done.output, frames=done.frames, marks=done.marks)


STITCH = Stage(
    "stitch",
    per="output",
    takes=Output,
    run=stitch,
    limit=lambda limits, output: limits.for_stitch([part.frames for part in output.parts]),
    # Not zero, so that it never runs on a head node without CPUs.
    share=0.02,
    actors=False,
    wanted=lambda output: bool(output.parts),
)
