"""The embedded lip engine: a small network turns speech into mouth shapes, a warp gives the frame's own face that
shape.

Lips, jaw and chin are moved at full resolution, so skin, beard and lips stay as sharp as the source and the identity
cannot change; the inside of the mouth is taken from the person's own most open mouth in the clip, or drawn if none was
seen. Nothing above the base of the nose changes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, Box
from raydub.errors import Code, StageError
from raydub.media.frames import Frame
from raydub.media.yuv import to_bgr
from raydub.stages.engine import Arrays, DrawItem, PlanesPatch, SourceSampler, Speech, WeightsRecord, reach_of
from raydub.stages.lipsync.warp_edges import refine
from raydub.stages.lipsync.warp_field import even_box, field_of, region_of, warp
from raydub.stages.lipsync.warp_inside import (
    Inside,
    best_inside,
    draw_inside,
    fill_opening,
    light_of,
    show_inside,
    spots_around,
)
from raydub.stages.lipsync.warp_shape import Axes, LipCurves, axes_of, curves_of, move_to, openness_of, width_of
from raydub.stages.types import FaceItems

if TYPE_CHECKING:
    from raydub.models.mouth.infer import MouthConfig, MouthShapes
    from raydub.models.mouth.spoken import SpokenMouth

SAMPLES = 24  # frames of the source looked at in prepare
CANDIDATES = 6  # of them, the widest mouths: whose inside may be kept
INSET = 0.012  # face units trimmed off the inner edge of an open source's lips
KEPT_WIDTH = 0.75  # share of a mouth's difference from the ordinary width that counts as personal
WIDTH_FEEL = 0.8  # share of the predicted change of width that is shown: landmarks overstate it on warped corners
ROUNDED = 0.08  # share of the usual width; real mouths narrow by 0.115 from no rounding to all of it (38 clips)


class WarpEngine:
    """LipEngine (see stages.engine) without crops: needs landmarks only.

    model: a mouth weights file (models.mouth.infer.MouthShapes), or None for the one that ships with raydub;
    mel_offset_frames: frames by which the mouth is taken later (positive) or earlier in the speech.
    """

    name = "warp"
    needs_crops = False

    def __init__(self, model: str | None = None, mel_offset_frames: int = 0) -> None:
        self.model = model
        self.mel_offset_frames = mel_offset_frames
        self._shapes: MouthShapes | None = None

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_shapes": None}

    def weights(self) -> tuple[WeightsRecord, ...]:
        """The mouth-shape network's record."""
        from raydub.models.mouth.embedded import EMBEDDED, embedded_terms

        shapes = self._load()
        licence = embedded_terms().licence if self.model is None else "own weights"
        return (WeightsRecord((EMBEDDED.name if self.model is None else self.model), shapes.sha256, licence),)

    def load(self, device: str) -> None:
        """Load the network; it is small and always runs on the CPU."""
        self._load()

    def _load(self) -> MouthShapes:
        if self._shapes is None:
            from raydub.models.mouth.infer import MouthShapes

            self._shapes = MouthShapes.load(self.model)
        return self._shapes

    def prepare(self, video: SourceSampler) -> dict[str, npt.NDArray[np.generic]]:
        """Learn the person from SAMPLES frames.

        mouth_person (2,) float32: the mouth's usual width in face units, and how far this mouth opens compared with an
        ordinary one; mouth_exact (1,) bool: see warp_edges.refine; inside_*: the straightened inside of the best open
        mouth, or a drawn one without any (see warp_inside). {} if no face was seen.
        """
        samples = [(frame, marks) for frame, _, marks in video.sample(SAMPLES) if axes_of(marks) is not None]
        if not samples:
            return {}
        seen, ordinary = float(np.median([width_of(marks) for _, marks in samples])), self._load().config.width.mean
        # part of an unusual width is expression: a smile narrows while speaking, and does not open wider for it
        usual = ordinary + KEPT_WIDTH * (seen - ordinary)
        size = float(np.clip(1 + 0.5 * (usual / ordinary - 1), 0.85, 1.05))
        out: dict[str, npt.NDArray[np.generic]] = {"mouth_person": np.array((usual, size), np.float32)}
        widest = sorted(samples, key=lambda sample: -openness_of(sample[1]))[:CANDIDATES]
        exact = getattr(video, "landmarks", "dlib") == "mesh"  # a sampler of another package may not say
        out["mouth_exact"] = np.array([exact])
        inside = best_inside([(to_bgr(frame), marks) for frame, marks in widest])
        if inside is None:
            frame, marks = widest[0]
            inside = draw_inside(light_of(to_bgr(frame), (0, 0), marks))
        return out | inside.arrays()

    def hears(self, rate: Fraction) -> tuple[int, int]:
        """See LipEngine: the network's window, moved by mel_offset_frames."""
        half = self._load().config.reach(rate)
        return reach_of(half, half, self.mel_offset_frames, rate)

    def infer(self, items: FaceItems, speech: Speech) -> dict[str, npt.NDArray[np.generic]]:
        """shapes (M, 2) float32 for the speech at each item's frame: opening in face units of an
        ordinary face, and width as a share of the person's usual width."""
        return {"shapes": ordinary_shapes(self.said(items, speech), self._load().config)}

    def said(self, items: FaceItems, speech: Speech) -> SpokenMouth:
        """What the speech says about the mouth at each item's frame."""
        return self._load().predict(speech.mel, speech.rate, items.frame + self.mel_offset_frames, speech.sounds)

    def draw(self, frame: Frame, item: DrawItem, mouth: Arrays, source: Arrays) -> PlanesPatch | None:
        """The lower face with the new mouth; None if the landmarks are not usable."""
        shape = np.asarray(mouth["shapes"], np.float32)
        if shape.shape != (2,) or not np.isfinite(shape).all():
            raise StageError(Code.INTERNAL, f"mouth shape of frame {item.frame} is {shape!r}, not two finite numbers")
        person = np.asarray(source.get("mouth_person", (width_of(item.landmarks), 1.0)), np.float32)
        opening, width = float(shape[0] * person[1]), float(shape[1] * person[0])
        exact = bool(np.any(source.get("mouth_exact", False)))
        return draw_mouth(frame, item.landmarks, opening, width, Inside.of(source), exact=exact)


