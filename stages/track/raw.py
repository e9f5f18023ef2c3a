"""Raw tracks: the faces of every source frame, before any decision. Computed once per source, cached as Parquet.

The detector runs on frames i with i mod every = 0 and on the first frame after a shot cut; in between every face is
carried by refitting its landmarks. A face that the detector misses is carried for at most `carry` more intervals, and
ends as soon as its pixels no longer look like the detected face. So frame i depends only on frames from (i // every −
carry)·every to i, and on i−1 for the cut: blocks computed separately, in any order, on any machine, are equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from raydub.arrays import F32, I32, U8, Bools
from raydub.beat import beat
from raydub.media.frames import Frame
from raydub.stages.track import landmarks as lm
from raydub.stages.track.config import TrackConfig
from raydub.stages.track.detect import REFIT, STRONG, WEAK, Detector, Found
from raydub.stages.track.embed import embedding
from raydub.stages.types import Span

CUT, SURE_CUT = 0.075, 0.25
"""See Shots. Measured: cuts 0.09 – 0.36, shaken heads up to 0.065, spinning graphics 0.04."""


class FrameSource(Protocol):
    """What tracking needs of media.frames.FrameReader."""

    def frames(self, start: int, stop: int) -> Iterator[Frame]: ...

    def check(self) -> None: ...


@dataclass(frozen=True)
class RawTracks:
    """Faces seen in the source frames `span`; R rows sorted by (frame, slot), any number of rows per frame.

    frame, slot: (R,) int32; slot counts the faces of a frame from the left and means nothing across frames.
    level: (R,) int8, detect.REFIT .. detect.SURE; score: (R,) float32, the detector's (0 for refits).
    box: (R, 4) float32, the square in which the landmarks were fitted; landmarks: (R, 68, 2) float32.
    embedding: (R, 128) float32, zero rows where none was taken; (R, 0) when the config asks for none.
    shot: (n,) float32, shot score of every frame of the span; cut: (n,) bool, the frame starts a new shot (see Shots).
    detected: frames on which the detector ran to make this object (0 when all of it came from the cache).
    """

    span: Span
    frame: I32
    slot: I32
    level: np.ndarray[tuple[int], np.dtype[np.int8]]
    score: F32
    box: F32
    landmarks: F32
    embedding: F32
    shot: F32
    cut: Bools
    detected: int = 0


@dataclass
class _Face:
    """A tracked face. `born` is the interval of its detection, `patch` its pixels then."""

    points: F32
    box: F32
    patch: F32
    born: int
    level: int
    score: float
    embedding: F32 | None = None


@dataclass(frozen=True)
class SeenFrame:
    """One frame's result: shot score, faces from left to right, and whether the detector ran."""

    index: int
    shot: float
    cut: bool
    faces: tuple[_Face, ...]
    detected: bool


