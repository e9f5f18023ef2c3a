"""What the commands about jobs share: the address of the cluster, and finding a run by a job's id or by its folder."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from raydub.errors import Code, UsageError

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


@dataclass(frozen=True)
class Found:
    """A run and the job that it belongs to, as far as they were asked for and are there. problem: why the run's state
    cannot be read."""

    run: RunSeen | None
    job: JobSeen | None = None
    cluster: Cluster | None = None
    problem: str = ""


def way(address: str | None) -> str:
    """The --address option of a command that we suggest."""
    return f" --address {shlex.quote(address)}" if address else ""


def is_folder(text: str) -> bool:
    """Whether the argument of a command names a folder, and not a job."""
    return "/" in text or text in (".", "..") or os.path.isdir(text)


def find(text: str, address: str | None) -> Found:
    """The latest run in a folder, or of a job. Raises UsageError NO_RUN for a folder without runs, JOB_UNKNOWN, and
    DependencyError if the cluster of a job cannot be asked."""
    from raydub.pipeline.run_lookup import latest, work_folder

    if is_folder(text):
        folder = work_folder(text)
        run = latest(folder)
        if run is None:
            raise UsageError(
                Code.NO_RUN,
                f"{folder} has no record of a run",
                hint="a run writes it when its work begins; runs of older versions have none",
                field="job",
            )
        return Found(run)
    from raydub.cluster.session import jobs

    cluster = jobs.connect(address)
    job = cluster.find(text)
    try:
        return Found(latest(work_folder(job.work_dir), job.id), job, cluster)
    except UsageError:
        return Found(None, job, cluster, f"its work folder {job.work_dir} cannot be read from here, or has no run yet")
