"""`raydub run`: a manifest in, dubbed videos and a results manifest out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from raydub.cluster.commands import options
from raydub.cluster.commands.fields import FIELD_FLAGS
from raydub.cluster.commands.flags import takes
from raydub.cluster.output import command, say, say_json, say_line
from raydub.places import path_at
from raydub.texts import strict_json

if TYPE_CHECKING:
    from raydub.manifests.results import JobResult


@command
@takes(fields=FIELD_FLAGS, flags=options.RUN_FLAGS)
def run(
    manifest: options.Manifest,
    flags: options.RunFlags,
    fields: dict[str, str],
    output_root: options.OutputRoot = None,
) -> int:
    """Dub every row of a manifest. Finished work of earlier runs is reused. Exit code 0 only if every row is ok.

    Flags of manifest fields apply to rows that do not set the field."""
    flags.begin()
    from raydub.cluster.runner import RunRequest, run_jobs
    from raydub.manifests.consent import require_consent
    from raydub.manifests.naming import check_stem, results_name
    from raydub.manifests.read import read_manifest

    asked = read_manifest(manifest, output_root, fields)
    if flags.require_consent:
        asked = require_consent(asked)
    stem = flags.results or path_at(asked.output_root) / results_name(manifest)
    check_stem(stem, (job.output for job in asked.jobs))
    request = RunRequest(
        jobs=asked.jobs,
        bad=asked.bad,
        work_dir=options.work_dir_for(flags.work_dir, asked.output_root),
        results=stem,
        folder=asked.folder,
        use_ray=flags.use_ray is not False,
        manifest=path_at(os.environ.get("RAYDUB_MANIFEST") or manifest),  # of a job: where it was sent from
        **flags.asked(),
    )
    report = run_jobs(request)
    if flags.json_progress:
        end_line(report)
    else:
        show_report(report, flags.as_json)
    return report.exit_code()


_NAMED = 10
_LOOKED_AT = 20
"""Most jobs whose plans are read for the report."""


def show_report(report: Any, as_json: bool) -> None:
    """Print the report of a run, as text or JSON."""
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
                "metrics": report.metrics,
                "files": [str(path) for path in report.written],
                "results": [result.model_dump(mode="json") for result in report.results],
            }
        )
        return
    if report.earlier == len(report.results):
        many = report.earlier != 1
        say(f"nothing to do: {report.earlier} {'rows were' if many else 'row was'} already finished")
    else:
        same = len(_unchanged(report))
        counted = {**counts, "ok": counts["ok"] - same, "ok without any new mouth": same}
        said = ", ".join(f"{count} {status}" for status, count in counted.items() if count)
        before = f" ({report.earlier} already finished)" if report.earlier else ""
        rows = "1 row" if len(report.results) == 1 else f"{len(report.results)} rows"
        say(f"{rows}: {said}{before}; {report.seconds:.1f} s")
    again = [f"{result.id} ({result.attempts})" for result in report.results if result.attempts > 1]
    _name("took more than one attempt", again)
    _name("quarantined", [result.id for result in report.results if result.status == "quarantined"])
    _name("no frame got a new mouth", _unchanged(report))
    for line in who_lines(report.results):
        say(f"  {line}")
    _name("warnings", [f"{kind} in {_jobs(count)}" for kind, count in report.warnings().items()])
    if report.object_store_mb:
        say(f"  object store: {report.object_store_mb:.0f} MiB at most")
    for path in report.written:
        say(f"  {path}")


def end_line(report: Any) -> None:
    """The last line of --json-progress."""
    say_line(
        strict_json(
            {
                "event": "end",
                "at": round(report.seconds, 3),
                "counts": report.counts(),
                "finished_before": report.earlier,
                "warnings": report.warnings(),
                "files": [str(path) for path in report.written],
                "error": None,
                "exit_code": report.exit_code(),
            }
        )
    )


def who_lines(results: Sequence[JobResult]) -> list[str]:
    """Lines that name the dubbed faces, and the jobs with several faces in view."""
    done = [(result.id, result.job_dir) for result in results if result.synthesised and result.attempts]
    if not done:
        return []
    from raydub.pipeline.who import dubbed

    found = [(job, *dubbed(folder)) for job, folder in done[:_LOOKED_AT] if folder]
    rules: dict[str, list[str]] = {}
    for job, rule, _ in found:
        if rule:
            rules.setdefault(rule, []).append(job)
    many = len(done) > 1
    lines = [f"dubbed: {rule}{f' in {_jobs(len(jobs))}' if many else ''}" for rule, jobs in rules.items()]
    several = [f"{job} ({count})" for job, rule, count in found if rule and count > 1]
    if several:
        what = ", ".join(several) if many else f"up to {found[0][2]} at once"
        lines.append(f"several faces in view: {what}; `raydub faces VIDEO` shows the choices of --face")
    if len(done) > _LOOKED_AT:
        lines.append(f"dubbed: not shown for the other {_jobs(len(done) - _LOOKED_AT)}")
    return lines


def _unchanged(report: Any) -> list[str]:
    from raydub.pipeline.progress import unchanged

    return [result.id for result in report.results if unchanged(result)]


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _name(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        say(f"  {what}: {', '.join(names[:_NAMED])}{more}")
