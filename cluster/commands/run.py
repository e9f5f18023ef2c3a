"""`raydub run`: a manifest in, dubbed videos and a results manifest out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.commands import options
from cluster.output import command, say, say_json, set_up_logging


@command
def run(
    manifest: options.Manifest,
    output_root: options.OutputRoot = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results", help="Results manifest, without extension; default: <output root>/<manifest>.results."
        ),
    ] = None,
    work_dir: options.WorkDir = None,
    address: options.Address = None,
    no_ray: options.NoRay = False,
    cpus: options.Cpus = None,
    workers: options.Workers = None,
    device: options.Device = "auto",
    engine: options.Engine = None,
    model: options.Model = None,
    more: options.Set = None,
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
    from cluster.manifest import load_manifest
    from cluster.runner import RunRequest, run_jobs

    asked = load_manifest(manifest, output_root, options.chosen(engine, model, more))
    report = run_jobs(
        RunRequest(
            jobs=asked.jobs,
            bad=asked.bad,
            work_dir=options.work_dir_for(work_dir, asked.output_root),
            results=results or Path(asked.output_root) / f"{manifest.stem}.results",
            folder=asked.folder,
            use_ray=not no_ray,
            address=address,
            num_cpus=cpus,
            workers=workers,
            device=device,
            show="quiet" if as_json else "auto",
            verbose=verbose,
        )
    )
    show_report(report, as_json)
    return report.exit_code()


def show_report(report: Any, as_json: bool) -> None:
    """The end of a run, for people or machines."""
    counts = report.counts()
    if as_json:
        say_json(
            {
                "counts": counts,
                "seconds": round(report.seconds, 3),
                "frames_per_second": round(report.speed, 2),
                "stage_seconds": report.stage_seconds,
                "peak_mb": report.peak_mb,
                "files": [str(path) for path in report.written],
                "results": [result.model_dump(mode="json") for result in report.results],
            }
        )
        return
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    say(f"{len(report.results)} rows: {said}; {report.seconds:.1f} s")
    for path in report.written:
        say(f"  {path}")
