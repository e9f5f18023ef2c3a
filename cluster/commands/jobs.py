"""`raydub jobs`: the jobs of a cluster."""

from __future__ import annotations

import functools
import time
from typing import Any

from raydub.cluster.commands.options import AsJson
from raydub.cluster.commands.reach import Address
from raydub.cluster.output import command, say, say_json
from raydub.errors import EXIT_OK, RaydubError


@command
def jobs(address: Address = None, as_json: AsJson = False) -> int:
    """List the jobs that were submitted to a cluster, the latest first."""
    from raydub.cluster.session import jobs as session

    found = session.connect(address).jobs()
    rows = [_row(job) for job in found]
    if as_json:
        say_json({"jobs": rows})
        return EXIT_OK
    if not rows:
        say("no jobs of raydub")
        return EXIT_OK
    width = max(len(row["job_id"]) for row in rows)
    say(f"{'id':<{width}}  {'status':<10}{'rows':>7}{'ok':>7}{'failed':>7}{'age':>9}  manifest")
    for row in rows:
        rows_, ok, failed = ("-" if row[name] is None else row[name] for name in ("rows", "ok", "failed"))
        counts = f"{rows_:>7}{ok:>7}{failed:>7}"
        say(f"{row['job_id']:<{width}}  {row['status']:<10}{counts}{_age(row['age']):>9}  {row['manifest']}")
    return EXIT_OK


def _row(job: Any) -> dict[str, Any]:
    state = next((run.state for run in _runs(job.work_dir) if run.state.get("ray_job") == job.id), None)
    counts: dict[str, int] = state["counts"] if state is not None else {}
    return {
        "job_id": job.id,
        "status": job.status,
        "manifest": job.facts.get("manifest", ""),
        "work_dir": job.work_dir,
        "rows": state["rows"] if state is not None else None,
        "ok": counts.get("ok"),
        "failed": counts["failed"] + counts["quarantined"] if counts else None,
        "counts": counts,
        "age": max(0.0, round(time.time() - job.started, 1)) if job.started else None,
    }


@functools.cache
def _runs(work_dir: str) -> list[Any]:
    """The runs of a work folder, none if it cannot be read from here."""
    from raydub.pipeline.run_lookup import runs

    try:
        return list(runs(work_dir)) if work_dir else []
    except (RaydubError, OSError, ValueError):
        return []


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
