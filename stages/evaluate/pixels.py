"""Figures from pixels, of the still faces of source and dubbed film (evaluate.aligned): 1 is as in the source.

All are of the luma of the mouth's box, in which the source's lips move, unless said otherwise. The source speaks other
words, so a mouth that is right may differ by a few percent.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from raydub.arrays import F32, F64, U8, Bools
from raydub.stages.evaluate.aligned import Place
from raydub.stages.evaluate.seen import MOUTH

AROUND_MOUTH = 0.14
"""Eye distances by which the mouth's box is wider than the points of the source's lips: wider mouths must fit."""
SKIN = 0.30
"""The ring of skin around the mouth reaches this far beyond its box."""
EDGE = 0.03
"""Half width of the band around the edge of what was changed, in eye distances."""
SMALLEST = 0.02
"""Squared eye distances: less changed than this is no drawn mouth."""
NOISIEST = 15.0
"""Levels of 255 from which a difference is a change; above this a step at the edge of the change is none of brightness:
the edge lies on the lips then, where the picture itself is another. One dub of 512 pixels: 9.6 at crf 18 (step 3.6), 14
at 23 (6.5), 18 at 27 (10.9), 26 at 32 (18)."""


def luma_of(faces: U8) -> F32:
    """(n, h, w, 3) BGR -> (n, h, w) float32."""
    return np.stack([cv2.cvtColor(face, cv2.COLOR_BGR2GRAY) for face in faces]).astype(np.float32)


def mouth_box(points: F32, place: Place) -> tuple[slice, slice]:
    """The box of a mouth over all frames with a face. points: (n, 68, 2), of the still picture."""
    return place.box(points[place.present][:, MOUTH].reshape(-1, 2), AROUND_MOUTH)


@dataclass(frozen=True)
class Still:
    """A frame's face in the still picture. luma: (h, w) float32; chroma: (h, w, 2) float32, red and blue differences as
    cv2's YCrCb, None where nobody asks for colours."""

    luma: F32
    chroma: F32 | None = None


COLUMNS = (
    *("own_gradient", "new_gradient", "own_fine", "new_fine", "own_jitter", "new_jitter", "own_skin", "new_skin"),
    *("own_seam", "new_seam", "own_tone", "new_tone", "light_step", "colour_step", "mouth_light", "ring_light"),
)
"""What is measured of a frame, each as it is averaged: gradient and fine are energies, jitter and skin mean squares of
the second difference around the frame, seam and tone mean slopes across the edge of what was drawn, light_step and
colour_step levels of 255, mouth_light and ring_light what the mouth's box and its ring gained in brightness. NaN where
it cannot be measured."""


def rows_of(pairs: Iterable[tuple[Still | None, Still | None]], box: tuple[slice, slice], place: Place) -> F64:
    """(n, len(COLUMNS)): each pair is a frame of the source and of the film, None without a face; n of the place. Keeps
    three frames."""
    n = len(place.present)
    rows = np.full((n, len(COLUMNS)), np.nan)
    inner, ring = _areas(box, place)
    soft: deque[tuple[F32, F32] | None] = deque(maxlen=3)
    seams = _Seams(place.unit)
    for at, (own, new) in enumerate(pairs):
        if own is None or new is None:
            soft.append(None)
            continue
        a, b = own.luma, new.luma
        rows[at, :4] = _gradient(a[box]), _gradient(b[box]), _fine(a[box]), _fine(b[box])
        rows[at, 8:14] = seams.of(own, new)
        rows[at, 14:] = float((b - a)[inner].mean()), float((b - a)[ring].mean())
        soft.append((cv2.GaussianBlur(a, (0, 0), 1.0), cv2.GaussianBlur(b, (0, 0), 1.0)))  # type: ignore[arg-type]
        if len(soft) == 3 and all(soft) and place.joined[at] and place.joined[at - 1]:
            for film in (0, 1):
                x, y, z = (one[film] for one in soft if one is not None)
                second = (x - 2 * y + z) ** 2
                rows[at - 1, 4 + film], rows[at - 1, 6 + film] = float(second[inner].mean()), float(second[ring].mean())
    return rows


def figures_of(rows: F64) -> dict[str, float | int | None]:
    """Of any rows; 1 is as in the source.

    sharpness: energy of the gradient (squared differences of neighbours) over the source's; high_frequency: energy of
    what a blur of 1 pixel takes away, over the source's: noise and drawn edges.
    jitter: root mean square of the second difference over time, blurred by 1 pixel, over the source's; skin_jitter: the
    same of the ring of skin around the box, which speech moves little.
    flicker: root mean square of the second difference over time of the brightness that the mouth's box gained, less
    that of its ring, in levels of 255.
    seam: the slope across the edge of what was changed (see `changed`), in a band of EDGE on both sides of it, over the
    source's in the same band, mean over frames; seam_tone: the same after a blur of EDGE, which shows steps of
    brightness; changed_frames: frames in which something was drawn.
    light_step, colour_step: by how many levels of 255 what was drawn is brighter or darker, and otherwise coloured,
    than what is beside it, just inside and outside the edge of what was changed, mean over frames; None where the
    encoder changed too much to tell (NOISIEST).
    """
    by = dict(zip(COLUMNS, rows.T, strict=True))
    gained = by["mouth_light"] - by["ring_light"]
    second = gained[:-2] - 2 * gained[1:-1] + gained[2:]
    second = second[np.isfinite(second)]
    return {
        "sharpness": _ratio(by, "gradient"),
        "high_frequency": _ratio(by, "fine"),
        "jitter": _ratio(by, "jitter", fewest=5, root=True),
        "skin_jitter": _ratio(by, "skin", fewest=5, root=True),
        "flicker": float(np.sqrt((second**2).mean())) if len(second) >= 5 else None,
        "seam": _ratio(by, "seam"),
        "seam_tone": _ratio(by, "tone"),
        "light_step": _mean(by["light_step"]),
        "colour_step": _mean(by["colour_step"]),
        "changed_frames": int(np.isfinite(by["new_seam"]).sum()),
    }


