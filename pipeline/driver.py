"""The driver: takes jobs and returns exactly one result per job, with any executor.

It follows the executor's items and requests a job's stitch when its last part is done; jobs do not wait for each other.
An error ends its own job only. Jobs without an outcome at the end (workers lost, run stopped) get one too, so that
counts reconcile.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError

from raydub.errors import Code, InterruptedRun, RaydubError, StageError
from raydub.manifests.components import Component
from raydub.manifests.job import Job
from raydub.manifests.results import JobResult, WeightsUse
from raydub.pipeline.events import Assembled, Failed, Item, Planned
from raydub.pipeline.expected import expected_work
from raydub.pipeline.failures import as_raydub_error
from raydub.pipeline.jobstate import JobState
from raydub.pipeline.stage_evaluate import EVALUATE
from raydub.pipeline.strict import strictly, unasked
from raydub.stages.types import Part

_log = logging.getLogger(__name__)


class Executor(Protocol):
    """Where the steps run."""

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """Everything that happens to the jobs: plans, finished parts, failures, dropped chunks, in any order."""
        ...

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Start (or run) the stitch of a job."""
        ...

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """Stitches that have ended; with `wait`, all that were started, as they end."""
        ...


class Watcher(Protocol):
    """Receives the progress of jobs (pipeline.progress)."""

    def planned(self, job_id: str, frames: int, chunks: int, work: Mapping[str, float]) -> None: ...

    def part(self, job_id: str, frames: int, reused: bool) -> None: ...

    def finished(self, result: JobResult) -> None: ...


