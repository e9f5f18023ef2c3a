"""`raydub cast`: propose which face each speaker of a script has, by who speaks in the original during their lines."""

from __future__ import annotations

import base64
import html
import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, Code, InputError, UsageError
from raydub.objects.names import is_object
from raydub.present import present

if TYPE_CHECKING:
    from raydub.stages.talkers import Match, Talk

_HEAD = "<!doctype html><!-- raydub cast -->"


@command
def cast(
    script: Annotated[
        str | None, typer.Argument(metavar="SCRIPT", help="Script with times and speakers: .srt, .vtt, .ass, .json.")
    ] = None,
    video: Annotated[str | None, typer.Argument(metavar="VIDEO", help="The video, with its original sound.")] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Take script and video from a job of this manifest.")
    ] = None,
    job: Annotated[str | None, typer.Option("--job", help="Its id; default: the first with a script.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=options.local,
            help="Folder for the pictures; default: NAME.cast in the current folder.",
        ),
    ] = None,
    work_dir: Annotated[
        Path | None, typer.Option("--work-dir", help="Work folder in which tracks are kept; default: none.")
    ] = None,
    detector: Annotated[str, typer.Option("--detector", help="auto, hog, mmod or yunet.")] = "auto",
    as_json: options.AsJson = False,
) -> int:
    """Match the speakers of a script with the faces that speak during their lines in the original sound, and print the
    value of the field `speakers`. Writes a portrait of each face and a table with pictures. Exit code 1 if a speaker
    could not be matched with confidence."""
    from raydub.cluster.written import source
    from raydub.models.active_speaker import require_active_speaker
    from raydub.stages.talkers import find_talkers, match_speakers

    script, video = _of_job(script, video, manifest, job)
    require_active_speaker()
    lines = _lines(script)
    folder = output if output is not None else Path(f"{Path(video).stem or 'video'}.cast")
    inputs = source("the video", video)
    inputs.add("the script", script)
    with ExitStack() as held:
        place = str(work_dir) if work_dir is not None else held.enter_context(tempfile.TemporaryDirectory("-raydub"))
        talk = find_talkers(present(video) if is_object(video) else video, place, detector)
    matches = match_speakers(talk, lines)
    paths = _write(talk, matches, folder, inputs)
    named = [path if manifest is None else _from(manifest, path) for path in paths]
    faces = {one.speaker: "none" if one.talker is None else f"reference:{named[one.talker]}" for one in matches}
    unsure = [one.speaker for one in matches if one.sure != "high"]
    if as_json:
        rows = [_row(one, faces[one.speaker]) for one in matches]
        others = [number + 1 for number in range(len(talk.talkers)) if number not in {one.talker for one in matches}]
        said = {"video": video, "script": script, "sheet": str(folder / "cast.html")}
        say_json({**said, "speakers": rows, "faces_without_speaker": others, "field": {"speakers": faces}})
        return EXIT_SOME_FAILED if unsure else EXIT_OK
    width = max(len(one.speaker) for one in matches)
    for one in matches:
        say(f"{one.speaker:<{width}}  {_told(one)}")
    for number, talker in enumerate(talk.talkers):
        if number not in {one.talker for one in matches}:
            seconds = float(talker.speaks.sum() / talk.rate)
            say(f"face {number + 1} speaks for {seconds:.1f} s, and no speaker has it ({paths[number]})")
    say(json.dumps({"speakers": faces}, ensure_ascii=False))
    say(str(folder / "cast.html"))
    return EXIT_SOME_FAILED if unsure else EXIT_OK


def _of_job(script: str | None, video: str | None, manifest: Path | None, job: str | None) -> tuple[str, str]:
    if manifest is None:
        if script is None or video is None:
            hint = "raydub cast SCRIPT VIDEO, or --manifest jobs.jsonl --job ID"
            raise UsageError(Code.FIELD_MISSING, "a script and a video are needed", hint=hint, field="script")
        return script, video
    if script is not None:
        raise UsageError(Code.FIELD_CONFLICT, "give a script and a video, or --manifest, not both", field="--manifest")
    from raydub.manifests.read import read_manifest

    asked = read_manifest(manifest)
    for one in asked.jobs:
        if one.script is not None and job in (None, one.id):
            return one.script, one.video
    wrong = f"no job {job!r} with a script" if job is not None else "no job with a script"
    hint = "; ".join(str(error) for error in asked.errors[:1]) or "`raydub validate` shows all jobs and errors"
    raise UsageError(Code.FIELD_VALUE, f"{manifest} has {wrong}", hint=hint, field="--job")


