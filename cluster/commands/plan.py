"""`raydub plan`: estimate the work of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydub.cluster.allowed import allow_fetching
from raydub.cluster.commands import options
from raydub.cluster.commands.fields import FIELD_FLAGS
from raydub.cluster.commands.flags import takes
from raydub.cluster.output import command, say, say_json, show_error
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, RaydubError

if TYPE_CHECKING:
    from raydub.pipeline.plan import Bottleneck


@command
@takes(fields=FIELD_FLAGS)
def plan(
    manifest: options.Manifest,
    fields: dict[str, str],
    output_root: options.OutputRoot = None,
    cores: Annotated[
        int | None, typer.Option("--cores", min=1, help="Cores to plan for; default: this machine's.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option("--gpus", min=0, help="GPUs to plan for; default: this machine's.")
    ] = None,
    allow_scheme: options.AllowScheme = None,
    allow_private: options.AllowPrivate = False,
    as_json: options.AsJson = False,
) -> int:
    """Probe all inputs and show chunks, frames, estimated seconds per stage, and what bounds the run. Exit code 1 if a
    row could not run. Inputs at web addresses are not fetched."""
    from raydub.manifests.paths import is_remote
    from raydub.manifests.read import read_manifest
    from raydub.pipeline.plan import Estimate, bottleneck, estimate

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
    cards = len(list(Path("/dev").glob("nvidia[0-9]*"))) if gpus is None else gpus
    bound = bottleneck(found, count, cards)
    total: dict[str, Any] = {
        "jobs": len(found),
        "chunks": sum(one.chunks for one in found),
        "frames": sum(one.frames for one in found),
        "core_seconds": round(sum(one.core_seconds for one in found), 1),
        "cores": count,
        "gpus": cards,
        "estimated_seconds": bound.seconds if bound else 0.0,
        "bottleneck": vars(bound) if bound else None,
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
            f"{total['estimated_seconds']:.0f} s on {count} cores{f' and {cards} GPUs' if cards else ''}"
        )
        if bound:
            say(_words(bound, cards))
    return EXIT_SOME_FAILED if problems else EXIT_OK


def _words(bound: Bottleneck, gpus: int) -> str:
    kinds = {"cores": "cores", "gpus": "GPUs"}
    other = kinds["gpus" if bound.bound == "cores" else "cores"]
    idle = f"; the {other} are idle for {bound.idle:.0%} of the time" if gpus and bound.idle is not None else ""
    return f"bottleneck: {bound.stage}, {bound.share:.0%} of what the {kinds[bound.bound]} have to do{idle}"
