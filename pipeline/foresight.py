"""How long the jobs of a run are, before they are prepared: what the headers of their files say.

A child process opens the files (nothing is decoded, and a file that crashes a parser ends the child, not the run). What
it says may be wrong or missing: only the remaining time is made from it.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from multiprocessing.connection import Connection
from typing import Any, Self

from raydub.child import ChildProcess, boot
from raydub.errors import RaydubError
from raydub.manifests.job import Job
from raydub.manifests.options import settled_length
from raydub.manifests.paths import is_remote

BOOT = boot("raydub.pipeline.foresight")
MOST = 1000
"""Jobs that are looked at; the others are taken to be like them."""
_LEAVE_SECONDS = 0.5
_SECONDS_PER_CHARACTER = 0.07  # of speech, for a script without times

Tell = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with a job's id, frames, chunks, and seconds of each stage by the table of costs."""


class Foresight:
    """Looks at the jobs' files while the context is active, and tells what it finds from a thread of its own."""

    def __init__(self, jobs: Sequence[Job], tell: Tell) -> None:
        self._jobs = [job for job in jobs if not any(map(is_remote, job.inputs().values()))][:MOST]
        self._tell = tell
        self._child: ChildProcess | None = None
        self._thread = threading.Thread(target=self._listen, name="raydub-foresight", daemon=True)

    def __enter__(self) -> Self:
        if self._jobs:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is not None:
            child = self._child
            if child is not None:
                child.kill()
            self._thread.join(5)

    def _listen(self) -> None:
        with suppress(OSError, EOFError, ValueError, KeyError):
            # Started in this thread, with whose end it ends.
            child = self._child = ChildProcess(BOOT, {"jobs": [job.model_dump(mode="json") for job in self._jobs]})
            try:
                while (found := child.receive(None)) is not None and "id" in found:
                    self._tell(found["id"], found["frames"], found["chunks"], found["work"])
            finally:
                child.end(_LEAVE_SECONDS)


def main() -> None:
    """Answer the parent's jobs, one message each, and leave."""
    from raydub.bound import end_with_parent

    # A terminal signals its whole process group; the parent decides how to stop the work.
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
    line = Connection(int(sys.argv[1]))
    hello: dict[str, Any] = json.loads(line.recv_bytes())
    end_with_parent(hello["parent"])
    os.nice(5)
    seen: set[str] = set()
    for row in hello["jobs"]:
        found, again = None, row["video"] in seen
        seen.add(row["video"])
        with suppress(RaydubError, OSError, ValueError, ArithmeticError):
            found = foreseen(Job.model_validate(row), again=again)
        if found is not None:
            line.send_bytes(json.dumps({"id": row["id"], **found}).encode())
    line.send_bytes(b"{}")


def foreseen(job: Job, *, again: bool = False) -> dict[str, Any] | None:
    """Frames, chunks and work of a job, as the headers of its files say; None if they do not. again: another job has
    the same video. Raises RaydubError."""
    from raydub.media.info import ProbeLimits
    from raydub.media.opening import open_input
    from raydub.pipeline.expected import work_of_size
    from raydub.stages.job_plan import chunk_length

    if os.path.isdir(job.video):
        return None
    with open_input(job.video, ProbeLimits()) as container:
        stream = next(iter(container.streams.video), None)
        if stream is None or not stream.average_rate:
            return None
        rate = Fraction(stream.average_rate)
        size = stream.codec_context.width, stream.codec_context.height
        lasts = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        seconds = lasts or (container.duration or 0) / 1_000_000
    spoken, timed = _speech(job)
    lengths = {"audio": spoken, "video": seconds, "shortest": min(spoken, seconds)}
    frames = math.ceil(lengths[settled_length(job.options.length, timed)] * rate)
    if frames < 1 or min(size) < 1:
        return None
    work = work_of_size(job, size, rate, frames, max(1, round(seconds * rate)), again=again)
    chunks = math.ceil(frames / chunk_length(job.options.chunk_seconds, rate, frames))
    return {"frames": frames, "chunks": chunks, "work": work}


def _speech(job: Job) -> tuple[float, bool]:
    from raydub.media.info import ProbeLimits
    from raydub.media.opening import open_input

    if job.audio is not None:
        with open_input(job.audio, ProbeLimits(), "speech") as container:
            return (container.duration or 0) / 1_000_000, False
    from raydub.tts.scripts.read import read_script

    assert job.script is not None  # a job has one of the two
    script = read_script(job.script)
    last = max((float(segment.end) for segment in script.segments if segment.end is not None), default=0.0)
    return last or sum(len(segment.text) for segment in script.segments) * _SECONDS_PER_CHARACTER, script.timed
