"""Progress notes of a worker."""

from __future__ import annotations

import dataclasses
import os
import platform
import resource
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from raydub.pipeline.events import Note, Reporter
from raydub.stages.types import Chunk

_BEAT_SECONDS = 1.0


_told: dict[str, int] = {}  # what earlier notes of this process said of object stores


def note_of(
    stage: str,
    job_id: str,
    frames: int,
    seconds: float = 0.0,
    done: bool = True,
    counts: Mapping[str, int] | None = None,
    **more: Any,
) -> Note:
    """A note of this process. more: other fields of Note."""
    found = {**_asked_of_stores(), **(counts or {})}
    here = (os.getpid(), socket.gethostname(), peak_rss_mb())
    return Note(stage, job_id, frames, seconds, *here, done, counts=found, **more)


def _asked_of_stores() -> dict[str, int]:
    """What this process has asked of object stores since its last note; {} if it has never used one."""
    module = sys.modules.get("raydub.objects.counted")
    if module is None:
        return {}
    now: dict[str, int] = dataclasses.asdict(module.counted())
    new = {name: count - _told.get(name, 0) for name, count in now.items() if count != _told.get(name, 0)}
    _told.update(now)
    return new


def beats_to(reporter: Reporter, stage: str, chunk: Chunk) -> Callable[[int], None]:
    """A listener (raydub.beat) that sends a stage's progress as a note at most once per second."""
    come, told = 0, time.monotonic()

    def hear(frames: int) -> None:
        nonlocal come, told
        come += frames
        now = time.monotonic()
        if now - told >= _BEAT_SECONDS:
            told = now
            frames = min(come, len(chunk.span))
            reporter.note(note_of(stage, chunk.job_id, frames, done=False, chunk=chunk.index))

    return hear


def arrived(note: Note) -> Note:
    """The note with the time of its arrival on the driver's machine, if it has none yet."""
    return note if note.at else dataclasses.replace(note, at=time.time())


def peak_rss_mb() -> float:
    """Peak resident memory of this process in MiB (Linux counts KiB, macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / 1024 if platform.system() == "Darwin" else peak / 1024
