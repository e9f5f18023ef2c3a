"""The interface of lip engines: what an engine needs of a chunk, and what it returns.

An engine works in two places. `infer` runs in the lipsync workers (GPU actors, or CPU) and turns speech and faces into
small arrays, one row per item. `draw` runs in the render workers and turns one row into pixels of one frame. Both are
pure functions of their arguments and of the weights, so a chunk's result does not depend on its borders.

An engine of another package is an entry point of the group `raydub.engines`. Its name (lower-case letters, digits, dots
and hyphens) is the value of the manifest's `engine`; its object is a class or function that takes one EngineRequest and
returns a LipEngine. Name and version of its distribution, its options, the file `model`, and the digests of weights()
are part of the keys under which results are kept, so a release that draws differently needs another version. See
docs/engines.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, U8
from raydub.media.frames import Frame
from raydub.media.yuv import blend_bgr, blend_planes
from raydub.models.face_landmarks import LandmarksName
from raydub.stages.types import FaceItems

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Speech:
    """The job's whole new speech, computed once. mel: (80, T) float32, 80 columns a second, columns from time 0, in
    [-4, 4], padded at the end so that every output frame has its window; rate: output frames a second; sounds: (4, T)
    uint8, the exact times of closures, rounding and lip-teeth contact in synthesised speech, on the mel's clock (see
    models.mouth.sounds), None where none are known."""

    mel: F32
    rate: Fraction
    n_frames: int
    sounds: U8 | None = None


@dataclass(frozen=True)
class Patch:
    """New pixels for one region. box: x0 y0 x1 y1 in pixels, inside the frame, all four even (chroma is subsampled);
    bgr: (y1-y0, x1-x0, 3) uint8; alpha: (y1-y0, x1-x0) float32 in [0, 1], 0 where the frame must stay as it is."""

    box: tuple[int, int, int, int]
    bgr: U8
    alpha: F32

    def blend(self, frame: Frame, gate: float = 1.0) -> None:
        """Mix the patch into its frame, in place, with alpha times gate."""
        blend_bgr(frame, self.box, self.bgr, _gated(self.alpha, gate))


@dataclass(frozen=True)
class PlanesPatch:
    """As Patch, for engines that move the frame's own samples: no way to BGR and back. planes: y (y1-y0, x1-x0), u and
    v of half the size, float32 on the scale of the frame's bytes."""

    box: tuple[int, int, int, int]
    planes: tuple[F32, F32, F32]
    alpha: F32

    def blend(self, frame: Frame, gate: float = 1.0) -> None:
        """See Patch."""
        blend_planes(frame, self.box, self.planes, _gated(self.alpha, gate))


class Drawn(Protocol):
    """What all patches have: box and alpha (see Patch), and their way into a frame."""

    @property
    def box(self) -> tuple[int, int, int, int]: ...

    @property
    def alpha(self) -> F32: ...

    def blend(self, frame: Frame, gate: float = 1.0) -> None: ...


def _gated(alpha: F32, gate: float) -> F32:
    return alpha if gate >= 1 else np.multiply(alpha, gate, dtype=np.float32)


@dataclass(frozen=True)
class DrawItem:
    """One row of FaceItems, for drawing."""

    frame: int
    source: int
    face: int
    box: F32  # (4,)
    landmarks: F32  # (68, 2)


@dataclass(frozen=True)
class WeightsRecord:
    """The weights that made an output, for part keys and the results manifest. consent: how the user accepted a licence
    that needs it ("flag", "environment", "remembered"), else ""."""

    name: str
    sha256: str
    licence: str
    consent: str = ""


@dataclass(frozen=True)
class EngineRequest:
    """What a job asks of another package's engine. name: of the engine; model: absolute path of a file, or a name in
    the catalogue of weights; options: the JSON object of the field engine_options; the others are the manifest's fields
    of these names, for engines that support them. Engines refuse values with UsageError."""

    name: str
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    paste: Literal["mask", "box"] = "mask"
    mel_offset_frames: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"


def reach_of(before: int, after: int, offset_frames: int, rate: Fraction) -> tuple[int, int]:
    """The result of LipEngine.hears() for a window of mel columns around a frame's time, moved by offset_frames."""
    moved = 80 * offset_frames / rate
    return max(0, before + math.ceil(-moved)), max(0, after + math.ceil(moved))


class LipEngine(Protocol):
    """See the module docstring. Instances are cheap to build and to pickle; `load` does the heavy part, in the
    worker."""

    name: str
    needs_crops: bool

    def weights(self) -> tuple[WeightsRecord, ...]:
        """Weights that this engine will use, hashed; raises DependencyError (WEIGHTS_*) if they are absent or
        invalid."""
        ...

    def load(self, device: str) -> None:
        """Load the network on "cpu" or "cuda[:n]"; called once per worker before infer."""
        ...

    def prepare(self, video: SourceSampler) -> dict[str, npt.NDArray[np.generic]]:
        """What the engine needs to know of the source, computed once per job (stored with the job, passed to draw);
        must read a bounded number of frames whatever the length of the video. {} if nothing."""
        ...

    def hears(self, rate: Fraction) -> tuple[int, int]:
        """(before, after): the columns of mel and sounds around a frame's time on which infer's row depends, at `rate`
        frames a second. Both at least 0."""
        ...

    def infer(self, items: FaceItems, speech: Speech) -> dict[str, npt.NDArray[np.generic]]:
        """One row per item in every returned array. Batches have one fixed padded shape (law 2)."""
        ...

    def draw(self, frame: Frame, item: DrawItem, mouth: Arrays, source: Arrays) -> Drawn | None:
        """Pixels for one item. mouth: this item's row of each array of infer; source: what prepare returned."""
        ...


@runtime_checkable
class ChoosesMouths(Protocol):
    """An engine of raydub that draws with mouths of the video: it gets galleries of them (stages.mouths), faces with
    looks and identities, and those of `halo` output frames on both sides of the ones to draw."""

    halo: int

    def infer_from(self, items: FaceItems, speech: Speech, library: Any) -> dict[str, npt.NDArray[np.generic]]:
        """As LipEngine.infer, choosing among the mouths of a stages.mouths.library.Library."""
        ...


def even_positions(count: int, length: int) -> list[int]:
    """At most `count` of `length` places, in the middles of equal shares, in order: for samplers."""
    return sorted({(2 * number + 1) * length // (2 * count) for number in range(count)})


class SourceSampler(Protocol):
    """Bounded access to the source for LipEngine.prepare: a fixed, chunk-independent sample of frames with a face.

    landmarks: what found the landmarks.
    """

    landmarks: LandmarksName

    def sample(self, count: int) -> list[tuple[Frame, F32, F32]]:
        """At most `count` (frame, box (4,), landmarks (68, 2)) spread evenly over the source, main face only."""
        ...