def ordinary_shapes(spoken: SpokenMouth, config: MouthConfig) -> F32:
    """(n, 2) float32: opening in face units of an ordinary face, width as a share of the usual one. Closures bring the
    lips together, contact with the teeth nearly; a rounded mouth is narrow, if its width does not say so already."""
    opening = np.maximum(config.openness.mean + spoken.open * config.openness.std, 0) * spoken.aperture
    width = 1 + WIDTH_FEEL * spoken.width * (config.width.std / config.width.mean)
    width -= spoken.rounding * np.maximum(width - (1 - ROUNDED), 0)
    return np.stack((opening, width), axis=-1).astype(np.float32)


def draw_mouth(
    frame: Frame, landmarks: F32, opening: float, width: float, inside: Inside | None, *, exact: bool = False
) -> PlanesPatch | None:
    """Give the face of `landmarks` (68, 2) a mouth of `opening` and `width` (face units); see WarpEngine.draw."""
    axes = axes_of(landmarks)
    curves = curves_of(landmarks, axes) if axes else None
    region = region_of(axes, curves, frame.size) if axes and curves else None
    if axes is None or curves is None or region is None:
        return None
    seen = _around_mouth(landmarks, axes, curves, region)
    own = to_bgr(frame, seen)
    curves = refine(own, seen[:2], axes, curves, exact=exact)
    move = move_to(curves, axes.u, opening, width)
    field = field_of(region, axes, curves, move, INSET * axes.u, frame.size[1])
    planes = warp(frame, region, field)
    if field.opening is not None:
        light = light_of(own, seen[:2], landmarks)
        shown = show_inside(inside or draw_inside(light), field.opening, axes.u, light)
        fill_opening(planes, field.opening, shown, frame.colour)
    return PlanesPatch(region, planes, field.alpha)


def _around_mouth(landmarks: F32, axes: Axes, curves: LipCurves, region: Box) -> Box:
    """The part of the region whose colours are looked at."""
    margin = 0.04 * axes.u + 2
    top, bottom = float(curves.outer_upper.min()) - margin, float(curves.outer_lower.max()) + margin
    corners = np.array([(x, y) for x in (curves.left, curves.right) for y in (top, bottom)], np.float32)
    lips = axes.origin + corners[:, :1] * axes.right + corners[:, 1:] * axes.down
    x0, y0, x1, y1 = even_box(np.concatenate((lips, spots_around(landmarks))), region)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else region
