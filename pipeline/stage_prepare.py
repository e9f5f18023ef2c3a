"""The stage prepare: probe, decode the speech, decide the timeline, and cut it into chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raydub.manifests.job import Job
from raydub.pipeline.components import parts_of, refuse_non_commercial
from raydub.pipeline.context import WorkerContext
from raydub.pipeline.engines import make_post_processors
from raydub.pipeline.events import Planned, Prepared
from raydub.pipeline.finished import Finished, keyed
from raydub.pipeline.stage import Stage

if TYPE_CHECKING:
    from raydub.stages.prepare import JobPlan


def prepare(context: WorkerContext, job: Job) -> Prepared:
    """The job's plan and its chunks. The plan's `finished` is set if an earlier run finished the output."""
    from raydub.pipeline.extent import extent_of
    from raydub.stages.prepare import chunks_of, prepare_job

    work_dir = context.settings.work_dir
    post_processors = make_post_processors(job.options)
    plan = prepare_job(job, work_dir, context.engine(job.options), context.fetch_policy, post_processors)
    parts = parts_of(job, plan)
    refuse_non_commercial(job, parts)
    chunks, signing = chunks_of(plan), context.settings.signing
    key = keyed(plan.content_key, signing)
    planned = Planned(
        job.id,
        plan.job_dir,
        len(chunks),
        plan.n_frames,
        warnings=tuple(plan.warnings),
        engine=plan.engine,
        weights=tuple(_record(weights) for weights in plan.weights),
        components=tuple(part.billed().model_dump() for part in parts),
        inputs=_identities(job, plan),
        key=key,
        finished=Finished(work_dir, signing, context.settings.thresholds).of(job, key),
        extent=extent_of(plan),
    )
    return Prepared(planned, chunks)


def _identities(job: Job, plan: JobPlan) -> dict[str, str]:
    """SHA-256 of each input, by its name in Job.inputs()."""
    seen = {"video": plan.video.identity, **{one.what: one.identity for one in plan.inputs}}
    return {name: seen[name] for name in job.inputs()}


def _record(weights: Any) -> Mapping[str, str]:
    return {name: getattr(weights, name) for name in ("name", "sha256", "licence", "consent")}


PREPARE = Stage(
    "prepare",
    per="job",
    takes=Job,
    run=prepare,
    limit=lambda limits, job: limits.for_prepare(job),
    share=0.05,
    actors=False,
)
