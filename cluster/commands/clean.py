"""`raydub clean`: free disk space of a work folder."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Annotated

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json
from raydub.errors import Code, UsageError
from raydub.places import WORK_FOLDER


@command
def clean(
    folder: Annotated[
        PurePath,
        typer.Argument(
            metavar="[FOLDER]",
            parser=options.place,
            help="Output root or work folder; default: the current folder.",
        ),
    ] = Path("."),
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Also remove work of unfinished jobs, speech, and copies of remote inputs. The next run repeats jobs "
            "with remote inputs.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be freed, and remove nothing.")] = False,
    as_json: options.AsJson = False,
) -> int:
    """Free disk space in .raydub: remove parts, plans, tracks and speech of finished jobs whose outputs exist, and data
    that no record names.

    Outputs and results stay, and the next run still recognises finished jobs. `raydub timeline` does not work for
    cleaned jobs. A folder that a run is using is refused."""
    from raydub.pipeline.clean import clean as free
    from raydub.pipeline.clean import is_work_folder

    inside = folder / WORK_FOLDER
    work_dir = inside if is_work_folder(inside) else folder
    if not is_work_folder(work_dir):
        message = f"{folder} is not a work folder and does not contain {WORK_FOLDER}"
        hint = "give the output root of a run, or its --work-dir"
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