class Driver:
    """Runs the jobs of one run.

    record: called with each successful job, its plan and its result after its output is published; stopping: called
    after every item, True stops the run; strict: results that differ from the request are failures and are not
    published (pipeline.strict).
    """

    def __init__(
        self,
        executor: Executor,
        watcher: Watcher | None = None,
        clock: Callable[[], float] = time.monotonic,
        record: Callable[[Job, Planned, JobResult], None] | None = None,
        stopping: Callable[[], bool] = lambda: False,
        strict: bool = False,
    ) -> None:
        self._executor = executor
        self._watcher = watcher
        self._clock = clock
        self._record = record
        self._stopping = stopping
        self._strict = strict
        self._open: dict[str, JobState] = {}
        self._results: dict[str, JobResult] = {}

    def run(self, jobs: Sequence[Job]) -> tuple[list[JobResult], bool]:
        """One result per job, in the jobs' order, and whether the user interrupted the run."""
        self._results = {}
        self._open = {job.id: JobState(job) for job in jobs}
        lost: RaydubError | None = StageError(
            Code.INTERNAL, "the run ended without an outcome for this job", hint="run it again"
        )
        interrupted = False
        if jobs:
            try:
                self._follow(jobs)
            except KeyboardInterrupt:
                interrupted, lost = True, None
            except Exception as error:
                _log.debug("the executor failed", exc_info=True)
                lost = as_raydub_error(error, "run")
        for job_id in list(self._open):
            self._give_outcome(job_id, lost)
        return [self._results[job.id] for job in jobs], interrupted

    def stopped_here(self) -> dict[str, JobResult]:
        """Results by job id as if the run stopped now, for a thread that must end a run whose main thread is stuck.
        Changes nothing."""
        states = dict(self._open)
        return {name: self._unfinished(state, None) for name, state in states.items()} | dict(self._results)

    def _follow(self, jobs: Sequence[Job]) -> None:
        for item in self._executor.items(jobs):
            self._take(item)
            for ended in self._executor.assembled(wait=False):
                self._take(ended)
        for ended in self._executor.assembled(wait=True):
            self._take(ended)

    def _take(self, item: Item) -> None:
        """Process one item. Items of jobs that have an outcome are ignored."""
        if isinstance(item, Part):
            self._take_part(item)
        elif isinstance(item, Planned):
            self._take_plan(item)
        elif isinstance(item, Assembled):
            self._take_output(item)
        elif isinstance(item, Failed) and item.job_id in self._open:
            _log.debug("job %r failed in %s\n%s", item.job_id, item.stage, item.detail)
            state = self._open[item.job_id]
            self._give_outcome(item.job_id, item.exception().at(line=state.job.line), item.attempt)
        if self._stopping():
            # A signal's exception is lost if it is raised in a finaliser; this flag is not.
            raise KeyboardInterrupt

    def _take_plan(self, plan: Planned) -> None:
        state = self._open.get(plan.job_id)
        if state is None:
            return
        if plan.finished is not None:
            # Also of a plan that came before: where locks do not work, another driver may have finished the job since,
            # and a job that is prepared again then has no chunks.
            self._take_earlier(state, plan, plan.finished)
            return
        # A plan may come twice: after a lost node Ray prepares the job again.
        if state.plan is not None:
            return
        spent = plan.seconds.get("speak", 0.0) + plan.seconds.get("prepare", 0.0)
        state.plan, state.started = plan, self._clock() - spent
        self._tell("planned", plan.job_id, plan.n_frames, plan.n_chunks, _work(state.job, plan))
        self._stitch_if_complete(state)

    def _take_earlier(self, state: JobState, plan: Planned, finished: Any) -> None:
        """The job was finished by an earlier run."""
        stored = {**finished, "id": state.job.id, "line": state.job.line, "attempts": 0}
        stored |= {"wall_seconds": 0.0, "seconds": {}, "spoken": 0}
        try:
            result = JobResult.model_validate(stored)
        except ValidationError as error:
            problem = StageError(
                Code.STORAGE,
                f"the record of the finished job is from another version: {str(error).splitlines()[0]}",
                hint="use another --work-dir, or remove the output to make it again",
            )
            self._give_outcome(state.job.id, problem)
            return
        if state.job.options.evaluate and result.verdict is None and state.earlier is None:
            if state.plan is None:
                # All of its frames are there, as one part: only the evaluation is left.
                left = {name: took for name, took in _work(state.job, plan).items() if name == EVALUATE.name}
                self._tell("planned", plan.job_id, plan.n_frames, 1, left)
                self._tell("part", plan.job_id, plan.n_frames, True)
            state.plan, state.earlier, state.stitching = plan, result, True
            self._executor.stitch(state.job, plan.job_dir, [])
            return
        self._keep(state.job, plan, result)
        self._close(state, strictly(state.job, result) if self._strict else result)

    def _take_part(self, part: Part) -> None:
        state = self._open.get(part.chunk.job_id)
        # A part may come twice: Ray runs work at least once. The first counts; both are the same file.
        if state is None or part.chunk.index in state.parts:
            return
        state.parts[part.chunk.index] = part
        self._tell("part", part.chunk.job_id, part.frames, part.reused)
        self._stitch_if_complete(state)

    def _stitch_if_complete(self, state: JobState) -> None:
        if state.complete() and state.plan is not None:
            problem = _problem(state) if self._strict else None
            if problem is not None:
                self._give_outcome(state.job.id, problem.at(line=state.job.line))
                return
            state.stitching = True
            self._executor.stitch(state.job, state.plan.job_dir, list(state.parts.values()))

    def _take_output(self, done: Assembled) -> None:
        state = self._open.get(done.job_id)
        if state is None or state.plan is None:
            return
        if state.earlier is not None:
            result = _evaluated(state.earlier, done)
            ended = strictly(state.job, result) if self._strict else result
        else:
            result = ended = self._success(state, state.plan, done)
        self._keep(state.job, state.plan, result)
        self._close(state, ended)

    def _success(self, state: JobState, plan: Planned, done: Assembled) -> JobResult:
        return JobResult(
            status="ok",
            **JobResult.asked(state.job),
            **state.frames(),
            drawn=state.drawn(),
            seconds=state.seconds() | {name: round(seconds, 3) for name, seconds in done.seconds.items()},
            wall_seconds=self._wall(state),
            attempts=state.attempts(done.attempt),
            weights=tuple(WeightsUse.model_validate(dict(record)) for record in plan.weights),
            components=tuple(Component.model_validate(dict(part)) for part in plan.components),
            warnings=(*state.warnings(), *done.warnings),
            engine=plan.engine or None,
            segments=plan.segments,
            spoken=plan.spoken,
            job_dir=plan.job_dir,
            marks=done.marks,
            **done.evaluated,
        )

    def _give_outcome(self, job_id: str, error: RaydubError | None, attempt: int = 0) -> None:
        state = self._open[job_id]
        self._close(state, self._unfinished(state, error, attempt))

    def _unfinished(self, state: JobState, error: RaydubError | None, attempt: int = 0) -> JobResult:
        """The result of a job that did not succeed; error None: the user stopped the run. An output that was there
        before its evaluation stays."""
        if state.earlier is not None:
            why = error.message if error is not None else "the run was stopped"
            kept = state.unevaluated(f"{EVALUATE.optional}: {why}")
            return strictly(state.job, kept) if self._strict else kept
        said: dict[str, Any] = {
            "seconds": state.seconds(),
            "wall_seconds": self._wall(state),
            "engine": (state.plan.engine or None) if state.plan else None,
            "warnings": state.warnings(),
            "attempts": state.attempts(attempt),
        }
        return JobResult.failure(state.job, error, **said) if error is not None else stopped_job(state.job, **said)

    def _wall(self, state: JobState) -> float:
        """Seconds since the job was started; 0.0 if it was not."""
        return round(self._clock() - state.started, 3) if state.started is not None else 0.0

    def _keep(self, job: Job, plan: Planned, result: JobResult) -> None:
        """Record the job as finished. The video exists already: without a record only its stitch is done again."""
        if self._record is not None:
            try:
                self._record(job, plan, result)
            except (OSError, RaydubError) as error:
                _log.warning("job %r: its record could not be written: %s", job.id, error)

    def _close(self, state: JobState, result: JobResult) -> None:
        # In this order: a stop between these lines must not lose the outcome.
        self._results[state.job.id] = result
        self._open.pop(state.job.id, None)
        self._tell("finished", result)

    def _tell(self, event: str, *said: Any) -> None:
        """Call the watcher. Errors of a closed terminal are ignored."""
        if self._watcher:
            with contextlib.suppress(OSError):
                getattr(self._watcher, event)(*said)


