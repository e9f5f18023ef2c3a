"""`raydub submit`: hand a run to a cluster and go home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.output import JSON_HELP, command, say, say_json
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, Code, UsageError


@command
def submit(
    manifest: Annotated[
        str, typer.Argument(metavar="MANIFEST", help="Manifest, at a path that the cluster's nodes see.")
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- RUN OPTIONS]", help="Options of `raydub run`.")
    ] = None,
    address: Annotated[str, typer.Option("--address", help="The head node's dashboard.")] = "http://127.0.0.1:8265",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end; the exit code then tells the outcome.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Validate the manifest here first, if it is here.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> int:
    """Run a manifest on a cluster through Ray Jobs."""
    if check and Path(manifest).exists():
        from cluster.commands import options
        from cluster.manifest import load_manifest
        from cluster.output import show_error

        said = run_options([manifest, *(arguments or [])])
        options.allow_fetching(said["allow_scheme"], said["allow_private"])
        speech = {name: said[name] for name in ("tts", "voice", "language", "bed")}
        fields = options.chosen(said["engine"], said["model"], said["more"], said["restore"], said["upscale"], **speech)
        asked = load_manifest(Path(manifest), said["output_root"], fields)
        if asked.errors:
            for error in asked.errors:
                show_error(error)
            return EXIT_USAGE
    from cluster import jobs

    client = jobs.connect(address)
    path = str(Path(manifest).absolute()) if Path(manifest).exists() else manifest
    job_id = jobs.submit(client, [path, *(arguments or [])])
    status = jobs.wait(client, job_id) if wait else "SUBMITTED"
    if as_json:
        say_json({"job_id": job_id, "status": status})
    else:
        say(f"{job_id}: {status}")
        if not wait:
            say(f"  follow it with: ray job logs --address {address} --follow {job_id}")
    return EXIT_OK if status in ("SUBMITTED", "SUCCEEDED") else EXIT_SOME_FAILED


def run_options(arguments: Sequence[str]) -> Mapping[str, Any]:
    """What `raydub run` would understand by these arguments, by the names of its parameters. Raises UsageError
    FIELD_VALUE for what it would refuse."""
    from cluster.commands.run import run

    app = typer.Typer(add_completion=False)
    app.command("run")(run)
    try:
        found: Mapping[str, Any] = typer.main.get_command(app).make_context("run", list(arguments)).params
    except Exception as error:
        # Newer typer brings a click of its own, whose exceptions have no public name.
        if not hasattr(error, "format_message"):
            raise
        raise UsageError(Code.FIELD_VALUE, error.format_message(), hint="`raydub run --help` lists them") from None
    return found
