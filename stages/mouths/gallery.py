"""A gallery: real mouths of the people of a part of a video, with what is needed to choose and to draw them.

At most MOST mouths, as small pictures of the lower face in the planes' own colour space: luma, and under it both chroma
planes beside each other, as one grey JPEG. So nothing is converted, and chroma is as fine as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from raydub.arrays import F32, F64, I32, U8, Bools
from raydub.media.frames import Frame
from raydub.stages.engine import Arrays
from raydub.stages.mouths.lying import is_lying, reach
from raydub.stages.mouths.shape import Fitted, Shape, fit
from raydub.stages.track.embed import SAME_PERSON
from raydub.stages.track.look import Looks

ALIKE = 0.85 * SAME_PERSON
"""Embeddings nearer than this are one person: wrong mouths are worse than few."""
MOST = 240
"""Mouths of a gallery: ten seconds of speech."""
QUALITY = 92
WIDEST = 448
"""Pixels of a stored picture's width at most."""


LEVELS = np.linspace(0.02, 0.98, 33)
"""Shares of the frames for which a person's quantiles are kept."""


@dataclass(frozen=True)
class Person:
    """One person. reference (68, 2): see shape.fit; identity: an embedding, (128,), or (0,) where nobody is told apart;
    openings (33,): quantiles of the opening at LEVELS in the frames that were read, spread its standard deviation;
    width: mean and standard deviation of the mouth's width; all in units of the reference."""

    reference: F64
    identity: F32
    openings: F64
    spread: float
    width: tuple[float, float]

    @property
    def range(self) -> float:
        """How far the mouth moves: from the 5 % to the 95 % quantile."""
        low, high = np.interp((0.05, 0.95), LEVELS, self.openings).tolist()
        return float(high - low)

    def numbers(self) -> F64:
        """All but reference and identity, (36,)."""
        return np.array((*self.openings, self.spread, *self.width))

    @staticmethod
    def of(reference: F64, identity: F32, numbers: F64) -> Person:
        """The inverse of numbers()."""
        n = len(LEVELS)
        return Person(
            reference, identity, numbers[:n], float(numbers[n]), (float(numbers[n + 1]), float(numbers[n + 2]))
        )


@dataclass(frozen=True)
class Picture:
    """A mouth's pixels. corner: (x, y) of its first pixel in the frame, even; scale: (x, y) pixels of the picture per
    pixel of the frame; y (h, w), u and v (h/2, w/2) float32 on the scale of the frame's bytes."""

    corner: tuple[int, int]
    scale: tuple[float, float]
    y: F32
    u: F32
    v: F32


