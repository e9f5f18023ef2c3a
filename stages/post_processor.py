"""Post-processors work on drawn frames before they are encoded: restoring of faces, and upscaling.

A post-processor takes the frames of one chunk in order, with the faces in them, and returns as many, in order. It may
hold a few of them to run its network in batches, never a number that grows with the chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from raydub.arrays import F32
from raydub.media.frames import Frame
from raydub.stages.engine import WeightsRecord


@dataclass(frozen=True)
class ShownFace:
    """A face in a frame. face: its number in the job; landmarks: (68, 2), iBUG order, in pixels of the frame that it
    stands in; gate: how much of a new mouth shows, 0 where none was drawn."""

    face: int
    landmarks: F32
    gate: float


@dataclass(frozen=True)
class Shown:
    """One output frame. changed: was anything drawn into it, by the lip engine or by a post-processor?"""

    frame: Frame
    faces: tuple[ShownFace, ...] = ()
    changed: bool = False


class PostProcessor(Protocol):
    """See the module docstring. Cheap to build and to pickle; `load` does the heavy part, in the worker.

    halo: output frames before and after a chunk that it needs, so that no decision depends on the chunk's borders; it
    returns them like all others. every_face: it needs faces without a new mouth too.
    """

    name: str
    halo: int
    every_face: bool

    def weights(self) -> tuple[WeightsRecord, ...]:
        """Weights that it will use, hashed. Raises DependencyError WEIGHTS_*, LICENCE."""
        ...

    def load(self, device: str) -> None:
        """Load the network on "cpu" or "cuda[:n]"; again for the same device does nothing. Raises as weights()."""
        ...

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height), both even, of the frames that it makes of frames of `size`."""
        ...

    def map(self, shown: Iterable[Shown]) -> Iterator[Shown]:
        """The finished frames; may change the planes of a frame in place, until it has returned it. Raises StageError
        OUT_OF_MEMORY."""
        ...
