"""From faces in frames to chains: the same face over consecutive frames of one shot, checked, filled and smoothed.

Everything here is local. Whether two rows are linked depends on at most GAP + 1 frames around them; a chain's frame is
kept when it has enough detections within SUPPORT frames; smoothing reads at most 5 frames to each side, symmetrically.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raydub.arrays import F32, I64, U8, Bools
from raydub.stages.lipstate import lips_open
from raydub.stages.track import landmarks as lm
from raydub.stages.track.detect import STRONG, SURE
from raydub.stages.track.look import LOOK
from raydub.stages.track.raw import RawTracks

GAP = 10
"""A face seen again in its place after at most so many frames without it, inside one shot, is the same face."""
FILL = 5
"""Of these gaps, those of at most so many frames are filled with landmarks between the neighbours'; in longer ones the
face is absent."""
SUPPORT = 10
"""A chain counts at frame t when within ±SUPPORT frames it has one certain detection, or two clear ones."""

_POSE = ((1,), (1, 2, 1), (1, 2, 3, 2, 1))
_FACE = ((1,), (1, 4, 1))
_MOUTH = ((1,), (1, 6, 1))
_BOX = ((1,), (1, 1, 1), (1,) * 5, (1,) * 7)
_GAUSS = ((1.0,), (0.458, 1.0, 0.458), (0.044, 0.458, 1.0, 0.458, 0.044))
_MOVING = np.array([*range(0, 17), *range(48, 68)])


@dataclass(frozen=True)
class Chain:
    """One face over the frames start .. start + m − 1, all inside the raw track's span and one shot.

    valid: (m,) bool, seen (or filled) and supported by detections; landmarks (m, 68, 2), box (m, 4) smoothed; lips
    (m,) bool open; area, centre: (m,) float64 of the raw face square, for choosing; embedding: (m, 128) and
    has_embedding (m,); look (m, LOOK) uint8, zeros where none was taken; speaking: (m, 2) float32, NaN where they
    are not known (see RawTracks).
    """

    start: int
    valid: Bools
    landmarks: F32
    box: F32
    lips: Bools
    area: np.ndarray[tuple[int], np.dtype[np.float64]]
    centre: np.ndarray[tuple[int], np.dtype[np.float64]]
    embedding: F32
    has_embedding: Bools
    look: U8
    speaking: F32

    def __len__(self) -> int:
        return len(self.valid)


def chains_of(raw: RawTracks, smooth: bool) -> list[Chain]:
    """All chains of a raw track, ordered by (first frame, slot)."""
    return [_chain(raw, rows, smooth) for rows in strands_of(raw)]


def strands_of(raw: RawTracks) -> list[I64]:
    """The rows of each chain, in order; with gaps, unchecked."""
    following, before = _links(raw)
    strands = []
    for head in range(len(raw.frame)):
        if before[head] >= 0:
            continue
        rows = [head]
        while following[rows[-1]] >= 0:
            rows.append(following[rows[-1]])
        strands.append(np.array(rows, np.int64))
    return strands


def _links(raw: RawTracks) -> tuple[list[int], list[int]]:
    """For every row the next and the previous row of the same face, −1 for none."""
    count = len(raw.frame)
    following, before = [-1] * count, [-1] * count
    edges = np.searchsorted(raw.frame, np.arange(raw.span.start, raw.span.stop + 1))
    rows = [range(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    squares = [lm.square_of(points) for points in raw.landmarks]
    cut = raw.cut

    def near(a: int, b: int, frames: int) -> float:
        """How well two rows match, 0 for not at all."""
        share = lm.overlap(squares[a], squares[b])
        return share if share >= (0.35 if frames == 1 else 0.45) else 0.0

    for t in range(1, len(rows)):
        if cut[t]:
            continue
        pairs = [(-near(a, b, 1), a, b) for a in rows[t - 1] for b in rows[t]]
        for share, a, b in sorted(pairs):
            if share < 0 and following[a] < 0 and before[b] < 0:
                following[a], before[b] = b, a

    # Gaps: an end and a later start join when each is the other's best partner. Both lists are fixed before any is
    # joined, so that no join depends on another one.
    ends = [[a for a in rows[t] if following[a] < 0] for t in range(len(rows))]
    starts = [[b for b in rows[t] if before[b] < 0] for t in range(len(rows))]
    best_start: dict[int, tuple[float, int]] = {}
    best_end: dict[int, tuple[float, int]] = {}
    for t in range(len(rows)):
        for step in range(2, GAP + 2):
            if t + step >= len(rows) or cut[t + 1 : t + step + 1].any():
                break
            for a in ends[t]:
                for b in starts[t + step]:
                    value = near(a, b, step)
                    if value > 0:
                        best_start[a] = max(best_start.get(a, (-np.inf, 0)), (value - step, -b))
                        best_end[b] = max(best_end.get(b, (-np.inf, 0)), (value - step, -a))
    for a, (_, b) in best_start.items():
        if best_end[-b][1] == -a:
            following[a], before[-b] = -b, a
    return following, before


def _chain(raw: RawTracks, rows: I64, smooth: bool) -> Chain:
    frames = raw.frame[rows]
    start, m = int(frames[0]), int(frames[-1] - frames[0]) + 1
    at = frames - start
    points = _between(raw.landmarks[rows], at, m)
    known = np.zeros(m, np.bool_)
    for left, right in itertools.pairwise([*at.tolist(), m]):
        known[left : right if right - left <= FILL + 1 else left + 1] = True
    level = np.zeros(m, np.int8)
    level[at] = raw.level[rows]
    weight = np.where(level >= SURE, 2, np.where(level >= STRONG, 1, 0)).astype(np.int32)
    support = np.convolve(weight, np.ones(2 * SUPPORT + 1, np.int32))[SUPPORT : SUPPORT + m]
    vectors = np.zeros((m, raw.embedding.shape[1]), np.float32)
    vectors[at] = raw.embedding[rows]
    look = np.zeros((m, LOOK), np.uint8)
    if len(raw.look):
        look[at] = raw.look[rows]
    speaking = np.full((m, 2), np.nan, np.float32)
    if len(raw.speaking):
        speaking[at] = raw.speaking[rows]
    shown = (smoothed(points) if raw.by == "dlib" else eased(points)) if smooth else points
    boxes = face_boxes(shown)
    area, centre = lm.area_and_centre(points)
    return Chain(
        start=start,
        valid=np.asarray(known & (support >= 2), np.bool_),
        landmarks=shown,
        box=_symmetric(boxes, _BOX) if smooth else boxes,
        lips=lips_open(points, raw.by),
        area=area,
        centre=centre,
        embedding=vectors,
        has_embedding=np.asarray((vectors != 0).any(axis=1), np.bool_),
        look=look,
        speaking=speaking,
    )


def _between(points: F32, at: np.ndarray[tuple[int], np.dtype[np.int32]], m: int) -> F32:
    """Landmarks for all m frames; missing ones lie on a straight line between their neighbours."""
    filled = np.zeros((m, 68, 2), np.float32)
    filled[at] = points
    for left, right, a, b in zip(at[:-1], at[1:], points[:-1], points[1:], strict=True):
        for t in range(left + 1, right):
            share = np.float32((t - left) / (right - left))
            filled[t] = a + (b - a) * share
    return filled


def smoothed(points: F32) -> F32:
    """Landmarks (m, 68, 2) with less jitter and no lag.

    The head's position (mean of brows, nose and eyes) is smoothed over ±2 frames with weights 1 2 3 2 1. The points
    relative to it are smoothed over ±1 frame: brows, nose and eyes with 1 4 1, jaw and mouth with 1 6 1, which keeps
    83 % of a 5 Hz lip movement at 25 frames a second. Windows shrink symmetrically towards a chain's ends.
    """
    centre = points[:, lm.STABLE].mean(axis=1, keepdims=True)
    rest = points - centre
    steady = _symmetric(rest, _FACE)
    steady[:, _MOVING] = _symmetric(np.ascontiguousarray(rest[:, _MOVING]), _MOUTH)
    return (steady + _symmetric(centre, _POSE)).astype(np.float32)


def eased(points: F32) -> F32:
    """As smoothed(), for the mesh, whose points shake independently of each other, and less: all by a Gaussian of 0.8
    frames, which takes the jitter of lips below that of smoothed dlib points and keeps 90 % of a 5 Hz movement at 25
    frames a second."""
    return _symmetric(points, _GAUSS)


def _symmetric(values: F32, kernels: Sequence[Sequence[float]]) -> F32:
    """Weighted means over time with kernels[r] of radius r, r as large as fits on both sides."""
    m = len(values)
    out = values.copy()
    for radius, kernel in enumerate(kernels[1:], start=1):
        if m < 2 * radius + 1:
            break
        total = np.zeros((m - 2 * radius, *values.shape[1:]), np.float32)
        for offset, weight in enumerate(kernel):
            total += np.float32(weight / sum(kernel)) * values[offset : offset + m - 2 * radius]
        out[radius : m - radius] = total
    return out


def face_boxes(landmarks: F32) -> F32:
    """Face rectangles (m, 4) x0 y0 x1 y1 in the way of the detector that Wav2Lip was trained with (s3fd): from ear to
    ear, from the middle of the forehead to just below the chin. Left and right are the outermost landmarks; the top
    lies above the highest by a quarter of the landmarks' height, the bottom below the lowest by 2 % of it. Not
    clipped to the frame.
    """
    low, high = landmarks.min(axis=1), landmarks.max(axis=1)
    height = high[:, 1] - low[:, 1]
    return np.stack([low[:, 0], low[:, 1] - 0.25 * height, high[:, 0], high[:, 1] + 0.02 * height], axis=1).astype(
        np.float32
    )
