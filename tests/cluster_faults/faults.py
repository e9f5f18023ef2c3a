"""Stages that go wrong on request, in whatever process they run.

A run's work folder holds a script, `faults.json`, that says which stages to use ("fake": text files in place of media,
or "real"), how long each step is to take at least, and which faults to have. Every worker finds it there, on any node
and after any restart. What happened is left in files too: `fired/` (one file per fault that struck) and `steps.log`
(one line per step begun).
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import re
import resource
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raydub.files import write_atomic
from raydub.identity import identify
from raydub.manifests.job import Job
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Planned
from raydub.stages.output import note_made
from raydub.stages.types import Chunk, FaceItems, Part, Span, SynthesisedChunk, TrackedChunk
from raydub.store import Store
from tests.pipeline.fakes import RealToolbox, stages_of
from tests.pipeline.hazards import hang_in_libav

FRAMES = 10
SCRIPT = "faults.json"
LOG = "steps.log"


def write_script(work_dir: Path, *faults: dict[str, Any], stages: str = "fake", **seconds: float) -> None:
    """Put the script of a run in place. A fault: do (see strike), stage, and optionally job, chunk, times (default:
    always), seconds. Keywords give the least seconds of a step, by stage."""
    work_dir.mkdir(parents=True, exist_ok=True)
    script = {"stages": stages, "seconds": seconds, "faults": list(faults)}
    write_atomic(work_dir / SCRIPT, json.dumps(script).encode())


def expected_text(name: str, chunks: int) -> str:
    """What the output of a fake job holds: one line per frame."""
    return "".join(f"{name} {frame}\n" for frame in range(chunks * FRAMES))


def steps(work_dir: Path) -> list[tuple[str, str, int, int]]:
    """(stage, job, chunk, pid) of every step begun, in order; the chunk of prepare and stitch is -1."""
    path = work_dir / LOG
    lines = path.read_text().splitlines() if path.exists() else []
    return [(stage, job, int(chunk), int(pid)) for stage, job, chunk, pid in (line.split() for line in lines)]


class FaultToolbox:
    """See tests.pipeline.fakes.stages_of."""

    def __init__(self, settings: WorkSettings) -> None:
        self._folder = Path(settings.work_dir)
        script = json.loads((self._folder / SCRIPT).read_text())
        self._faults = script["faults"]
        self._seconds = script["seconds"]
        self._tools: Any = RealToolbox(settings) if script["stages"] == "real" else FakeStages(settings)
        full = [fault for fault in self._faults if fault["do"] == "full"]
        if full:
            refuse_writes([fault["match"] for fault in full], self._folder)

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        self._step("prepare", job.id)
        return self._tools.prepare(job)

    def track(self, chunk: Chunk) -> TrackedChunk:
        self._step("track", chunk.job_id, chunk.index)
        return self._tools.track(chunk)

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk:
        self._step("lipsync", chunk.chunk.job_id, chunk.chunk.index)
        return self._tools.lipsync(chunk)

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        self._step("render", chunk.chunk.job_id, chunk.chunk.index)
        return self._tools.render(chunk, out_path)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> tuple[str, int]:
        self._step("stitch", job.id)
        return self._tools.stitch(job, job_dir, parts)

    def _step(self, stage: str, job: str, chunk: int = -1) -> None:
        with open(self._folder / LOG, "a") as log:
            log.write(f"{stage} {job} {chunk} {os.getpid()}\n")
        time.sleep(self._seconds.get(stage, 0.0))
        for number, fault in enumerate(self._faults):
            if fault.get("stage") != stage or fault.get("job", job) != job or fault.get("chunk", chunk) != chunk:
                continue
            if self._counts(number, fault.get("times")):
                strike(fault, self._folder)

    def _counts(self, number: int, times: int | None) -> bool:
        """Take one of the fault's turns; False when all are used up. The files count across processes and restarts."""
        folder = self._folder / "fired"
        folder.mkdir(exist_ok=True)
        turn = 0
        while times is None or turn < times:
            try:
                os.close(os.open(folder / f"{number}.{turn}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                turn += 1
            else:
                return True
        return False


def strike(fault: dict[str, Any], folder: Path) -> None:
    """Have the fault, here and now. "wait" is none: it holds the step until the test makes the file `go`."""
    kind = fault["do"]
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "segfault":
        ctypes.string_at(0)  # reads address 0, as a codec with a bug does
    elif kind == "hog":
        hog(fault["mb"])
    elif kind == "hang":
        time.sleep(fault["seconds"])
    elif kind == "wait":
        until = time.monotonic() + fault["seconds"]
        while not (folder / "go").exists() and time.monotonic() < until:
            time.sleep(0.02)
    elif kind == "libav":
        hang_in_libav()
    elif kind == "storage":
        raise OSError(errno.EIO, "Input/output error")
    elif kind == "unpicklable":
        raise CannotTravel()
    else:
        raise AssertionError(f"no such fault: {kind}")


def hog(mb: int) -> None:
    """Take memory as a leak would, until the limit put on this process ends it, as a container's limit does: by
    SIGKILL, without a word."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (mb << 20), hard))
    taken = []
    try:
        while True:
            taken.append(np.ones(1 << 20, np.float64))
    except MemoryError:
        # The kernel's killer would not have raised; here it strikes at the allocation that did not fit.
        os.kill(os.getpid(), signal.SIGKILL)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class CannotTravel(Exception):
    """An exception that pickle cannot take."""

    def __reduce__(self) -> Any:
        raise TypeError("this exception stays where it is")


def refuse_writes(matches: Sequence[str], folder: Path) -> None:
    """From now on, while `folder`/full exists, syncing a file finds the disk full where one of the expressions matches
    "words path": the first words in the file, and its path.

    Every published file passes fsync, and a full disk often shows only there. Linux only: paths come from /proc.
    """
    sync = os.fsync

    def refusing(fd: Any) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        path = Path(os.readlink(f"/proc/self/fd/{number}"))
        if (folder / "full").exists():
            head = " ".join(path.read_bytes()[:600].decode("utf-8", "replace").split()) if path.is_file() else ""
            words = f"{head} {path}"
            if any(re.search(match, words) for match in matches):
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
        sync(fd)

    os.fsync = refusing


class FakeStages:
    """Stages without pixels. A job's video is a text file that holds its number of chunks; a part is the text of its
    frames, an output that of all of them."""

    def __init__(self, settings: WorkSettings) -> None:
        self._root = Path(settings.work_dir)

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        content = Path(job.video).read_text()
        key = hashlib.sha256(f"{Path(job.video).name} {content} {Path(job.audio).read_text()}".encode()).hexdigest()
        folder = self._root / "jobs" / key[:32]
        n = int(content)
        write_atomic(folder / "name", Path(job.video).stem.encode())
        chunks = [Chunk(job.id, str(folder), i, n, Span(i * FRAMES, (i + 1) * FRAMES)) for i in range(n)]
        seen = {name: identify(path).sha256 for name, path in job.inputs().items()}
        return Planned(job.id, str(folder), n, n * FRAMES, engine="fake", inputs=seen, key=key), chunks

    def track(self, chunk: Chunk) -> TrackedChunk:
        frames = np.arange(chunk.span.start, chunk.span.stop, dtype=np.int32)
        m = len(frames)
        items = FaceItems(
            frame=frames,
            source=frames.copy(),
            face=np.zeros(m, np.int32),
            box=np.full((m, 4), 8, np.float32),
            landmarks=np.zeros((m, 68, 2), np.float32),
            gate=np.ones(m, np.float32),
            crops=np.full((m, 96, 96, 3), 7, np.uint8),
        )
        return TrackedChunk(chunk, items, faceless=0)

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk:
        mouths = {"patches": chunk.items.crops[:, :4, :4].copy()}
        return SynthesisedChunk(chunk.chunk, chunk.items, chunk.faceless, mouths, chunk.seconds)

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        span = chunk.chunk.span
        name = (Path(chunk.chunk.job_dir) / "name").read_text()
        write_atomic(out_path, "".join(f"{name} {frame}\n" for frame in range(*span)).encode())
        return Part(chunk.chunk, out_path, len(span), len(chunk.items), chunk.faceless, chunk.seconds)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> tuple[str, int]:
        content = b"".join(Path(part.path).read_bytes() for part in parts)
        note_made(job, Store(self._root), hashlib.sha256(content).hexdigest())
        write_atomic(job.output, content)
        return job.output, sum(part.frames for part in parts)


STAGES = stages_of(FaultToolbox)