@dataclass(frozen=True)
class Gallery:
    """n mouths, by person, frame. frame (n,) of the source; person (n,): number in people; strand (n,): mouths of one
    strand with consecutive frames follow each other; marks (n, 68, 2) frame pixels; look (n, LOOK); corner (n, 2),
    scale (n, 2): see Picture; pixels: the JPEGs, one after the other; ends (n,): where each ends."""

    people: tuple[Person, ...]
    frame: I32
    person: I32
    strand: I32
    marks: F32
    look: U8
    corner: I32
    scale: F32
    pixels: U8
    ends: I32

    def __len__(self) -> int:
        return len(self.frame)

    def arrays(self) -> dict[str, np.ndarray]:
        """In the form that is stored."""
        n, depth = len(self.people), len(self.people[0].identity) if self.people else 0
        return {
            "reference": np.array([person.reference for person in self.people]).reshape(n, 68, 2),
            "identity": np.array([person.identity for person in self.people], np.float32).reshape(n, depth),
            "numbers": np.array([person.numbers() for person in self.people]).reshape(n, len(LEVELS) + 3),
            **{name: getattr(self, name) for name in _ARRAYS},
        }

    @staticmethod
    def of(arrays: Arrays) -> Gallery:
        """The inverse of arrays()."""
        told = zip(arrays["reference"], arrays["identity"], arrays["numbers"], strict=True)
        people = tuple(Person.of(*(np.asarray(one) for one in person)) for person in told)
        kept: dict[str, Any] = {name: np.asarray(arrays[name]) for name in _ARRAYS}
        return Gallery(people, **kept)

    @staticmethod
    def empty() -> Gallery:
        """Nobody's."""
        none = np.zeros(0, np.int32)
        return Gallery(
            (),
            none,
            none,
            none,
            np.zeros((0, 68, 2), np.float32),
            Looks.none(),
            none.reshape(0, 2),
            np.zeros((0, 2), np.float32),
            np.zeros(0, np.uint8),
            none,
        )

    def who(self, identity: F32) -> I32:
        """(n,): the number of each of n faces (n, 128) among the people, -1 for none of them. All are the first where
        nobody is told apart."""
        n = len(identity)
        if not self.people:
            return np.full(n, -1, np.int32)
        if not identity.shape[1] or not len(self.people[0].identity):
            return np.zeros(n, np.int32)
        away = np.stack([np.sqrt(((identity - one.identity) ** 2).sum(axis=1)) for one in self.people], axis=1)
        known = identity.any(axis=1) & (away.min(axis=1) < ALIKE)
        return np.where(known, away.argmin(axis=1), -1).astype(np.int32)

    @cached_property
    def fitted(self) -> Fitted:
        """The mouths in units of their person's reference."""
        return Fitted.joined([fit(self.marks[self.person == k], one.reference) for k, one in enumerate(self.people)])

    @cached_property
    def shape(self) -> Shape:
        """Of each mouth."""
        return Shape.of(self.fitted.points)

    @cached_property
    def looks(self) -> Looks:
        """Of each mouth."""
        return Looks.of(self.look)

    def followers(self, step: int) -> I32:
        """(n,): the mouth `step` frames later (negative: earlier) of the same strand, -1 for none."""
        n = len(self)
        at = np.arange(n) + step
        inside = (at >= 0) & (at < n)
        found = np.where(inside, at, 0)
        follows: Bools = (self.frame[found] == self.frame + step) & (self.strand[found] == self.strand)
        return np.where(inside & follows, at, -1).astype(np.int32)

    def picture(self, mouth: int) -> Picture:
        """Decoded; 0.3 to 1.5 ms."""
        start = int(self.ends[mouth - 1]) if mouth else 0
        stored = cv2.imdecode(self.pixels[start : int(self.ends[mouth])], cv2.IMREAD_GRAYSCALE)
        whole = np.asarray(stored, np.float32)
        h = whole.shape[0] * 2 // 3
        half = whole.shape[1] // 2
        (x, y), (across, along) = self.corner[mouth].tolist(), self.scale[mouth].tolist()
        return Picture((x, y), (across, along), whole[:h], whole[h:, :half], whole[h:, half:])


_ARRAYS = ("frame", "person", "strand", "marks", "look", "corner", "scale", "pixels", "ends")


def stored(frame: Frame, marks: F32) -> tuple[U8, tuple[int, int], tuple[float, float]]:
    """(JPEG bytes, corner, scale) of the lower face with these landmarks (68, 2)."""
    u = float(np.hypot(*(marks[45] - marks[36])))
    low = np.minimum(marks[2:15].min(axis=0), marks[48:60].min(axis=0)) - 0.14 * u
    high = np.maximum(marks[2:15].max(axis=0), marks[48:60].max(axis=0)) + 0.14 * u
    low[1] = marks[29:36, 1].min() - 0.14 * u
    right = np.asarray((marks[45] - marks[36]) / max(u, 1e-6), np.float32)
    if is_lying(right):
        low, high = reach(marks[np.r_[2:15, 48:60]], marks[29:36], right, (0.14 * u, 0.14 * u, 0.14 * u))
    w, h = frame.size
    # sides of 4 pixels: halves of them are even, as a shrunk picture's chroma must be
    x0, y0 = (int(min(max(low[k], 0), side - 8)) // 2 * 2 for k, side in ((0, w), (1, h)))
    x1, y1 = (int(min(max(high[k], start + 8), side)) for k, side, start in ((0, w, x0), (1, h, y0)))
    wide, tall = (x1 - x0) // 4 * 4, (y1 - y0) // 4 * 4
    planes = [
        plane[y0 // part : (y0 + tall) // part, x0 // part : (x0 + wide) // part]
        for plane, part in ((frame.y, 1), (frame.u, 2), (frame.v, 2))
    ]
    scale = (1.0, 1.0)
    if wide > WIDEST:
        small = WIDEST, max(4, round(tall * WIDEST / wide / 4) * 4)
        scale = small[0] / wide, small[1] / tall
        half = small[0] // 2, small[1] // 2
        sizes = (small, half, half)
        planes = [
            np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA), np.uint8)
            for one, size in zip(planes, sizes, strict=True)
        ]
    whole = np.concatenate((planes[0], np.concatenate(planes[1:], axis=1)))
    done, data = cv2.imencode(".jpg", whole, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError(f"no JPEG of {whole.shape} pixels")
    return np.asarray(data, np.uint8).ravel(), (x0, y0), scale
