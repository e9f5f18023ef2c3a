"""Raw tracks: the faces of every source frame, before any decision, as arrays; and where shots begin.

Computed by track.see, once per source; cached by track.cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from raydub.arrays import F32, I32, U8, Bools
from raydub.media.frames import Frame
from raydub.models.face_landmarks import LandmarksName
from raydub.stages.track.look import LOOK
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
    look: (R, LOOK) uint8 (see track.look), or (0, LOOK) where none were taken.
    shot: (n,) float32, shot score of every frame of the span; cut: (n,) bool, the frame starts a new shot (see Shots).
    detected: frames on which the detector ran to make this object (0 when all of it came from the cache); by: what
    found the landmarks, by which they are smoothed. speaking: (R, 2) float32, log odds that the face speaks and how
    well its lips fit the sound (track.fits), NaN where they are not known; sounding: (n,) bool, speech is heard in the
    source's own sound. Both are added by track.active, and have no rows elsewhere.
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
    look: U8 = field(default_factory=lambda: np.zeros((0, LOOK), np.uint8))
    by: LandmarksName = "dlib"
    speaking: F32 = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    sounding: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))


@dataclass
class Face:
    """A tracked face. `born` is the number of the interval of its detection (frame // every), `patch` its pixels
    then; mesh: (468, 3), all points of landmarks that have more than 68."""

    points: F32
    box: F32
    patch: F32
    born: int
    level: int
    score: float
    embedding: F32 | None = None
    look: U8 | None = None
    mesh: F32 | None = None


@dataclass(frozen=True)
class SeenFrame:
    """One frame's result: shot score, faces from left to right, and whether the detector ran."""

    index: int
    shot: float
    cut: bool
    faces: tuple[Face, ...]
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
        self.thumbnail: F32 = np.zeros((18, 32), np.float32)
        self._before: F32 | None = None
        self._last = 0.0

    def next(self, luma: U8) -> tuple[float, bool]:
        """(shot score, does a shot begin?) of the next frame; (0, no) for the first."""
        now = thumbnail(luma)
        score = 0.0 if self._before is None else shot_score(self._before, now)
        cut = score > SURE_CUT or (score > CUT and score > 2 * self._last)
        self.thumbnail = self._before = now
        self._last = score
        return score, cut


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
        look=np.array([face.look for _, _, face in rows if face.look is not None], np.uint8).reshape(-1, LOOK),
    )