def _from(manifest: Path, picture: Path) -> Path:
    """The path of a picture as a row of the manifest has to name it: relative ones start at the manifest's folder."""
    return picture if picture.is_absolute() else Path(os.path.relpath(picture, manifest.parent))


def _lines(script: str) -> list[tuple[str, Any, Any]]:
    """(speaker, start, end) of each cue. Raises InputError for a script without times or without speakers."""
    from raydub.tts.scripts.read import read_script

    read = read_script(script)
    if not read.timed:
        hint = "use a format with times, such as .srt or .vtt"
        raise InputError(Code.SCRIPT_CUE, f"{script} has no times, so lines cannot be compared with faces", hint=hint)
    if not any(segment.speaker for segment in read.segments):
        hint = "name them: `[Anna] text`, `<v Anna>text`; with face=active no speakers are needed"
        raise InputError(Code.SPEAKER_UNKNOWN, f"{script} names no speakers", hint=hint, field="speakers")
    return [(segment.speaker or "*", segment.start, segment.end) for segment in read.segments]


def _told(one: Match) -> str:
    if one.talker is None:
        why = "nobody in the picture speaks" if one.covered < 0.2 else "no one face speaks"
        return f"none    {why} during {one.spoken:.1f} s of lines"
    return f"face {one.talker + 1}  in {100 * one.share:.0f} % of {one.spoken:.1f} s of lines, confidence {one.sure}"


def _row(one: Match, face: str) -> dict[str, Any]:
    return {
        "speaker": one.speaker,
        "number": None if one.talker is None else one.talker + 1,
        "face": face,
        "share": round(one.share, 3),
        "seconds": round(one.spoken, 2),
        "covered": round(one.covered, 3),
        "confidence": one.sure,
    }


def _write(talk: Talk, matches: list[Match], folder: Path, inputs: Any) -> list[Path]:
    """Write the portraits and the table. Raises UsageError as cluster.written does."""
    import cv2

    from raydub.cluster.written import check_own, check_written
    from raydub.files import write_atomic
    from raydub.media.marked import is_marked, marked

    paths = [folder / f"face-{number}.png" for number in range(1, len(talk.talkers) + 1)]
    pictures = [cv2.imencode(".png", one.portrait)[1].tobytes() for one in talk.talkers]
    table = folder / "cast.html"
    for path in (*paths, table):
        check_written({"output": path}, inputs)
        check_own("output", path, _is_table if path is table else is_marked)
    for path, picture in zip(paths, pictures, strict=True):
        write_atomic(path, marked(picture))
    write_atomic(table, _table(talk, matches, pictures).encode())
    return paths


def _is_table(path: Any) -> bool:
    return Path(path).read_bytes()[: len(_HEAD)] == _HEAD.encode()


def _table(talk: Talk, matches: list[Match], pictures: list[bytes]) -> str:
    """A page that needs no other file."""

    def cells(name: str, number: int | None, told: str) -> str:
        picture = "" if number is None else base64.b64encode(pictures[number]).decode()
        alt = html.escape(f"face {'' if number is None else number + 1} of {name}")
        image = f'<img width="160" alt="{alt}" src="data:image/png;base64,{picture}">' if picture else "no face"
        return f"<tr><th scope=row>{html.escape(name)}</th><td>{image}</td><td>{html.escape(told)}</td></tr>"

    taken = {one.talker for one in matches}
    rows = [cells(one.speaker, one.talker, _told(one)) for one in matches]
    rows += [
        cells("no speaker", number, f"speaks for {float(one.speaks.sum() / talk.rate):.1f} s")
        for number, one in enumerate(talk.talkers)
        if number not in taken
    ]
    style = "body{font:16px sans-serif;margin:1em}td,th{padding:.5em;border-bottom:1px solid #888;text-align:left}"
    head = "<tr><th scope=col>Speaker</th><th scope=col>Face</th><th scope=col>Why</th></tr>"
    return (
        f'{_HEAD}<html lang="en"><meta charset="utf-8"><title>Cast</title><style>:root{{color-scheme:light dark}}'
        f"{style}</style><h1>Cast</h1><table>{head}{''.join(rows)}</table></html>"
    )
