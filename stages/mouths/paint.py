"""Drawing: the frame's own lower face with the chin where the new mouth has it, and over it a real mouth, moved into
place and given the frame's light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from raydub.arrays import F32, F64, Box
from raydub.media.chroma import quarter
from raydub.media.frames import Frame
from raydub.stages.engine import PlanesPatch
from raydub.stages.lipsync.warp_field import even_box, smooth
from raydub.stages.mouths.gallery import Picture
from raydub.stages.mouths.lying import is_lying, reach
from raydub.stages.mouths.spline import Spline

STEP = 10.0  # coarse cells in a unit
_KNOTS = np.array((*range(2, 15), 28, 29, 30, *range(31, 36), *range(48, 68)))
_STIFF = np.concatenate((np.full(13, 0.08), np.full(8, 0.03), np.full(20, 2e-3), np.full(11, 1e-3)))
"""How little a map bends to each of _KNOTS, and to still places. Landmarks of the jaw are found less exactly than lips,
and a map that followed them would make the skin tremble."""
_FEATHER = 0.055  # units
_INSET = 0.86  # of the way from the mouth to the jaw line that the new mouth reaches
_BELOW = 0.42  # units below the chin where the frame's own pixels stay in place
_BESIDE = (2, 3, 4, 14, 13, 12)
_ROOM = 16.0  # added to luma before ratios are taken
_SHARPER = 0.25  # of what a blur by 0.8 pixels takes away
_COARSE = 0.02  # units: standard deviation of what passes from one mouth to another
_MOST_LIGHT, _MOST_HUE = 1.6, 14.0
_LIGHT_REACH = 0.22  # units over which light is matched


@dataclass(frozen=True)
class Donor:
    """A mouth to show. marks (68, 2): its landmarks, pixels of its own frame; share: how much of it shows, for all
    but the first."""

    picture: Picture
    marks: F32
    share: float


def paint(frame: Frame, marks: F32, goal: F32, donors: list[Donor]) -> PlanesPatch | None:
    """The face with landmarks `marks` (68, 2), its mouth at `goal` (68, 2): the first donor, and some of the
    others. None where the face lies outside the frame."""
    axes = _axes(marks)
    u, right, down = axes
    if u < 8:
        return None
    low = goal[np.r_[2:15, 48:60]].min(axis=0) - np.array((0.25 * u, 0))
    high = goal[np.r_[2:15, 48:60]].max(axis=0) + np.array((0.25 * u, _BELOW * u))
    low[1] = marks[31:36, 1].min() - 0.08 * u
    if is_lying(right):
        low, high = reach(goal[np.r_[2:15, 48:60]], marks[31:36], right, (0.25 * u, 0.08 * u, _BELOW * u))
    w, h = frame.size
    box = even_box(np.array((low, high)), (0, 0, w // 2 * 2, h // 2 * 2))
    if box[2] - box[0] < 8 or box[3] - box[1] < 8:
        return None
    mask = _mask(goal, marks, axes, box)
    rows, columns = np.flatnonzero(mask.max(axis=1) > 0), np.flatnonzero(mask.max(axis=0) > 0)
    if not len(rows) or not len(columns):
        return None
    x0, y0 = box[:2]
    inner = (
        x0 + int(columns[0]) // 2 * 2,
        y0 + int(rows[0]) // 2 * 2,
        x0 + -(-(int(columns[-1]) + 1) // 2) * 2,
        y0 + -(-(int(rows[-1]) + 1) // 2) * 2,
    )
    still = _still(marks, u, right, down)
    knots = np.concatenate((goal[_KNOTS], still)).astype(np.float64)
    spline = Spline(knots, box, max(2, round(u / STEP)), _STIFF)
    base = _base(frame, box, spline, np.asarray(np.concatenate((marks[_KNOTS], still)) - knots, np.float64))
    part = tuple(plane[rows, columns] for plane, (rows, columns) in zip(base, _slices(box, inner), strict=True))
    alpha = np.ascontiguousarray(mask[inner[1] - y0 : inner[3] - y0, inner[0] - x0 : inner[2] - x0])
    shown, *others = (_lit(_moved(donor, goal, knots, still, spline, inner), part, alpha, u) for donor in donors)
    for donor, lit in zip(donors[1:], others, strict=True):
        # of another mouth only what is coarse: lips and skin pass over, teeth and folds do not show twice
        apart = [new - old for new, old in zip(lit, shown, strict=True)]
        apart[0] = np.asarray(cv2.GaussianBlur(apart[0], (0, 0), max(0.6, _COARSE * u)), np.float32)
        shown = [old + np.float32(donor.share) * off for old, off in zip(shown, apart, strict=True)]
    for plane, new, weight in zip(part, shown, (alpha, quarter(alpha), quarter(alpha)), strict=True):
        plane += (new - plane) * weight
    return PlanesPatch(box, base, _extent(box, marks, axes, frame.size[1]))


def _axes(marks: F32) -> tuple[float, F32, F32]:
    eyes = marks[45] - marks[36]
    u = float(np.hypot(*eyes))
    right = np.asarray(eyes / max(u, 1e-6), np.float32)
    return u, right, np.array((-right[1], right[0]), np.float32)


def _still(marks: F32, u: float, right: F32, down: F32) -> F32:
    """Places around the lower face that do not move: below the chin and beside the jaw."""
    below = [marks[8] + down * (_BELOW * u) + right * (k * u) for k in (-1.1, -0.55, 0.0, 0.55, 1.1)]
    beside = [marks[k] + 0.18 * (marks[k] - marks[30]) for k in _BESIDE]
    return np.asarray(below + beside, np.float32)


def _base(frame: Frame, box: Box, spline: Spline, move: F64) -> tuple[F32, F32, F32]:
    """The box's planes with the jaw moved."""
    x0, y0, x1, y1 = box
    luma, blue, red = (
        plane[y0 // part : y1 // part, x0 // part : x1 // part].astype(np.float32)
        for plane, part in ((frame.y, 1), (frame.u, 2), (frame.v, 2))
    )
    shift = spline.fine(spline.coarse(move))
    map_x = shift[..., 0] + np.arange(x1 - x0, dtype=np.float32)
    map_y = shift[..., 1] + np.arange(y1 - y0, dtype=np.float32)[:, None]
    return _sampled((luma, blue, red), np.asarray(map_x, np.float32), np.asarray(map_y, np.float32))


def _moved(donor: Donor, goal: F32, knots: F64, still: F32, spline: Spline, inner: Box) -> tuple[F32, F32, F32]:
    """The donor's planes over `inner`, its landmarks at the goal."""
    # the still places go where the whole face goes
    theirs = donor.marks.astype(np.float64)
    to = _similar(goal[_KNOTS].astype(np.float64), theirs[_KNOTS], still.astype(np.float64))
    coarse = spline.coarse(np.concatenate((theirs[_KNOTS], to)) - knots)
    shift = spline.fine(coarse, inner)
    x0, y0, x1, y1 = inner
    picture = donor.picture
    across, along = (np.float32(side) for side in picture.scale)
    x, y = np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32)
    map_x = (shift[..., 0] + (x - picture.corner[0] + 0.5)) * across - np.float32(0.5)
    map_y = (shift[..., 1] + (y - picture.corner[1] + 0.5)[:, None]) * along - np.float32(0.5)
    luma, blue, red = _sampled(
        (picture.y, picture.u, picture.v), np.asarray(map_x, np.float32), np.asarray(map_y, np.float32)
    )
    # what moving between pixels and the JPEG take away of fine detail
    luma += np.float32(_SHARPER) * (luma - np.asarray(cv2.GaussianBlur(luma, (0, 0), 0.8), np.float32))
    return luma, blue, red