def _evaluated(result: JobResult, done: Assembled) -> JobResult:
    """The result of an earlier run, whose output has been evaluated now."""
    seconds = {**result.seconds, **{name: round(spent, 3) for name, spent in done.seconds.items()}}
    others = [warning for warning in result.warnings if warning not in done.warnings]
    said = {**done.evaluated, "warnings": (*others, *done.warnings), "seconds": seconds}
    return result.model_copy(update=said)


def _work(job: Job, plan: Planned) -> Mapping[str, float]:
    """Seconds of each stage of a planned job; {} if they cannot be told, on which only the remaining time depends."""
    try:
        return expected_work(job, plan.n_frames, plan.extent)
    except (RaydubError, OSError, ValueError, ArithmeticError):
        return {}


def _problem(state: JobState) -> RaydubError | None:
    made = state.frames()
    return unasked(made["frames"], made["synthesised"], state.warnings())


def stopped_job(job: Job, why: RaydubError | None = None, **more: Any) -> JobResult:
    """The result of a job that was skipped because the user stopped the run, or because the run could not start
    (`why`)."""
    stop = why or InterruptedRun(Code.INTERRUPTED, "the run was stopped", hint="run again: finished parts are kept")
    said = {"error_code": str(stop.code), "error_message": stop.message, "hint": stop.hint or None}
    return JobResult(status="skipped", **JobResult.asked(job), **said, **more)
