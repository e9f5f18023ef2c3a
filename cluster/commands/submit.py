"""`raydub submit`: run a manifest on a cluster by Ray Jobs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydub.cluster.output import JSON_HELP, command, say, say_json, warn
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, Code, UsageError

if TYPE_CHECKING:
    from raydub.cluster.session.jobs import Outcome


@command
def submit(
    manifest: Annotated[
        str, typer.Argument(metavar="MANIFEST", help="Manifest, at a path that the cluster's nodes can read.")
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- RUN OPTIONS]", help="Options of `raydub run`.")
    ] = None,
    address: Annotated[str, typer.Option("--address", help="The head node's dashboard.")] = "http://127.0.0.1:8265",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end and print the outcome; the exit code is the run's.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Validate the manifest first, if this machine can read it.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> int:
    """Run a manifest on a cluster through Ray Jobs."""
    if check and Path(manifest).exists():
        from raydub.cluster.allowed import allow_fetching
        from raydub.cluster.commands.fields import FIELD_FLAGS
        from raydub.cluster.output import show_error
        from raydub.manifests.read import read_manifest

        said = run_options([manifest, *(arguments or [])])
        allow_fetching(said["allow_scheme"], said["allow_private"])
        fields = FIELD_FLAGS.build({one.name: said[one.name] for one in FIELD_FLAGS.parameters})
        asked = read_manifest(Path(manifest), said["output_root"], fields)
        if asked.errors:
            for error in asked.errors:
                show_error(error)
            if as_json:
                say_json({"error": asked.errors[0].to_dict()})
            return EXIT_USAGE
    from raydub.cluster.session import jobs

    client = jobs.connect(address)
    path = str(Path(manifest).absolute()) if Path(manifest).exists() else manifest
    job_id = jobs.submit(client, [path, *(arguments or [])])
    logs = f"ray job logs --address {shlex.quote(address)}"
    if not wait:
        if as_json:
            say_json({"job_id": job_id, "status": "SUBMITTED"})
        else:
            say(f"{job_id}: SUBMITTED")
            say(f"  follow it with: {logs} --follow {job_id}")
        return EXIT_OK
    if not as_json:
        warn(f"{job_id}: submitted; waiting for its end (follow it with: {logs} --follow {job_id})")
    found = jobs.outcome(client, job_id, jobs.wait(client, job_id))
    if as_json:
        say_json({"job_id": job_id, **asdict(found)})
    else:
        _tell(job_id, found, logs)
    if found.status == "SUCCEEDED":
        return EXIT_OK
    # The run's own exit code; unknown if a signal ended it.
    return found.exit_code if found.exit_code is not None and found.exit_code > 0 else EXIT_SOME_FAILED


def _tell(job_id: str, found: Outcome, logs: str) -> None:
    for line in found.errors:
        warn(line)
    code = f" (exit code {found.exit_code})" if found.exit_code else ""
    say(f"{job_id}: {found.status}{code}")
    if found.reason and not found.last:
        say(f"  {found.reason}")
    for line in found.last:
        say(f"  {line}")
    if found.status != "SUCCEEDED" or not found.last:
        say(f"  full log: {logs} {job_id}")


def run_options(arguments: Sequence[str]) -> Mapping[str, Any]:
    """Parse arguments of `raydub run`; values by parameter name. Raises UsageError FIELD_VALUE for invalid
    arguments."""
    from raydub.cluster.commands.run import run

    app = typer.Typer(add_completion=False)
    app.command("run")(run)
    try:
        found: Mapping[str, Any] = typer.main.get_command(app).make_context("run", list(arguments)).params
    except Exception as error:
        # Newer typer vendors click, whose exceptions then have no public name.
        if not hasattr(error, "format_message"):
            raise
        raise UsageError(Code.FIELD_VALUE, error.format_message(), hint="`raydub run --help` lists them") from None
    return found
