"""The simulator of `raydub plan` beside real runs, and its table for clusters to 1,000 GPUs, as JSON.

    python bench/simulator.py check --clip CLIP --speech SPEECH [--modes 1core,1,2,ray] [--costs FILE]
    python bench/simulator.py table [--costs FILE]

check: measures the costs here (or takes them from the file, as a former run printed them), writes the predictions on
stderr, and only then runs each mode: one worker process on one core, one, two, and Ray. Seconds are of whole commands.
`others` is how many cores other processes kept busy meanwhile; `predicted_beside_others` is the prediction for the
cores that they left, computed after the run with the same costs.
table: a described workload on 1, 8, 64 and 1,000 GPUs, and on cores alone. Everything in it is predicted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.read import check_rows
from raydub.pipeline.capacity import parse_cluster, parse_prices
from raydub.pipeline.costs import COSTS, Costs, read_costs
from raydub.pipeline.forecast import Forecast, PoolsFor, forecast
from raydub.pipeline.measure import busy_seconds, measured
from raydub.pipeline.plan import Estimate, estimate, estimated, work_of
from raydub.pipeline.pools import Node, Pools, plan_pools
from raydub.pipeline.registry import STAGES
from raydub.pipeline.simulate import simulate
from raydub.pipeline.simulated import Host
from raydub.pipeline.stage import Demand

ROOT = Path(__file__).resolve().parent.parent
SILENT = [stage for stage in STAGES if stage.name != "speak"]


def pools(jobs: int, demand: Demand) -> PoolsFor:
    return lambda nodes: plan_pools(nodes, jobs, demand=demand, stages=SILENT)


def predicted(mode: str, found: Estimate, costs: Costs, others: float = 0.0) -> float:
    """Seconds of a run beside other processes that keep `others` cores busy."""
    cores = 1 if mode == "1core" else len(os.sched_getaffinity(0))
    workers: Pools | int = 1 if mode == "1core" else int(mode) if mode != "ray" else 0
    if mode == "ray":
        workers = plan_pools(
            [Node(cores)], 1, demand=Demand(network=found.engine not in ("own", "warp")), stages=SILENT
        )
    hosts = [Host(max(0.1, cores - others))]
    return simulate([work_of(found, costs)], hosts, workers, start=costs.start, efficiency=costs.efficiency).seconds


def own_cores() -> float:
    return sum(
        one.ru_utime + one.ru_stime for one in map(resource.getrusage, (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
    )


def run(mode: str, row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One run in a fresh work folder."""
    place = folder / mode
    place.mkdir()
    (place / "jobs.jsonl").write_text(json.dumps(row) + "\n")
    command = [sys.executable, "-m", "raydub.cluster.cli", "run", str(place / "jobs.jsonl"), "--json"]
    command += ["--ray"] if mode == "ray" else ["--no-ray", "--workers", "1" if mode == "1core" else mode]
    if mode == "1core":
        command = ["taskset", "-c", "0", *command]
    all_before, own_before, start = (busy_seconds() or 0.0), own_cores(), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, check=True)
    seconds = time.perf_counter() - start
    own = own_cores() - own_before
    return {
        "seconds": round(seconds, 1),
        # Ray's processes are nobody's children: not counted.
        "cpu_seconds": None if mode == "ray" else round(own, 1),
        "others": None if mode == "ray" else round(max(0.0, (busy_seconds() or 0.0) - all_before - own) / seconds, 2),
        "stage_seconds": json.loads(done.stdout)["stage_seconds"],
    }


