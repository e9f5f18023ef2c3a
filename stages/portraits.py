"""The people in a video, by some of its frames, told apart by their faces, each with a portrait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from raydub.arrays import F32, U8
from raydub.media.frames import Frame, Transform, open_frames
from raydub.media.probe import probe_video
from raydub.media.yuv import to_bgr
from raydub.models.face_detectors import resolve_detector
from raydub.models.face_landmarks import resolve_landmarks
from raydub.stages.track.config import TrackConfig
from raydub.stages.track.embed import SAME_PERSON
from raydub.stages.track.landmarks import square_of
from raydub.stages.track.tracker import Tracker

_SIDE = 256
"""Pixels of a portrait's sides."""
_ROOM = 0.6
"""Margin on each side, as a share of the face's width: face detectors need some surroundings."""


@dataclass(eq=False)
class Person:
    """One person. seen: number of sampled frames with the person; ranks: positions among a frame's faces, 0 the
    leftmost; widths: of the face in pixels, one per frame; frame: that of the portrait; portrait: (256, 256, 3) uint8,
    BGR; embedding: the mean of what was seen, (128,)."""

    embedding: F32
    seen: int = 0
    ranks: set[int] = field(default_factory=set)
    widths: list[float] = field(default_factory=list)
    frame: int = -1
    portrait: U8 = field(default_factory=lambda: np.zeros((_SIDE, _SIDE, 3), np.uint8))

    @property
    def width(self) -> float:
        """The usual width of the face, in pixels."""
        return float(np.median(self.widths))

    def add(self, embedding: F32, rank: int, square: F32, frame: Frame) -> None:
        """Add another sighting."""
        self.embedding = np.asarray((self.embedding * self.seen + embedding) / (self.seen + 1), np.float32)
        self.seen += 1
        self.ranks.add(rank)
        width = float(square[2] - square[0])
        if width > max(self.widths, default=0.0):
            self.frame, self.portrait = frame.index, portrait_of(to_bgr(frame), square)
        self.widths.append(width)


@dataclass(frozen=True)
class People:
    """sampled: number of frames searched; most: the most faces in one of them; people: by their position in the
    picture, from the left."""

    sampled: int
    most: int
    people: tuple[Person, ...]


def find_people(video: str, samples: int = 40, detector: str = "auto") -> People:
    """Search `samples` frames, evenly spread, and tell the people in them apart. Raises InputError for a video that
    cannot be read, DependencyError for absent models."""
    info = probe_video(video)
    chosen = sorted({round(at) for at in np.linspace(0, info.n_frames - 1, min(samples, info.n_frames))})
    found_by = {"detector": resolve_detector(detector), "landmarks": resolve_landmarks()}
    tracker = Tracker(TrackConfig(**found_by, thorough=True, embed=True))
    people: list[Person] = []
    places: dict[int, list[float]] = {}
    most = 0
    with open_frames(info, Transform()) as reader:
        for frame in reader.frames_at(chosen):
            found = tracker.faces_of(frame)
            most = max(most, len(found.frame))
            squares = [square_of(points) for points in found.landmarks]
            for rank, person in enumerate(_recognised(people, found.embedding)):
                person.add(found.embedding[rank], rank, squares[rank], frame)
                places.setdefault(id(person), []).append(float(squares[rank][0] + squares[rank][2]))
    people.sort(key=lambda person: float(np.median(places[id(person)])))
    return People(len(chosen), most, tuple(people))


def _recognised(people: list[Person], embeddings: F32) -> list[Person]:
    """The person of each face of a frame; new people are added. Nobody is in a frame twice."""
    who: dict[int, Person] = {}
    near = [
        (float(np.linalg.norm(person.embedding - embedding)), row, person)
        for row, embedding in enumerate(embeddings)
        for person in people
    ]
    for away, row, person in sorted(near, key=lambda one: one[0]):
        if away < SAME_PERSON and row not in who and person not in who.values():
            who[row] = person
    for row, embedding in enumerate(embeddings):
        if row not in who:
            who[row] = Person(embedding)
            people.append(who[row])
    return [who[row] for row in range(len(embeddings))]


def portrait_of(picture: U8, square: F32) -> U8:
    """(256, 256, 3) of a picture (h, w, 3): a face in the square x0, y0, x1, y1, with its surroundings."""
    x0, y0, x1 = (float(side) for side in square[:3])
    room = (x1 - x0) * _ROOM
    side = round(x1 - x0 + 2 * room)
    left, top = round(x0 - room), round(y0 - room)
    edges = (max(0, -top), max(0, top + side - picture.shape[0]), max(0, -left), max(0, left + side - picture.shape[1]))
    wide = cv2.copyMakeBorder(picture, *edges, borderType=cv2.BORDER_REPLICATE)
    cut = wide[top + edges[0] : top + edges[0] + side, left + edges[2] : left + edges[2] + side]
    shrunk: Any = cv2.resize(cut, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA if side > _SIDE else cv2.INTER_CUBIC)
    return np.asarray(shrunk, np.uint8)


def sheet_of(people: Sequence[Person]) -> U8:
    """The portraits beside each other, each with its number, from 1."""
    tiles = []
    for number, person in enumerate(people, 1):
        caption = np.full((36, _SIDE, 3), 255, np.uint8)
        cv2.putText(caption, str(number), (8, 27), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 2, cv2.LINE_AA)
        tiles.append(np.concatenate([caption, person.portrait]))
    rows = [tiles[at : at + 6] for at in range(0, len(tiles), 6)]
    blank = np.full_like(tiles[0], 255)
    columns = len(rows[0])
    return np.concatenate([np.concatenate(row + [blank] * (columns - len(row)), axis=1) for row in rows])
