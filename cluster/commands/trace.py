"""`raydub trace`: what each worker of a run did when, for chrome://tracing and Perfetto."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json
from raydub.errors import EXIT_OK, Code, UsageError
from raydub.objects.names import is_object
from raydub.places import WORK_FOLDER, path_at

if TYPE_CHECKING:
    from raydub.pipeline.trace import Slice

_RUN = re.compile(r"[0-9a-f]{12}")


@command
def trace(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="Id of a run; or a work folder or output root, for its last run; or a results manifest, for all runs "
            "that worked on its jobs.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file to write.")],
    work_dir: Annotated[PurePath | None, options.work_folder_of_run(f"{WORK_FOLDER} in this folder")] = None,
    as_json: options.AsJson = False,
) -> int:
    """Write a trace of a run: a row per worker, a slice per stage and chunk. Open it in https://ui.perfetto.dev or
    chrome://tracing."""
    from raydub.cluster.written import check_written, source
    from raydub.files import write_atomic
    from raydub.pipeline.trace import events
    from raydub.texts import strict_json

    check_written({"output": output}, source("the trace's source", what))
    runs = _asked(what, work_dir)
    slices = [one for run in runs.values() for one in run]
    found = events(*runs.values())
    seconds = round(max(one.end for one in slices) - min(one.begin for one in slices), 3)
    begin = min(one.begin for one in slices)
    about = {"runs": list(runs), "begin": begin, "clock": "the driver's: arrival of a step's end, minus its duration"}
    write_atomic(output, strict_json({"traceEvents": found, "displayTimeUnit": "ms", "otherData": about}).encode())
    workers = len({(one.host, one.pid) for one in slices})
    if as_json:
        say_json(
            {"runs": list(runs), "slices": len(slices), "workers": workers, "seconds": seconds, "file": str(output)}
        )
    else:
        say(f"{', '.join(runs)}: {_many(len(slices), 'slice')} of {_many(workers, 'worker')}, {seconds:.1f} s")
        say(str(output))
    return EXIT_OK


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _asked(what: str, work_dir: PurePath | None) -> dict[str, list[Slice]]:
    """Slices by id of the run. Raises UsageError FIELD_VALUE, MANIFEST_UNREADABLE."""
    from raydub.pipeline.trace import traced_runs
    from raydub.store import Store

    path = path_at(what)
    if _is_folder(path):
        folder: PurePath = path
        for folder in (path / WORK_FOLDER, path):
            runs = traced_runs(Store(folder))
            if runs:
                last = next(reversed(runs))
                return {last: runs[last]}
    elif _RUN.fullmatch(what) and not os.path.exists(path):
        folder = work_dir or Path(WORK_FOLDER)
        slices = traced_runs(Store(folder)).get(what)
        if slices:
            return {what: slices}
    else:
        folder, jobs = _of_results(path, work_dir)
        runs = {run: [one for one in slices if one.job in jobs] for run, slices in traced_runs(Store(folder)).items()}
        runs = {run: slices for run, slices in runs.items() if slices}
        if runs:
            return runs
    raise UsageError(
        Code.FIELD_VALUE,
        f"{folder} has no trace of {what}",
        field="run",
        hint="give the work folder of a run (--work-dir) that did some work; `raydub clean` removes traces",
    )


def _is_folder(path: PurePath) -> bool:
    if is_object(str(path)):
        return path.suffix not in (".jsonl", ".parquet")
    return os.path.isdir(path)


def _of_results(path: PurePath, work_dir: PurePath | None) -> tuple[PurePath, set[str]]:
    """The work folder of a results manifest, and the ids of its jobs."""
    from raydub.manifests.results import read_results

    try:
        rows = read_results(path)
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0][:300]
        hint = "give a run's id, work folder or results manifest (.results.jsonl or .results.parquet)"
        raise UsageError(Code.MANIFEST_UNREADABLE, f"{path} is not a results manifest: {why}", hint=hint) from error
    # A job's folder is <work folder>/refs/jobs/<key>.
    folders = [path_at(row.job_dir).parents[2] for row in rows if row.job_dir]
    folder = work_dir or (folders[0] if folders else path.parent / WORK_FOLDER)
    return folder, {row.id for row in rows}
