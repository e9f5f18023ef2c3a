"""Events from executors to the driver: small plain records that can be pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from raydub.errors import RaydubError, rebuilt
from raydub.manifests.job import Job
from raydub.stages.types import Chunk, Part, SynthesisedChunk, TrackedChunk


@dataclass(frozen=True)
class Planned:
    """A job was prepared, with its numbers of chunks and frames. finished: the stored result of an earlier run, if its
    output still exists and nothing needs to be done. weights: name, sha256, licence, consent of each weights file;
    components: see manifests.components.Component.
    segments, spoken: cues of the script, and how many of them were synthesised; attempt: number of the try in this run,
    from 1; inputs: SHA-256 of each input, by its name in Job.inputs(); voiced: see manifests.speech.SpeechTracks; key:
    of everything that determines the output; extent: its size, see pipeline.extent."""

    job_id: str
    job_dir: str
    n_chunks: int
    n_frames: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    engine: str = ""
    weights: tuple[Mapping[str, str], ...] = ()
    components: tuple[Mapping[str, str], ...] = ()
    finished: Mapping[str, Any] | None = None
    segments: int = 0
    spoken: int = 0
    attempt: int = 1
    inputs: Mapping[str, str] = field(default_factory=dict)
    voiced: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    extent: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """Output of the last stage per job: a plan and its chunks, in order."""

    plan: Planned
    chunks: Sequence[Chunk]


@dataclass(frozen=True)
class Output:
    """A job with all its parts, in order: input and output of stages per output. path, frames, marks (see
    manifests.results.JobResult): of the published file, empty before; warnings: for the job's result; evaluated:
    columns of its evaluation. Without parts the output was published before, and is only evaluated."""

    job: Job
    job_dir: str
    parts: Sequence[Part]
    path: str = ""
    frames: int = 0
    warnings: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    evaluated: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """A job failed. error: RaydubError.to_dict(); kind: its class name; detail: traceback of an unexpected error;
    attempt: how often the failed work was tried in this run (0: not at all)."""

    job_id: str
    stage: str
    kind: str
    error: Mapping[str, Any]
    chunk: int | None = None
    detail: str = ""
    attempt: int = 1

    def exception(self) -> RaydubError:
        """The original exception."""
        return rebuilt(self.kind, self.error)


@dataclass(frozen=True)
class Dropped:
    """A chunk that was skipped because its job has failed."""

    job_id: str
    chunk: int


@dataclass(frozen=True)
class Assembled:
    """A job's output was published. seconds: by stage per output; attempt: the most tries of one of these stages;
    warnings: of these stages; marks: of the output; evaluated: columns of the result (pipeline.evaluations)."""

    job_id: str
    output: str
    frames: int
    seconds: Mapping[str, float]
    attempt: int = 1
    warnings: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    evaluated: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Note:
    """Progress of a step in a worker: done, or with done=False, begun (attempt: its number, from 1) or frames so far
    (attempt 0). For progress, metrics and traces only; may be lost. peak_mb: the worker's peak RSS; chunk: its index;
    faces: mouths of the chunk, one per face and frame with an open gate; code: of the error that ended the step;
    counts: of reused parts and of object stores since the worker's last note (pipeline.metrics.COUNTED); at: when it
    arrived on the driver's machine, in seconds since 1970, 0.0 before."""

    stage: str
    job_id: str
    frames: int
    seconds: float
    pid: int
    host: str
    peak_mb: float
    done: bool = True
    chunk: int | None = None
    faces: int = 0
    attempt: int = 0
    code: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    at: float = 0.0


Work = Chunk | TrackedChunk | SynthesisedChunk
Item = Job | Work | Part | Planned | Failed | Dropped | Assembled


class Reporter(Protocol):
    """Receives progress notes. Must not raise or block for long."""

    def note(self, note: Note) -> None: ...


class Silent:
    """A reporter that discards notes."""

    def note(self, note: Note) -> None:
        """Discard the note."""


def job_of(item: Item) -> str:
    """The id of the job that an item belongs to."""
    if isinstance(item, Job):
        return item.id
    if isinstance(item, Chunk):
        return item.job_id
    if isinstance(item, (TrackedChunk, SynthesisedChunk, Part)):
        return item.chunk.job_id
    return item.job_id
