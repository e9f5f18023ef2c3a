"""`raydub clean`: free the disk that a work folder takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json
from raydub.errors import Code, UsageError
from raydub.places import WORK_FOLDER


@command
def clean(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="The output root of runs, or their work folder; default: here.")
    ] = Path("."),
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Also what unfinished jobs have done so far, speech, and copies of remote inputs. Jobs with remote "
            "inputs are done again by the next run.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be freed, and remove nothing.")] = False,
    as_json: options.AsJson = False,
) -> int:
    """Free what runs keep in .raydub: parts, plans, tracks and speech of jobs that are finished and whose outputs are
    in place, and data that no record names.

    Outputs and results stay, and the next run still knows which jobs are finished. `raydub timeline` of a cleaned job
    has no records any more. A folder that a run is using is left alone."""
    from raydub.pipeline.clean import clean as free
    from raydub.pipeline.clean import is_work_folder

    inside = folder / WORK_FOLDER
    work_dir = inside if is_work_folder(inside) else folder
    if not is_work_folder(work_dir):
        message = f"{folder} is no work folder, and holds none called {WORK_FOLDER}"
        hint = "name the output root of a run, or what it was given as --work-dir"
        raise UsageError(Code.FIELD_VALUE, message, field="folder", hint=hint)
    freed = free(work_dir, everything=everything, dry_run=dry_run)
    if as_json:
        say_json(
            {
                "folder": str(work_dir),
                "removed": not dry_run,
                "bytes": freed.size,
                "records": dict(freed.records),
                "blobs": dict(freed.blobs),
                "sizes": dict(freed.sizes),
            }
        )
        return 0
    for kind in sorted({*freed.records, *freed.blobs}, key=lambda kind: -freed.sizes[kind]):
        counted = f"{freed.records[kind]} records" if kind in freed.records else f"{freed.blobs[kind]} files"
        say(f"{kind:<12}{counted:>16}{_size(freed.sizes[kind]):>12}")
    verb = "would free" if dry_run else "freed"
    say(f"{verb} {_size(freed.size)} in {work_dir}")
    return 0


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
