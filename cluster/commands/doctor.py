"""`raydub doctor`: check the installation, and show which quality is available and how to improve it."""

from __future__ import annotations

from typing import Annotated

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json
from raydub.errors import EXIT_DEPENDENCY, EXIT_OK


@command
def doctor(
    start_ray: Annotated[bool, typer.Option("--start-ray", help="Also start (or join) a Ray session.")] = False,
    bucket: Annotated[
        str | None,
        typer.Option(
            "--bucket", metavar="S3://NAME", help="Also try a bucket (or a folder in it): list, write, read, remove."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> int:
    """Check ffmpeg, codecs, processor, GPU, weights, face detector, buckets and Ray. Exit code 3 if something required
    is missing."""
    from raydub.cluster.checks import all_checks

    found = []
    for check in all_checks(start_ray, bucket):
        found.append(check)
        if not as_json:
            say(f"{check.state:<8}{check.name:<15}{check.found}")
            if check.hint:
                say(f"{'':<23}{check.hint}")
    missing = [check.name for check in found if check.state == "missing"]
    if as_json:
        say_json({"ok": not missing, "missing": missing, "checks": [check.to_dict() for check in found]})
    elif missing:
        say(f"missing: {', '.join(missing)}")
    return EXIT_DEPENDENCY if missing else EXIT_OK