def _ratio(by: Mapping[str, F64], what: str, fewest: int = 1, *, root: bool = False) -> float | None:
    own, new = by[f"own_{what}"], by[f"new_{what}"]
    known = np.isfinite(own) & np.isfinite(new)
    if known.sum() < fewest:
        return None
    above, below = float(new[known].mean()), float(own[known].mean())
    return math.sqrt(above) / max(math.sqrt(below), 1e-6) if root else above / max(below, 1e-6)


def _mean(values: F64) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _areas(box: tuple[slice, slice], place: Place) -> tuple[Bools, Bools]:
    """(h, w) bool: the mouth's box, and the ring of skin around it."""
    ring = np.zeros(place.size[::-1], np.bool_)
    reach = round(SKIN * place.unit)
    ring[
        max(box[0].start - reach // 2, 0) : box[0].stop + reach, max(box[1].start - reach, 0) : box[1].stop + reach
    ] = 1
    ring[max(box[0].start - 4, 0) : box[0].stop + 4, max(box[1].start - 4, 0) : box[1].stop + 4] = 0  # the blur's reach
    inner = np.zeros_like(ring)
    inner[box] = True
    return inner, ring


def changed(source: F32, drawn: F32, unit: float) -> U8:
    """(h, w) uint8, 255 where one frame was changed: the largest connected area whose blurred difference exceeds three
    times that of the eyes and brows (the encoder's noise), filled; all 0 for less than SMALLEST."""
    return _outline(*_difference(source, drawn, unit), unit)


def _outline(soft: F32, limit: float, unit: float) -> U8:
    mask = np.where(soft > limit, 255, 0).astype(np.uint8)
    mask[: round(0.6 * unit)] = 0
    size = round(0.12 * unit) | 1
    joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    outlines, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    out = np.zeros_like(mask)
    if outlines:
        largest = max(outlines, key=cv2.contourArea)
        if cv2.contourArea(largest) > SMALLEST * unit * unit:
            cv2.drawContours(out, [largest], -1, 255, cv2.FILLED)
    return np.asarray(out, np.uint8)


def _difference(source: F32, drawn: F32, unit: float) -> tuple[F32, float]:
    """(h, w) float32: the blurred difference, and from which of its values on a frame was changed, levels of 255."""
    soft = np.asarray(cv2.GaussianBlur(np.abs(drawn - source), (0, 0), max(0.012 * unit, 0.8)), np.float32)
    upper = soft[: round(0.55 * unit)]  # from the brows to under the eyes
    return soft, 2.0 + 3 * float(np.quantile(upper, 0.9))


class _Seams:
    """The edge of what was drawn in a frame."""

    def __init__(self, unit: float) -> None:
        self._unit = unit
        self._size = 2 * max(1, round(EDGE * unit)) + 1
        self._kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (self._size, self._size))
        wide = 2 * self._size + 1
        self._wide = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide))

    def of(self, own: Still, new: Still) -> tuple[float, ...]:
        """own_seam, new_seam, own_tone, new_tone, light_step, colour_step; NaN where nothing was drawn."""
        soft, limit = _difference(own.luma, new.luma, self._unit)
        mask = _outline(soft, limit, self._unit)
        if not mask.any():
            return (np.nan,) * 6
        kernel = self._kernel
        band = (cv2.dilate(mask, kernel) > 0) & (cv2.erode(mask, kernel, borderValue=255) == 0)
        edge = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), self._size / 2)
        normal = _gradients(np.asarray(edge, np.float32))
        slopes = []
        for blur in (0.8, EDGE * self._unit):
            slopes += [float(_across(one.luma, normal, blur)[band].mean()) for one in (own, new)]
        inside = (mask > 0) & (cv2.erode(mask, self._wide, borderValue=255) == 0)
        outside = (cv2.dilate(mask, self._wide) > 0) & (mask == 0)
        light = colour = np.nan
        if limit > NOISIEST:
            return (*slopes, light, colour)
        light = _step(new.luma - own.luma, inside, outside)
        if own.chroma is not None and new.chroma is not None:
            change = new.chroma - own.chroma
            red, blue = (_step(change[..., k], inside, outside) for k in (0, 1))
            colour = float(np.hypot(red, blue))
        return (*slopes, light, colour)


def _step(change: F32, inside: Bools, outside: Bools) -> float:
    if not inside.any() or not outside.any():
        return float("nan")
    return abs(float(np.median(change[inside])) - float(np.median(change[outside])))


def _across(luma: F32, normal: tuple[F32, F32], blur: float) -> F32:
    x, y = _gradients(np.asarray(cv2.GaussianBlur(luma, (0, 0), blur), np.float32))
    return np.asarray(np.abs(x * normal[0] + y * normal[1]) / (np.hypot(*normal) + 1e-6), np.float32)


def _gradients(luma: F32) -> tuple[F32, F32]:
    return (
        np.asarray(cv2.Sobel(luma, cv2.CV_32F, 1, 0), np.float32),
        np.asarray(cv2.Sobel(luma, cv2.CV_32F, 0, 1), np.float32),
    )


def _gradient(luma: F32) -> float:
    return float((np.diff(luma, axis=0) ** 2).mean() + (np.diff(luma, axis=1) ** 2).mean())


def _fine(luma: F32) -> float:
    return float(((luma - cv2.GaussianBlur(luma, (0, 0), 1.0)) ** 2).mean())
