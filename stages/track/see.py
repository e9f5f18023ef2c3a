"""Finding the faces of every source frame: on which frames the detector runs, and how faces are carried in between.

Frames are cut into intervals of `config.step` frames by absolute number. The detector runs on the first frame of every
interval, its anchor. An interval is steady when the anchors at both of its ends clearly show the same faces, and no
shot begins in between; or when both show nobody and the picture stands still. In a steady interval landmarks carry the
faces from one anchor to the next; on the frames where the detector would have run, they count as seen. In all others it
also runs on every `every`-th frame. It runs on the first frame of a shot, and where a face of a steady interval is
lost, which ends the steadiness.

A face that the detector misses is carried for at most `carry` times `every` further frames, and ends as soon as its
pixels no longer look like the detected face. An older face never displaces a younger one, and steadiness is decided by
anchors, never by carried faces. So a frame depends on its own interval, the anchor after it and the interval before:
blocks computed separately, in any order, on any machine, are equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from raydub.arrays import F32, U8
from raydub.beat import beat
from raydub.media.frames import Frame
from raydub.stages.track import landmarks as lm
from raydub.stages.track.config import TrackConfig
from raydub.stages.track.detect import REFIT, STRONG, SURE, WEAK, Detector, Found, find_tilted
from raydub.stages.track.embed import embedding
from raydub.stages.track.landmarker import Fitted, make_landmarker
from raydub.stages.track.look import look_of
from raydub.stages.track.raw import Face, FrameSource, SeenFrame, Shots
from raydub.stages.types import Span

PEOPLE_EVERY = 30
"""With TrackConfig.people, frames whose number is a multiple of this ask who a face is: a multiple of the step, so that
the detector runs there."""
_STILL = 0.02
"""A picture stands still while no cell of its thumbnail changes by more than this share of white. Measured: below 0.01
for compressed slides; a face of a tenth of the frame's height that enters changes a cell by 0.1."""


@dataclass(frozen=True)
class _Look:
    """A frame, and what is known of it before faces are searched."""

    frame: Frame
    luma: U8
    thumbnail: F32
    shot: float
    cut: bool

    @property
    def index(self) -> int:
        return self.frame.index


@dataclass(frozen=True)
class _Detected:
    """What the detector found in a frame; refused: boxes without usable landmarks (profiles, wrong detections)."""

    faces: list[Face]
    refused: list[F32]


def see(source: FrameSource, detector: Detector, config: TrackConfig, span: Span, n_frames: int) -> Iterator[SeenFrame]:
    """The frames of `span` in order; it begins on a multiple of `config.step`. n_frames: of the source.

    Reads up to step + Shots.LOOK_BACK frames before the span and one after it, so that the outcome is the same wherever
    a run begins or ends. One interval of frames is in memory at a time.
    """
    first = max(0, span.start - (config.step if config.carry else 0))
    looks = _looks(source, first, min(n_frames, span.stop + 1))
    here = list(itertools.islice(looks, config.step))
    if not here:
        return
    seer = _Seer(detector, config)
    anchor = seer.detect(here[0])
    while here and here[0].index < span.stop:
        # Reading an interval ahead has a second use: consecutive fits, without decoding in between, find more of the
        # predictor's 100 MB in the processor's cache.
        following = next(looks, None)
        next_anchor = None if following is None else seer.detect(following)
        for seen in seer.interval(here, anchor, following, next_anchor):
            if span.start <= seen.index < span.stop:
                yield seen
        if following is None or next_anchor is None:
            return
        here, anchor = [following, *itertools.islice(looks, config.step - 1)], next_anchor


def _looks(source: FrameSource, first: int, stop: int) -> Iterator[_Look]:
    shots = Shots()
    for frame in source.frames(max(0, first - Shots.LOOK_BACK), stop):
        beat("track")
        luma = np.ascontiguousarray(frame.y)
        shot, cut = shots.next(luma)
        if frame.index >= first:
            yield _Look(frame, luma, shots.thumbnail, shot, cut)


