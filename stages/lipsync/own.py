"""The embedded lip engine: each frame gets a real mouth of the same person, from another frame of the video.

The speech decides how far and how wide the mouth is open (models.mouth); from the video's gallery (stages.mouths) comes
a sequence of real mouths with such shapes, in like poses and light, that continue each other as they were filmed as far
as possible. Where no mouth fits, the warp (lipsync.warp) gives the frame's own mouth the shape; between the two the
opacity runs over a few frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, Box
from raydub.media.frames import Frame
from raydub.stages.engine import Arrays, DrawItem, PlanesPatch, SourceSampler, Speech, WeightsRecord
from raydub.stages.lipsync.warp import WarpEngine
from raydub.stages.mouths.direct import HALO, Directed, direct, spoken_at
from raydub.stages.mouths.library import Learnt, Library, part_of
from raydub.stages.mouths.paint import Donor, paint
from raydub.stages.types import FaceItems


@dataclass(frozen=True)
class Layers:
    """Patches on one face, one over the other. box: around all; alpha: where any of them changes the frame (0 or 1);
    by: the engine that drew more than half of the mouth."""

    box: Box
    alpha: F32
    by: str
    patches: Sequence[tuple[PlanesPatch, float]]

    def blend(self, frame: Frame, gate: float = 1.0) -> None:
        """See Patch."""
        for patch, share in self.patches:
            patch.blend(frame, gate * share)

    @staticmethod
    def of(by: str, patches: Sequence[tuple[PlanesPatch, float]]) -> Layers:
        """patches: each with its opacity, the lowest first."""
        boxes = [patch.box for patch, _ in patches]
        x0, y0 = (min(box[side] for box in boxes) for side in (0, 1))
        x1, y1 = (max(box[side] for box in boxes) for side in (2, 3))
        alpha: F32 = np.zeros((y1 - y0, x1 - x0), np.float32)
        for patch, _ in patches:
            left, top, right, bottom = patch.box
            part = alpha[top - y0 : bottom - y0, left - x0 : right - x0]
            np.maximum(part, patch.alpha > 0, out=part)
        return Layers((x0, y0, x1, y1), alpha, by, patches)


class OwnEngine:
    """LipEngine (see stages.engine) that chooses among mouths of the video; needs landmarks and looks, no crops.

    model, mel_offset_frames: see WarpEngine.
    """

    name = "own"
    needs_crops = False
    halo = HALO

    def __init__(self, model: str | None = None, mel_offset_frames: int = 0) -> None:
        self.warp = WarpEngine(model, mel_offset_frames)

    def weights(self) -> tuple[WeightsRecord, ...]:
        """The mouth-shape network's record."""
        return self.warp.weights()

    def load(self, device: str) -> None:
        """Load the network; it is small and always runs on the CPU."""
        self.warp.load(device)

    def prepare(self, video: SourceSampler) -> dict[str, npt.NDArray[np.generic]]:
        """What the warp needs; galleries are made apart (mouths.make)."""
        return self.warp.prepare(video)

    def hears(self, rate: Fraction) -> tuple[int, int]:
        """See LipEngine: the network's window, over the frames on which a choice depends."""
        before, after = self.warp.hears(rate)
        columns = int(80 * HALO / rate) + 1
        return before + columns, after + columns

    def infer(self, items: FaceItems, speech: Speech) -> dict[str, npt.NDArray[np.generic]]:
        """Without a library: the warp's shapes."""
        return self.warp.infer(items, speech)

    def infer_from(self, items: FaceItems, speech: Speech, library: Library) -> dict[str, npt.NDArray[np.generic]]:
        """The warp's shapes, and what Directed.arrays holds, one row per item. Right for items whose neighbours within
        `halo` frames are there."""
        made = self.warp.infer(items, speech)
        said = self.warp.said(items, speech)
        parts = part_of(items.source, library.n_frames)
        galleries = {part: library.gallery(part) for part in np.unique(parts).tolist()}
        directed = Directed.blank(items, parts)
        for face in np.unique(items.face).tolist():
            rows = np.flatnonzero(items.face == face)
            directed.put(rows, direct(items.rows(rows), parts[rows], galleries, spoken_at(said, rows)))
        return made | directed.arrays()

    def draw(self, frame: Frame, item: DrawItem, mouth: Arrays, source: Arrays) -> PlanesPatch | Layers | None:
        """The lower face with a real mouth, the warp's, or the one over the other."""
        bare = float(np.asarray(mouth["bare"])) if "bare" in mouth else 1.0
        if bare <= 0:
            return None
        share = float(np.asarray(mouth["own"])) if "own" in mouth and isinstance(source, Learnt) else 0.0
        real = self._real(frame, item, mouth, source) if share > 0 and isinstance(source, Learnt) else None
        if real is not None and share >= 1:
            return Layers.of(self.name, [(real, bare)])
        warped = self.warp.draw(frame, item, mouth, source)
        if warped is None:
            return None if real is None else Layers.of(self.name, [(real, bare * share)])
        if real is None:
            return Layers.of(self.warp.name, [(warped, bare)])
        return Layers.of(self.name if share > 0.5 else self.warp.name, [(warped, bare), (real, bare * share)])

    def _real(self, frame: Frame, item: DrawItem, mouth: Arrays, source: Learnt) -> PlanesPatch | None:
        part = int(np.asarray(mouth["part"]))
        gallery = source.library.gallery(part)
        chosen = zip(np.asarray(mouth["donors"]).tolist(), np.asarray(mouth["shares"]).tolist(), strict=True)
        donors = [
            Donor(source.library.picture(part, one), gallery.marks[one], share) for one, share in chosen if share > 0
        ]
        return paint(frame, item.landmarks, np.asarray(mouth["goal"], np.float32), donors)
