"""`raydub submit`: run a manifest on a cluster by Ray Jobs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydub.cluster.commands.reach import Address, way
from raydub.cluster.output import JSON_HELP, command, say, say_json, warn
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, Code, UsageError

if TYPE_CHECKING:
    from raydub.cluster.ordering import Prepared
    from raydub.cluster.session.jobs import Cluster, JobSeen, Outcome

Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for the end and print the outcome; the exit code is the run's.")
]


@command
def submit(
    manifest: Annotated[
        str,
        typer.Argument(metavar="MANIFEST", help="Manifest: a file of this machine or of the cluster, or an address."),
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- RUN OPTIONS]", help="Options of `raydub run`.")
    ] = None,
    address: Address = None,
    ship: Annotated[
        bool | None,
        typer.Option(
            "--ship/--no-ship",
            help="Send the manifest, with small scripts at relative paths, or let the cluster read it at its path; "
            "default: send it if --output-root is given and no other input is relative.",
        ),
    ] = None,
    working_dir: Annotated[
        str | None,
        typer.Option("--working-dir", help="Send this folder (or the .zip at an address), with the manifest in it."),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", help="Container image for the run, instead of what the nodes have installed."),
    ] = None,
    pip: Annotated[
        Path | None,
        typer.Option("--pip", help="File of packages, NAME==VERSION, to install for the run beside what nodes have."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME=VALUE", help="Variable for the run, without secrets. Can be repeated."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="If this job has ended, run it again; finished parts are kept.")
    ] = False,
    wait: Wait = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Validate the manifest first, if this machine can read it.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> int:
    """Run a manifest on a cluster through Ray Jobs. The same manifest with the same options is one job."""
    from raydub.cluster.ordering import order_for
    from raydub.cluster.sent import environment, pinned_packages
    from raydub.cluster.session import jobs

    given = [name for name, value in (("ship", ship), ("working-dir", working_dir)) if value]
    _refuse_both("image", image, [*given, *(["pip"] if pip else [])], "the image has everything that a run needs")
    _refuse_both("working-dir", working_dir, ["ship"] if ship else [], "the folder holds the manifest")
    runtime_env: dict[str, Any] = {"env_vars": environment(env or [])}
    runtime_env |= {"image_uri": image} if image else {}
    runtime_env |= {"pip": {"packages": pinned_packages(pip), "pip_check": False}} if pip else {}
    prepared = order_for(manifest, arguments or [], ship=ship, working_dir=working_dir, runtime_env=runtime_env)
    if check and prepared.read is not None:
        errors = prepared.read().errors
        if errors:
            from raydub.cluster.output import show_error

            for error in errors:
                show_error(error)
            if as_json:
                say_json({"error": errors[0].to_dict()})
            return EXIT_USAGE
    cluster = jobs.connect(address)
    return start(cluster, prepared, address, again=again, wait=wait, as_json=as_json)


def start(cluster: Cluster, prepared: Prepared, address: str | None, *, again: bool, wait: bool, as_json: bool) -> int:
    """Submit, tell about it, and with `wait` wait for the end; returns the exit code."""
    from raydub.cluster.ordering import packed

    with packed(prepared) as order:
        job, is_new = cluster.submit(order, again=again)
    status = "SUBMITTED" if is_new else job.status
    if wait:
        if not as_json:
            warn(f"{job.id}: {'submitted' if is_new else status}; waiting for its end")
        return _wait(cluster, job, address, as_json)
    sent = list(prepared.files or ())
    if as_json:
        say_json({"job_id": job.id, "status": status, "new": is_new, "work_dir": job.work_dir, "sent": sent})
        return EXIT_OK
    say(f"{job.id}: {status}" if is_new else f"{job.id}: is there already, {status}")
    if is_new:
        scripts = f" with {len(sent) - 1} {'script' if len(sent) == 2 else 'scripts'}" if len(sent) > 1 else ""
        say(f"  manifest: {f'sent{scripts}' if sent else f'read by the cluster at {order.arguments[0]}'}")
    say(f"  work folder: {job.work_dir}")
    say(f"  follow it with: raydub logs {job.id} --follow{way(address)}")
    return EXIT_OK


def _wait(cluster: Cluster, job: JobSeen, address: str | None, as_json: bool) -> int:
    found = cluster.outcome(job.id, cluster.wait(job.id))
    if as_json:
        say_json({"job_id": job.id, **asdict(found)})
    else:
        _tell(job.id, found, address)
    if found.status == "SUCCEEDED":
        return EXIT_OK
    # The run's own exit code; unknown if a signal ended it.
    return found.exit_code if found.exit_code is not None and found.exit_code > 0 else EXIT_SOME_FAILED


def _tell(job_id: str, found: Outcome, address: str | None) -> None:
    for line in found.errors:
        warn(line)
    code = f" (exit code {found.exit_code})" if found.exit_code else ""
    say(f"{job_id}: {found.status}{code}")
    if found.reason and not found.last:
        say(f"  {found.reason}")
    for line in found.last:
        say(f"  {line}")
    if found.status != "SUCCEEDED" or not found.last:
        say(f"  full log: raydub logs {job_id}{way(address)}")


def _refuse_both(name: str, value: object, others: list[str], why: str) -> None:
    if value and others:
        message = f"--{name} and --{others[0]} contradict each other: {why}"
        raise UsageError(Code.FIELD_CONFLICT, message, field=others[0], hint="leave out one of the two")
