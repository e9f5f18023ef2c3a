"""What happens to runs from bucket to bucket, as figures: the tests look at them, and the bench prints them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.namespaces.cluster import until
from tests.namespaces.machines import Run
from tests.namespaces.world import BUCKET, World

SOME = 4
"""Parts of the six jobs (24) that are finished when something goes wrong."""
FAULTS: Mapping[str, float] = {"errors": 0.05, "resets": 0.02, "truncated": 0.01}
_AWAY = 20.0


def plain(world: World, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing goes wrong."""
    world.nodes()
    return {**_ended(world, world.run(), expected), "disks": _disks(world)}


def counted(world: World, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Through the proxy, with the faults of its world: requests and bytes of each input against its size."""
    return {**plain(world, expected), "traffic": _traffic(world)}


def node_killed(world: World, expected: Mapping[str, Any]) -> dict[str, Any]:
    """One of two machines vanishes in the middle, without a word."""
    world.nodes()
    run = world.run()
    before = until(lambda: len(found := world.parts()) >= SOME and found, f"{SOME} parts", run)
    lost_at = time.monotonic()
    world.cluster.nodes[0].lose()
    found = _ended(world, run, expected)
    return {**found, **_kept(before, world.parts()), "seconds_after": round(time.monotonic() - lost_at, 1)}


def driver_killed(world: World, expected: Mapping[str, Any]) -> dict[str, Any]:
    """SIGKILL to the driver in the middle, and the same command again at once."""
    world.nodes()
    run = world.run()
    until(lambda: len(world.parts()) >= SOME, f"{SOME} parts", run)
    run.kill()
    before = world.parts()
    found = _ended(world, world.run(), expected)
    return {**found, **_kept(before, world.parts())}


def two_drivers(world: World, expected: Mapping[str, Any]) -> dict[str, Any]:
    """The same command on both machines at the same time."""
    world.nodes()
    runs = [world.run(), world.run(on=world.cluster.nodes[0])]
    found = [_ended(world, run, expected) for run in runs]
    third = _ended(world, world.run(), expected)
    return {"first": found[0], "second": found[1], "third": third}


def server_away(world: World, expected: Mapping[str, Any]) -> dict[str, Any]:
    """The S3 server is killed in the middle and comes back after 20 s at the earliest."""
    world.nodes()
    run = world.run()
    until(lambda: len(world.parts()) >= SOME, f"{SOME} parts", run)
    gone = time.monotonic()
    world.server.stop()
    time.sleep(_AWAY)
    world.server.start()
    away = round(time.monotonic() - gone, 1)
    first = _ended(world, run, expected)
    again = _ended(world, world.run(), expected) if first["exit"] else None
    return {"away": away, "first": first, "again": again}


SCENARIOS: Mapping[str, tuple[Callable[[World, Mapping[str, Any]], dict[str, Any]], Mapping[str, float] | None]] = {
    "plain": (plain, None),
    "node_killed": (node_killed, None),
    "driver_killed": (driver_killed, None),
    "counted": (counted, {}),
    "faults": (counted, FAULTS),
    "two_drivers": (two_drivers, None),
    "server_away": (server_away, None),
}
"""With the chances of faults of their worlds, None for no proxy."""


def carry_out(name: str, folder: Path, inputs: Path, media: Path, expected: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a scenario in a world of its own. expected: from world.prepare()."""
    scenario, chances = SCENARIOS[name]
    with World(folder, inputs, media, chances) as world:
        return scenario(world, expected)


def _ended(world: World, run: Run, expected: Mapping[str, Any]) -> dict[str, Any]:
    code = run.wait()
    wall = round(time.monotonic() - run.started, 1)
    try:
        report = json.loads(run.printed)
    except ValueError:
        report = {"counts": {}, "results": []}
    made = world.outputs()
    return {
        "exit": code,
        "wall": wall,
        "counts": report["counts"],
        "attempts": sum(row["attempts"] for row in report["results"]),
        "errors": {row["id"]: row["error_message"] for row in report["results"] if row["error_code"]},
        "stage_seconds": report.get("stage_seconds"),
        "different": sorted(name for name, held in expected["outputs"].items() if made.get(name) != held),
        "parts": len(world.parts()),
        "said": run.said[-2000:],
    }


def _kept(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, int]:
    """Parts that were finished before, and how many of their records were written again."""
    return {"parts_before": len(before), "parts_redone": sum(after.get(name) != look for name, look in before.items())}


def _disks(world: World) -> dict[str, int]:
    """Bytes in the cache of each machine, and files that are left in its temporary folders."""
    found = {}
    for machine in (world.cluster.head, *world.cluster.nodes):
        cache = machine.disk / "root/tmp/raydub-cache-0"
        found[machine.name] = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    return found


def _traffic(world: World) -> dict[str, Any]:
    told = world.traffic()
    inputs = {}
    for name, about in world.names("in").items():
        counts = told["keys"].get(f"{BUCKET}/{name}", {})
        inputs[name] = {
            "size": about["size"],
            "bytes_read": counts.get("bytes_read", 0),
            "requests": counts["requests"],
        }
    kinds: dict[str, dict[str, int]] = {}
    for key, counts in told["keys"].items():
        steps = key.split("/")
        kind = "/".join(steps[1 : 5 if "refs" in steps else 4 if ".raydub" in steps else 3])
        for name, value in counts.items():
            kinds.setdefault(kind, {})[name] = kinds.get(kind, {}).get(name, 0) + value
    return {"total": told["total"], "faults": told["faults"], "inputs": inputs, "by_folder": kinds}