def _similar(one: F64, other: F64, places: F64) -> F64:
    """Where places beside points `one` lie beside the points `other`: the similarity between them."""
    a, b = one - one.mean(axis=0), other - other.mean(axis=0)
    size = float((a * a).sum())
    cos = float((a * b).sum()) / size
    sin = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / size
    off = places - one.mean(axis=0)
    turned = np.stack((off[:, 0] * cos - off[:, 1] * sin, off[:, 0] * sin + off[:, 1] * cos), axis=1)
    return np.asarray(turned + other.mean(axis=0), np.float64)


def _sampled(planes: tuple[F32, F32, F32], map_x: F32, map_y: F32) -> tuple[F32, F32, F32]:
    """Luma by a cubic kernel, chroma at the mean place of its four pixels."""
    edge = cv2.BORDER_REPLICATE
    luma = cv2.remap(planes[0], map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_CUBIC, borderMode=edge)
    half_x, half_y = (quarter(np.asarray(one, np.float32)) * 0.5 - 0.25 for one in (map_x, map_y))
    blue, red = (cv2.remap(one, half_x, half_y, cv2.INTER_LINEAR, borderMode=edge) for one in planes[1:])
    return np.asarray(luma, np.float32), np.asarray(blue, np.float32), np.asarray(red, np.float32)


