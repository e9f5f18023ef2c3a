"""`raydub cancel`: stop a job of a cluster; what it has finished is kept."""

from __future__ import annotations

from typing import Annotated

import typer

from raydub.cluster.commands.options import AsJson
from raydub.cluster.commands.reach import Address, JobId, way
from raydub.cluster.output import command, say, say_json, warn
from raydub.errors import EXIT_OK


@command
def cancel(
    job: JobId,
    address: Address = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until its results are written.")] = True,
    as_json: AsJson = False,
) -> int:
    """Stop a job: it writes its results first. `raydub resume` continues it."""
    from raydub.cluster.session import jobs

    cluster = jobs.connect(address)
    found = cluster.find(job)
    cluster.stop(found)
    if wait and not as_json:
        warn(f"{found.id}: stopping")
    status = cluster.wait(found.id) if wait else "STOPPING"
    if as_json:
        say_json({"job_id": found.id, "status": status})
    else:
        say(f"{found.id}: {status}; continue it with: raydub resume {found.id}{way(address)}")
    return EXIT_OK
