"""The restorer: run faces through a restoration network, and paste what the network changed into the frame.

Only the difference between the square before and after the network is pasted, so a network that changes nothing changes
nothing, and detail finer than the square's grid is kept.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from raydub.arrays import F32, U8
from raydub.media.frames import Frame
from raydub.media.yuv import add_bgr, to_bgr
from raydub.stages.batching import FixedBatches
from raydub.stages.engine import WeightsRecord
from raydub.stages.post_processor import Shown, ShownFace
from raydub.stages.restore.align import Aligned, align
from raydub.stages.restore.area import area_alpha, area_box
from raydub.stages.restore.network import find_weights, load_network
from raydub.stages.restore.options import RestoreOptions
from raydub.stages.restore.steady import REACH, Look, linked, steadied
from raydub.stages.restore.warp import Warper, make_warper

if TYPE_CHECKING:
    from torch import Tensor

# Measured with bench/restore.py: on a CPU several faces at once are no faster than one after the other, and each takes
# half a gigabyte more. On CUDA not measured yet.
BATCH_CPU = 1
BATCH_CUDA = 8
_EDGE = 32
"""The change fades to nothing over 1/32 of the square's side along its border, beyond which nothing is known."""


@dataclass
class _Face:
    """One face to restore in one frame. weight: share of the change to paste; made: None until the network ran."""

    face: ShownFace
    aligned: Aligned
    weight: float
    square: U8
    made: U8 | None = None


@dataclass(frozen=True)
class _Held:
    """A frame that waits for the network, or for the frames after it."""

    shown: Shown
    faces: list[_Face]


_Row = tuple[int, list[_Face]]
"""A frame's number and its restored faces, without the frame."""


