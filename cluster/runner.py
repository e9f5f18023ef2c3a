"""One run, from checked jobs to the results manifest, for the commands run, dub and demo and the Python API.

Cheap checks come first: finished jobs are known by their records, and if all are finished neither Ray nor torch is
imported. Results are written before the workers are stopped, in case stopping hangs.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from raydub.anywhere import remove
from raydub.cluster.admission import Admission, admit
from raydub.cluster.glance import Glance
from raydub.cluster.output import say_line, show_error, warn
from raydub.cluster.request import RunReport, RunRequest
from raydub.cluster.session.connect import is_own
from raydub.cluster.session.stopping import StopWatch
from raydub.cluster.written import check_results
from raydub.errors import Code, RaydubError, StageError
from raydub.logs import doing, log_format
from raydub.manifests.failed import write_failed
from raydub.manifests.job import Job
from raydub.manifests.naming import results_files
from raydub.manifests.results import JobResult, write_results
from raydub.objects.names import is_object
from raydub.pipeline.attempts import end_run, start_run
from raydub.pipeline.clean import refuse_while_cleaned
from raydub.pipeline.driver import Driver, stopped_job
from raydub.pipeline.events import Planned
from raydub.pipeline.finished import Finished
from raydub.pipeline.locks import RunLock
from raydub.pipeline.run_state import RunState
from raydub.pipeline.trace import TraceRecorder
from raydub.places import real
from raydub.store import Store, moment

if TYPE_CHECKING:
    from pathlib import Path, PurePath

    from raydub.pipeline.context import WorkSettings
    from raydub.pipeline.progress import QuietProgress

__all__ = ["RunReport", "RunRequest", "run_jobs"]

_WRITE_SECONDS = 3.0


def run_jobs(
    request: RunRequest, *, stop: StopWatch | None = None, view: Callable[[int, int], QuietProgress] | None = None
) -> RunReport:
    """Run all jobs of a request and write the results. Raises RaydubError only if nothing could be started; the results
    then contain each open job as skipped, with the reason.

    stop: handles signals, by default a StopWatch; if it handles none, KeyboardInterrupt is raised after the results are
    written. view: creates the progress display, from the number of rows and of rows with an outcome; by default by
    request.show. With a view nothing is printed."""
    with RunLock() as lock:
        return _Run(request, lock, stop, view).do()


class _Run:
    """One run in progress. Its results are available at any time, from any thread."""

    def __init__(
        self,
        request: RunRequest,
        lock: RunLock,
        stop: StopWatch | None = None,
        view: Callable[[int, int], QuietProgress] | None = None,
    ) -> None:
        self._request = request
        self._lock = lock
        self._stop = stop or StopWatch(self._last_words)
        self._view = view
        self._admitted = Admission()
        self._finished = Finished(request.work_dir, request.signing, request.thresholds)
        self._progress: QuietProgress | None = None
        self._checked = False  # the results may be written to their paths
        self._driver: Driver | None = None
        self._state: RunState | None = None
        self._refused: RaydubError | None = None  # why no job could start
        self._written: tuple[PurePath, ...] | None = None
        self._writing = False
        self._all_written = threading.Event()
        self._store_mb = 0.0

    def do(self) -> RunReport:
        """Run all jobs and write the results."""
        with self._stop as stop:
            try:
                self._check()
                for row in self._request.bad if self._view is None else ():
                    for problem in row.errors:
                        show_error(problem)
                self._admit()
                self._shown()
                if self._admitted.open:
                    self._work(stop)
                self._write()
            except BaseException as error:
                if not self._checked and not stop.asked:
                    raise
                if self._written is None:
                    self._check()
                    self._writing = False  # it may have been interrupted while writing
                    self._refused = error if isinstance(error, RaydubError) else None
                    self._write()
                # While Ray starts, a signal may raise its SystemExit. After a stop there is nothing left to do.
                if not stop.asked or not isinstance(error, (KeyboardInterrupt, SystemExit)):
                    raise
        tally = self._shown().tally
        return RunReport(
            self._results(),
            self._written or (),
            self._admitted.earlier,
            stop.exit_code if stop.asked else 0,
            tally.elapsed,
            tally.first_plan or 0.0,
            tally.speed,
            {stage: round(float(seconds), 3) for stage, seconds in tally.stage_seconds.items()},
            {f"{stage}@{host}:{pid}": round(peak, 1) for (stage, host, pid), peak in tally.peak_mb.items()},
            round(self._store_mb, 1),
            tally.sums.rows(),
            dependency_missing=self._admitted.unable,
        )

    def _check(self) -> None:
        if not self._checked:
            check_results(self._request)
            self._checked = True

    def _admit(self) -> None:
        request = self._request
        here = not request.use_ray or is_own(request.address)
        glance = Glance(request.work_dir, here)
        known = None if request.fresh else self._finished
        admit(
            request.jobs,
            known,
            self._lock,
            request.work_dir,
            glance,
            request.strict,
            self._admitted,
            quiet=self._view is not None,
        )

    def _shown(self) -> QuietProgress:
        """The progress display, created when the open jobs are known."""
        if self._progress is None:
            request, closed = self._request, self._admitted.closed
            # Rows that an earlier run finished, and invalid rows, are counted without a line.
            told = [result for result in closed if result.status != "ok"]
            rows = len(request.jobs) + len(request.bad)
            earlier = len(request.bad) + len(closed) - len(told)
            self._progress = (
                self._view(rows, earlier) if self._view else _progress(request, rows, earlier, self._lock.owner)
            )
            for result in told:
                self._progress.finished(result)
        return self._progress

    def _work(self, stop: StopWatch) -> None:
        """Run the open jobs."""
        from raydub.cluster.session.where import executor_for
        from raydub.pipeline.foresight import Foresight
        from raydub.pipeline.threads import usable_cores

        settings, progress = self._settings(), self._shown()
        jobs = self._admitted.open
        about = {"rows": len(self._request.jobs), "jobs": len(jobs)}
        workers = None if self._request.use_ray else self._request.workers or usable_cores()
        progress.expect([job.id for job in jobs], workers, failed=len(self._request.bad))
        try:
            start_run(settings.work_dir, settings.run_id, about, [job.output for job in jobs])
            refuse_while_cleaned(settings.work_dir)
            state = self._state = self._new_state(settings.run_id)
            with (
                doing(run=settings.run_id),
                progress.traced(TraceRecorder(settings.work_dir, settings.run_id)),
                executor_for(self._request, settings, jobs, state, stop) as executor,
                progress,
                Foresight(jobs, progress.tally.foresee),
            ):
                self._driver = Driver(
                    executor,
                    state,
                    record=self._record,
                    stopping=lambda: stop.asked,
                    strict=self._request.strict,
                )
                _, interrupted = self._driver.run(jobs)
                if interrupted and not stop.asked:
                    raise KeyboardInterrupt
                self._store_mb = getattr(executor, "store_peak_mb", 0.0)
                self._write()
        finally:
            end_run(settings.work_dir, settings.run_id)

    def _settings(self) -> WorkSettings:
        from raydub.models.store.consent import words
        from raydub.pipeline.context import WorkSettings
        from raydub.pipeline.limits import StepLimits

        return WorkSettings(
            Store(real(self._request.work_dir)).place,
            self._lock.owner,
            self._request.device,
            words(),
            StepLimits(flat=self._request.step_timeout),
            fresh=moment(self._request.work_dir) if self._request.fresh else 0,
            verbose=self._request.verbose,
            log_format=log_format(),
            signing=self._request.signing,
            thresholds=self._request.thresholds,
        )

    def _new_state(self, run_id: str) -> RunState:
        request, shown = self._request, self._shown()
        closed = [*self._admitted.closed, *map(JobResult.refused, request.bad)]
        about = {"manifest": str(request.manifest or ""), "work_dir": str(request.work_dir), "folder": request.folder}
        return RunState(request.work_dir, run_id, shown, [job.id for job in self._admitted.open], closed, about).start()

    def _keep_failed(self, path: Path) -> None:
        request = self._request
        write_failed(path, self._results(), request.jobs, request.bad, request.folder)

    def _record(self, job: Job, plan: Planned, result: JobResult) -> None:
        self._finished.write(job, self._admitted.digests_of(job), plan, result.model_dump(mode="json"))

    def _last_words(self) -> None:
        if self._writing:
            self._all_written.wait(_WRITE_SECONDS)  # the main thread is writing them
        elif self._checked:
            self._write()
            warn("stopped: the results are written; run again to resume")

    def _results(self) -> tuple[JobResult, ...]:
        """One result per row, in the manifest's order. Raises StageError INTERNAL if the counts did not reconcile."""
        request = self._request
        told = self._driver.stopped_here() if self._driver is not None else {}
        closed = {(result.id, result.line) for result in self._admitted.closed}
        left = [job for job in request.jobs if (job.id, job.line) not in closed]
        worked = [told.get(job.id) or stopped_job(job, self._refused) for job in left]
        refused = [JobResult.refused(row) for row in request.bad]
        places = {(job.id, job.line): (job.line or 0, place) for place, job in enumerate(request.jobs)}
        found = sorted(
            [*self._admitted.closed, *worked, *refused],
            key=lambda result: places.get((result.id, result.line), (result.line or 0, -1)),
        )
        rows = len(request.jobs) + len(request.bad)
        if len(found) != rows:
            raise StageError(Code.INTERNAL, f"{len(found)} results for {rows} rows", hint="please report it")
        return tuple(found)

    def _write(self) -> None:
        """Write the results manifest, once."""
        if self._writing:
            return
        self._writing = True
        results = self._results()
        self._written = () if self._fenced() else _write(self._request, results)
        self._all_written.set()
        if self._state is None and self._refused is None and Store(self._request.work_dir).is_tagged:
            self._state = self._new_state(self._lock.owner)  # every row had its outcome before
        if self._state is not None:
            self._state.close(results, self._written, self._keep_failed, stopped=self._stop.asked)

    def _fenced(self) -> bool:
        """Whether the results belong to another run, which has taken over outputs of this one."""
        goal = self._request.results or self._request.record
        if goal is None or not is_object(str(goal)) or not self._lock.lost():
            return False
        warn(f"another run has taken over outputs of this one, and writes the results: {goal} stays as it is")
        return True