def _slices(box: Box, inner: Box) -> list[tuple[slice, slice]]:
    x0, y0 = box[:2]
    return [
        (slice((inner[1] - y0) // k, (inner[3] - y0) // k), slice((inner[0] - x0) // k, (inner[2] - x0) // k))
        for k in (1, 2, 2)
    ]


def _lit(planes: tuple[F32, F32, F32], under: tuple[F32, ...], alpha: F32, u: float) -> list[F32]:
    """The donor's planes in the light of the frame around the mouth: luma by a factor, chroma by a difference, both as
    smooth as the face is large, measured where the mask fades."""
    h, w = alpha.shape
    cell = max(2.0, u / 16)
    size = max(4, round(w / cell)), max(4, round(h / cell))
    reach = max(0.6, _LIGHT_REACH * u * size[0] / w)

    def small(plane: F32) -> F32:
        return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)

    def wide(values: F32) -> F32:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), reach), np.float32)

    fade = small(alpha * (1 - alpha)) * 4 + np.float32(1e-4)
    weight = wide(fade)
    trust = weight / (weight + np.float32(0.02))
    theirs, own = small(planes[0]) + _ROOM, small(under[0]) + _ROOM
    local = wide(own * fade) / np.maximum(wide(theirs * fade), 1e-3)
    overall = float((own * fade).sum() / max(float((theirs * fade).sum()), 1e-3))
    gain = np.clip(overall + (local - overall) * trust, 1 / _MOST_LIGHT, _MOST_LIGHT).astype(np.float32)
    made = [(planes[0] + np.float32(_ROOM)) * cv2.resize(gain, (w, h)) - np.float32(_ROOM)]
    for new, old in zip(planes[1:], under[1:], strict=True):
        off = small(old) - small(new)
        apart = wide(off * fade) / weight
        mean = float((off * fade).sum() / fade.sum())
        shift = np.clip(mean + (apart - mean) * trust, -_MOST_HUE, _MOST_HUE).astype(np.float32)
        made.append(new + cv2.resize(shift, (new.shape[1], new.shape[0])))
    return made


def _mask(goal: F32, marks: F32, axes: tuple[float, F32, F32], box: Box) -> F32:
    """(h, w): how much of the donors shows. From the base of the nose to a little above the jaw line."""
    u, right, down = axes
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    cell = max(1.0, u / 40)
    size = max(8, round(w / cell)), max(8, round(h / cell))
    ratio = np.array((size[0] / w, size[1] / h), np.float32)
    middle = (goal[62] + goal[66]) / 2
    chin = [middle + (goal[k] - middle) * _INSET for k in range(5, 12)]
    left, far = goal[48], goal[54]
    points = [
        marks[33] + (middle - marks[33]) * 0.12,
        0.6 * marks[31] + 0.4 * left - 0.06 * u * right,
        left - 0.12 * u * right,
        *chin,
        far + 0.12 * u * right,
        0.6 * marks[35] + 0.4 * far + 0.06 * u * right,
    ]
    shape = np.zeros((size[1], size[0]), np.uint8)
    corners = np.rint((np.array(points) - np.array((x0, y0))) * ratio * 16 - 8).astype(np.int32)
    cv2.fillPoly(shape, [corners], 255, cv2.LINE_8, 4)
    unit = u * float(ratio[0])
    shrink = max(1, int(0.04 * unit)) * 2 + 1
    core = cv2.erode(shape, np.ones((shrink, shrink), np.uint8)).astype(np.float32) / 255
    soft = cv2.resize(cv2.GaussianBlur(core, (0, 0), max(0.5, _FEATHER * unit)), (w, h))
    x = (np.arange(x0, x1, dtype=np.float32) - marks[33, 0]) * down[0]
    y = (np.arange(y0, y1, dtype=np.float32) - marks[33, 1]) * down[1]
    below = np.minimum(np.maximum((x + y[:, None] - 0.02 * u) / (0.06 * u), 0), 1)
    return np.asarray(np.where(soft < 1 / 512, 0, soft) * below, np.float32)


def _extent(box: Box, marks: F32, axes: tuple[float, F32, F32], height: int) -> F32:
    """(h, w): the patch's own soft edge, where the frame's moved pixels meet those that stay; 0 above the nose."""
    u, right, down = axes
    x0, y0, x1, y1 = box
    x, y = np.arange(x1 - x0, dtype=np.float32), np.arange(y1 - y0, dtype=np.float32)
    across = smooth((np.minimum(x, x[::-1]) + 0.5) / (0.12 * u))
    under = np.ones_like(y) if y1 >= height // 2 * 2 else smooth((y[::-1] + 0.5) / (0.12 * u))
    if is_lying(right):
        under = smooth((np.minimum(y, y[::-1]) + 0.5) / (0.12 * u))
    off = (x + (x0 - marks[33, 0])) * down[0] + ((y + (y0 - marks[33, 1])) * down[1])[:, None]
    return np.asarray(across * under[:, None] * smooth(off / (0.08 * u)), np.float32)