def check(options: argparse.Namespace) -> dict[str, Any]:
    row = {
        "id": "job",
        "video": os.path.abspath(options.clip),
        "audio": os.path.abspath(options.speech),
        "output": "o.mp4",
    }
    row |= dict(pair.split("=", 1) for pair in options.set)
    with tempfile.TemporaryDirectory(prefix="raydub-bench-") as name:
        folder = Path(name)
        asked = check_rows([(1, row)], folder, folder)
        for error in asked.errors:
            raise error
        [job] = asked.jobs
        if options.costs:
            costs = read_costs(options.costs)
        else:
            (folder / "measure").mkdir()
            costs = measured(job, str(folder / "measure"), COSTS)
        found = estimate(job, costs)
        modes = options.modes.split(",")
        guesses = {mode: round(predicted(mode, found, costs), 1) for mode in modes}
        print("predicted:", json.dumps(guesses), file=sys.stderr, flush=True)
        runs = {}
        for mode in modes:
            made = run(mode, row, folder)
            print(mode, json.dumps(made), file=sys.stderr, flush=True)
            runs[mode] = {"predicted": guesses[mode], **made, "error": round(guesses[mode] / made["seconds"] - 1, 3)}
            if made["others"]:
                beside = round(predicted(mode, found, costs, made["others"]), 1)
                runs[mode] |= {"predicted_beside_others": beside}
                runs[mode] |= {"error_beside_others": round(beside / made["seconds"] - 1, 3)}
    return {"frames": found.frames, "core_seconds": found.seconds, "runs": runs, "costs": costs.model_dump(mode="json")}


def films(hours: float, minutes: float, size: tuple[int, int], costs: Costs, **options: Any) -> list[Estimate]:
    """Videos of some minutes at 25 frames a second."""
    job = Job(id="0", video="/v.mp4", audio="/a.wav", output="/o.mp4", options=Options.model_validate(options))
    one = estimated(job, size, Fraction(25), round(25 * 60 * minutes), 60 * minutes, costs)
    return [replace(one, job_id=str(number)) for number in range(round(hours * 60 / minutes))]


NODES = ["1xH100:16cpu", "8xH100:16cpu", "64xH100:16cpu", "1000xH100:16cpu", "64x16cpu"]


def table(options: argparse.Namespace) -> dict[str, Any]:
    costs = read_costs(options.costs) if options.costs else COSTS
    wav2lip = {"engine": "wav2lip", "model": "wav2lip"}
    restored = {**wav2lip, "restore": "gfpgan", "restore_model": "gfpgan"}
    work = {
        "720p, wav2lip, 280 hours in videos of 20 minutes": (films(280, 20, (1280, 720), costs, **wav2lip), Demand()),
        "1080p, wav2lip and gfpgan, 280 hours in videos of 20 minutes": (
            films(280, 20, (1920, 1080), costs, **restored),
            Demand(finish=True),
        ),
    }
    found: dict[str, Any] = {"source": costs.source, "note": "predicted; no GPU was measured", "prices": options.price}
    for name, (estimates, demand) in work.items():
        rows = []
        for text in NODES:
            cluster = parse_cluster(text)
            price = options.price if cluster[0].gpus else "cpu=0.04"
            began = time.process_time()
            seen = forecast(
                estimates, cluster, pools(len(estimates), demand), costs, parse_prices(price, cluster), marginal=False
            )
            rows.append(line(text, seen, time.process_time() - began))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        found[name] = {"jobs": len(estimates), "chunks": sum(one.chunks for one in estimates), "clusters": rows}
    return found


def line(cluster: str, seen: Forecast, spent: float) -> dict[str, Any]:
    made, bound = seen.outcome, seen.bottleneck
    return {
        "cluster": cluster,
        "hours": round(made.seconds / 3600, 3),
        "first_minutes": round(seen.first_seconds / 60, 1),
        "price": round(seen.price, 2),
        "bottleneck": f"{bound.bound}: {bound.stage}",
        "cores_busy": round(made.cores_busy, 2),
        "gpus_busy": None if made.gpus_busy is None else round(made.gpus_busy, 3),
        "workers": dict(made.workers),
        "simulated_in_cpu_seconds": round(spent, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    checked = commands.add_parser("check")
    checked.add_argument("--clip", required=True)
    checked.add_argument("--speech", required=True)
    checked.add_argument("--modes", default="1core,1,2,ray")
    checked.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    checked.set_defaults(call=check)
    shown = commands.add_parser("table")
    shown.add_argument("--price", default="gpu=2.5,cpu=0.04")
    shown.set_defaults(call=table)
    for one in (checked, shown):
        one.add_argument("--costs", type=Path)
    options = parser.parse_args()
    print(json.dumps(options.call(options), indent=2))


if __name__ == "__main__":
    main()
