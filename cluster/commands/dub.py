"""`raydub dub`: one video, one speech, without writing a manifest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePath
from typing import Annotated, Any

import typer

from raydub.cluster.commands import options
from raydub.cluster.commands.fields import FIELD_FLAGS
from raydub.cluster.commands.flags import takes
from raydub.cluster.commands.run import end_line, who_lines
from raydub.cluster.output import command, say, say_json, say_line, show_error, warn
from raydub.errors import EXIT_USAGE, Code, UsageError
from raydub.places import absolute, path_at
from raydub.texts import strict_json


@command
@takes(fields=FIELD_FLAGS, flags=options.RUN_FLAGS)
def dub(
    video: Annotated[str, typer.Option("--video", help="Video, image or folder of images.")],
    output: Annotated[
        PurePath,
        typer.Option(
            "--output", "-o", metavar="PATH", parser=options.place, help="The dubbed video: .mp4, .mov or .mkv."
        ),
    ],
    flags: options.RunFlags,
    fields: dict[str, str],
    audio: Annotated[str | None, typer.Option("--audio", help="The new speech: any file with sound.")] = None,
    script: Annotated[
        str | None, typer.Option("--script", help="Or the text to speak: .srt, .vtt, .ass, .json, .jsonl, .txt.")
    ] = None,
) -> int:
    """Dub one video with one speech."""
    flags.begin()
    _check_output(output)
    from raydub.cluster.runner import RunRequest, run_jobs
    from raydub.manifests.consent import require_consent
    from raydub.manifests.naming import check_stem
    from raydub.manifests.read import check_rows
    from raydub.pipeline.progress import lines_of

    root = path_at(absolute(output)).parent
    row: dict[str, Any] = {"video": video, "audio": audio, "script": script, "output": output.name}
    asked = check_rows([(1, row | fields)], Path.cwd(), root)
    if flags.require_consent:
        asked = require_consent(asked)
    if asked.bad:
        for problem in asked.errors:
            problem.line = None
            problem.message = problem.message.replace(" of line 1 ", " ")
            show_error(problem)
        if flags.as_json:
            say_json({"error": asked.errors[0].to_dict()})
        if flags.json_progress:
            say_line(strict_json({"event": "end", "error": asked.errors[0].to_dict(), "exit_code": EXIT_USAGE}))
        return EXIT_USAGE
    job = asked.jobs[0].model_copy(update={"line": None})
    if flags.results is not None:
        check_stem(flags.results, (job.output,))
    folder = options.work_dir_for(flags.work_dir, root)
    request = RunRequest(
        jobs=(job,),
        bad=(),
        work_dir=folder,
        results=flags.results,
        record=None if flags.results is not None else folder / "results" / _row_name(output, flags.work_dir is None),
        use_ray=flags.address is not None if flags.use_ray is None else flags.use_ray,
        **flags.asked(),
    )
    report = run_jobs(request)
    if flags.as_json:
        say_json(report.results[0].model_dump(mode="json"))
        return report.exit_code()
    if flags.json_progress:
        end_line(report)
        return report.exit_code()
    [result] = report.results
    if report.earlier or (result.status == "ok" and not result.attempts):
        say(f"already finished: {result.output}")
        for line in lines_of(result)[1:]:
            warn(line)
    for line in who_lines(report.results):
        warn(line)
    for path in report.written:
        say(f"results: {path}")
    return report.exit_code()


def _check_output(output: PurePath) -> None:
    """Raises UsageError OUTPUT_FORMAT if the output is a folder, FIELD_VALUE if no file can have its name. Checked here
    so that the message names --output, not a manifest field."""
    try:
        folder = output.name in ("", "..") or (isinstance(output, Path) and output.is_dir())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            Code.FIELD_VALUE, f"--output is no usable path: {why}", field="output", hint="choose a shorter name"
        ) from error
    if folder:
        hint = f"give a file name, such as -o {output / 'dubbed.mp4'}"
        message = f"--output {str(output)!r} is a folder, not a file"
        raise UsageError(Code.OUTPUT_FORMAT, message, field="output", hint=hint)


def _row_name(output: PurePath, beside: bool) -> str:
    """The name of an output's row in the work folder, which outputs of one name in several folders may share."""
    more = "" if beside else "." + hashlib.sha256(os.fsencode(absolute(output))).hexdigest()[:8]
    # File names are limited to 255 bytes.
    return os.fsencode(output.name)[:230].decode("utf-8", "ignore") + more + ".jsonl"
