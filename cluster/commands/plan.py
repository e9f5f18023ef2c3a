"""`raydub plan`: estimate the work of a run."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from raydub.cluster.allowed import allow_fetching
from raydub.cluster.commands import options
from raydub.cluster.commands.fields import FIELD_FLAGS
from raydub.cluster.commands.flags import takes
from raydub.cluster.output import command, say, say_json, show_error
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, RaydubError


@command
@takes(fields=FIELD_FLAGS)
def plan(
    manifest: options.Manifest,
    fields: dict[str, str],
    output_root: options.OutputRoot = None,
    cores: Annotated[
        int | None, typer.Option("--cores", min=1, help="Cores to plan for; default: this machine's.")
    ] = None,
    allow_scheme: options.AllowScheme = None,
    allow_private: options.AllowPrivate = False,
    as_json: options.AsJson = False,
) -> int:
    """Probe all inputs and show chunks, frames and estimated seconds per stage. Exit code 1 if a row could not run.
    Inputs at web addresses are not fetched."""
    from raydub.manifests.paths import is_remote
    from raydub.manifests.read import read_manifest
    from raydub.pipeline.plan import Estimate, estimate

    allow_fetching(allow_scheme, allow_private)
    asked = read_manifest(manifest, output_root, fields)
    found: list[Estimate] = []
    problems: list[RaydubError] = list(asked.errors)
    remote = [job.id for job in asked.jobs if any(map(is_remote, job.inputs().values()))]
    for job in asked.jobs:
        if job.id in remote:
            continue
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
        say_json(
            {"jobs": jobs, "total": total, "remote": remote, "errors": [problem.to_dict() for problem in problems]}
        )
    else:
        for one in found:
            stages = "  ".join(f"{stage} {seconds:.1f} s" for stage, seconds in one.seconds.items())
            size, made = f"{one.width}x{one.height}", f"{one.out_width}x{one.out_height}"
            say(
                f"{one.job_id}: {size if made == size else f'{size} to {made}'} at {one.rate}, "
                f"{one.frames} frames, {one.chunks} chunks, {one.engine}"
            )
            say(f"  {stages}")
        for name in remote:
            say(f"{name}: remote, not probed")
        for problem in problems:
            show_error(problem)
        say(
            f"{total['jobs']} jobs, {total['chunks']} chunks, {total['frames']} frames; about "
            f"{total['estimated_seconds']:.0f} s on {count} cores"
        )
    return EXIT_SOME_FAILED if problems else EXIT_OK
