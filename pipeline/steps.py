"""One step of work on one item, the same for the plain loop and for Ray: run a stage, time it, keep the ledger, and
turn whatever goes wrong into a `Failed` record. Items that a stage has no business with pass through it untouched."""

from __future__ import annotations

import dataclasses
import logging
import os
import platform
import resource
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from manifests.job import Job
from pipeline.events import Assembled, Dropped, Failed, Item, Note, Planned, Reporter, Silent, Work, job_of
from pipeline.failures import failed
from pipeline.ledger import Ledger
from stages.types import Chunk, Part, SynthesisedChunk, TrackedChunk

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkSettings:
    """What every worker of a run must know. Small, because Ray sends it to each of them.

    work_dir: folder of plans, tracks and parts, reachable from every node; run_id: this run; device: where the lip
    network runs, "auto", "cpu" or "cuda"; licences: names of licences that the user has accepted, comma-separated.
    """

    work_dir: str
    run_id: str
    device: str = "auto"
    licences: str = ""


class Toolbox(Protocol):
    """The stages themselves; pipeline.toolbox has the real ones, tests have small ones."""

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]: ...

    def track(self, chunk: Chunk) -> TrackedChunk: ...

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk: ...

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part: ...

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> tuple[str, int]: ...


class Steps:
    """Runs steps in one process. Not thread-safe; every worker has its own."""

    def __init__(self, settings: WorkSettings, tools: Toolbox, reporter: Reporter | None = None) -> None:
        self._settings = settings
        self._tools = tools
        self._reporter = reporter or Silent()

    def prepare(self, job: Job) -> Iterator[Planned | Part | Chunk | Failed]:
        """The job's plan, then its chunks in order; a finished part stands in the place of its chunk."""
        start = time.perf_counter()
        try:
            planned, chunks = self._tools.prepare(job)
            ledger = Ledger(planned.job_dir)
            finished = ledger.finished_job(job.output)
        except Exception as error:
            yield self._failed(job.id, "prepare", error, line=job.line)
            return
        seconds = time.perf_counter() - start
        self._note("prepare", job.id, planned.n_frames, seconds)
        yield dataclasses.replace(planned, finished=finished, seconds={**planned.seconds, "prepare": seconds})
        if finished is None:
            for chunk in chunks:
                yield ledger.finished_part(chunk) or chunk

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
        start = time.perf_counter()
        try:
            output, frames = self._tools.stitch(job, job_dir, sorted(parts, key=lambda part: part.chunk.index))
        except Exception as error:
            return self._failed(job.id, "stitch", error, line=job.line)
        seconds = time.perf_counter() - start
        self._note("stitch", job.id, frames, seconds)
        return Assembled(job.id, output, frames, seconds)

    def _run(self, stage: str, item: Work, chunk: Chunk) -> Item:
        ledger = Ledger(chunk.job_dir)
        if ledger.given_up(self._settings.run_id):
            return Dropped(chunk.job_id, chunk.index)
        start = time.perf_counter()
        try:
            done = self._call(stage, item, ledger)
        except Exception as error:
            problem = self._failed(chunk.job_id, stage, error, chunk=chunk.index)
            ledger.give_up(self._settings.run_id)
            return problem
        seconds = time.perf_counter() - start
        before = {} if isinstance(item, Chunk) else item.seconds
        done = dataclasses.replace(done, seconds={**before, **done.seconds, stage: seconds})
        if isinstance(done, Part):
            ledger.publish_part(done)
        self._note(stage, job_of(done), len(chunk.span), seconds)
        return done

    def _call(self, stage: str, item: Any, ledger: Ledger) -> TrackedChunk | SynthesisedChunk | Part:
        if stage == "track":
            return self._tools.track(item)
        if stage == "lipsync":
            return self._tools.lipsync(item)
        path = ledger.part_path(item.chunk)
        path.parent.mkdir(parents=True, exist_ok=True)
        return self._tools.render(item, str(path))

    def _failed(
        self, job_id: str, stage: str, error: Exception, *, line: int | None = None, chunk: int | None = None
    ) -> Failed:
        problem = failed(job_id, stage, error, line=line, chunk=chunk)
        _log.info("job %r, %s: %s", job_id, stage, problem.detail or problem.error["message"])
        return problem

    def _note(self, stage: str, job_id: str, frames: int, seconds: float) -> None:
        self._reporter.note(Note(stage, job_id, frames, seconds, os.getpid(), socket.gethostname(), peak_rss_mb()))


def peak_rss_mb() -> float:
    """Peak resident memory of this process in MiB (Linux counts KiB, macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / 1024 if platform.system() == "Darwin" else peak / 1024
