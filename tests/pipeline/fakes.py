"""Stages without pixels: text files stand for parts and outputs, so that the flow itself can be tested in
milliseconds."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from raydub.errors import Code, InputError, StageError
from raydub.manifests.job import Job
from raydub.manifests.results import JobResult
from raydub.pipeline.context import WorkerContext, WorkSettings
from raydub.pipeline.events import Assembled, Failed, Item, Output, Planned, Prepared, Reporter
from raydub.pipeline.finished import Finished
from raydub.pipeline.registry import STAGES, Stages
from raydub.pipeline.stage import Stage
from raydub.pipeline.steps import Steps, through_stages
from raydub.stages.output import note_made
from raydub.stages.types import Chunk, FaceItems, Part, Span, SynthesisedChunk, TrackedChunk
from raydub.store import Store

FRAMES = 25


def faces(span: Span) -> FaceItems:
    """One face in every second frame of the span."""
    frames = np.arange(span.start, span.stop, 2, dtype=np.int32)
    m = len(frames)
    return FaceItems(
        frame=frames,
        source=frames.copy(),
        face=np.zeros(m, np.int32),
        box=np.full((m, 4), 8, np.float32),
        landmarks=np.arange(m * 136, dtype=np.float32).reshape(m, 68, 2),
        gate=np.ones(m, np.float32),
        crops=np.full((m, 96, 96, 3), 7, np.uint8),
    )


def record_in(work: Path) -> Callable[[Job, Planned, JobResult], None]:
    """What a run has its driver do with each job that ended well."""
    return lambda job, plan, result: Finished(work).write(job, [], plan, result.model_dump(mode="json"))


class FakeToolbox:
    """`video` of a job is a little program: "ok:4" has 4 chunks, "bad-prepare", "bad-track:4", "bug-render:4" fail
    there."""

    def __init__(self, settings: WorkSettings) -> None:
        self._settings = settings

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        kind, _, count = job.video.partition(":")
        if kind == "bad-prepare":
            raise InputError(Code.INPUT_MISSING, "no such file", hint="check the path")
        key = hashlib.sha256(job.video.encode() + job.audio.encode()).hexdigest()[:12]
        folder = Path(self._settings.work_dir) / "jobs" / key
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kind").write_text(kind)
        n = int(count or 1)
        chunks = [Chunk(job.id, str(folder), i, n, Span(i * FRAMES, (i + 1) * FRAMES)) for i in range(n)]
        return Planned(job.id, str(folder), n, n * FRAMES, engine="fake", warnings=("W_TEST",), key=key), chunks

    def track(self, chunk: Chunk) -> TrackedChunk:
        self._count("track", chunk)
        self._fail("track", chunk)
        return TrackedChunk(chunk, faces(chunk.span), faceless=1, seconds={"decode": 0.25})

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk:
        self._fail("lipsync", chunk.chunk)
        return SynthesisedChunk(
            chunk.chunk, chunk.items, chunk.faceless, {"patches": chunk.items.crops[:, :4, :4].copy()}, chunk.seconds
        )

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        self._fail("render", chunk.chunk)
        assert chunk.mouths["patches"].shape == (len(chunk.items), 4, 4, 3)
        Path(out_path).write_text(f"{chunk.chunk.index} ")
        return Part(chunk.chunk, out_path, FRAMES, len(chunk.items), chunk.faceless, chunk.seconds)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> tuple[str, int]:
        if job.video.startswith("bad-stitch"):
            raise StageError(Code.STITCH_FAILED, "cannot join")
        Path(job.output).parent.mkdir(parents=True, exist_ok=True)
        content = "".join(Path(part.path).read_text() for part in parts)
        note_made(job, Store(self._settings.work_dir), hashlib.sha256(content.encode()).hexdigest())
        Path(job.output).write_text(content)
        return job.output, sum(part.frames for part in parts)

    def _fail(self, stage: str, chunk: Chunk) -> None:
        kind = (Path(chunk.job_dir) / "kind").read_text()
        if kind == f"bad-{stage}" and chunk.index == 1:
            raise InputError(Code.INPUT_TRUNCATED, f"frame {chunk.span.start} is missing")
        if kind == f"bug-{stage}":
            raise ZeroDivisionError("a bug")

    def _count(self, stage: str, chunk: Chunk) -> None:
        with open(Path(chunk.job_dir) / f"{stage}.log", "a") as log:
            log.write(f"{chunk.index}\n")


def stages_of(make: Callable[[WorkSettings], Any]) -> tuple[Stage, ...]:
    """The pipeline with the methods of an object in place of what its stages do: speak, rehearse, prepare, track,
    lipsync, render, stitch. The object is made in each worker, in its first step."""
    ahead = partial(_ahead, make)
    return tuple(
        dataclasses.replace(
            stage,
            run=partial(_run, make, stage.name),
            prefetch=stage.prefetch and dataclasses.replace(stage.prefetch, run=ahead),
            warm_up=partial(_warm_up, make) if stage.name == "track" else None,
        )
        for stage in STAGES
    )


def _tool(make: Callable[[WorkSettings], Any], context: WorkerContext) -> Any:
    return context.keep("tools", "", lambda: make(context.settings))


TOOLS = ("speak", "prepare", "track", "lipsync", "render", "stitch")
"""Stages that a toolbox has a method for."""


def _run(make: Callable[[WorkSettings], Any], stage: str, context: WorkerContext, item: Any) -> Any:
    tool = _tool(make, context)
    if stage not in TOOLS:
        return item  # a stage that these tests have nothing to say about
    if stage == "prepare":
        planned, chunks = tool.prepare(item)
        finished = Finished(context.settings.work_dir).of(item, planned.key)
        return Prepared(dataclasses.replace(planned, finished=finished), chunks)
    if stage == "render":
        return tool.render(item, str(context.ledger.store.temp(".mp4")))
    if stage == "stitch":
        path, frames = tool.stitch(item.job, item.job_dir, item.parts)
        return dataclasses.replace(item, path=path, frames=frames)
    start = time.perf_counter()
    done = getattr(tool, stage)(item)
    if stage == "speak":
        seconds = time.perf_counter() - start
        return done.model_copy(update={"speech": done.speech.model_copy(update={"seconds": seconds})})
    return done


def _ahead(make: Callable[[WorkSettings], Any], context: WorkerContext, job: Job, first: int, stop: int) -> None:
    _tool(make, context).prefetch(job, first, stop)


def _warm_up(make: Callable[[WorkSettings], Any], context: WorkerContext) -> None:
    getattr(_tool(make, context), "warm_up", int)()


FAKE_STAGES = stages_of(FakeToolbox)


class RealToolbox:
    """The stages of the pipeline as methods, for tests that call them one by one or change one of them."""

    def __init__(self, settings: WorkSettings) -> None:
        self.context = WorkerContext(settings)

    def _stage(self, name: str, item: Any) -> Any:
        return next(stage for stage in STAGES if stage.name == name).run(self.context, item)

    def speak(self, job: Job) -> Job:
        return self._stage("speak", job)  # type: ignore[no-any-return]

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        made = self._stage("prepare", job)
        return made.plan, made.chunks

    def track(self, chunk: Chunk) -> TrackedChunk:
        return self._stage("track", chunk)  # type: ignore[no-any-return]

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk:
        return self._stage("lipsync", chunk)  # type: ignore[no-any-return]

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        part: Part = self._stage("render", chunk)
        Path(part.path).replace(out_path)
        return dataclasses.replace(part, path=out_path)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> tuple[str, int]:
        done = self._stage("stitch", Output(job, job_dir, parts))
        return done.path, done.frames


class ToolSteps(Steps):
    """Steps over such an object, or its class, with a method for each stage."""

    def __init__(self, settings: WorkSettings, tools: Any, *more: Any, **named: Any) -> None:
        super().__init__(settings, stages_of(tools if callable(tools) else lambda _: tools), *more, **named)

    def step(self, name: str, item: Item) -> Item:
        [done] = self.advance(self.named(name), item)
        return done

    def speak(self, job: Job) -> Item:
        return self.step("speak", job)

    def ahead(self, job: Job, first: int, stop: int) -> None:
        self.prefetch(self.named("speak"), job, first, stop)

    def prepare(self, job: Job) -> Iterator[Item]:
        return self.advance(self.named("prepare"), job)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> Assembled | Failed:
        return self.finish(Output(job, job_dir, parts))


class LocalExecutor:
    """The plain loop in this process, as a reference: runs jobs one after the other (pipeline.driver.Executor)."""

    def __init__(self, settings: WorkSettings, stages: Stages = STAGES, reporter: Reporter | None = None) -> None:
        self._steps = Steps(settings, stages, reporter)
        self._assembled: list[Assembled | Failed] = []

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """All items, as they happen."""
        for job in jobs:
            yield from through_stages(self._steps, job)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None:
        """Run a job's stitch now."""
        self._assembled.append(self._steps.finish(Output(job, job_dir, parts)))

    def assembled(self, wait: bool) -> Iterator[Assembled | Failed]:
        """Stitches that have ended since the last call."""
        ready, self._assembled = self._assembled, []
        yield from ready
