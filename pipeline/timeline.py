"""Timeline of a finished job: which frames of which face got a new mouth for which cue, from its records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np

from raydub.arrays import F32
from raydub.blobs import verified
from raydub.errors import Code, StageError
from raydub.pipeline.ledger import Ledger
from raydub.stages.gate import RAMP
from raydub.stages.job_plan import JobPlan, chunks_of, load_plan
from raydub.stages.types import Gate


@dataclass(frozen=True)
class LineFrames:
    """A cue and its frames. frames: number of frames from its start to the end of its time or of its speech, whichever
    is later; made: of these, frames with a new mouth, by voice of the plan."""

    row: Mapping[str, Any]
    voice: int | None
    frames: int
    made: tuple[int, ...]


@dataclass(frozen=True)
class JobTimeline:
    """report: the timing report; gate: by voice (or face, in a job with one voice), (n_frames,) float32 how much of a
    new mouth shows; lines: by cue; outside: by voice, frames with a new mouth in none of its own cues, nor in
    the ramp before or after one."""

    plan: JobPlan
    report: Mapping[str, Any]
    gate: tuple[F32, ...]
    lines: tuple[LineFrames, ...]
    outside: tuple[int, ...]


def load_timeline(job_dir: str) -> JobTimeline:
    """The timeline of a job folder. Raises StageError STORAGE if the folder, its report or a part is missing."""
    plan = load_plan(job_dir)
    speech = plan.job.speech
    if speech is None or speech.report is None:
        raise StageError(
            Code.STORAGE, f"job {plan.job.id!r} has no timing report", hint="only jobs with a script have one"
        )
    try:
        report = json.loads(verified(speech.report).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StageError(Code.STORAGE, f"{speech.report} cannot be read: {error}", hint="run the job again") from error
    chunks = chunks_of(plan)
    parts = Ledger(plan.work_dir).finished_parts(chunks)
    if len(parts) < len(chunks):
        missing = f"{len(chunks) - len(parts)} of {len(chunks)} parts are missing"
        raise StageError(Code.STORAGE, f"job {plan.job.id!r}: {missing}", hint="run the job again")
    gate = gates_of([gate for part in parts.values() for gate in part.gates], plan)
    faces = [voice.face for voice in speech.voices]
    lines = tuple(_line(row, faces, gate, plan.rate) for row in report["segments"])
    return JobTimeline(plan, report, gate, lines, tuple(_outside(lines, gate, plan)))


def cue_frames(row: Mapping[str, Any], rate: Fraction, n_frames: int) -> tuple[int, int]:
    """The first output frame of a cue and the one after its last, covering its time, if any, and its speech."""
    starts, ends = (
        [Fraction(str(row[name])) for name in names if row[name] is not None]
        for names in (("cue_start", "start"), ("cue_end", "end"))
    )
    first, last = floor(min(starts) * rate), ceil(max(ends) * rate)
    return min(first, n_frames), min(last, n_frames)


def gates_of(gates: Sequence[Gate], plan: JobPlan) -> tuple[F32, ...]:
    """By voice (or face, in a job with one voice): (n_frames,) float32, see JobTimeline.gate."""
    count = max(len(plan.voices), 1 + max((gate.face for gate in gates), default=0))
    found = tuple(np.zeros(plan.n_frames, np.float32) for _ in range(count))
    for face, start, stop, level in gates:
        found[face][start:stop] = level
    return found


def _line(row: Mapping[str, Any], faces: Sequence[str], gate: Sequence[F32], rate: Fraction) -> LineFrames:
    first, last = cue_frames(row, rate, len(gate[0]))
    voice = faces.index(row["face"]) if row["face"] in faces else None
    return LineFrames(row, voice, last - first, tuple(int((one[first:last] > 0).sum()) for one in gate))


def _outside(lines: Sequence[LineFrames], gate: Sequence[F32], plan: JobPlan) -> list[int]:
    found = []
    for number, one in enumerate(gate):
        rest = one > 0
        for line in lines:
            if line.voice == plan.voice_of(number):
                first, last = cue_frames(line.row, plan.rate, plan.n_frames)
                rest[max(0, first - RAMP) : last + RAMP] = False
        found.append(int(rest.sum()))
    return found
