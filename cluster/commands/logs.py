"""`raydub logs`: what a job of a cluster has written."""

from __future__ import annotations

from typing import Annotated

import typer

from raydub.cluster.commands.options import AsJson
from raydub.cluster.commands.reach import Address, JobId
from raydub.cluster.output import command, say, say_json, warn
from raydub.errors import EXIT_OK, Code, UsageError


@command
def logs(
    job: JobId,
    address: Address = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until the job ends.")] = False,
    as_json: AsJson = False,
) -> int:
    """Print the log of a job: progress, errors and the summary of its run."""
    if follow and as_json:
        message = "a log that is followed is not one JSON document"
        raise UsageError(Code.FIELD_CONFLICT, message, field="follow", hint="leave out --follow or --json")
    from raydub.cluster.session import jobs

    cluster = jobs.connect(address)
    found = cluster.find(job)
    if as_json:
        say_json({"job_id": found.id, "status": found.status, "lines": cluster.log(found.id).splitlines()})
    elif follow:
        if found.status == "PENDING":
            warn(f"{found.id} has not begun; waiting for it")
        rest = ""
        for piece in cluster.follow(found.id):
            *lines, rest = f"{rest}{piece}".split("\n")
            for line in lines:
                say(line)
        if rest:
            say(rest)
    else:
        for line in cluster.log(found.id).splitlines():
            say(line)
    return EXIT_OK
