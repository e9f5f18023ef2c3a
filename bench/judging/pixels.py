"""Figures from pixels, of the still faces of source and dubbed film (bench.judging.aligned): 1 is as in the source.

All are of the luma of the mouth's box, in which the source's lips move, unless said otherwise. The source speaks other
words, so a mouth that is right may differ by a few percent.
"""

from __future__ import annotations

import cv2
import numpy as np

from bench.judging.aligned import Place
from bench.judging.seen import MOUTH
from raydub.arrays import F32, U8, Bools

AROUND_MOUTH = 0.14
"""Eye distances by which the mouth's box is wider than the points of the source's lips: wider mouths must fit."""
SKIN = 0.30
"""The ring of skin around the mouth reaches this far beyond its box."""
EDGE = 0.03
"""Half width of the band around the edge of what was changed, in eye distances."""
SMALLEST = 0.02
"""Squared eye distances: less changed than this is no drawn mouth."""


def luma_of(faces: U8) -> F32:
    """(n, h, w, 3) BGR -> (n, h, w) float32."""
    return np.stack([cv2.cvtColor(face, cv2.COLOR_BGR2GRAY) for face in faces]).astype(np.float32)


def mouth_box(points: F32, place: Place) -> tuple[slice, slice]:
    """The box of a mouth over all frames with a face. points: (n, 68, 2), of the still picture."""
    return place.box(points[place.present][:, MOUTH].reshape(-1, 2), AROUND_MOUTH)


def textures(source: F32, drawn: F32, box: tuple[slice, slice], present: Bools) -> dict[str, float]:
    """sharpness: energy of the gradient (squared differences of neighbours) over the source's; high_frequency: energy
    of what a blur of 1 pixel takes away, over the source's: noise and drawn edges."""
    own, new = source[present][:, box[0], box[1]], drawn[present][:, box[0], box[1]]
    return {
        "sharpness": _gradient(new) / max(_gradient(own), 1e-6),
        "high_frequency": _fine(new) / max(_fine(own), 1e-6),
    }


def jitters(source: F32, drawn: F32, box: tuple[slice, slice], place: Place) -> dict[str, float | None]:
    """jitter: root mean square of the second difference over time, blurred by 1 pixel, over the source's; skin_jitter:
    the same of the ring of skin around the box, which speech moves little."""
    three = place.joined[2:] & place.joined[1:-1]
    if three.sum() < 5:
        return {"jitter": None, "skin_jitter": None}
    ring = np.zeros(source.shape[1:], bool)
    reach = round(SKIN * place.unit)
    ring[
        max(box[0].start - reach // 2, 0) : box[0].stop + reach, max(box[1].start - reach, 0) : box[1].stop + reach
    ] = 1
    ring[max(box[0].start - 4, 0) : box[0].stop + 4, max(box[1].start - 4, 0) : box[1].stop + 4] = 0  # the blur's reach
    inner = np.zeros_like(ring)
    inner[box] = True
    own, new = second_difference(source)[three], second_difference(drawn)[three]
    return {
        "jitter": _rms(new[:, inner]) / max(_rms(own[:, inner]), 1e-6),
        "skin_jitter": _rms(new[:, ring]) / max(_rms(own[:, ring]), 1e-6),
    }


def second_difference(luma: F32) -> F32:
    """(n, h, w) -> (n - 2, h, w): x(t - 1) - 2 x(t) + x(t + 1), blurred by 1 pixel."""
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 1.0) for one in luma])
    return soft[:-2] - 2 * soft[1:-1] + soft[2:]


def changed(source: F32, drawn: F32, unit: float) -> U8:
    """(h, w) uint8, 255 where one frame was changed: the largest connected area whose blurred difference exceeds three
    times that of the eyes and brows (the encoder's noise), filled; all 0 for less than SMALLEST."""
    soft = cv2.GaussianBlur(np.abs(drawn - source), (0, 0), max(0.012 * unit, 0.8))
    upper = soft[: round(0.55 * unit)]  # from the brows to under the eyes
    limit = 2.0 + 3 * float(np.quantile(upper, 0.9))
    mask = (soft > limit).astype(np.uint8) * 255
    mask[: round(0.6 * unit)] = 0
    size = round(0.12 * unit) | 1
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    out = np.zeros_like(mask)
    if outlines:
        largest = max(outlines, key=cv2.contourArea)
        if cv2.contourArea(largest) > SMALLEST * unit * unit:
            cv2.drawContours(out, [largest], -1, 255, cv2.FILLED)
    return np.asarray(out, np.uint8)


def seams(source: F32, drawn: F32, place: Place) -> dict[str, float | int | None]:
    """seam: the gradient across the edge of what was changed (see `changed`), in a band of EDGE on both sides of it,
    over the source's in the same band, mean over frames; seam_tone: the same after a blur of EDGE, which shows steps of
    brightness; changed_frames: frames in which something was drawn. None where nothing was."""
    fine, coarse = [], []
    size = 2 * max(1, round(EDGE * place.unit)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    for own, new in zip(source[place.present], drawn[place.present], strict=True):
        mask = changed(own, new, place.unit)
        if not mask.any():
            continue
        band = (cv2.dilate(mask, kernel) > 0) & (cv2.erode(mask, kernel, borderValue=255) == 0)
        normal = _gradients(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), size / 2))
        for blur, out in ((0.8, fine), (EDGE * place.unit, coarse)):
            out.append((_across(new, normal, blur)[band].mean(), _across(own, normal, blur)[band].mean()))
    found: dict[str, float | int | None] = {"seam": None, "seam_tone": None, "changed_frames": len(fine)}
    for name, pairs in (("seam", fine), ("seam_tone", coarse)):
        if pairs:
            new, own = np.mean(pairs, axis=0)
            found[name] = float(new / max(own, 1e-6))
    return found


def _across(luma: F32, normal: tuple[F32, F32], blur: float) -> F32:
    x, y = _gradients(cv2.GaussianBlur(luma, (0, 0), blur))
    return np.asarray(np.abs(x * normal[0] + y * normal[1]) / (np.hypot(*normal) + 1e-6), np.float32)


def _gradients(luma: F32) -> tuple[F32, F32]:
    return (
        np.asarray(cv2.Sobel(luma, cv2.CV_32F, 1, 0), np.float32),
        np.asarray(cv2.Sobel(luma, cv2.CV_32F, 0, 1), np.float32),
    )


def _gradient(luma: F32) -> float:
    return float((np.diff(luma, axis=1) ** 2).mean() + (np.diff(luma, axis=2) ** 2).mean())


def _fine(luma: F32) -> float:
    return float(np.mean([((one - cv2.GaussianBlur(one, (0, 0), 1.0)) ** 2).mean() for one in luma]))


def _rms(values: F32) -> float:
    return float(np.sqrt((values**2).mean()))
