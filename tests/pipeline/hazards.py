"""Stages without pixels that do harm: a job's `video` says what happens, where, and how often.

    <hazard>[-<stage>]:<chunks>[:<chunk>[:<times>]]

"segv:4:1" has 4 chunks, and chunk 1 ends its worker in track, always; "kill-render:4:1:1" kills the worker the first
time that chunk 1 is rendered, then works; "flaky-stitch:2:0:2" fails twice in stitch. The default stage is track, the
default chunk 1 (0 where there is one chunk), the default number of times without end. Prepare and stitch have no
chunk: theirs is ignored. Anything that FakeToolbox knows ("ok:4", "bad-track:4") works too.

How often is counted in a file of the work folder, by one byte a time, so that it holds across processes.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from raydub.errors import Code, StageError
from raydub.manifests.job import Job
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Planned
from raydub.pipeline.registry import STAGES
from raydub.stages.types import Chunk, Part, SynthesisedChunk, TrackedChunk
from tests.pipeline.fakes import FakeToolbox, stages_of

FOREVER = 1 << 30
HANG_SECONDS = 600.0


class Unpicklable(Exception):
    """Refuses to be sent, shown or told."""

    def __reduce__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__ = __reduce__


# torch's, by its name
OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})


def do_harm(hazard: str) -> None:
    """What a hazard does when its time has come."""
    if hazard == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(HANG_SECONDS)  # the signal may come a moment later
    elif hazard == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(HANG_SECONDS)
    elif hazard == "hang":
        time.sleep(HANG_SECONDS)
    elif hazard == "hold":  # hangs in C code that keeps the interpreter's lock
        ctypes.PyDLL(None).sleep(int(HANG_SECONDS))
    elif hazard == "oom":
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    elif hazard == "flaky":
        raise OSError(errno.EIO, "Input/output error")
    elif hazard == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    elif hazard == "unpicklable":
        raise Unpicklable
    elif hazard == "exit":
        sys.exit(7)
    elif hazard == "verify":
        raise StageError(Code.VERIFY_FAILED, "too few frames", retryable=True)
    elif hazard == "slow":
        time.sleep(0.3)
    elif hazard == "libav":
        hang_in_libav()
    elif hazard == "hog":  # takes memory until there is no more; of address space there is 256 MiB more from here on
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), resource.getrlimit(resource.RLIMIT_AS)[1]))
        hoard = []
        while True:
            hoard.append(bytearray(64 << 20))
    else:
        raise AssertionError(f"unknown hazard {hazard}")


HAZARDS = (
    "segv",
    "kill",
    "hang",
    "hold",
    "oom",
    "flaky",
    "full",
    "unpicklable",
    "exit",
    "verify",
    "slow",
    "libav",
    "hog",
)


@dataclass(frozen=True)
class Program:
    """What a job's video says."""

    hazard: str
    stage: str
    chunks: int
    chunk: int
    times: int

    @classmethod
    def parse(cls, video: str) -> Program | None:
        """None for a video without a hazard."""
        kind, *numbers = video.split(":")
        hazard, _, stage = kind.partition("-")
        if hazard not in HAZARDS:
            return None
        stage = stage or "track"
        assert stage in [known.name for known in STAGES], f"no stage {stage}"
        chunks = int(numbers[0]) if numbers else 1
        chunk = int(numbers[1]) if len(numbers) > 1 else min(1, chunks - 1)
        return cls(hazard, stage, chunks, chunk, int(numbers[2]) if len(numbers) > 2 else FOREVER)


class HazardToolbox(FakeToolbox):
    """See the module. "slow" slows every chunk of its stage; the others have their one place."""

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        program = Program.parse(job.video)
        if program is None:
            return super().prepare(job)
        counts = Path(self._settings.work_dir) / "counts" / job.video.replace(":", "_").replace("/", "_")
        counts.parent.mkdir(parents=True, exist_ok=True)
        self._meet(program, "prepare", None, counts)
        plain = job.model_copy(update={"video": f"ok-{job.video.replace(':', '_')}:{program.chunks}"})
        planned, chunks = super().prepare(plain)
        (Path(planned.job_dir) / "program").write_text(job.video)
        return planned, chunks

    def track(self, chunk: Chunk) -> TrackedChunk:
        self._at("track", chunk)
        return super().track(chunk)

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk:
        self._at("lipsync", chunk.chunk)
        return super().lipsync(chunk)

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        self._at("render", chunk.chunk)
        return super().render(chunk, out_path)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> tuple[str, int]:
        program = Program.parse(job.video)
        if program is not None:
            self._meet(program, "stitch", None, Path(job_dir) / "stitch.count")
        return super().stitch(job, job_dir, parts)

    def _at(self, stage: str, chunk: Chunk) -> None:
        try:
            program = Program.parse((Path(chunk.job_dir) / "program").read_text())
        except FileNotFoundError:
            return
        if program is not None:
            self._meet(program, stage, chunk.index, Path(chunk.job_dir) / f"{stage}.{chunk.index}.count")

    def _meet(self, program: Program, stage: str, chunk: int | None, counts: Path) -> None:
        if stage != program.stage:
            return
        if program.hazard == "slow":
            program = dataclasses.replace(program, chunk=chunk or 0)
        if chunk is not None and chunk != program.chunk:
            return
        with open(counts, "ab") as file:
            file.write(b".")
        if counts.stat().st_size <= program.times:
            do_harm(program.hazard)


HAZARD_STAGES = stages_of(HazardToolbox)


class FlakyConstructor(HazardToolbox):
    """Cannot be made the first time in a work folder; then it can."""

    def __init__(self, settings: WorkSettings) -> None:
        super().__init__(settings)
        made = Path(settings.work_dir) / "made"
        made.parent.mkdir(parents=True, exist_ok=True)
        if not made.exists():
            made.touch()
            raise RuntimeError("the driver of the device did not answer")


class WarmToolbox(HazardToolbox):
    """Notes who is warmed up, and takes its time to prepare; the file "harm" of the work folder says what
    happens to it then."""

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        warmed = Path(self._settings.work_dir) / "warmed"
        end = time.monotonic() + 20.0
        while not warmed.exists() and time.monotonic() < end:
            time.sleep(0.05)
        return super().prepare(job)

    def warm_up(self) -> None:
        Path(self._settings.work_dir).mkdir(parents=True, exist_ok=True)
        with open(Path(self._settings.work_dir) / "warmed", "a") as log:
            log.write(f"{os.getpid()}\n")
        harm = Path(self._settings.work_dir) / "harm"
        if harm.exists():
            do_harm(harm.read_text())


class MeetingToolbox(HazardToolbox):
    """Renders nothing before two processes have asked to, however long one of them needs to start."""

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        asked = Path(self._settings.work_dir) / "asked"
        with open(asked, "a") as log:
            log.write(f"{os.getpid()}\n")
        end = time.monotonic() + 60.0
        while len(set(asked.read_text().split())) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        return super().render(chunk, out_path)


WARM_STAGES = stages_of(WarmToolbox)
MEETING_STAGES = stages_of(MeetingToolbox)
FLAKY_STAGES = stages_of(FlakyConstructor)


def hang_in_libav() -> None:
    """Hangs in libav's C code, as a codec or a file system may make it: it opens a pipe into which nobody writes."""
    with tempfile.TemporaryDirectory() as folder:
        pipe = os.path.join(folder, "pipe")
        os.mkfifo(pipe)
        av.open(pipe, format="mp4")


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Is the process dead, or a zombie, within so many seconds?"""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
        if not state or state.startswith("Z"):
            return True
        time.sleep(0.05)
    return False
