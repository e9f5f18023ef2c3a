"""One run, from checked jobs to the results manifest, for every command that dubs: run, dub, demo."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.output import show_error, warn
from manifests.job import Job
from manifests.results import JobResult, write_failed, write_results
from manifests.rows import BadRow
from raydub.errors import EXIT_DEPENDENCY, EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED, RaydubError

if TYPE_CHECKING:
    from pipeline.driver import Executor
    from pipeline.progress import Progress
    from pipeline.steps import WorkSettings


@dataclass(frozen=True)
class RunRequest:
    """What to run and where. results: path without extension of the results manifest, None for none; folder: where the
    manifest's relative inputs start; address: see cluster.session; show: "auto", "plain" or "quiet"."""

    jobs: tuple[Job, ...]
    bad: tuple[BadRow, ...]
    work_dir: Path
    results: Path | None
    folder: str = ""
    use_ray: bool = True
    address: str | None = None
    num_cpus: int | None = None
    workers: int | None = None
    device: str = "auto"
    show: str = "auto"
    verbose: bool = False


@dataclass(frozen=True)
class RunReport:
    """What came of it. One result per manifest row, in the manifest's order. seconds: the whole run; until_plan:
    until the first job was prepared (Ray's start-up is in it); speed: frames a second from the first part on;
    stage_seconds: work per stage, peak_mb: peak memory of each worker by "stage@host:pid" (both as far as notes
    arrived)."""

    results: tuple[JobResult, ...]
    interrupted: bool
    written: tuple[Path, ...]
    seconds: float
    until_plan: float
    speed: float
    stage_seconds: dict[str, float]
    peak_mb: dict[str, float]
    dependency_missing: bool = False

    def counts(self) -> dict[str, int]:
        """How many rows ended in which way; the values sum to the number of rows."""
        return {
            status: sum(result.status == status for result in self.results)
            for status in ("ok", "failed", "quarantined", "skipped")
        }

    def exit_code(self) -> int:
        """0 when every row is ok; 130 after a stop; 3 when nothing ran for want of a program or weights; else 1."""
        if self.interrupted:
            return EXIT_INTERRUPTED
        counts = self.counts()
        if counts["ok"] == len(self.results):
            return EXIT_OK
        return EXIT_DEPENDENCY if self.dependency_missing and not counts["ok"] else EXIT_SOME_FAILED


def run_jobs(request: RunRequest) -> RunReport:
    """Run all jobs of a request and write the results. Raises RaydubError only where nothing could be started."""
    from media.ffmpeg import ffmpeg_binary
    from pipeline.driver import Driver
    from pipeline.engines import LICENCE_VARIABLE
    from pipeline.steps import WorkSettings

    ffmpeg_binary()
    able, unable = _with_engines(request.jobs)
    settings = WorkSettings(
        str(request.work_dir.resolve()), secrets.token_hex(6), request.device, os.environ.get(LICENCE_VARIABLE, "")
    )
    request.work_dir.mkdir(parents=True, exist_ok=True)
    progress = _progress(request)
    for row in request.bad:
        for problem in row.errors:
            show_error(problem)
    for result in unable:
        progress.finished(result)
    with _executor(request, settings, able, progress) as executor, progress:
        found, interrupted = Driver(executor, progress).run(able)
    refused = [JobResult.refused(row) for row in request.bad]
    results = tuple(sorted([*found, *unable, *refused], key=_manifest_order(request)))
    tally = progress.tally
    return RunReport(
        results,
        interrupted,
        _write(request, results),
        tally.elapsed,
        tally.first_plan or 0.0,
        tally.speed,
        {stage: round(float(seconds), 3) for stage, seconds in tally.stage_seconds.items()},
        {f"{stage}@{host}:{pid}": round(peak, 1) for (stage, host, pid), peak in tally.peak_mb.items()},
        dependency_missing=bool(unable),
    )


def _with_engines(jobs: Sequence[Job]) -> tuple[list[Job], list[JobResult]]:
    """Jobs whose lip engine and weights are there, and failures of the others: said before any work is done."""
    from pipeline.engines import engine_key, make_job_engine

    checked: dict[str, RaydubError | None] = {}
    able: list[Job] = []
    unable: list[JobResult] = []
    for job in jobs:
        key = engine_key(job.options)
        if key not in checked:
            try:
                make_job_engine(job.options).weights()
                checked[key] = None
            except RaydubError as error:
                checked[key] = error
        problem = checked[key]
        if problem is None:
            able.append(job)
        else:
            unable.append(JobResult.failure(job, problem))
    return able, unable


@contextmanager
def _executor(
    request: RunRequest, settings: WorkSettings, jobs: Sequence[Job], progress: Progress
) -> Iterator[Executor]:
    from pipeline.toolbox import StageToolbox

    if not request.use_ray or not jobs:
        from pipeline.local import LocalExecutor

        yield LocalExecutor(settings, StageToolbox, progress)
        return
    from cluster.session import ray_session

    with ExitStack() as stack:
        nodes = stack.enter_context(ray_session(request.address, request.num_cpus, request.verbose))
        from pipeline.graph import RayExecutor
        from pipeline.pools import plan_pools
        from pipeline.progress import Poller

        executor = RayExecutor(settings, StageToolbox, plan_pools(nodes, len(jobs), request.workers))
        stack.enter_context(Poller(executor.notes, progress.note))
        yield executor


def _progress(request: RunRequest) -> Progress:
    from pipeline.progress import PlainProgress, QuietProgress, RichProgress

    rows = len(request.jobs)
    if request.show == "quiet":
        return QuietProgress(rows)
    if request.show == "auto" and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        return RichProgress(rows, Console(stderr=True))
    return PlainProgress(rows, warn)


def _manifest_order(request: RunRequest):  # type: ignore[no-untyped-def]
    places = {(job.id, job.line): (job.line or 0, place) for place, job in enumerate(request.jobs)}
    return lambda result: places.get((result.id, result.line), (result.line or 0, -1))


def _write(request: RunRequest, results: Sequence[JobResult]) -> tuple[Path, ...]:
    if request.results is None:
        return ()
    stem = request.results
    jsonl, parquet, failed = (stem.with_name(stem.name + end) for end in (".jsonl", ".parquet", ".failed.jsonl"))
    write_results(results, jsonl, parquet)
    if all(result.status == "ok" for result in results):
        # A list of failures from an earlier run would be taken for this run's.
        failed.unlink(missing_ok=True)
        return jsonl, parquet
    write_failed(failed, results, request.jobs, request.bad, request.folder)
    return jsonl, parquet, failed