class Restorer:
    """PostProcessor (see stages.post_processor) for GFPGAN and CodeFormer. Pickles as its options, without the
    network."""

    name = "restore"

    def __init__(self, options: RestoreOptions) -> None:
        self.options = options
        self.halo = REACH if options.steady > 0 else 0
        self.every_face = options.frames == "all"
        self._batches: FixedBatches | None = None
        self._device: str | None = None
        self._warper: Warper | None = None
        self._side = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_batches": None, "_device": None, "_warper": None, "_side": 0}

    def weights(self) -> tuple[WeightsRecord, ...]:
        """The network's record. Raises DependencyError: WEIGHTS_*, LICENCE."""
        return (find_weights(self.options),)

    def load(self, device: str) -> None:
        """Load the network on "cpu" or "cuda[:n]"; again for the same device does nothing. Raises as weights(), and
        UsageError (FIELD_VALUE), DependencyError (DEPENDENCY_MISSING) for what the device does not have."""
        if self._batches is not None and self._device == device:
            return
        network, self._side = load_network(self.options, device)
        size = self.options.batch_size or (BATCH_CUDA if device.startswith("cuda") else BATCH_CPU)
        self._batches = FixedBatches(network, size, "the restoration network")
        self._warper, self._device = make_warper(device), device

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Frames keep their size."""
        return size

    def map(self, shown: Iterable[Shown]) -> Iterator[Shown]:
        """The frames in order, restored faces in them. Holds at most a batch and 2 * halo frames; a frame without a
        face to restore is the same object, untouched. Raises StageError OUT_OF_MEMORY, RuntimeError before load."""
        if self._batches is None:
            raise RuntimeError("map before load")
        waiting: deque[_Held] = deque()
        past: deque[_Row] = deque(maxlen=REACH)
        for one in shown:
            waiting.append(_Held(one, self._wanted(one)))
            self._run(waiting, whole=len(waiting) >= self._batches.size + self.halo)
            yield from self._ready(waiting, past, more=True)
        self._run(waiting, whole=True)
        yield from self._ready(waiting, past, more=False)

    def _wanted(self, shown: Shown) -> list[_Face]:
        """The faces of a frame that are to be restored, cut out of it as it is now."""
        assert self._warper is not None
        found = []
        for face in shown.faces:
            size, weight = shown.frame.size, self.options.strength * (1.0 if self.every_face else float(face.gate))
            aligned = align(face.landmarks, size, self._side) if weight > 0 else None
            if aligned is not None and area_box(face.landmarks, self.options.area, size) is not None:
                region = aligned.region
                bgr = to_bgr(shown.frame, region, smooth=True)
                square = self._warper.cut(bgr, aligned.from_corner(region), self._side)
                found.append(_Face(face, aligned, weight, square))
        return found

    def _run(self, waiting: deque[_Held], whole: bool) -> None:
        """Run the network over waiting squares, in whole batches; over all of them if `whole`."""
        assert self._batches is not None
        rows = [face for held in waiting for face in held.faces if face.made is None]
        if not whole:
            rows = rows[: len(rows) // self._batches.size * self._batches.size]
        if rows:
            made = self._batches.map(np.stack([face.square for face in rows]))
            for face, pixels in zip(rows, made, strict=True):
                face.made = np.asarray(pixels, np.uint8)

    def _ready(self, waiting: deque[_Held], past: deque[_Row], more: bool) -> Iterator[Shown]:
        """Frames from the front that depend on no later frame."""
        while waiting:
            held, ahead = waiting[0], list(waiting)[1 : 1 + self.halo]
            if held.faces:
                unmade = any(face.made is None for one in (held, *ahead) for face in one.faces)
                if unmade or (more and len(ahead) < self.halo):
                    return
            waiting.popleft()
            window = [*past, *((one.shown.frame.index, one.faces) for one in (held, *ahead))]
            yield self._finished(held, window, len(past))
            past.append((held.shown.frame.index, held.faces))

    def _finished(self, held: _Held, window: list[_Row], at: int) -> Shown:
        """The frame with its faces pasted. window[at] is the frame's own row."""
        pasted = [self._paste(held.shown.frame, face, window, at) for face in held.faces]
        return replace(held.shown, changed=True) if any(pasted) else held.shown

    def _paste(self, frame: Frame, face: _Face, window: list[_Row], at: int) -> bool:
        """False when nothing of the face's area lies in the frame."""
        assert self._warper is not None
        landmarks = face.face.landmarks
        box = area_box(landmarks, self.options.area, frame.size)
        alpha = None if box is None else area_alpha(landmarks, self.options.area, box)
        if box is None or alpha is None or not alpha.any():
            return False
        around = _around(face, window, at) if self.halo else []
        change = self._change(_look(face), around)
        size = (box[2] - box[0], box[3] - box[1])
        moved = self._warper.back(change, face.aligned.from_corner(box), size)
        add_bgr(frame, box, moved, alpha * np.float32(face.weight))
        return True

    def _change(self, now: Look, around: list[tuple[int, Look]]) -> F32 | Tensor:
        """What is to be added to the square, (S, S, 3) float32; on CUDA it is made on the card and stays there."""
        if self._device in (None, "cpu"):
            return steadied(now, around, self.options.steady) * _fading(self._side)
        from raydub.stages.restore.steady_torch import steadied_on

        return steadied_on(self._device, now, around, self.options.steady, _fading(self._side))


def _look(face: _Face) -> Look:
    assert face.made is not None
    return Look(face.face.landmarks, face.square, face.made)


def _around(face: _Face, window: list[_Row], at: int) -> list[tuple[int, Look]]:
    """The same face in the frames before and after, as far as each is linked to the next: (distance, look)."""
    found = []
    for step in (-1, 1):
        near = face
        for distance in range(1, REACH + 1):
            row = at + step * distance
            if not 0 <= row < len(window) or window[row][0] != window[at][0] + step * distance:
                break
            same = [other for other in window[row][1] if other.face.face == face.face.face]
            if not same or not linked(near.face.landmarks, same[0].face.landmarks):
                break
            near = same[0]
            found.append((distance, _look(near)))
    return found


@functools.lru_cache(maxsize=2)
def _fading(side: int) -> F32:
    """(side, side, 1): 1 inside, falling towards 0 at the border."""
    ramp = np.minimum((np.arange(side) + 0.5) * _EDGE / side, 1.0)
    ramp = np.minimum(ramp, ramp[::-1])
    return np.asarray((ramp[:, None] * ramp)[:, :, None], np.float32)
