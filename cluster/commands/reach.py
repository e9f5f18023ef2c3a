"""What the commands about jobs share: the address of the cluster, and finding a run by a job's id or by its folder."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydub.errors import Code, RaydubError, UsageError

if TYPE_CHECKING:
    from raydub.cluster.session.jobs import Cluster, JobSeen
    from raydub.pipeline.run_lookup import RunSeen

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Dashboard of the head node; default: RAYDUB_ADDRESS, RAY_API_SERVER_ADDRESS, RAY_ADDRESS, "
        "http://127.0.0.1:8265.",
    ),
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="Id of the job; without the number of a try, its latest one.")]
JobOrFolder = Annotated[
    str,
    typer.Argument(
        metavar="ID|FOLDER", help="Id of a job, or the work folder or output root of a run (no Ray needed)."
    ),
]


_LOOKED_AT = 5
"""Runs of a folder among which others that work are looked for."""


@dataclass(frozen=True)
class Found:
    """A run and the job that it belongs to, as far as they were asked for and are there. problem: why the run's state
    cannot be read; others: runs of the same folder that say that they work, as in `status --json`."""

    run: RunSeen | None
    job: JobSeen | None = None
    cluster: Cluster | None = None
    problem: str = ""
    others: Sequence[Mapping[str, Any]] = ()


def way(address: str | None) -> str:
    """The --address option of a command that we suggest."""
    return f" --address {shlex.quote(address)}" if address else ""


def is_folder(text: str) -> bool:
    """Whether the argument of a command names a folder, and not a job."""
    return "/" in text or text in (".", "..") or os.path.isdir(text)


def find(text: str, address: str | None, ray_job: str | None = None) -> Found:
    """The latest run in a folder (ray_job: of this job), or of a job. Raises UsageError NO_RUN for a folder without
    runs, JOB_UNKNOWN, and DependencyError if the cluster of a job cannot be asked."""
    from raydub.pipeline.run_lookup import latest, work_folder

    if is_folder(text):
        folder = work_folder(text)
        run = latest(folder, ray_job)
        if run is None:
            raise UsageError(
                Code.NO_RUN,
                f"{folder} has no record of a run{f' of {ray_job}' if ray_job else ''}",
                hint="a run writes it when its work begins; runs of older versions have none",
                field="job",
            )
        return Found(run, others=others_of(run))
    from raydub.cluster.session import jobs

    cluster = jobs.connect(address)
    job = cluster.find(text)
    where = f"its work folder {job.work_dir}"
    try:
        run = latest(work_folder(job.work_dir), job.id)
    except UsageError as error:
        return Found(None, job, cluster, f"{where} cannot be read from here, or has no run yet ({error.message})")
    except RaydubError as error:  # a bucket that this machine has no credentials for
        return Found(None, job, cluster, f"{where} cannot be read from here: {error.message}")
    return Found(run, job, cluster, "" if run else f"{where} has no run of this job", others_of(run) if run else ())


def others_of(run: RunSeen) -> list[dict[str, Any]]:
    """Other runs of the folder that say that they work."""
    from raydub.pipeline.run_lookup import runs

    try:
        recent = list(islice(runs(run.work_dir), _LOOKED_AT))
    except UsageError:
        return []  # a record of another version
    return [
        {"run": one.number, "pid": one.state["pid"], "host": one.state["host"], "work_dir": one.work_dir}
        for one in recent
        if one.says_running and one.name != run.name
    ]


def asked_head(found: Found) -> Found:
    """The same with the run's state as the cluster's head reads it, if that can."""
    from raydub.cluster.session.head import ask_head
    from raydub.pipeline.run_lookup import RunSeen
    from raydub.pipeline.run_record import whole
    from raydub.pipeline.run_state import STATE

    job, cluster = found.job, found.cluster
    assert job is not None
    assert cluster is not None
    try:
        said = ask_head(cluster, job, ["status", job.work_dir, "--ray-job", job.id, "--json"])
        if "error" in said:
            return replace(found, problem=f"{found.problem}; on the head: {said['error']['message']}")
        run = RunSeen(job.work_dir, f"{STATE}/{int(said['run']):08}-head", whole(said["state"]))
        return replace(found, run=run, others=tuple(said.get("also_running", ())))
    except (RaydubError, KeyError, TypeError, ValueError) as error:
        why = error.message if isinstance(error, RaydubError) else f"the head's answer is not understood: {error!r}"
        return replace(found, problem=f"{found.problem}; {why}")