def _progress(request: RunRequest, jobs: int, earlier: int, run_id: str) -> QuietProgress:
    from raydub.pipeline.progress import PlainProgress, QuietProgress

    if request.show == "json":
        from raydub.pipeline.progress_lines import JsonProgress

        return JsonProgress(jobs, say_line, earlier, run_id)
    if request.show == "quiet":
        return QuietProgress(jobs, earlier)
    rich = request.show == "auto" and log_format() != "json"
    if rich and sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        from raydub.pipeline.progress_bars import RichProgress

        return RichProgress(jobs, Console(stderr=True), earlier)
    return PlainProgress(jobs, warn, earlier)


def _write(request: RunRequest, results: Sequence[JobResult]) -> tuple[PurePath, ...]:
    if request.results is None:
        # Without any work there is no work folder, and none is created for this.
        if request.record is None or not (is_object(str(request.work_dir)) or os.path.isdir(request.work_dir)):
            return ()
        write_results(results, request.record, None)
        return (request.record,)
    jsonl, parquet, failed = results_files(request.results)
    # JSONL first, in case a stopped run is killed: Parquet takes a moment to load.
    write_results(results, jsonl, None)
    written = [jsonl, parquet]
    if all(result.status == "ok" for result in results):
        # Remove the list of an earlier run, so that it is not taken for this run's.
        remove(failed)
    else:
        write_failed(failed, results, request.jobs, request.bad, request.folder)
        written.append(failed)
    write_results(results, None, parquet, request.manifest)
    return tuple(written)
