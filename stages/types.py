"""What is passed between the stages: small control records and the arrays of one chunk. Never full frames.

Frame numbers: `frame` counts output frames of the job, `source` counts frames of the constant-rate source
(`media.VideoInfo.n_frames` of them). Boxes and landmarks are in pixels of the working frame (after resize, rotate,
crop), x to the right, y down. Colour images are BGR uint8 unless stated otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, I32, I64, U8, Bools

LOOK = 32 * 24 + 2 * 8 * 6 + 1
"""Bytes of a look (stages.track.look), which is stated here, because this module loads no OpenCV."""


class Span(NamedTuple):
    """Frames start, start+1, .. stop-1."""

    start: int
    stop: int

    def __len__(self) -> int:
        return max(0, self.stop - self.start)


class Gate(NamedTuple):
    """The output frames start .. stop - 1 show `gate` (0 to 1, two decimals) of a new mouth on the face."""

    face: int
    start: int
    stop: int
    gate: float


@dataclass(frozen=True)
class FaceTrack:
    """One face over the source frames `span`, decided and smoothed. Arrays have n = stop - start rows.

    present: is the face there; box (n, 4) x0 y0 x1 y1; landmarks (n, 68, 2), iBUG order; lips_open: are the source's
    inner lips apart (with hysteresis); held: the box was carried over from an earlier frame by the policy
    no_face=hold; look (n, LOOK) uint8, see track.look, and identity (n, 128), an embedding taken near that frame (see
    track.embed), or no rows. Rows where present is False hold zeros, and so do looks and identities that are not known.
    limit: (n,) how far the mouth may change, 0 to 1, or no rows for 1 everywhere (see track.speakers).
    """

    span: Span
    present: Bools
    box: F32
    landmarks: F32
    lips_open: Bools
    held: Bools
    look: U8 = field(default_factory=lambda: np.zeros((0, LOOK), np.uint8))
    identity: F32 = field(default_factory=lambda: np.zeros((0, 128), np.float32))
    limit: F32 = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True)
class FaceItems:
    """The M faces of one chunk, in order of (frame, face). Frames without a row stay as they are, unless a
    post-processor changes them. Rows may lie outside the chunk's span where post-processors look beyond it
    (JobPlan.around).

    gate: in [0, 1], how much of the new mouth shows; 0 only where a post-processor wants faces without a new mouth too.
    crops: (M, 96, 96, 3) BGR uint8 of `box` (bilinear), black where the gate is 0, or (0, 96, 96, 3) when the engine
    needs none. look, identity: see FaceTrack; fresh: (M,) bool, the picture does not continue from the output frame
    before. These three have no rows where the engine needs no mouths of the video.
    """

    frame: I32
    source: I32
    face: I32
    box: F32
    landmarks: F32
    gate: F32
    crops: U8
    look: U8 = field(default_factory=lambda: np.zeros((0, LOOK), np.uint8))
    identity: F32 = field(default_factory=lambda: np.zeros((0, 128), np.float32))
    fresh: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def open(self) -> Bools:
        """(M,) bool: the faces that get a new mouth."""
        return self.gate > 0

    def rows(self, chosen: Bools | I64) -> FaceItems:
        """The chosen rows, (M,) bool or their numbers."""
        arrays = {one.name: getattr(self, one.name) for one in fields(self)}
        return FaceItems(**{name: array[chosen] if len(array) else array for name, array in arrays.items()})


@dataclass(frozen=True)
class Chunk:
    """One unit of work: output frames `span` of the job whose plan is in `job_dir` (see stages.prepare.load_plan).
    post_seconds: see JobPlan. key: a hash of everything that decides its frames, "" for a chunk known by its job
    alone."""

    job_id: str
    job_dir: str
    index: int
    n_chunks: int
    span: Span
    post_seconds: float = 0.0
    key: str = ""


@dataclass(frozen=True)
class TrackedChunk:
    """A chunk with its faces. faceless: output frames of the chunk in which no chosen face was seen."""

    chunk: Chunk
    items: FaceItems
    faceless: int
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SynthesisedChunk:
    """A chunk with the lip engine's result: arrays of M rows each, named by the engine (`patches`, `shapes`, ..). Rows
    of items with a closed gate hold zeros; {} if all are closed."""

    chunk: Chunk
    items: FaceItems
    faceless: int
    mouths: Mapping[str, npt.NDArray[np.generic]]
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A published part file: a video-only piece holding exactly the frames of the chunk's span. synthesised: how many
    of them got a new mouth, whatever post-processors did to them; attempt: number of the try in the run that made it,
    from 1. gates: runs (face, start, stop, gate) of output frames in which a face has a new mouth; drawn: frames
    in which each engine drew one, by its name."""

    chunk: Chunk
    path: str
    frames: int
    synthesised: int
    faceless: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    reused: bool = False
    attempt: int = 1
    gates: tuple[Gate, ...] = ()
    drawn: Mapping[str, int] = field(default_factory=dict)

    @property
    def untouched(self) -> int:
        return self.frames - self.synthesised


def without_crops(items: FaceItems) -> FaceItems:
    """The same items without crops: rendering does not need them, and they are most of a row."""
    return replace(items, crops=np.zeros((0, 96, 96, 3), np.uint8))
