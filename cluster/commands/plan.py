"""`raydub plan`: what a run would do, without doing it."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from cluster.commands import options
from cluster.output import command, say, say_json, show_error
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, RaydubError


@command
def plan(
    manifest: options.Manifest,
    output_root: options.OutputRoot = None,
    cores: Annotated[
        int | None, typer.Option("--cores", min=1, help="Cores to plan for; default: this machine's.")
    ] = None,
    engine: options.Engine = None,
    model: options.Model = None,
    more: options.Set = None,
    as_json: options.AsJson = False,
) -> int:
    """Probe all inputs and show chunks, frames and estimated seconds per stage. Exit code 1 when a row could not
    run."""
    from cluster.manifest import load_manifest
    from pipeline.plan import Estimate, estimate

    asked = load_manifest(manifest, output_root, options.chosen(engine, model, more))
    found: list[Estimate] = []
    problems: list[RaydubError] = list(asked.errors)
    for job in asked.jobs:
        try:
            found.append(estimate(job))
        except RaydubError as error:
            problems.append(error.at(job=job.id, line=job.line))
    count = cores or os.cpu_count() or 1
    total: dict[str, Any] = {
        "jobs": len(found),
        "chunks": sum(one.chunks for one in found),
        "frames": sum(one.frames for one in found),
        "core_seconds": round(sum(one.core_seconds for one in found), 1),
        "cores": count,
        "estimated_seconds": round(sum(one.core_seconds for one in found) / count, 1),
    }
    if as_json:
        jobs = [{**vars(one), "core_seconds": round(one.core_seconds, 2)} for one in found]
        say_json({"jobs": jobs, "total": total, "errors": [problem.to_dict() for problem in problems]})
    else:
        for one in found:
            stages = "  ".join(f"{stage} {seconds:.1f} s" for stage, seconds in one.seconds.items())
            say(
                f"{one.job_id}: {one.width}x{one.height} at {one.rate}, "
                f"{one.frames} frames, {one.chunks} chunks, {one.engine}"
            )
            say(f"  {stages}")
        for problem in problems:
            show_error(problem)
        say(
            f"{total['jobs']} jobs, {total['chunks']} chunks, {total['frames']} frames; about "
            f"{total['estimated_seconds']:.0f} s on {count} cores"
        )
    return EXIT_SOME_FAILED if problems else EXIT_OK
