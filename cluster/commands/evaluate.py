"""`raydub evaluate`: figures and a verdict on finished films, of a run or of any other tool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, Code, InputError, UsageError

if TYPE_CHECKING:
    from raydub.manifests.evaluation import Evaluation
    from raydub.manifests.results import JobResult
    from raydub.stages.evaluate.thresholds import Thresholds

_RESULTS = (".jsonl", ".parquet")
SUFFIX = ".evaluation.json"


@command
def evaluate(
    files: Annotated[
        list[PurePath],
        typer.Argument(metavar="RESULTS|VIDEO..", parser=options.place, help="Results of a run, or videos."),
    ],
    source: Annotated[
        PurePath | None,
        typer.Option("--source", metavar="VIDEO", parser=options.place, help="What the one video was made of."),
    ] = None,
    speech: Annotated[
        PurePath | None,
        typer.Option(
            "--speech", metavar="SOUND", parser=options.place, help="The new speech alone, if the sound has more in it."
        ),
    ] = None,
    face: Annotated[str, typer.Option("--face", help="Whose mouth, as in a manifest; for videos.")] = "largest",
    job: Annotated[list[str] | None, typer.Option("--job", help="Only this job of the results; repeatable.")] = None,
    thresholds: Annotated[
        PurePath | None,
        typer.Option(
            "--thresholds", metavar="FILE", parser=options.place, help="TOML file of the limits; default: raydub's own."
        ),
    ] = None,
    output: Annotated[
        PurePath | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            parser=options.place,
            help=f"Document of one video; default: NAME{SUFFIX}.",
        ),
    ] = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Measure finished films, write an evaluation beside each (VIDEO.evaluation.json), and fill the columns verdict,
    reasons and evaluation of results. Exit code 1 if a film is bad or cannot be read."""
    from raydub.logs import set_up_logging
    from raydub.stages.evaluate.thresholds import load_thresholds

    set_up_logging(verbose)
    limits = load_thresholds(thresholds)
    tables = [path for path in files if path.suffix.lower() in _RESULTS]
    videos = [path for path in files if path not in tables]
    _refuse(files, tables, videos, source, speech, output, job)
    tell = _silent if as_json else _say
    found: list[tuple[Evaluation, str | None]] = []
    for path in tables:
        found += _of_results(path, job, limits, tell)
    for path in videos:
        found.append(_of_video(path, source, speech, face, output, limits))
        tell(*found[-1])
    if as_json:
        say_json(
            {"evaluations": [{**one.model_dump(mode="json", exclude={"curves"}), "file": at} for one, at in found]}
        )
    elif not found:
        say("no finished job to evaluate")
    elif len(found) > 1:
        counts = [(word, sum(one.verdict == word for one, _ in found)) for word in ("good", "look", "bad")]
        say(", ".join(f"{count} {word}" for word, count in counts if count))
    return EXIT_SOME_FAILED if any(one.verdict == "bad" for one, _ in found) else EXIT_OK


def _refuse(
    files: Sequence[PurePath],
    tables: Sequence[PurePath],
    videos: Sequence[PurePath],
    source: PurePath | None,
    speech: PurePath | None,
    output: PurePath | None,
    job: list[str] | None,
) -> None:
    """Raises UsageError FIELD_CONFLICT for flags that do not fit the files."""
    for flag, value in (("--source", source), ("--speech", speech), ("--output", output)):
        if value is not None and (len(files) != 1 or tables):
            message = f"{flag} is for one video, but {len(files)} files are given" if len(files) > 1 else ""
            message = message or f"{flag} is for a video; results name their own files"
            raise UsageError(Code.FIELD_CONFLICT, message, field=flag, hint="give one video")
    if job and videos:
        raise UsageError(Code.FIELD_CONFLICT, "--job is for results", field="--job", hint="leave it out for videos")


def _of_video(
    path: PurePath,
    source: PurePath | None,
    speech: PurePath | None,
    face: str,
    output: PurePath | None,
    limits: Thresholds,
) -> tuple[Evaluation, str | None]:
    from raydub.cluster.evaluated import check_goal, keep
    from raydub.places import exists
    from raydub.stages.evaluate.evaluate import Facts
    from raydub.stages.evaluate.files import evaluate_file, largest_face

    for option, one in (("the video", path), ("--source", source), ("--speech", speech)):
        if one is not None and not exists(one):
            raise InputError(Code.INPUT_MISSING, f"{option} {one} does not exist", hint="check the path")
    goal = str(output) if output is not None else f"{path}{SUFFIX}"
    check_goal(goal, chosen=output is not None)  # before minutes of work
    told = Facts(path.stem, source=_text(source), speech=_text(speech))
    found = evaluate_file(str(path), told, limits, _text(source), largest_face(face))
    return found, keep(found, goal)


def _of_results(
    path: PurePath, jobs: list[str] | None, limits: Thresholds, say_each: Callable[[Evaluation, str | None], None]
) -> list[tuple[Evaluation, str | None]]:
    """Evaluate the finished rows of a results' file, and write the columns into it and into its sister of the other
    format, also when it is stopped on the way. Rows that did not finish stay as they are."""
    from raydub.cluster.evaluated import check_goal, keep, rewrite
    from raydub.pipeline.evaluating import evaluate_result
    from raydub.pipeline.evaluations import columns_of

    rows = _read(path)
    unknown = set(jobs or ()) - {row.id for row in rows}
    if unknown:
        message = f"{path} has no job {sorted(unknown)[0]!r}"
        raise UsageError(Code.FIELD_VALUE, message, field="--job", hint="leave out --job to evaluate all")
    films = [
        (row, f"{row.output}{SUFFIX}")
        for row in rows
        if row.status == "ok" and row.output is not None and (not jobs or row.id in jobs)
    ]
    for _, goal in films:
        check_goal(goal)
    found: list[tuple[Evaluation, str | None]] = []
    columns: dict[str, dict[str, Any]] = {}
    try:
        for row, goal in films:
            made = evaluate_result(row, limits)
            at = keep(made, goal)
            columns[row.id] = columns_of(made, at)
            # Curves are as long as their films, and a run may have many: they are in the documents.
            found.append((made.model_copy(update={"curves": None}), at))
            say_each(made, at)
    finally:
        if columns:
            rewrite(path, rows, columns)
    return found


def _read(path: PurePath) -> list[JobResult]:
    from raydub.manifests.results import read_results

    try:
        return read_results(path)
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0][:300]
        hint = "give the results manifest of a run (.results.jsonl or .results.parquet), or videos"
        raise UsageError(Code.MANIFEST_UNREADABLE, f"{path} is not a results manifest: {why}", hint=hint) from error


def _say(found: Evaluation, at: str | None) -> None:
    say(f"{found.verdict:<5} {found.output}")
    for reason in found.reasons:
        when = "" if reason.start is None or reason.stop is None else f" ({reason.start:.1f} to {reason.stop:.1f} s)"
        say(f"      {reason.message}{when}")
    if at is not None:
        say(f"      {at}")


def _silent(found: Evaluation, at: str | None) -> None:
    """Say nothing: --json says it all at the end."""


def _text(path: PurePath | None) -> str | None:
    return None if path is None else str(path)
