"""The plan of one job: one record with everything that its chunks need to know, and the arrays that it refers to."""

from __future__ import annotations

import functools
import os
import time
from fractions import Fraction
from typing import Any

from pydantic import BaseModel, ConfigDict

from raydub.arrays import Bools
from raydub.blobs import verified
from raydub.errors import Code, StageError
from raydub.forgotten import forgotten_before
from raydub.manifests.job import Job
from raydub.manifests.speech import VoiceTrack
from raydub.media.frames import FrameReader, Transform, open_frames
from raydub.media.info import ExactRate, VideoInfo
from raydub.media.watch import Input
from raydub.objects.names import is_object
from raydub.stages.engine import Arrays, Speech, WeightsRecord
from raydub.stages.faces import FacePlan
from raydub.stages.kept_arrays import lost
from raydub.stages.kept_arrays import put_array as put_array
from raydub.stages.kept_arrays import put_arrays as put_arrays
from raydub.stages.kept_arrays import read_array as read_array
from raydub.stages.kept_arrays import read_arrays as read_arrays
from raydub.stages.source_timeline import Timeline
from raydub.stages.types import Chunk, Span
from raydub.store import Store

MEL_FILE, VOICED_FILE, SCOPE_FILE, SOURCE_FILE = "mel.npy", "voiced.npy", "scope.npy", "source.npz"
SOUNDS_FILE, LABEL_FILE = "sounds.npy", "label.npz"
"""Of the first voice; see voice_file. The label is the job's."""


class JobPlan(BaseModel):
    """One job, ready for processing by chunks.

    size: (width, height) of the working frame, even, and out_size of the output's; rate: output frames a second;
    sample_aspect: of the output's pixels; n_frames: of the output; chunk_frames: output frames per chunk (the last one
    may have fewer); engine: its name; needs_crops: see LipEngine; lip_halo: see engine.ChoosesMouths, 0 for others;
    post_processors: their names, in order; post_halo, post_every_face: their needs together (see
    stages.post_processor); post_seconds: their estimated core seconds a frame on a CPU; weights: of the engine, then of
    the post-processors; warnings: "W_WORD: sentence". sound: the sound file of the output; voices: the speakers, one
    (of any name) unless several have their own face: face k of an item then is that of voice k; scoped: mouths change
    within load_scope() only. chunk_keys: see Chunk. key: of the plan; content_key: of everything that decides the
    output, independent of paths; arrays: the blob of each array, by voice_file() and mouth_file(), and of the
    label; inputs: the inputs
    of the plan but the video.
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
    key: str
    content_key: str
    engine: str
    needs_crops: bool
    post_processors: tuple[str, ...] = ()
    post_halo: int = 0
    post_every_face: bool = False
    post_seconds: float = 0.0
    lip_halo: int = 0
    weights: tuple[WeightsRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    sound: str = ""
    voices: tuple[str, ...] = ("",)
    scoped: bool = False
    chunk_keys: tuple[str, ...] = ()
    arrays: dict[str, str] = {}
    inputs: tuple[Input, ...] = ()

    @property
    def n_chunks(self) -> int:
        """How many chunks the job has."""
        return -(-self.n_frames // self.chunk_frames)

    def voice_of(self, face: int) -> int:
        """The voice of an item's face."""
        return face if len(self.voices) > 1 else 0

    def around(self, span: Span) -> Span:
        """The output frames that must be drawn to finish those of `span`."""
        return Span(max(0, span.start - self.post_halo), min(self.n_frames, span.stop + self.post_halo))

    def chosen(self, span: Span) -> Span:
        """The output frames whose faces decide the mouths of those of `span`, and of those around it."""
        wide = self.around(span)
        return Span(max(0, wide.start - self.lip_halo), min(self.n_frames, wide.stop + self.lip_halo))

    def open(self) -> FrameReader:
        """A reader of the source's working frames."""
        return open_frames(self.video, self.transform, Store(self.work_dir).identities)


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
            plan.post_seconds,
            key,
        )
        for index, key in enumerate(keys)
    ]


def span_of(plan: JobPlan, index: int) -> Span:
    """The output frames of a chunk."""
    return Span(index * plan.chunk_frames, min((index + 1) * plan.chunk_frames, plan.n_frames))


def voices_of(job: Job) -> tuple[VoiceTrack, ...]:
    """The voices of a job, in the order of their faces: those of the speak step, else its sound file."""
    if job.speech is not None:
        return job.speech.voices
    if job.audio is None:
        raise StageError(Code.INTERNAL, "the job has no speech: its script has not been synthesised")
    return (VoiceTrack(speaker="", path=job.audio, identity=""),)


