"""What the blind choice measures, fixed before any result was seen: how unlike this person a drawn mouth looks.

No measure knows the frame that was replaced, the speech, or who drew. Each compares one number of the picture with the
same number in the person's own frames (median and spread over the source): (value - median) / spread. The less, the
better. The measures, of the still face (bench.judging.aligned), three consecutive frames each:

seam        mean gradient of the luma across the edge of the lower face's mask (stages.mask, where its alpha is 0.1 to
            0.9, the lips left out). Only more than usual counts.
sharpness   log of gradient energy in the lips' box over that of the upper face (brows to nose). Both sides count: blur
            as well as drawn edges.
flicker     log of the second difference over time in the lips' box over that of the upper face. Only more than usual
            counts, so that a mouth that stands still gains nothing.
colour      distance in Lab between the mean colour of the lips' points' surroundings and of the skin beside them, less
            the person's median of that difference: lips of another colour, or pasted in another light.
shape       distance of the 20 mouth points from the person's own shapes: from the subspace of the first SHAPES
            principal components of the source's, root mean square, in eye distances.

What they cannot see: whether the mouth fits the speech. An engine that shows the person's own mouths has an advantage
in `shape` and `colour` by what it is; that is what they are for.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from raydub.arrays import F32, F64, U8
from raydub.stages.evaluate.aligned import Place
from raydub.stages.evaluate.pixels import luma_of
from raydub.stages.evaluate.seen import MOUTH
from raydub.stages.mask import mouth_alpha

MEASURES = ("seam", "sharpness", "flicker", "colour", "shape")
ONE_SIDED = ("seam", "flicker")
SHAPES = 6
LIPS = 0.06
"""Eye distances around the lips' points that belong to their box."""


@dataclass(frozen=True)
class Own:
    """What is usual for a person: median and spread of each measure, the mean mouth shape (40,) with its principal
    components (k, 40), and the median difference of lips and skin in Lab (3,)."""

    median: dict[str, float]
    spread: dict[str, float]
    mean: F64
    components: F64
    lips: F64


def own_of(faces: U8, points: F32, place: Place) -> Own:
    """From the source: (n, h, w, 3) BGR still faces and their (n, 68, 2) points in them. ValueError for less than
    SHAPES frames with both neighbours."""
    seen = np.flatnonzero(place.present)
    shapes = np.stack([_shape(points[at], place.unit) for at in seen])
    mean = shapes.mean(axis=0)
    components = np.linalg.svd(shapes - mean, full_matrices=False)[2][:SHAPES]
    lips = np.median([_lips(faces[at], points[at], place) for at in seen], axis=0)
    bare = Own({}, {}, mean, components, lips)
    triples = [at for at in seen if 0 < at < len(faces) - 1 and place.joined[at] and place.joined[at + 1]]
    if len(triples) < SHAPES:
        raise ValueError(f"{len(triples)} frames with both neighbours are too few to know the person")
    rows = [_values(faces[at - 1 : at + 2], points[at], place, bare) for at in triples]
    median = {name: float(np.median([row[name] for row in rows])) for name in MEASURES}
    spread = {}
    for name in MEASURES:
        away = np.abs([row[name] - median[name] for row in rows])
        spread[name] = max(1.4826 * float(np.median(away)), 0.02 * abs(median[name]), 1e-6)
    return Own(median, spread, mean, components, lips)


def unlike(faces: U8, points: F32, place: Place, own: Own) -> dict[str, float]:
    """How unlike the person the middle one of three frames is, by measure, in spreads; 0 is as usual or better. faces:
    (3, h, w, 3) BGR; points: (68, 2) of the middle one as the judge's landmarks see the drawn frame."""
    found = {}
    for name, value in _values(faces, points, place, own).items():
        away = (value - own.median[name]) / own.spread[name]
        found[name] = max(away, 0.0) if name in (*ONE_SIDED, "shape", "colour") else abs(away)
    return found


def _values(faces: U8, points: F32, place: Place, own: Own) -> dict[str, float]:
    luma = luma_of(faces)
    now = luma[1]
    rows, columns = place.box(points[MOUTH], LIPS)
    upper = now[: round(0.95 * place.unit)]
    moved = second_difference(luma)[0]
    shape = _shape(points, place.unit) - own.mean
    rest = shape - own.components.T @ (own.components @ shape)
    return {
        "seam": _edge(now, points, place),
        "sharpness": _log_ratio(_gradient(now[rows, columns]), _gradient(upper)),
        "flicker": _log_ratio((moved[rows, columns] ** 2).mean(), (moved[: len(upper)] ** 2).mean()),
        "colour": float(np.linalg.norm(_lips(faces[1], points, place) - own.lips)),
        "shape": float(np.sqrt((rest**2).mean())),
    }


def _edge(luma: F32, points: F32, place: Place) -> float:
    width, height = place.size
    alpha = mouth_alpha(points, (0, 0, width, height))
    x, y = cv2.Sobel(alpha, cv2.CV_32F, 1, 0), cv2.Sobel(alpha, cv2.CV_32F, 0, 1)
    soft = cv2.GaussianBlur(luma, (0, 0), 0.8)
    across = np.abs(cv2.Sobel(soft, cv2.CV_32F, 1, 0) * x + cv2.Sobel(soft, cv2.CV_32F, 0, 1) * y)
    band = (alpha > 0.1) & (alpha < 0.9)
    rows, columns = place.box(points[MOUTH], 0.0)
    band[rows, columns] = False
    return float((across / (np.hypot(x, y) + 1e-6))[band].mean()) if band.any() else 0.0


def _lips(face: U8, points: F32, place: Place) -> F64:
    """Mean Lab colour of the lips (between the outer and the inner outline) less that of the skin within 0.15 eye
    distances around them, (3,)."""
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    outer, inner = np.zeros(face.shape[:2], np.uint8), np.zeros(face.shape[:2], np.uint8)
    cv2.fillPoly(outer, [np.rint(points[48:60]).astype(np.int32)], 1)
    cv2.fillPoly(inner, [np.rint(points[60:68]).astype(np.int32)], 1)
    size = 2 * round(0.15 * place.unit) + 1
    around = cv2.dilate(outer, np.ones((size, size), np.uint8)) - cv2.dilate(outer, np.ones((5, 5), np.uint8))
    lips = (outer > 0) & (inner == 0)
    if not lips.any() or not (around > 0).any():
        return np.zeros(3)
    return np.asarray(lab[lips].mean(axis=0) - lab[around > 0].mean(axis=0), np.float64)


def _shape(points: F32, unit: float) -> F64:
    """The mouth's points around their centre, in eye distances, (40,)."""
    mouth = points[MOUTH].astype(np.float64)
    return ((mouth - mouth.mean(axis=0)) / unit).ravel()


def _gradient(luma: F32) -> float:
    return float((np.diff(luma, axis=0) ** 2).mean() + (np.diff(luma, axis=1) ** 2).mean())


def _log_ratio(one: float, other: float) -> float:
    return float(np.log((one + 0.5) / (other + 0.5)))


def second_difference(luma: F32) -> F32:
    """(n, h, w) -> (n - 2, h, w): x(t - 1) - 2 x(t) + x(t + 1), blurred by 1 pixel."""
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 1.0) for one in luma])
    return soft[:-2] - 2 * soft[1:-1] + soft[2:]
