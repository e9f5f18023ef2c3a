"""`raydub timeline`: which frames of which face changed for which line of a job, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Annotated, Any

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json
from raydub.errors import EXIT_OK, Code, UsageError
from raydub.places import WORK_FOLDER, absolute, path_at

_VIDEOS = (".mp4", ".mov", ".mkv")


@command
def timeline(
    results: Annotated[
        PurePath,
        typer.Argument(
            metavar="OUTPUT", parser=options.place, help="A dubbed video, a results manifest, or a job's folder."
        ),
    ],
    job: Annotated[str | None, typer.Option("--job", help="Id of the job; needed when there are several.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="PNG of cues, speech, bed and gates.")] = None,
    work_dir: Annotated[
        PurePath | None, options.work_folder_of_run(f"the nearest {WORK_FOLDER} above the video")
    ] = None,
    begin: Annotated[float, typer.Option("--from", min=0, help="First second of the picture.")] = 0.0,
    end: Annotated[float | None, typer.Option("--to", min=0, help="Last second of the picture.")] = None,
    as_json: options.AsJson = False,
) -> int:
    """Show the frames that each line of a script changed on each face, from the records in the work folder."""
    from raydub.pipeline.timeline import load_timeline

    if output is not None and output.suffix.lower() != ".png":
        raise UsageError(Code.OUTPUT_FORMAT, f"{output} is not a .png file", hint="give a file name that ends in .png")
    if output is not None:
        from raydub.cluster.written import check_written, source

        check_written({"output": output}, source("the timeline's source", results))
    found = load_timeline(_folder(results, job, work_dir))
    if output is not None:
        from raydub.cluster.plot import draw_timeline

        draw_timeline(found, output, begin, end)
    speech = found.plan.job.speech
    names = [voice.face or voice.speaker or "face" for voice in speech.voices] if speech else []
    if len(names) != len(found.gate):
        names = [f"face {number}" for number in range(len(found.gate))]
    rows = [
        {
            "number": line.row["number"],
            "speaker": line.row["speaker"],
            "start": line.row["start"],
            "end": line.row["end"],
            "frames": line.frames,
            "synthesised": dict(zip(names, line.made, strict=True)),
        }
        for line in found.lines
    ]
    outside = dict(zip(names, found.outside, strict=True))
    if as_json:
        say_json({"job": found.plan.job.id, "segments": rows, "outside": outside, "picture": str(output or "")})
    else:
        _say_table(rows, outside, names)
        if output is not None:
            say(str(output))
    return EXIT_OK


def _say_table(rows: list[dict[str, Any]], outside: dict[str, int], names: list[str]) -> None:
    heads = "".join(f"{name[-14:]:>16}" for name in names)
    say(f"{'cue':>4}  {'speaker':<14}{'from':>9}{'to':>9}{'frames':>8}{heads}")
    for row in rows:
        made = "".join(f"{row['synthesised'][name]:>16}" for name in names)
        times = f"{row['start']:>9.3f}{row['end']:>9.3f}{row['frames']:>8}"
        say(f"{row['number']:>4}  {row['speaker'][:13]:<14}{times}{made}")
    say(f"{'outside its own cues':<46}" + "".join(f"{outside[name]:>16}" for name in names))


def _folder(results: PurePath, job: str | None, work_dir: PurePath | None) -> str:
    if (isinstance(results, Path) and results.is_dir()) or "/refs/jobs/" in str(results):
        return str(results)
    if results.suffix.lower() in _VIDEOS:
        return _of_output(results, work_dir)
    from raydub.manifests.results import read_results

    try:
        found = [row for row in read_results(results) if row.job_dir and (job is None or row.id == job)]
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0][:300]
        hint = "give the results manifest of a run (.results.jsonl or .results.parquet), or a job's folder"
        raise UsageError(Code.MANIFEST_UNREADABLE, f"{results} is not a results manifest: {why}", hint=hint) from error
    if job is not None and not found:
        message = f"{results} has no finished job {job!r}"
        raise UsageError(Code.FIELD_VALUE, message, hint="leave out --job to see the ids", field="job")
    if len(found) != 1:
        ids = ", ".join(row.id for row in found[:10]) or "no finished job"
        raise UsageError(Code.FIELD_MISSING, f"{results} has {ids}", hint="choose one with --job", field="job")
    return str(found[0].job_dir)


def _of_output(output: PurePath, work_dir: PurePath | None) -> str:
    """The folder of the job that made a video. Raises UsageError FIELD_MISSING if no work folder has a record of it."""
    from raydub.pipeline.clean import is_work_folder
    from raydub.pipeline.finished import job_dir_of

    above = [folder / WORK_FOLDER for folder in path_at(absolute(output)).parents if len(folder.parts) > 1]
    tried = [work_dir] if work_dir is not None else [folder for folder in above if is_work_folder(folder)]
    for folder in tried:
        found = job_dir_of(output, folder)
        if found is not None:
            return found
    where = ", ".join(map(str, tried)) or f"no {WORK_FOLDER} above it"
    raise UsageError(
        Code.FIELD_MISSING,
        f"no record of a job that made {output} ({where})",
        field="work-dir",
        hint="set --work-dir to the run's work folder, or give its results manifest; `raydub clean` removes records",
    )
