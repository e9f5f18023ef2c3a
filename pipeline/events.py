"""What the executors tell the driver: one small record per thing that happened. All are plain data and survive
pickling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from raydub.errors import Code, RaydubError, StageError
from raydub.manifests.job import Job
from raydub.stages.types import Chunk, Part, SynthesisedChunk, TrackedChunk


@dataclass(frozen=True)
class Planned:
    """A job was prepared: so many chunks and frames are to come. finished: the stored result of an earlier run, when
    its output is still there and nothing needs to be done. weights: name, sha256, licence, consent of each weights
    file. segments, spoken: cues of the script, and how many of them had to be synthesised; attempt: which try of this
    run it was, from 1; inputs: SHA-256 of each input, by the name of Job.inputs(); voiced: see
    manifests.speech.SpeechTracks; key: of all that decides the output."""

    job_id: str
    job_dir: str
    n_chunks: int
    n_frames: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    engine: str = ""
    weights: tuple[Mapping[str, str], ...] = ()
    finished: Mapping[str, Any] | None = None
    segments: int = 0
    spoken: int = 0
    attempt: int = 1
    inputs: Mapping[str, str] = field(default_factory=dict)
    voiced: Mapping[str, str] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True)
class Prepared:
    """What the last stage per job gives: a plan, and the chunks that it means, in order."""

    plan: Planned
    chunks: Sequence[Chunk]


@dataclass(frozen=True)
class Output:
    """A job all of whose parts are there, ordered: what stages per output take and give. path, frames: of the file that
    was published, "" and 0 before it was; warnings: for the job's result."""

    job: Job
    job_dir: str
    parts: Sequence[Part]
    path: str = ""
    frames: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """A job cannot be finished. error: RaydubError.to_dict(); kind: its class name; detail: traceback of a surprise;
    attempt: how often the work that failed was tried in this run (0: it was not touched)."""

    job_id: str
    stage: str
    kind: str
    error: Mapping[str, Any]
    chunk: int | None = None
    detail: str = ""
    attempt: int = 1

    def exception(self) -> RaydubError:
        """The error as the exception that it was."""
        from raydub import errors

        state = dict(self.error)
        code, message = Code(state.pop("code")), state.pop("message")
        cls = getattr(errors, self.kind, StageError)
        built: RaydubError = cls(code, message, **state)
        return built


@dataclass(frozen=True)
class Dropped:
    """A chunk that was not worked on because its job has failed already."""

    job_id: str
    chunk: int


@dataclass(frozen=True)
class Assembled:
    """A job's output was published. seconds: of each stage per output; attempt: the most tries that one of them took;
    warnings: theirs."""

    job_id: str
    output: str
    frames: int
    seconds: Mapping[str, float]
    attempt: int = 1
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Note:
    """One step was done in some worker, or, with done=False, has come so far; only for progress and benches, may get
    lost. peak_mb: the worker's peak RSS."""

    stage: str
    job_id: str
    frames: int
    seconds: float
    pid: int
    host: str
    peak_mb: float
    done: bool = True


Work = Chunk | TrackedChunk | SynthesisedChunk
Item = Job | Work | Part | Planned | Failed | Dropped | Assembled


class Reporter(Protocol):
    """Takes notes of progress. Must never raise and never block for long."""

    def note(self, note: Note) -> None: ...


class Silent:
    """A reporter that forgets."""

    def note(self, note: Note) -> None:
        """Forget the note."""


def job_of(item: Item) -> str:
    """The id of the job that an item belongs to."""
    if isinstance(item, Job):
        return item.id
    if isinstance(item, Chunk):
        return item.job_id
    if isinstance(item, (TrackedChunk, SynthesisedChunk, Part)):
        return item.chunk.job_id
    return item.job_id