class _Seer:
    """Follows faces through consecutive intervals."""

    def __init__(self, detector: Detector, config: TrackConfig) -> None:
        self._detector = detector
        self._landmarker = make_landmarker(config.landmarks)
        self._config = config
        self._faces: list[Face] = []

    def interval(
        self, here: list[_Look], anchor: _Detected, following: _Look | None, next_anchor: _Detected | None
    ) -> Iterator[SeenFrame]:
        """Results of the frames `here`, an interval whose first frame shows `anchor`; the one after it shows
        `next_anchor`."""
        every, first = self._config.every, here[0]
        born = first.index // every
        steady = (
            following is not None
            and next_anchor is not None
            and not any(look.cut for look in (*here[1:], following))
            and (_same(anchor, next_anchor) or (_nobody(anchor, next_anchor) and _still([*here, following])))
        )
        for look in here:
            detected: _Detected | None = None
            if look is first:
                detected = anchor
            elif look.cut or (look.index % every == 0 and not steady):
                detected = self.detect(look, fine=look.cut or (look.index - first.index) // every % 2 == 0)
            faces = self._next(look, detected)
            if steady and detected is None:
                followed = [face for face in faces if face.born == born]
                if len(followed) < len(anchor.faces):
                    steady = False
                    detected = self.detect(look)
                    faces = self._next(look, detected)
                elif look.index % every == 0:
                    faces = [replace(face, level=STRONG) if face.born == born else face for face in faces]
            self._faces = faces
            shown = [replace(face, look=look_of(look.frame, face.points)) for face in faces]
            yield SeenFrame(look.index, look.shot, look.cut, _from_left(shown), detected is not None)

    def detect(self, look: _Look, fine: bool = True) -> _Detected:
        """New faces of a frame; those that lie on their side are searched where no other is found, or with a thorough
        search, and where small faces are searched, too: it takes the detector's time twice."""
        faces, refused = self._fresh(look, self._detector.find(look.frame, fine), [], fine)
        if fine and self._config.tilted and (self._config.thorough or not faces):
            more, _ = self._fresh(look, find_tilted(self._detector, look.frame), faces, False)
            faces += more
            refused = [box for box in refused if not any(lm.overlap(box, face.box) >= lm.SAME_PLACE for face in more)]
        return _Detected(faces, refused)

    def _fresh(self, look: _Look, found: list[Found], known: list[Face], patient: bool) -> tuple[list[Face], list[F32]]:
        """The faces of detections, and the boxes of those that are none; `known` ones are not found again. A hurried
        look at tilted faces refuses none: they may be followed."""
        faces: list[Face] = []
        refused = []
        squares = [lm.square_of(face.points) for face in known]
        for one in found:
            if any(lm.overlap(one.box, square) >= lm.SAME_PLACE for square in squares):
                continue
            made = self._landmarker.fresh(look.frame, look.luma, one, patient)
            if made is None:
                if patient or not self._config.tilted:
                    refused.append(one.box)
                continue
            level, born = _level(one, made), look.index // self._config.every
            face = Face(made.points, made.box, lm.patch(look.luma, made.points), born, level, one.score, mesh=made.mesh)
            if level >= STRONG and (self._config.embed or (self._config.people and self._asks_who(look))):
                face.embedding = embedding(look.frame, made.points)
            faces.append(face)
            if made.mesh is not None:
                squares.append(lm.square_of(made.points))
        return faces, refused

    def _asks_who(self, look: _Look) -> bool:
        return look.cut or look.index % PEOPLE_EVERY == 0

    def _next(self, look: _Look, detected: _Detected | None) -> list[Face]:
        """The faces of the next frame: those detected, and those of the frame before that were not detected again."""
        found = [] if detected is None else detected.faces
        news = [] if detected is None else [*detected.refused, *(lm.square_of(face.points) for face in found)]
        continued = [] if look.cut else [face for face in self._faces if not _covered(face, news)]
        oldest = look.index // self._config.every - self._config.carry
        return _merge(found, self._carry(continued, look, oldest))

    def _carry(self, faces: list[Face], look: _Look, oldest: int) -> list[Face]:
        """Fit every face again from its last landmarks; drop those that are too old or no longer look the same."""
        height, width = look.luma.shape
        carried = []
        for face in faces:
            made = self._landmarker.follow(look.frame, look.luma, face) if face.born >= oldest else None
            if made is None or not lm.plausible(made.points, face.points, width, height):
                continue
            if float(lm.patch(look.luma, made.points) @ face.patch) < lm.KEEP_CORRELATION:
                continue
            carried.append(Face(made.points, made.box, face.patch, face.born, REFIT, 0.0, mesh=made.mesh))
        return carried


def _level(found: Found, made: Fitted) -> int:
    """Landmarks that are a second witness make a detection clearer by one level: tilted faces score low."""
    if not made.sure:
        return WEAK
    return found.level if made.mesh is None else min(found.level + 1, SURE)


def _same(before: _Detected, after: _Detected) -> bool:
    """Do two anchors show the same faces, each of them clear and near its place?"""
    if not before.faces or len(before.faces) != len(after.faces) or before.refused or after.refused:
        return False
    if any(face.level < STRONG for face in (*before.faces, *after.faces)):
        return False
    squares = [lm.square_of(face.points) for face in after.faces]
    return all(any(lm.overlap(lm.square_of(face.points), one) >= 0.35 for one in squares) for face in before.faces)


def _nobody(before: _Detected, after: _Detected) -> bool:
    return not (before.faces or before.refused or after.faces or after.refused)


def _still(looks: list[_Look]) -> bool:
    return all(float(np.abs(look.thumbnail - looks[0].thumbnail).max()) <= _STILL for look in looks[1:])


def _from_left(faces: list[Face]) -> tuple[Face, ...]:
    return tuple(sorted(faces, key=lambda face: (float(face.points[:, 0].mean()), float(face.points[:, 1].mean()))))


def _covered(face: Face, boxes: list[F32]) -> bool:
    """Was this face detected again, or found to have no usable landmarks any more? Then it is not carried."""
    square = lm.square_of(face.points)
    return any(lm.overlap(square, box) >= 0.4 for box in boxes)


def _merge(new: list[Face], carried: list[Face]) -> list[Face]:
    """Detections replace carried faces; of two rows on one face the younger, then the surer is kept. An older face
    never displaces a younger one, so the past reaches back by at most `carry` times `every` frames."""
    order = sorted([*new, *carried], key=lambda face: (-face.born, -face.level, -face.score, float(face.box[0])))
    kept: list[Face] = []
    for face in order:
        if all(lm.overlap(lm.square_of(face.points), lm.square_of(other.points)) < 0.4 for other in kept):
            kept.append(face)
    return kept
