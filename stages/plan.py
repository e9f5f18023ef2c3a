"""The plan of one job: everything that its chunks need to know, as one JSON file, and the arrays beside it."""

from __future__ import annotations

import functools
import io
import os
from fractions import Fraction
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from manifests.job import Job
from manifests.speech import VoiceTrack
from media.frames import FrameReader, Transform, open_frames
from media.info import ExactRate, VideoInfo
from media.publish import write_atomic
from raydub.errors import Code, StageError
from stages.engine import Arrays, Speech, WeightsRecord
from stages.faces import FacePlan
from stages.timeline import Timeline
from stages.types import Bools, Chunk, Span

PLAN_FILE = "plan.json"
MEL_FILE, VOICED_FILE, SCOPE_FILE, SOURCE_FILE = "mel.npy", "voiced.npy", "scope.npy", "source.npz"
"""Of the first voice; see voice_file."""


class JobPlan(BaseModel):
    """One job, ready to be worked on chunk by chunk.

    size: (width, height) of the working frame, even, and out_size of the output's; rate: output frames a second;
    sample_aspect: of the output's pixels; n_frames: of the output; chunk_frames: output frames per chunk (the last one
    may have fewer); engine: its name; needs_crops: see LipEngine; finishers: their names, in order; finish_halo,
    finish_every_face: what they want to see together (see stages.finish); finish_seconds: of one core, that they take
    a frame on a CPU, about; weights: of the engine, then of the finishers; warnings: "W_WORD: sentence". sound: the
    file that is heard in the output; voices: the speakers, one (of any name) unless several have a face of their own:
    face k of an item then is that of voice k; scoped: mouths change within load_scope() only. chunk_keys, parts_dir:
    see Chunk.
    """

    model_config = ConfigDict(frozen=True)

    job: Job
    video: VideoInfo
    transform: Transform
    size: tuple[int, int]
    out_size: tuple[int, int]
    rate: ExactRate
    sample_aspect: ExactRate
    n_frames: int
    timeline: Timeline
    faces: FacePlan
    chunk_frames: int
    work_dir: str
    job_dir: str
    track_dir: str | None
    engine: str
    needs_crops: bool
    finishers: tuple[str, ...] = ()
    finish_halo: int = 0
    finish_every_face: bool = False
    finish_seconds: float = 0.0
    weights: tuple[WeightsRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    sound: str = ""
    voices: tuple[str, ...] = ("",)
    scoped: bool = False
    chunk_keys: tuple[str, ...] = ()
    parts_dir: str = ""

    @property
    def n_chunks(self) -> int:
        """How many chunks the job has."""
        return -(-self.n_frames // self.chunk_frames)

    def voice_of(self, face: int) -> int:
        """Whose speech moves the mouth of an item's face."""
        return face if len(self.voices) > 1 else 0

    def around(self, span: Span) -> Span:
        """The output frames that must be drawn so that those of `span` can be finished."""
        return Span(max(0, span.start - self.finish_halo), min(self.n_frames, span.stop + self.finish_halo))

    def open(self) -> FrameReader:
        """A reader of the source's working frames."""
        return open_frames(self.video, self.transform)


def chunks_of(plan: JobPlan) -> list[Chunk]:
    """All chunks of a job, in order; together they hold every output frame once."""
    keys = plan.chunk_keys or ("",) * plan.n_chunks
    return [
        Chunk(
            plan.job.id,
            plan.job_dir,
            index,
            plan.n_chunks,
            span_of(plan, index),
            plan.finish_seconds,
            key,
            plan.parts_dir if key else "",
        )
        for index, key in enumerate(keys)
    ]


def span_of(plan: JobPlan, index: int) -> Span:
    """The output frames of a chunk."""
    return Span(index * plan.chunk_frames, min((index + 1) * plan.chunk_frames, plan.n_frames))


def voices_of(job: Job) -> tuple[VoiceTrack, ...]:
    """The voices of a job, in the order of their faces: those that the speak step made, else its sound file's."""
    if job.speech is not None:
        return job.speech.voices
    if job.audio is None:
        raise StageError(Code.INTERNAL, "a job without speech: its script has not been spoken")
    return (VoiceTrack(speaker="", path=job.audio, identity=""),)


def voice_file(name: str, voice: int) -> str:
    """The file of a voice: mel.npy, mel-1.npy, mel-2.npy, .."""
    stem, suffix = os.path.splitext(name)
    return f"{stem}-{voice}{suffix}" if voice else name


def chunk_length(seconds: float, rate: Fraction) -> int:
    """Output frames per chunk, at least one."""
    return max(1, round(Fraction(seconds) * rate))


def save_plan(plan: JobPlan) -> None:
    """Write plan.json into the job's folder. Raises StageError STORAGE or DISK_FULL."""
    write_atomic(Path(plan.job_dir) / PLAN_FILE, plan.model_dump_json(indent=1).encode())


def load_plan(job_dir: str) -> JobPlan:
    """The plan in a job's folder. Raises StageError STORAGE where there is none."""
    path = os.path.join(job_dir, PLAN_FILE)
    try:
        changed = os.stat(path).st_mtime_ns
    except OSError as error:
        raise _lost(path, error) from error
    return _load_plan(path, changed)


@functools.lru_cache(maxsize=32)
def _load_plan(path: str, changed: int) -> JobPlan:
    try:
        return JobPlan.model_validate_json(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise _lost(path, error) from error


def load_speech(plan: JobPlan, voice: int = 0) -> Speech:
    """A voice's speech; the mel is mapped from its file, so only what is used takes memory."""
    return Speech(_array(plan, voice_file(MEL_FILE, voice)), plan.rate, plan.n_frames)


def load_voiced(plan: JobPlan, voice: int = 0) -> Bools:
    """(n_frames,) bool: the voice sounds during the output frame."""
    found: Bools = _array(plan, voice_file(VOICED_FILE, voice))
    return found


def load_scope(plan: JobPlan, voice: int = 0) -> Bools | None:
    """(n_frames,) bool: the voice's mouth may be changed; None for everywhere."""
    found: Bools | None = _array(plan, voice_file(SCOPE_FILE, voice)) if plan.scoped else None
    return found


def load_source(plan: JobPlan, voice: int = 0) -> Arrays:
    """What the engine's prepare() learnt of the source, for the face of a voice."""
    return read_arrays(Path(plan.job_dir) / voice_file(SOURCE_FILE, voice))


def read_arrays(path: Path) -> Arrays:
    """Arrays written by save_arrays. Raises StageError STORAGE."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise _lost(str(path), error) from error


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write one array as .npy, whole or not at all."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    write_atomic(path, stream.getvalue())


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write named arrays as .npz, whole or not at all."""
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    write_atomic(path, stream.getvalue())


def _array(plan: JobPlan, name: str) -> Any:
    path = os.path.join(plan.job_dir, name)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _lost(path, error) from error


def _lost(path: str, error: Exception) -> StageError:
    return StageError(
        Code.STORAGE,
        f"{path} cannot be read: {error}",
        hint="the work folder must be one that every worker reaches; run again to make it anew",
        retryable=True,
    )