def thumbnail(luma: U8) -> F32:
    """The frame at 32×18, for shot_score: means over a grid of at least 144 lines (every pixel would cost 1.4 ms)."""
    step = max(1, luma.shape[0] // 144)
    small = cv2.resize(np.ascontiguousarray(luma[::step, ::step]), (32, 18), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255.0


def shot_score(before: F32, now: F32) -> float:
    """How much the picture changed, 0 to 1: the mean absolute difference of the thumbnails, less the difference of
    their means (a flash or a fade changes the light, not the shot)."""
    change = now - before
    light = float(change.mean())
    return float(np.abs(change - light).mean() + 0.25 * abs(light))


class Shots:
    """Finds shot cuts in frames that come in order. A frame starts a new shot when its shot score is above CUT and
    twice that of the frame before (fast motion scores high again and again), or above SURE_CUT."""

    LOOK_BACK = 2
    """Frames to show first for the answers to be those of a run from the source's beginning."""

    def __init__(self) -> None:
        self._before: F32 | None = None
        self._last = 0.0

    def next(self, luma: U8) -> tuple[float, bool]:
        """(shot score, does a shot begin?) of the next frame; (0, no) for the first."""
        now = thumbnail(luma)
        score = 0.0 if self._before is None else shot_score(self._before, now)
        cut = score > SURE_CUT or (score > CUT and score > 2 * self._last)
        self._before, self._last = now, score
        return score, cut


def see(source: FrameSource, detector: Detector, config: TrackConfig, start: int, stop: int) -> Iterator[SeenFrame]:
    """Frames start .. stop−1 in order, start on a multiple of `every`. Reads up to carry·every frames before start, and
    Shots.LOOK_BACK at least, so that the outcome is the same wherever a run begins. One interval of frames in memory at
    a time."""
    intervals = max(config.carry, -(-Shots.LOOK_BACK // config.every))
    first = max(0, start - intervals * config.every)
    faces: list[_Face] = []
    shots = Shots()
    for frame in _ahead(source.frames(first, stop), config.every):
        beat("track")
        luma = np.ascontiguousarray(frame.y)
        shot, cut = shots.next(luma)
        interval = frame.index // config.every
        detect = frame.index % config.every == 0 or cut
        found: list[_Face] = []
        refused: list[F32] = []
        if detect:
            fine = interval % 2 == 0 or cut
            found, refused = _detect(frame, luma, detector.find(frame, fine), config, interval)
        news = [*refused, *(lm.square_of(face.points) for face in found)]
        continued = [] if cut else [face for face in faces if not _covered(face, news)]
        faces = _merge(found, _carry(continued, luma, interval - config.carry))
        if frame.index >= start:
            ordered = tuple(
                sorted(faces, key=lambda face: (float(face.points[:, 0].mean()), float(face.points[:, 1].mean())))
            )
            yield SeenFrame(frame.index, shot, cut, ordered, detect)


def _ahead(frames: Iterator[Frame], count: int) -> Iterator[Frame]:
    """Read one interval ahead: consecutive fits without decoding in between find the predictor's 100 MB in the
    processor's cache and take half the time."""
    while batch := list(itertools.islice(frames, count)):
        yield from batch


def _detect(
    frame: Frame, luma: U8, boxes: list[Found], config: TrackConfig, interval: int
) -> tuple[list[_Face], list[F32]]:
    """New faces of a frame from the detector's boxes, and the boxes of detections without usable landmarks (profiles,
    wrong detections). Landmarks are fitted twice, the second time in the square of the first fit: refits start from
    such squares too, so detection frames do not twitch."""
    found, refused = [], []
    for one in boxes:
        points = lm.fit(luma, lm.square_of(lm.fit(luma, one.box)))
        box = lm.square_of(points)
        doubt = lm.unsettled(luma, points)
        apart = 0.0 if one.points is None else lm.disagreement(points, one.points)
        if doubt > lm.NO_FACE or apart > lm.APART or lm.overlap(box, one.box) < 0.35:
            refused.append(one.box)
            continue
        level = one.level if doubt <= lm.UNSURE else WEAK
        face = _Face(points, box, lm.patch(luma, points), interval, level, one.score)
        if config.embed and level >= STRONG:
            face.embedding = embedding(frame, points)
        found.append(face)
    return found, refused


def _covered(face: _Face, boxes: list[F32]) -> bool:
    """Was this face detected again, or found to have no usable landmarks any more? Then it is not carried."""
    square = lm.square_of(face.points)
    return any(lm.overlap(square, box) >= 0.4 for box in boxes)


def _carry(faces: list[_Face], luma: U8, oldest: int) -> list[_Face]:
    """Refit every face in the square of its last landmarks; drop those that are too old or no longer look the same."""
    height, width = luma.shape
    carried = []
    for face in faces:
        if face.born < oldest:
            continue
        box = lm.square_of(face.points)
        points = lm.fit(luma, box)
        if not lm.plausible(points, face.points, width, height):
            continue
        if float(lm.patch(luma, points) @ face.patch) < lm.KEEP_CORRELATION:
            continue
        carried.append(_Face(points, box, face.patch, face.born, REFIT, 0.0))
    return carried


def _merge(new: list[_Face], carried: list[_Face]) -> list[_Face]:
    """Detections replace carried faces; of two rows on one face the younger, then the surer is kept. An older face
    never displaces a younger one, so the past reaches back by at most `carry` intervals."""
    order = sorted([*new, *carried], key=lambda face: (-face.born, -face.level, -face.score, float(face.box[0])))
    kept: list[_Face] = []
    for face in order:
        if all(lm.overlap(lm.square_of(face.points), lm.square_of(other.points)) < 0.4 for other in kept):
            kept.append(face)
    return kept


def pack(seen: list[SeenFrame], embed: bool) -> RawTracks:
    """Rows of consecutive frames as arrays."""
    span = Span(seen[0].index, seen[-1].index + 1)
    rows = [(one.index, slot, face) for one in seen for slot, face in enumerate(one.faces)]
    count = len(rows)
    vectors = np.zeros((count, 128 if embed else 0), np.float32)
    for row, (_, _, face) in enumerate(rows):
        if face.embedding is not None:
            vectors[row] = face.embedding
    return RawTracks(
        span=span,
        frame=np.array([index for index, _, _ in rows], np.int32),
        slot=np.array([slot for _, slot, _ in rows], np.int32),
        level=np.array([face.level for _, _, face in rows], np.int8),
        score=np.array([face.score for _, _, face in rows], np.float32),
        box=np.array([face.box for _, _, face in rows], np.float32).reshape(count, 4),
        landmarks=np.array([face.points for _, _, face in rows], np.float32).reshape(count, 68, 2),
        embedding=vectors,
        shot=np.array([one.shot for one in seen], np.float32),
        cut=np.array([one.cut for one in seen], np.bool_),
        detected=sum(one.detected for one in seen),
    )
