"""`raydub run`: a manifest in, dubbed videos and a results manifest out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from raydub.cluster.commands import options
from raydub.cluster.limits import STALL_SECONDS, WAIT_GPU_SECONDS
from raydub.cluster.output import command, say, say_json, set_up_logging


@command
def run(
    manifest: options.Manifest,
    output_root: options.OutputRoot = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            help="Results manifest, without extension; default: jobs.results in the output root for jobs.jsonl, "
            "jobs.csv.results for jobs.csv.",
        ),
    ] = None,
    work_dir: options.WorkDir = None,
    address: options.Address = None,
    no_ray: options.NoRay = False,
    cpus: options.Cpus = None,
    workers: options.Workers = None,
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
    """Dub every row of a manifest. Finished work of an earlier run is kept. Exit code 0 only when every row is ok."""
    set_up_logging(verbose)
    options.accept_licences(accept_license)
    options.allow_fetching(allow_scheme, allow_private)
    options.use_command(tts_command)
    from raydub.cluster.manifest import load_manifest
    from raydub.cluster.runner import RunRequest, run_jobs
    from raydub.manifests.naming import check_stem, results_name

    speech = {"tts": tts, "voice": voice, "language": language, "bed": bed}
    asked = load_manifest(
        manifest, output_root, options.chosen(engine, model, more, restore, upscale, overwrite, **speech)
    )
    stem = results or Path(asked.output_root) / results_name(manifest)
    check_stem(stem, (job.output for job in asked.jobs))
    report = run_jobs(
        RunRequest(
            jobs=asked.jobs,
            bad=asked.bad,
            work_dir=options.work_dir_for(work_dir, asked.output_root),
            results=stem,
            folder=asked.folder,
            use_ray=not no_ray,
            address=address,
            num_cpus=cpus,
            workers=workers,
            device=device,
            wait_gpu=wait_gpu,
            stall_timeout=stall_timeout,
            step_timeout=step_timeout,
            show="quiet" if as_json else "auto",
            verbose=verbose,
            manifest=manifest,
            strict=strict,
        )
    )
    show_report(report, as_json)
    return report.exit_code()


_NAMED = 10


def show_report(report: Any, as_json: bool) -> None:
    """The end of a run, for people or machines."""
    counts = report.counts()
    if as_json:
        say_json(
            {
                "counts": counts,
                "finished_before": report.earlier,
                "warnings": report.warnings(),
                "seconds": round(report.seconds, 3),
                "frames_per_second": round(report.speed, 2),
                "stage_seconds": report.stage_seconds,
                "peak_mb": report.peak_mb,
                "object_store_mb": report.object_store_mb,
                "files": [str(path) for path in report.written],
                "results": [result.model_dump(mode="json") for result in report.results],
            }
        )
        return
    if report.earlier == len(report.results):
        many = report.earlier != 1
        say(f"nothing to do: {report.earlier} {'rows were' if many else 'row was'} finished before")
    else:
        same = len(_unchanged(report))
        counted = {**counts, "ok": counts["ok"] - same, "ok without any new mouth": same}
        said = ", ".join(f"{count} {status}" for status, count in counted.items() if count)
        before = f" ({report.earlier} finished before)" if report.earlier else ""
        rows = "1 row" if len(report.results) == 1 else f"{len(report.results)} rows"
        say(f"{rows}: {said}{before}; {report.seconds:.1f} s")
    again = [f"{result.id} ({result.attempts})" for result in report.results if result.attempts > 1]
    _name("took more than one attempt", again)
    _name("quarantined", [result.id for result in report.results if result.status == "quarantined"])
    _name("no frame got a new mouth", _unchanged(report))
    _name("warnings", [f"{kind} in {_jobs(count)}" for kind, count in report.warnings().items()])
    if report.object_store_mb:
        say(f"  object store: {report.object_store_mb:.0f} MiB at most")
    for path in report.written:
        say(f"  {path}")


def _unchanged(report: Any) -> list[str]:
    from raydub.pipeline.progress import unchanged

    return [result.id for result in report.results if unchanged(result)]


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _name(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        say(f"  {what}: {', '.join(names[:_NAMED])}{more}")
