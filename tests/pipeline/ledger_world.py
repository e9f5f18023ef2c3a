"""Stages and workers for the ledger's state machine: text files in the place of films, processes that the machine
ends."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from raydub.files import discard, publish, temp_beside, write_atomic
from raydub.identity import identify
from raydub.manifests.job import Job
from raydub.manifests.results import JobResult
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Assembled, Failed, Item, Planned
from raydub.pipeline.ledger import part_name
from raydub.pipeline.steps import through_stages
from raydub.stages.types import Chunk, Part, Span, SynthesisedChunk, TrackedChunk
from tests.pipeline.chaos import Driver, WorkerEnded
from tests.pipeline.fakes import ToolSteps, faces

CHUNKS, FRAMES, POISON = 3, 2, 1


def picture(index: int) -> str:
    return f"frames of chunk {index}\n" * 3


FILM = "".join(picture(index) for index in range(CHUNKS))


class Run:
    """One driver's run: what it did and what came of it."""

    def __init__(self, number: int) -> None:
        self.id = f"{number:012x}"
        self.finished_before: set[str] = set()  # parts that count, and that nobody damages
        self.rendered: Counter[tuple[str, int]] = Counter()
        self.deaths: Counter[tuple[str, str]] = Counter()  # by job and work
        self.results: dict[str, JobResult] | None = None
        self.disturbed = False


class Tools:
    """Stages of text. Rendering the poison chunk of a "bad" job ends the worker."""

    def __init__(self, machine: Any, run: Run, work_dir: str) -> None:
        self._machine, self._run, self._root = machine, run, Path(work_dir)

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        folder = self._root / "jobs" / job.id
        write_atomic(folder / "plan.json", b"{}")
        chunks = [Chunk(job.id, str(folder), i, CHUNKS, Span(i * FRAMES, (i + 1) * FRAMES)) for i in range(CHUNKS)]
        seen = {name: identify(path).sha256 for name, path in job.inputs().items()}
        return Planned(job.id, str(folder), CHUNKS, CHUNKS * FRAMES, inputs=seen, key=job.id), chunks

    def track(self, chunk: Chunk) -> TrackedChunk:
        return TrackedChunk(chunk, faces(Span(0, 1)), 0)

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk:
        return SynthesisedChunk(chunk.chunk, chunk.items, 0, {})

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        name = part_name(chunk.chunk)
        assert name not in self._run.finished_before, "a finished part is done again"
        self._run.rendered[chunk.chunk.job_id, chunk.chunk.index] += 1
        if chunk.chunk.job_id == "bad" and chunk.chunk.index == POISON:
            self._machine.worker_dies(self._run)
        self._write(out_path, picture(chunk.chunk.index) + self._machine.mark())
        return Part(chunk.chunk, out_path, FRAMES, 1, 0)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> tuple[str, int]:
        said = [Path(part.path).read_text() for part in parts]
        assert ["".join(text.splitlines(True)[:3]) for text in said] == [picture(i) for i in range(CHUNKS)]
        self._write(job.output, FILM)
        return job.output, CHUNKS * FRAMES

    def _write(self, path: str, text: str) -> None:
        temp = temp_beside(path)
        try:
            handle = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            try:
                os.write(handle, text.encode())
            finally:
                os.close(handle)
            assert Path(temp).read_text() == text
            publish(temp, path)
        except BaseException:
            discard(temp)
            raise


class Workers:
    """An executor whose work is done by a worker process, and by another one when that has died."""

    def __init__(self, machine: Any, driver: Driver, run: Run) -> None:
        self._machine, self._driver, self._run = machine, driver, run
        self._ended: list[Assembled | Failed] = []

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        open_jobs = list(jobs)
        while open_jobs:
            found: list[Item] = []
            with self._new_worker() as steps:
                for item in through_stages(steps, open_jobs[0]):
                    found.append(item)
                open_jobs.pop(0)
            yield from found

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        while not any(ended.job_id == job.id for ended in self._ended):
            with self._new_worker() as steps:
                self._ended.append(steps.stitch(job, job_dir, parts))

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        ended, self._ended = self._ended, []
        yield from ended

    @contextlib.contextmanager
    def _new_worker(self) -> Iterator[ToolSteps]:
        machine = self._machine
        with contextlib.suppress(WorkerEnded), machine.chaos.as_worker(self._driver):
            settings = WorkSettings(machine.work, self._run.id)
            tools = Tools(machine, self._run, machine.work)
            yield ToolSteps(settings, tools, sleep=lambda seconds: None)
