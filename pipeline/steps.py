"""One step of work on one item, the same for the plain loop and for Ray: book it, run a stage under a time limit, try
again what may pass, keep the ledger, and turn whatever goes wrong into a `Failed` record. Items that a stage has no
business with pass through it untouched.

Every piece of work is claimed before it begins (pipeline.claims). Work that has ended two workers is not begun again:
its job fails, the others go on.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from raydub.beat import listening
from raydub.errors import Code, InterruptedRun, RaydubError, StageError
from raydub.manifests.job import Job
from raydub.manifests.speech import needs_sound
from raydub.media.fetch_policy import FetchPolicy
from raydub.pipeline.claims import Claims, this_worker
from raydub.pipeline.events import CHUNK_STAGES, Assembled, Dropped, Failed, Item, Planned, Reporter, Silent, Work
from raydub.pipeline.failures import failed
from raydub.pipeline.finished import Finished
from raydub.pipeline.ledger import Ledger
from raydub.pipeline.limits import StepLimits
from raydub.pipeline.memory import release_free_memory
from raydub.pipeline.notes import beats_to, note_of
from raydub.pipeline.quarantine import Piece, verdict
from raydub.pipeline.retry import TRIES, with_retries
from raydub.pipeline.watchdog import Watchdog
from raydub.stages.types import Chunk, Part, SynthesisedChunk, TrackedChunk
from raydub.tts.engines.find import COMMAND_VARIABLE

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class WorkSettings:
    """What every worker of a run must know. Small, because Ray sends it to each of them.

    work_dir: folder of plans, tracks and parts, reachable from every node; run_id: this run; device: where networks
    run, "auto", "cpu" or "cuda"; licences: names of licences that the user has accepted, comma-separated;
    limits: how long steps may take; tries: how often a step that fails with an error that may pass is tried, in all;
    fetch: what may be fetched, in the words of media.fetch_policy, by default as the driver's environment says;
    tts_command: the operator's speech program, by default likewise.
    """

    work_dir: str
    run_id: str
    device: str = "auto"
    licences: str = ""
    limits: StepLimits = field(default_factory=StepLimits)
    tries: int = TRIES
    fetch: str = field(default_factory=lambda: FetchPolicy.from_environment().words())
    tts_command: str = field(default_factory=lambda: os.environ.get(COMMAND_VARIABLE, ""))


class Toolbox(Protocol):
    """The stages themselves; pipeline.toolbox has the real ones, tests have small ones."""

    def speak(self, job: Job) -> Job: ...

    def rehearse(self, job: Job, first: int, stop: int) -> None: ...

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]: ...

    def track(self, chunk: Chunk) -> TrackedChunk: ...

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk: ...

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part: ...

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> tuple[str, int]: ...


def everywhere(_: Mapping[str, Any]) -> bool:
    """All nodes are alive: where there is one machine only."""
    return True


class Steps:
    """Runs steps in one process. Not thread-safe; every worker has its own.

    worker: this process (claims.this_worker), given by processes that exist to work and nothing else: only there are
    time limits kept, because whatever hangs is ended together with its process. alive: is the node of a claim's record
    still there? A chunk is not charged with the loss of a machine. sleep: between tries.
    """

    def __init__(
        self,
        settings: WorkSettings,
        tools: Toolbox,
        reporter: Reporter | None = None,
        *,
        worker: Mapping[str, Any] | None = None,
        alive: Callable[[Mapping[str, Any]], bool] = everywhere,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._tools = tools
        self._reporter = reporter or Silent()
        self._claims = Claims(settings.work_dir, settings.run_id)
        self._ledger = Ledger(settings.work_dir)
        self._worker = dict(worker) if worker is not None else this_worker()
        self._watchdog: Watchdog | None = None
        if worker is not None:
            self._watchdog = Watchdog(settings.work_dir, settings.run_id, worker, settings.limits.grace)
        self._alive = alive
        self._sleep = sleep

    def speak(self, job: Job) -> Job | Failed:
        """The job with its speech made (Job.speech); as it came when there is nothing to be made."""
        if not needs_sound(job):
            return job
        piece, start = Piece.of_job(job.id, "speak"), time.perf_counter()
        try:
            made, _ = self._do(piece, self._settings.limits.for_speak(job), lambda: self._tools.speak(job))
        except (Exception, SystemExit) as error:
            return self._failed(piece, error, line=job.line)
        seconds = time.perf_counter() - start
        self._note("speak", job.id, 0, seconds)
        assert made.speech is not None
        return made.model_copy(update={"speech": made.speech.model_copy(update={"seconds": seconds})})

    def rehearse(self, job: Job, first: int, stop: int) -> None:
        """Speak some cues of a long script ahead of speak(), which then finds them done: so that several workers share
        one script. What goes wrong is left for speak() to find and to tell."""
        piece = Piece(job.id, "speak", f"speak.{first:06d}", f"the speech of cues {first + 1} to {stop}")
        try:
            self._do(piece, self._settings.limits.for_speak(job), lambda: self._tools.rehearse(job, first, stop))
        except (Exception, SystemExit) as error:
            self._failed(piece, error)  # a line of the log; passes on only that the user stops the run

    def prepare(self, job: Job) -> Iterator[Planned | Part | Chunk | Failed]:
        """The job's plan, then its chunks in order; a finished part stands in the place of its chunk."""

        def call() -> tuple[Planned, Sequence[Chunk], Any, Mapping[int, Part]]:
            planned, chunks = self._tools.prepare(job)
            finished = Finished(self._settings.work_dir).of(job, planned.key)
            return planned, chunks, finished, self._ledger.finished_parts(chunks) if finished is None else {}

        piece, start = Piece.of_job(job.id, "prepare"), time.perf_counter()
        try:
            (planned, chunks, finished, parts), attempt = self._do(piece, self._settings.limits.for_prepare(job), call)
        except (Exception, SystemExit) as error:
            yield self._failed(piece, error, line=job.line)
            return
        seconds = time.perf_counter() - start
        self._note("prepare", job.id, planned.n_frames, seconds)
        spent = {**planned.seconds, "prepare": seconds}
        said = job.speech
        if said is not None:
            spent["speak"] = said.seconds
            weights = (*planned.weights, *(one.model_dump() for one in said.weights))
            planned = dataclasses.replace(
                planned, segments=said.segments, spoken=said.spoken, voiced=said.voiced, weights=weights
            )
        yield dataclasses.replace(planned, finished=finished, seconds=spent, attempt=attempt)
        if finished is None:
            for chunk in chunks:
                yield parts.get(chunk.index, chunk)

    def advance(self, stage: str, item: Item) -> Item:
        """The item after `stage` ("track", "lipsync" or "render"); as it came when it is none of the stage's input."""
        if isinstance(item, Chunk) and stage == "track":
            return self._run(stage, item, item)
        if isinstance(item, TrackedChunk) and stage == "lipsync":
            return self._run(stage, item, item.chunk)
        if isinstance(item, SynthesisedChunk) and stage == "render":
            return self._run(stage, item, item.chunk)
        return item

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> Assembled | Failed:
        """Join the parts, add the speech, publish the output."""
        ordered = sorted(parts, key=lambda part: part.chunk.index)
        limit = self._settings.limits.for_stitch([part.frames for part in parts])
        piece, start = Piece.of_job(job.id, "stitch"), time.perf_counter()
        try:
            (output, frames), attempt = self._do(piece, limit, lambda: self._tools.stitch(job, job_dir, ordered))
        except (Exception, SystemExit) as error:
            return self._failed(piece, error, line=job.line)
        seconds = time.perf_counter() - start
        self._note("stitch", job.id, frames, seconds)
        return Assembled(job.id, output, frames, seconds, attempt)

    def _run(self, stage: str, item: Work, chunk: Chunk) -> Item:
        if self._claims.given_up(chunk.job_id):
            return Dropped(chunk.job_id, chunk.index)
        piece, start = Piece.of_chunk(chunk, stage), time.perf_counter()
        # Ray does lost rows again from the start, and two jobs may share their parts: what is there is not made twice.
        known = self._ledger.finished_part(chunk)
        if known is not None:
            return known
        before = {} if isinstance(item, Chunk) else item.seconds

        def call() -> TrackedChunk | SynthesisedChunk | Part:
            with listening(stage, beats_to(self._reporter, stage, chunk)):
                done = self._call(stage, item)
            seconds = {**before, **done.seconds, stage: time.perf_counter() - start}
            if not isinstance(done, Part):
                return dataclasses.replace(done, seconds=seconds)
            part = dataclasses.replace(done, seconds=seconds, attempt=self._attempts(chunk))
            return self._ledger.publish_part(part, self._settings.run_id)

        finishing = chunk.finish_seconds if stage == "render" else 0.0
        limit = self._settings.limits.for_chunk(len(chunk.span), finishing)
        try:
            made, _ = self._do(piece, limit, call, chunk)
        except (Exception, SystemExit) as error:
            problem = self._failed(piece, error, chunk=chunk.index)
            self._give_up(chunk.job_id)
            return problem
        self._note(stage, chunk.job_id, len(chunk.span), made.seconds[stage])
        return made

    def _call(self, stage: str, item: Any) -> TrackedChunk | SynthesisedChunk | Part:
        if stage == "track":
            return self._tools.track(item)
        if stage == "lipsync":
            return self._tools.lipsync(item)
        return self._tools.render(item, str(self._ledger.store.temp(".mp4")))

    def _do(self, piece: Piece, seconds: float, call: Callable[[], T], chunk: Chunk | None = None) -> tuple[T, int]:
        """(What `call` returns, number of the attempt that it took.) Raises its error, or the verdict on the piece."""
        return with_retries(
            lambda: self._once(piece, seconds, call, chunk), piece.stage, self._settings.tries, self._sleep
        )

    def _once(self, piece: Piece, seconds: float, call: Callable[[], T], chunk: Chunk | None) -> tuple[T, int]:
        deaths = self._claims.deaths(piece.job_id, piece.work, self._alive)
        problem = verdict(piece, deaths, self._settings.work_dir, self._settings.run_id, chunk)
        if problem is not None:
            raise problem
        worker = {**self._worker, "what": piece.what, "limit_s": seconds}
        claim = self._claims.claim(piece.job_id, piece.work, worker=worker)
        self._reporter.note(note_of(piece.stage, piece.job_id, 0, done=False))
        try:
            if self._watchdog is None:
                made = call()
            else:
                with self._watchdog.limit(seconds, claim):
                    made = call()
        except (Exception, SystemExit, KeyboardInterrupt):
            # An error, or the user: nobody died.
            claim.release()
            raise
        claim.release()
        return made, claim.attempt

    def _attempts(self, chunk: Chunk) -> int:
        """The most attempts that any stage of the chunk took in this run."""
        works = (Piece.of_chunk(chunk, stage).work for stage in CHUNK_STAGES)
        return max(1, *(self._claims.attempts(chunk.job_id, work) for work in works))

    def _failed(
        self, piece: Piece, error: BaseException, *, line: int | None = None, chunk: int | None = None
    ) -> Failed:
        if isinstance(error, InterruptedRun):
            raise error
        if isinstance(error, SystemExit):
            # A library that calls sys.exit() ends the step, not the worker.
            error = StageError(Code.INTERNAL, f"{piece.stage}: something in it asked the process to exit ({error})")
        attempt = self._claims.attempts(piece.job_id, piece.work)
        problem = failed(piece.job_id, piece.stage, error, line=line, chunk=chunk, attempt=attempt)
        _log.info("job %r, %s: %s", piece.job_id, piece.stage, problem.detail or problem.error["message"])
        return problem

    def _give_up(self, job_id: str) -> None:
        try:
            self._claims.give_up(job_id)
        except RaydubError as error:
            # The job fails all the same; only some more of its chunks are worked on in vain.
            _log.warning("job %r: %s", job_id, error)

    def _note(self, stage: str, job_id: str, frames: int, seconds: float) -> None:
        self._reporter.note(note_of(stage, job_id, frames, seconds))
        release_free_memory()
