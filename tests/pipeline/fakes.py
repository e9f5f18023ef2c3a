"""Stages without pixels: text files stand for parts and outputs, so that the flow itself can be tested in
milliseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from raydub.errors import Code, InputError, StageError
from raydub.manifests.job import Job
from raydub.manifests.results import JobResult
from raydub.pipeline.events import Planned
from raydub.pipeline.finished import Finished
from raydub.pipeline.steps import WorkSettings
from raydub.stages.types import Chunk, FaceItems, Part, Span, SynthesisedChunk, TrackedChunk

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
        Path(job.output).write_text("".join(Path(part.path).read_text() for part in parts))
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
