"""One step of work on one item, for the plain loop and for Ray: record the attempt, run the stage under a time limit,
retry, update the ledger, and convert errors into a `Failed` record. Items that a stage does not take pass through
unchanged.

Every attempt is recorded before the work begins (pipeline.attempts). Work that has killed two workers is not tried
again: its job fails, others continue.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from typing import Any, TypeVar, cast

from raydub.beat import listening
from raydub.errors import Code, InterruptedRun, RaydubError, StageError
from raydub.logs import doing
from raydub.manifests.job import Job
from raydub.memory import release_free_memory
from raydub.pipeline.attempts import Attempts, this_worker
from raydub.pipeline.context import WorkerContext, WorkSettings
from raydub.pipeline.events import Assembled, Dropped, Failed, Item, Output, Planned, Prepared, Reporter, Silent, Work
from raydub.pipeline.failures import failed
from raydub.pipeline.notes import beats_to, note_of
from raydub.pipeline.quarantine import Piece, verdict
from raydub.pipeline.registry import Stages, find
from raydub.pipeline.retry import with_retries
from raydub.pipeline.stage import Stage
from raydub.pipeline.watchdog import Watchdog
from raydub.stages.types import Chunk, Part

_log = logging.getLogger(__name__)
T = TypeVar("T")


def everywhere(_: Mapping[str, Any]) -> bool:
    """True: without a cluster all nodes are alive."""
    return True


class Steps:
    """Runs the steps of a list of stages in one process. Not thread-safe: one instance per worker.

    worker: this process (attempts.this_worker), given in dedicated worker processes only: it enables time limits, which
    kill the process. alive: whether the node of a record is still in the cluster; deaths on lost nodes are not counted.
    sleep: between tries.
    """

    def __init__(
        self,
        settings: WorkSettings,
        stages: Stages,
        reporter: Reporter | None = None,
        *,
        worker: Mapping[str, Any] | None = None,
        alive: Callable[[Mapping[str, Any]], bool] = everywhere,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.stages = find(stages)
        self._settings = settings
        self._context = WorkerContext(settings)
        self._reporter = reporter or Silent()
        self._attempts = Attempts(settings.work_dir, settings.run_id)
        self._worker = dict(worker) if worker is not None else this_worker()
        self._watchdog: Watchdog | None = None
        if worker is not None:
            self._watchdog = Watchdog(settings.work_dir, settings.run_id, worker, settings.limits.grace)
        self._alive = alive
        self._sleep = sleep

    def named(self, name: str) -> Stage:
        """The stage with this name."""
        return next(stage for stage in self.stages if stage.name == name)

    def advance(self, stage: Stage, item: Item) -> Iterator[Item]:
        """Run a stage per job or chunk on an item: yields one item, or a plan and its chunks; the item itself if the
        stage does not take it."""
        if isinstance(item, Failed) or not isinstance(item, stage.takes) or not stage.wanted(item):
            yield item
        elif isinstance(item, Job):
            yield from self._job_step(stage, item)
        else:
            yield self._chunk_step(stage, cast(Work, item))

    def warm_up(self) -> None:
        """Load what the chunks of any job need. Errors are only logged: the stages will raise them again."""
        for stage in self.stages:
            if stage.warm_up is not None:
                try:
                    stage.warm_up(self._context)
                except Exception as error:
                    _log.info("%s: %s", stage.name, error)

    def prefetch(self, stage: Stage, job: Job, first: int, stop: int) -> None:
        """Do some units of a long job before its stage runs, so that several workers share it. Errors are only logged:
        the stage will raise them again."""
        ahead, name = stage.prefetch, stage.name
        assert ahead is not None
        piece = Piece(job.id, name, f"{name}.{first:06d}", f"the step {name} of units {first + 1} to {stop}")
        try:
            self._do(piece, stage.limit(self._settings.limits, job), lambda: ahead.run(self._context, job, first, stop))
        except (Exception, SystemExit) as error:
            self._failed(piece, error, None)  # logs it; raises only InterruptedRun

    def finish(self, output: Output) -> Assembled | Failed:
        """Run all stages per output: join the parts, publish the output."""
        job, seconds, most = output.job, {}, 1
        output = dataclasses.replace(output, parts=sorted(output.parts, key=lambda part: part.chunk.index))
        for stage in self.stages:
            if stage.per != "output" or not stage.wanted(output):
                continue
            piece, start = Piece.of_job(job.id, stage.name), time.perf_counter()
            call = partial(stage.run, self._context, output)
            try:
                output, attempt = self._do(piece, stage.limit(self._settings.limits, output), call)
            except (Exception, SystemExit) as error:
                problem = self._failed(piece, error, start, line=job.line)
                if not stage.optional:
                    return problem
                warning = f"{stage.optional}: {problem.error['message']}"
                output = dataclasses.replace(output, warnings=(*output.warnings, warning))
                continue
            seconds[stage.name], most = time.perf_counter() - start, max(most, attempt)
            self._note(piece, output.frames, seconds[stage.name], attempt)
        ended = (output.path, output.frames, seconds, most, output.warnings, output.marks, output.evaluated)
        return Assembled(job.id, *ended)

    def _job_step(self, stage: Stage, job: Job) -> Iterator[Item]:
        piece, start = Piece.of_job(job.id, stage.name), time.perf_counter()

        def call() -> tuple[Job | Prepared, Mapping[int, Part]]:
            made = stage.run(self._context, job)
            known = isinstance(made, Job) or made.plan.finished is not None
            return made, {} if known else self._context.ledger.finished_parts(made.chunks)

        try:
            (made, parts), attempt = self._do(piece, stage.limit(self._settings.limits, job), call)
        except (Exception, SystemExit) as error:
            yield self._failed(piece, error, start, line=job.line)
            return
        seconds = time.perf_counter() - start
        if isinstance(made, Job):
            self._note(piece, 0, seconds, attempt)
            yield made
            return
        counts = {"parts": len(parts), "no_parts": 0 if made.plan.finished else len(made.chunks) - len(parts)}
        self._note(piece, made.plan.n_frames, seconds, attempt, counts=counts)
        yield dataclasses.replace(_with_speech(made.plan, job, stage.name, seconds), attempt=attempt)
        if made.plan.finished is None:
            for chunk in made.chunks:
                yield parts.get(chunk.index, chunk)

    def _chunk_step(self, stage: Stage, item: Work) -> Item:
        chunk, name = item if isinstance(item, Chunk) else item.chunk, stage.name
        piece, start = Piece.of_chunk(chunk, name), time.perf_counter()
        before = {} if isinstance(item, Chunk) else item.seconds

        def call() -> Any:
            with listening(name, beats_to(self._reporter, name, chunk)):
                done = stage.run(self._context, item)
            seconds = {**before, **done.seconds, name: time.perf_counter() - start}
            if not isinstance(done, Part):
                return dataclasses.replace(done, seconds=seconds)
            part = dataclasses.replace(done, seconds=seconds, attempt=self._most_attempts(chunk))
            return self._context.ledger.publish_part(part, self._settings.run_id)

        try:
            # A work folder that cannot be read is the error of a chunk, not the death of its worker.
            known = with_retries(lambda: self._known(chunk), name, self._settings.tries, self._sleep)
            if known is not None:
                return known
            made, attempt = self._do(piece, stage.limit(self._settings.limits, item), call, chunk)
        except (Exception, SystemExit) as error:
            problem = self._failed(piece, error, start)
            self._give_up(chunk.job_id)
            return problem
        faces = next((one.items for one in (made, item) if hasattr(one, "items")), None)
        mouths = int(faces.open.sum()) if faces is not None else 0
        self._note(piece, len(chunk.span), made.seconds[name], attempt, faces=mouths)
        return made  # type: ignore[no-any-return]

    def _known(self, chunk: Chunk) -> Dropped | Part | None:
        """The outcome of a chunk that needs no work. Raises StageError STORAGE."""
        if self._attempts.given_up(chunk.job_id):
            return Dropped(chunk.job_id, chunk.index)
        # Ray repeats lost rows from the start, and two jobs may share parts: do not make a part twice.
        return self._context.ledger.finished_part(chunk)

    def _do(self, piece: Piece, seconds: float, call: Callable[[], T], chunk: Chunk | None = None) -> tuple[T, int]:
        """(result of `call`, number of its attempt). Raises its error, or the verdict on the piece."""
        with self._named_in_logs(piece):
            return with_retries(
                lambda: self._once(piece, seconds, call, chunk), piece.stage, self._settings.tries, self._sleep
            )

    def _once(self, piece: Piece, seconds: float, call: Callable[[], T], chunk: Chunk | None) -> tuple[T, int]:
        deaths = self._attempts.deaths(piece.job_id, piece.work, self._alive)
        problem = verdict(piece, deaths, self._settings.work_dir, self._settings.run_id, chunk)
        if problem is not None:
            raise problem
        worker = {**self._worker, "what": piece.what, "limit_s": seconds}
        attempt = self._attempts.begin(piece.job_id, piece.work, worker=worker)
        begun = note_of(piece.stage, piece.job_id, 0, done=False, chunk=piece.chunk, attempt=attempt.number)
        self._reporter.note(begun)
        try:
            if self._watchdog is None:
                made = call()
            else:
                with self._watchdog.limit(seconds, attempt):
                    made = call()
        except (Exception, SystemExit, KeyboardInterrupt):
            # An error, or the user: not a death.
            attempt.end()
            raise
        attempt.end()
        return made, attempt.number

    def _most_attempts(self, chunk: Chunk) -> int:
        """The most attempts that any stage of the chunk took in this run."""
        works = (Piece.of_chunk(chunk, stage.name).work for stage in self.stages if stage.per == "chunk")
        return max(1, *(self._attempts.count(chunk.job_id, work) for work in works))

    def _failed(self, piece: Piece, error: BaseException, start: float | None, *, line: int | None = None) -> Failed:
        """The record of a piece that failed. start: of the step, by time.perf_counter(); None if nobody is told."""
        if isinstance(error, InterruptedRun):
            raise error
        if isinstance(error, SystemExit):
            # A library that calls sys.exit() fails the step, not the worker.
            error = StageError(Code.INTERNAL, f"{piece.stage}: a library called sys.exit({error})")
        attempt = 1
        with contextlib.suppress(RaydubError):  # the work folder may be what failed
            attempt = self._attempts.count(piece.job_id, piece.work)
        problem = failed(piece.job_id, piece.stage, error, line=line, chunk=piece.chunk, attempt=attempt)
        code = str(problem.error["code"])
        with self._named_in_logs(piece), doing(code=code):
            _log.info("job %r, %s: %s", piece.job_id, piece.stage, problem.detail or problem.error["message"])
        if start is not None:
            self._note(piece, 0, time.perf_counter() - start, attempt, code=code)
        return problem

    def _give_up(self, job_id: str) -> None:
        try:
            self._attempts.give_up(job_id)
        except RaydubError as error:
            # The job fails anyway; only some of its chunks are processed in vain.
            _log.warning("job %r: %s", job_id, error)

    def _named_in_logs(self, piece: Piece) -> AbstractContextManager[None]:
        return doing(run=self._settings.run_id, job=piece.job_id, chunk=piece.chunk, stage=piece.stage)

    def _note(self, piece: Piece, frames: int, seconds: float, attempt: int, **more: Any) -> None:
        told = note_of(piece.stage, piece.job_id, frames, seconds, chunk=piece.chunk, attempt=attempt, **more)
        self._reporter.note(told)
        release_free_memory()


def through_stages(steps: Steps, item: Item, per: Sequence[str] = ("job", "chunk")) -> Iterator[Item]:
    """Run a job, or a chunk, through the stages per job, per chunk, or both. With both, a job yields its plan, then a
    part, a failure or a dropped chunk for every chunk."""
    items: Iterable[Item] = [item]
    for stage in steps.stages:
        if stage.per in per:
            # Each item goes through all stages before the next one begins: iterators pull from each other.
            items = chain.from_iterable(map(partial(steps.advance, stage), items))
    yield from items


def _with_speech(plan: Planned, job: Job, stage: str, seconds: float) -> Planned:
    """The plan with the facts of its speech, and the seconds of this stage."""
    spent = {**plan.seconds, stage: seconds}
    said = job.speech
    if said is None:
        return dataclasses.replace(plan, seconds=spent)
    return dataclasses.replace(
        plan,
        seconds={**spent, "speak": said.seconds},
        segments=said.segments,
        spoken=said.spoken,
        voiced=said.voiced,
        weights=(*plan.weights, *(one.model_dump() for one in said.weights)),
    )
