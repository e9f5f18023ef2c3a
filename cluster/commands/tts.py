"""`raydub tts`: make a sound file and a timing report from a script or a text, without dubbing a video."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from raydub.cluster.allowed import use_command
from raydub.cluster.commands import options
from raydub.cluster.commands.fields import field_flags
from raydub.cluster.commands.flags import takes
from raydub.cluster.output import command, say, say_json, show_error, warn
from raydub.errors import EXIT_OK, Code, UsageError
from raydub.logs import set_up_logging

_FIELDS = ("tts", "voice", "language", "overflow", "bed", "bed_audio", "loudness")
_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus")


@command
@takes(fields=field_flags(_FIELDS))
def tts(
    output: Annotated[Path, typer.Option("--output", "-o", help=f"Sound file: {', '.join(_SUFFIXES)}.")],
    fields: dict[str, str],
    script: Annotated[
        Path | None, typer.Argument(metavar="[SCRIPT]", help=".srt, .vtt, .ass, .json, .jsonl or .txt.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="Text to speak, instead of a script.")] = None,
    video: Annotated[
        str | None, typer.Option("--video", help="The video to speak for: sets length, rate, channels and bed.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Timing report, a JSON file; default: next to the sound file.")
    ] = None,
    work_dir: Annotated[
        Path | None, typer.Option("--work-dir", help="Folder that keeps synthesised speech for reuse; default: none.")
    ] = None,
    tts_command: options.TtsCommand = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Speak a script. Cues with times start at their times."""
    set_up_logging(verbose)
    use_command(tts_command)
    if (script is None) == (text is None):
        raise UsageError(Code.FIELD_CONFLICT, "give either a script or --text", hint="raydub tts SCRIPT -o speech.wav")
    if text is not None and not text.strip():
        raise UsageError(Code.SCRIPT_EMPTY, "--text is empty", hint="give some text", field="text")
    if output.suffix.lower() not in _SUFFIXES:
        hint = f"one of {', '.join(_SUFFIXES)}"
        raise UsageError(Code.OUTPUT_FORMAT, f"{output} has the suffix {output.suffix or 'none'!r}", hint=hint)
    with tempfile.TemporaryDirectory(prefix="raydub-tts-") as scratch:
        if text is not None:
            script = Path(scratch) / "text.txt"
            script.write_text(text, encoding="utf-8")
        assert script is not None
        row: dict[str, Any] = {
            "video": video or "none",
            "script": str(script.absolute()),
            "output": "none.mp4",
            **fields,
        }
        job = _job(row, Path(scratch))
        beside = output.with_suffix(".timing.json")
        _check_written(job, output, report or beside, video is not None, work_dir)
        if report is None:
            _check_beside(beside)
        report = report or beside
        made = _speak(job, video is not None, str(work_dir.absolute() if work_dir else scratch))
        said = _published(made, output, report, None if text else str(script))
    _show(said, made.warnings, output, as_json)
    return EXIT_OK


def _job(row: dict[str, Any], scratch: Path) -> Any:
    """The job of a row. Its output is never written; `scratch` is its output root."""
    from raydub.manifests.read import check_rows

    asked = check_rows([(1, row)], Path.cwd(), scratch)
    for problem in asked.errors:
        problem.line = problem.job = None
    for problem in asked.errors[1:]:
        show_error(problem)
    if asked.errors:
        raise asked.errors[0]
    return asked.jobs[0].model_copy(update={"line": None})


def _check_written(job: Any, output: Path, report: Path, with_video: bool, work_dir: Path | None) -> None:
    from raydub.cluster.written import check_written, inputs_of

    read = job if with_video else job.model_copy(update={"video": job.script})
    check_written({"output": output, "report": report}, inputs_of([read]), work_dir)


def _check_beside(report: Path) -> None:
    from raydub.cluster.written import check_own
    from raydub.tts.report import is_report

    check_own("report", report, is_report)


def _speak(job: Any, with_video: bool, work_dir: str) -> Any:
    from raydub.tts.engines.find import check_engine
    from raydub.tts.mix.format import MixFormat
    from raydub.tts.track import SpeechMaker

    check_engine(job.options.tts)
    maker = SpeechMaker()
    try:
        if with_video:
            return maker.make(job, work_dir)
        if job.options.bed != "none":
            raise UsageError(Code.FIELD_CONFLICT, "bed needs --video, whose sound it keeps", hint="leave it out")
        return maker.speak(job, MixFormat(48000, 1, None, None, False, ()), work_dir)
    finally:
        maker.close()


def _published(made: Any, output: Path, report: Path, script: str | None) -> dict[str, Any]:
    """Write the sound in the format of its suffix, and the report; returns the report. script: its name in the report,
    None for a text."""
    from raydub.files import discard, publish, temp_beside, write_atomic
    from raydub.media.sound_file import convert_sound

    temp = temp_beside(output)
    try:
        convert_sound(made.sound, temp, made.duration)
        publish(temp, output)
    finally:
        discard(temp)
    said: dict[str, Any] = json.loads(Path(made.report).read_text(encoding="utf-8"))
    # These files are in the work folder, which is removed.
    said.pop("voices")
    said["script"] = script
    write_atomic(report, json.dumps(said, ensure_ascii=False, indent=1).encode())
    return said


def _show(said: dict[str, Any], warnings: tuple[str, ...], output: Path, as_json: bool) -> None:
    if as_json:
        say_json({"output": str(output), "warnings": list(warnings), **said})
        return
    for row in said["segments"]:
        heard = row["end"] > row["start"]
        times = f"{row['start']:9.3f} {row['end']:9.3f}" if heard else f"{'left out':>19}"
        how = ", ".join(row["actions"])
        say(f"{row['number']:>4} {times}  {row['voice']:<16}{how:<28}{row['text'][:50]}")
    for warning in warnings:
        warn(warning)
    loud = said["mix"]["integrated_lufs"]
    peak = said["mix"]["true_peak_dbtp"]
    level = f"{loud:.1f} LUFS, {peak:.1f} dBTP" if loud is not None else "too short for a loudness"
    say(f"{output}: {said['seconds']:.2f} s, {level}")
