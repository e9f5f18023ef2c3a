"""`raydub plan`: estimate what a run will take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydub.cluster.allowed import allow_fetching
from raydub.cluster.commands import options
from raydub.cluster.commands.fields import FIELD_FLAGS
from raydub.cluster.commands.flags import takes
from raydub.cluster.output import command, say, say_json, show_error, warn
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, Code, RaydubError, UsageError

if TYPE_CHECKING:
    from raydub.manifests.job import Job
    from raydub.pipeline.capacity import Group
    from raydub.pipeline.costs import Costs
    from raydub.pipeline.forecast import Bottleneck, Forecast, PoolsFor

_MEASURED_SECONDS = 10.0


@command
@takes(fields=FIELD_FLAGS)
def plan(
    manifest: options.Manifest,
    fields: dict[str, str],
    output_root: options.OutputRoot = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="COUNTxNODE,..",
            help="Nodes to plan for: 8xH100:16cpu (8 nodes, one H100 and 16 cores each), 2x8xH100:128cpu, 10x64cpu, "
            "or several, separated by commas; default: this machine.",
        ),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(
            "--price", metavar="NAME=NUMBER,..", help="Per hour: gpu, cpu (a core), node, or a type of GPU (H100=2.5)."
        ),
    ] = None,
    costs: Annotated[
        Path | None,
        typer.Option("--costs", metavar="FILE", help="Costs of the stages, TOML or JSON, over the built-in."),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Measure the costs here first, with two chunks of the first job that has a sound file."
        ),
    ] = False,
    cores: Annotated[int | None, typer.Option("--cores", min=1, help="Cores of one node to plan for.")] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs (H100) of one node to plan for.")] = None,
    no_ray: options.NoRay = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="As in `run`: workers per CPU stage, or worker processes.")
    ] = None,
    allow_scheme: options.AllowScheme = None,
    allow_private: options.AllowPrivate = False,
    as_json: options.AsJson = False,
) -> int:
    """Probe all inputs, show chunks, frames and core seconds per stage, and simulate the run on a cluster: time, price,
    bottleneck, and what one more node of each kind changes. Exit code 1 if a row could not run. Inputs in buckets are
    fetched into the cache, those at web addresses are not fetched."""
    from raydub.manifests.paths import is_remote
    from raydub.manifests.read import read_manifest
    from raydub.objects.names import is_object
    from raydub.pipeline.capacity import parse_prices
    from raydub.pipeline.costs import COSTS, read_costs
    from raydub.pipeline.forecast import forecast
    from raydub.pipeline.plan import Estimate, estimate
    from raydub.stages.inputs import in_words_of, near_inputs

    allow_fetching(allow_scheme, allow_private)
    nodes = _cluster(cluster, cores, gpus)
    if no_ray and sum(group.count for group in nodes) > 1:
        raise UsageError(Code.FIELD_CONFLICT, "--no-ray runs on one node", hint="leave out --no-ray", field="--cluster")
    prices = parse_prices(price, nodes) if price is not None else None
    table = read_costs(costs) if costs is not None else COSTS
    asked = read_manifest(manifest, output_root, fields)
    remote = [
        job.id for job in asked.jobs if any(is_remote(path) and not is_object(path) for path in job.inputs().values())
    ]
    here = [job for job in asked.jobs if job.id not in remote]
    if measure:
        table = _measured(here, table, as_json)
    found: list[Estimate] = []
    known: list[Job] = []
    problems: list[RaydubError] = list(asked.errors)
    for job in here:
        local = job
        try:
            local = near_inputs(job)
            found.append(estimate(local, table))
            known.append(job)
        except RaydubError as error:
            problems.append(in_words_of(job, local, error).at(job=job.id, line=job.line))
    predicted = _predicted(nodes, table)
    count = _pools(known, no_ray, workers)
    seen = forecast(found, nodes, count, table, prices, marginal=not no_ray) if found else None
    total: dict[str, Any] = {
        "jobs": len(found),
        "chunks": sum(one.chunks for one in found),
        "frames": sum(one.frames for one in found),
        "core_seconds": round(sum(one.core_seconds for one in found), 1),
        "cluster": ",".join(map(str, nodes)),
        "cores": sum(group.count * group.cpus for group in nodes),
        "gpus": sum(group.count * group.gpus for group in nodes),
        **_numbers(seen, priced=prices is not None),
        "predicted": predicted,
    }
    if as_json:
        jobs = [{**vars(one), "core_seconds": round(one.core_seconds, 2)} for one in found]
        say_json(
            {
                "jobs": jobs,
                "total": total,
                "remote": remote,
                "errors": [problem.to_dict() for problem in problems],
                "costs": table.model_dump(mode="json"),
            }
        )
        return EXIT_SOME_FAILED if problems else EXIT_OK
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
    cards = f", {total['gpus']} GPUs" if total["gpus"] else ""
    say(
        f"{total['jobs']} jobs, {total['chunks']} chunks, {total['frames']} frames, {total['core_seconds']:.0f} core "
        f"seconds on {total['cluster']}: {total['cores']} cores{cards}"
    )
    for line in _words(seen, total) if seen else ():
        say(line)
    say(f"costs: {table.source}; other processors differ by a factor of two")
    for line in total["predicted"]:
        say(f"predicted, not measured: {line}")
    return EXIT_SOME_FAILED if problems else EXIT_OK


def _cluster(text: str | None, cores: int | None, gpus: int | None) -> tuple[Group, ...]:
    from raydub.pipeline.capacity import parse_cluster

    if text is not None:
        if cores is not None or gpus is not None:
            message = "--cluster says what --cores and --gpus say"
            raise UsageError(Code.FIELD_CONFLICT, message, hint="use one of them", field="--cluster")
        return parse_cluster(text)
    cards = len(list(Path("/dev").glob("nvidia[0-9]*"))) if gpus is None else gpus
    return parse_cluster(f"1x{f'{cards}xH100:' if cards else ''}{cores or os.cpu_count() or 1}cpu")


def _pools(jobs: Sequence[Job], no_ray: bool, workers: int | None) -> PoolsFor:
    from raydub.cluster.request import RunRequest
    from raydub.cluster.session.where import planner

    if no_ray:
        return lambda nodes: workers or max(1, int(nodes[0].cpus))
    planned = planner(RunRequest(jobs=tuple(jobs), bad=(), work_dir=Path(), results=None, workers=workers))
    return lambda nodes: planned(nodes, len(jobs))


def _measured(jobs: Sequence[Job], table: Costs, quiet: bool) -> Costs:
    import tempfile

    from raydub.pipeline.measure import measured
    from raydub.stages.inputs import near_inputs

    job = next((job for job in jobs if job.audio is not None), None)
    if job is None:
        message = "--measure needs a job with a sound file that is on this machine"
        raise UsageError(Code.FIELD_CONFLICT, message, hint="give --costs", field="--measure")
    if not quiet:
        warn(f"measuring {_MEASURED_SECONDS:.0f} s of {job.id}: takes a minute on a slow machine")
    with tempfile.TemporaryDirectory(prefix="raydub-measure-") as folder:
        return measured(near_inputs(job), folder, table, _MEASURED_SECONDS)


def _predicted(nodes: Sequence[Group], table: Costs) -> list[str]:
    kinds = sorted({group.gpu for group in nodes if group.gpus})
    gpus = {kind: table.gpu(kind) for kind in kinds}
    return [
        f"{kind}, as fast as {gpu.cores:.0f} cores in most networks" for kind, gpu in gpus.items() if not gpu.measured
    ]


def _numbers(seen: Forecast | None, *, priced: bool) -> dict[str, Any]:
    if seen is None:
        return {"estimated_seconds": 0.0, "bottleneck": None}
    made = seen.outcome
    return {
        "estimated_seconds": round(made.seconds, 1),
        "first_seconds": round(seen.first_seconds, 1),
        "price": round(seen.price, 4) if priced else None,
        "bottleneck": {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in vars(seen.bottleneck).items()
        },
        "workers": dict(made.workers),
        "busy": {
            **{stage: round(share, 3) for stage, share in made.busy.items()},
            "cores": round(made.cores_busy, 3),
            "gpus": None if made.gpus_busy is None else round(made.gpus_busy, 3),
        },
        "one_more_node": [
            {"node": one.node, "seconds": round(one.seconds, 1), "price": round(one.price, 4) if priced else None}
            for one in seen.more
        ],
    }


def _words(seen: Forecast, total: dict[str, Any]) -> list[str]:
    made, price = seen.outcome, total["price"]
    gpus = f", GPUs {made.gpus_busy:.0%}" if made.gpus_busy is not None else ""
    cost = f"; price {price:.2f}" if price is not None else ""
    lines = [
        f"about {_time(made.seconds)}, the first video after {_time(seen.first_seconds)}{cost}",
        f"bottleneck: {_bottleneck(seen.bottleneck, made.workers)}",
        f"busy: cores {made.cores_busy:.0%}{gpus}; workers: "
        + ", ".join(f"{made.workers[stage]} {stage} {share:.0%}" for stage, share in made.busy.items()),
    ]
    for one in total["one_more_node"]:
        change = f"{one['seconds']:+.0f} s ({one['seconds'] / made.seconds:+.1%})"
        paid = f", price {one['price']:+.2f}" if price is not None else ""
        lines.append(f"one more {one['node']}: {change}{paid}")
    return lines


def _bottleneck(found: Bottleneck, workers: Any) -> str:
    if found.bound == "chain":
        return f"{found.stage}, {found.share:.0%} of the way of one job ({found.job}) that nothing shortens"
    if found.bound == "workers":
        count = workers.get(found.stage, workers.get("worker"))
        return f"{found.stage}, {found.share:.0%} of what {count} workers have to do, while cores are idle"
    names = {"cores": "cores", "gpus": "GPUs"}
    return f"{found.stage}, {found.share:.0%} of what the {names[found.bound]} have to do"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
