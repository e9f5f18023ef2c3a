"""`raydub dub`: one video, one speech, without writing a manifest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from raydub.cluster.commands import options
from raydub.cluster.limits import STALL_SECONDS, WAIT_GPU_SECONDS
from raydub.cluster.output import command, say, say_json, set_up_logging, show_error, warn
from raydub.errors import EXIT_USAGE


@command
def dub(
    video: Annotated[str, typer.Option("--video", help="Video, image or folder of images.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The dubbed video: .mp4, .mov or .mkv.")],
    audio: Annotated[str | None, typer.Option("--audio", help="The new speech: any file with sound.")] = None,
    script: Annotated[
        str | None, typer.Option("--script", help="Or what is to be spoken: .srt, .vtt, .ass, .json, .jsonl, .txt.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results", help="Results manifest, without extension; default: one row, in `results` of the work folder."
        ),
    ] = None,
    work_dir: options.WorkDir = None,
    use_ray: Annotated[bool, typer.Option("--ray/--no-ray", help="On Ray; a single job is quicker without.")] = False,
    address: options.Address = None,
    device: options.Device = "auto",
    wait_gpu: options.WaitGpu = WAIT_GPU_SECONDS,
    stall_timeout: options.StallTimeout = STALL_SECONDS,
    step_timeout: options.StepTimeout = None,
    strict: options.Strict = False,
    overwrite: options.Overwrite = False,
    engine: options.Engine = None,
    model: options.Model = None,
    restore: options.Restore = None,
    upscale: options.Upscale = None,
    tts: options.Tts = None,
    voice: options.Voice = None,
    language: options.Language = None,
    bed: options.Bed = None,
    more: options.Set = None,
    tts_command: options.TtsCommand = None,
    accept_license: options.AcceptLicense = None,
    allow_scheme: options.AllowScheme = None,
    allow_private: options.AllowPrivate = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Dub one video with one speech."""
    set_up_logging(verbose)
    options.accept_licences(accept_license)
    options.allow_fetching(allow_scheme, allow_private)
    options.use_command(tts_command)
    from raydub.cluster.runner import RunRequest, run_jobs
    from raydub.manifests.naming import check_stem
    from raydub.manifests.read import check_rows
    from raydub.pipeline.progress import lines_of

    root = output.absolute().parent
    row: dict[str, Any] = {"video": video, "audio": audio, "script": script, "output": output.name}
    speech = {"tts": tts, "voice": voice, "language": language, "bed": bed}
    fields = options.chosen(engine, model, more, restore, upscale, overwrite, **speech)
    asked = check_rows([(1, row | fields)], Path.cwd(), root)
    if asked.bad:
        for problem in asked.errors:
            problem.line = None
            problem.message = problem.message.replace(" of line 1 ", " ")
            show_error(problem)
        if as_json:
            say_json({"error": asked.errors[0].to_dict()})
        return EXIT_USAGE
    job = asked.jobs[0].model_copy(update={"line": None})
    if results is not None:
        check_stem(results, (job.output,))
    folder = options.work_dir_for(work_dir, root)
    report = run_jobs(
        RunRequest(
            jobs=(job,),
            bad=(),
            work_dir=folder,
            results=results,
            record=None if results is not None else folder / "results" / _row_name(output),
            use_ray=use_ray or address is not None,
            address=address,
            device=device,
            wait_gpu=wait_gpu,
            stall_timeout=stall_timeout,
            step_timeout=step_timeout,
            show="quiet" if as_json else "auto",
            verbose=verbose,
            strict=strict,
        )
    )
    if as_json:
        say_json(report.results[0].model_dump(mode="json"))
        return report.exit_code()
    [result] = report.results
    if report.earlier or (result.status == "ok" and not result.attempts):
        say(f"finished before: {result.output}")
        for line in lines_of(result)[1:]:
            warn(line)
    for path in report.written:
        say(f"results: {path}")
    return report.exit_code()


def _row_name(output: Path) -> str:
    # A name may have 255 bytes.
    return os.fsencode(output.name)[:240].decode("utf-8", "ignore") + ".jsonl"
