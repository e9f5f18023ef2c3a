"""Progress notes of a worker."""

from __future__ import annotations

import os
import platform
import resource
import socket
import time
from collections.abc import Callable

from raydub.pipeline.events import Note, Reporter
from raydub.stages.types import Chunk

_BEAT_SECONDS = 1.0


def note_of(stage: str, job_id: str, frames: int, seconds: float = 0.0, done: bool = True) -> Note:
    """A note of this process."""
    return Note(stage, job_id, frames, seconds, os.getpid(), socket.gethostname(), peak_rss_mb(), done)


def beats_to(reporter: Reporter, stage: str, chunk: Chunk) -> Callable[[int], None]:
    """A listener (raydub.beat) that sends a stage's progress as a note at most once per second."""
    come, told = 0, time.monotonic()

    def hear(frames: int) -> None:
        nonlocal come, told
        come += frames
        now = time.monotonic()
        if now - told >= _BEAT_SECONDS:
            told = now
            reporter.note(note_of(stage, chunk.job_id, min(come, len(chunk.span)), done=False))

    return hear


def peak_rss_mb() -> float:
    """Peak resident memory of this process in MiB (Linux counts KiB, macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / 1024 if platform.system() == "Darwin" else peak / 1024