def voice_file(name: str, voice: int) -> str:
    """The file of a voice: mel.npy, mel-1.npy, mel-2.npy, .."""
    stem, suffix = os.path.splitext(name)
    return f"{stem}-{voice}{suffix}" if voice else name


_SHORT_SECONDS, _SHORT_CHUNK = 40, 5
_PLAN_SECONDS = 60.0


def chunk_length(seconds: float, rate: Fraction, n_frames: int) -> int:
    """Output frames per chunk, at least one. seconds: the longest chunk asked for. Videos below 40 s get equal chunks
    of about 5 s, so that several cores share them; shorter ones would be decoded from the same key frame again and
    again."""
    most = max(1, round(Fraction(seconds) * rate))
    if n_frames >= _SHORT_SECONDS * rate:
        return most
    count = max(1, round(n_frames / (_SHORT_CHUNK * rate)))
    return max(1, min(most, -(-n_frames // count)))


def job_dir_of(work_dir: str, key: str) -> str:
    """The folder of a job's records, or its address in a bucket."""
    return f"{Store(work_dir).place}/refs/jobs/{key}"


def save_plan(plan: JobPlan) -> None:
    """Store the plan under the job's key. Raises StageError STORAGE or DISK_FULL."""
    Store(plan.work_dir).put_record(f"jobs/{plan.key}/plan", plan.model_dump(mode="json"), durable=True)


def load_plan(job_dir: str) -> JobPlan:
    """The plan of a job. Raises StageError STORAGE if it is absent or damaged."""
    path = os.path.join(job_dir, "plan.json")
    root, _, key = job_dir.rpartition("/refs/jobs/")
    if is_object(job_dir):
        # A plan of the same key says the same, so a minute does not matter.
        return _load_plan(root, key, int(time.monotonic() / _PLAN_SECONDS), 0, forgotten_before(root))
    try:
        state = os.stat(path)
    except (OSError, ValueError) as error:
        raise lost(path, error) from error
    return _load_plan(root, key, state.st_mtime_ns, state.st_ino, forgotten_before(root or "."))


@functools.lru_cache(maxsize=32)
def _load_plan(root: str, key: str, changed: int, inode: int, since: int) -> JobPlan:
    try:
        said = Store(root).record(f"jobs/{key}/plan")
        if said is None:
            raise ValueError("it is absent or damaged")
        return JobPlan.model_validate(said)
    except ValueError as error:
        raise lost(f"{root}/refs/jobs/{key}/plan.json", error) from error


def load_speech(plan: JobPlan, voice: int = 0) -> Speech:
    """A voice's speech; the arrays are mapped from their files, so only what is used takes memory."""
    name = voice_file(SOUNDS_FILE, voice)
    sounds = _array(plan, name) if name in plan.arrays else None
    return Speech(_array(plan, voice_file(MEL_FILE, voice)), plan.rate, plan.n_frames, sounds)


def load_voiced(plan: JobPlan, voice: int = 0) -> Bools:
    """(n_frames,) bool: the voice is audible during the output frame."""
    found: Bools = _array(plan, voice_file(VOICED_FILE, voice))
    return found


def load_scope(plan: JobPlan, voice: int = 0) -> Bools | None:
    """(n_frames,) bool: the voice's mouth may be changed; None for everywhere."""
    found: Bools | None = _array(plan, voice_file(SCOPE_FILE, voice)) if plan.scoped else None
    return found


def load_source(plan: JobPlan, voice: int = 0) -> Arrays:
    """The result of the engine's prepare() for the face of a voice."""
    return read_arrays(_blob(plan, voice_file(SOURCE_FILE, voice)))


def load_label(plan: JobPlan) -> Arrays | None:
    """The label of the job's frames (see stages.marks.label), None for none."""
    return read_arrays(_blob(plan, LABEL_FILE)) if LABEL_FILE in plan.arrays else None


def mouth_file(voice: int, part: int) -> str:
    """The file of a voice's gallery for a part of the source (see stages.mouths.library)."""
    return f"mouths-{voice}-{part}.npz"


def load_mouths(plan: JobPlan, voice: int, part: int) -> Arrays:
    """A gallery's arrays (see stages.mouths.gallery)."""
    return read_arrays(_blob(plan, mouth_file(voice, part)))


def whole(plan: JobPlan) -> bool:
    """Do all arrays of the plan exist undamaged?"""
    try:
        return bool(plan.arrays) and all(verified(path) for path in plan.arrays.values())
    except StageError:
        return False


def _array(plan: JobPlan, name: str) -> Any:
    return read_array(_blob(plan, name))


def _blob(plan: JobPlan, name: str) -> str:
    path = plan.arrays.get(name)
    if path is None:
        raise lost(f"{plan.job_dir}: {name}", KeyError("it is not in the plan"))
    return path
