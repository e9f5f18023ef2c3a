"""The stage evaluate: figures of a published output and a verdict on it, for jobs that ask for it. It never fails a
job: what goes wrong is a warning of its result."""

from __future__ import annotations

import dataclasses

from raydub.pipeline.context import WorkerContext
from raydub.pipeline.events import Output
from raydub.pipeline.stage import Stage


def evaluate(context: WorkerContext, output: Output) -> Output:
    """The output with the columns of its evaluation, which is made unless the work folder has it."""
    from raydub.identity import identify
    from raydub.pipeline.evaluating import evaluate_job
    from raydub.pipeline.evaluations import Evaluations
    from raydub.pipeline.finished import keyed
    from raydub.stages.job_plan import load_plan

    store = context.ledger.store
    kept = Evaluations(store, context.settings.thresholds)
    plan, path = load_plan(output.job_dir), output.path or output.job.output
    digest = identify(path, store.identities, what="output").sha256
    key = keyed(plan.content_key, context.settings.signing)
    columns = kept.columns(key, digest)
    if columns is None:
        found = evaluate_job(output.job, path, output.job_dir, output.parts, kept.thresholds, digest)
        columns = kept.keep(key, found)
    return dataclasses.replace(output, path=path, evaluated=columns)


EVALUATE = Stage(
    "evaluate",
    per="output",
    takes=Output,
    run=evaluate,
    limit=lambda limits, output: limits.for_evaluate(),
    share=0.15,
    actors=False,
    wanted=lambda output: output.job.options.evaluate,
    asked=lambda jobs: any(job.options.evaluate for job in jobs),
    optional="W_NOT_EVALUATED",
)
