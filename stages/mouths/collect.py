"""Making a gallery: which frames of a part of a video are read, whose mouths they show, which of them are kept.

A part's frames are read in a bounded number of blocks, evenly spread. Mouths that are blurred, covered, of the wrong
colour or making faces are left out; what stays is cut into short runs of consecutive frames, and those runs are kept
that together come nearest to all shapes and poses that were seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from raydub.arrays import F32, F64, I32, I64, U8, Bools
from raydub.media.frames import Frame
from raydub.models.face_landmarks import LandmarksName
from raydub.stages.engine import even_positions
from raydub.stages.mouths.fitness import SMALLEST, usable
from raydub.stages.mouths.gallery import ALIKE, LEVELS, MOST, Gallery, Person, stored
from raydub.stages.mouths.shape import Fitted, Shape, fit, reference_of
from raydub.stages.track.embed import SAME_PERSON
from raydub.stages.track.look import LOOK
from raydub.stages.types import FaceTrack, Span

BLOCKS = 10
"""Blocks of a part that are read at most."""
RUN = 20
"""Frames of a run."""
SHORTEST_RUN = 6
FEWEST = 20
"""A person seen in fewer usable frames has no gallery."""
MOVES: Mapping[LandmarksName, float] = {"dlib": 0.045, "mesh": 0.022}
"""Units between the 5 % and 95 % quantiles of the opening, by what finds the landmarks: who moves less has no mouths
to offer. The mesh's openings are 0.4 to 0.85 times dlib's, and its lips tremble a third as much (bench/NOTES.md)."""
_JUMP = 0.3
"""Units: landmarks that move further from one frame to the next are another face, or another shot."""


class MouthSource(Protocol):
    """What a gallery is made of."""

    def faces(self, block: Span) -> tuple[list[FaceTrack], Bools]:
        """The tracks of all faces whose mouths may be used, over a block; (n,) bool: a new shot starts."""
        ...

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        """Frames start .. stop - 1."""
        ...


@dataclass(frozen=True)
class _Seen:
    """N sightings by (track, frame): arrays as in FaceTrack; strand (N,): see Gallery."""

    frame: I64
    marks: F32
    look: U8
    identity: F32
    strand: I64

    def rows(self, chosen: Bools | I64) -> _Seen:
        return _Seen(
            self.frame[chosen], self.marks[chosen], self.look[chosen], self.identity[chosen], self.strand[chosen]
        )


def collect(source: MouthSource, blocks: list[Span], landmarks: LandmarksName) -> Gallery:
    """The gallery of a part of the video that consists of `blocks`, of which at most BLOCKS are read (twice).
    landmarks: what finds those of the source. Raises what the source raises."""
    chosen = [blocks[at] for at in even_positions(BLOCKS, len(blocks))]
    seen = _sightings(source, chosen)
    people: list[Person] = []
    kept: list[I64] = []
    person: list[int] = []
    room = MOST
    for one in _people(seen):
        sightings = seen.rows(one)
        reference = reference_of(sightings.marks)
        fitted = fit(sightings.marks, reference)
        good = usable(fitted, sightings.look)
        if good.sum() < FEWEST:
            continue
        who = _person(reference, fitted, sightings, good)
        if who.range < MOVES[landmarks]:
            continue
        share = max(MOST // 4, round(MOST * len(one) / len(seen.frame)))
        for at in _covering(_runs(sightings, good), fitted, who, min(room, share)):
            kept.append(one[at])
            person.append(len(people))
            room -= len(at)
        people.append(who)
    if not kept:
        return Gallery.empty()
    rows = np.concatenate(kept)
    whose = np.repeat(person, [len(run) for run in kept])
    order = np.lexsort((seen.frame[rows], whose))
    return _stored(source, seen.rows(rows[order]), whose[order], tuple(people))


def _sightings(source: MouthSource, blocks: list[Span]) -> _Seen:
    found: dict[int, list[tuple[I64, F32, U8, F32]]] = {}
    cuts: list[I64] = [np.zeros(0, np.int64)]
    for block in blocks:
        tracks, cut = source.faces(block)
        cuts.append(np.flatnonzero(cut) + block.start)
        for number, track in enumerate(tracks):
            rows = np.flatnonzero(track.present & ~track.held)
            look = track.look[rows] if len(track.look) else np.zeros((len(rows), LOOK), np.uint8)
            who = track.identity[rows] if len(track.identity) else np.zeros((len(rows), 0), np.float32)
            found.setdefault(number, []).append((rows + block.start, track.landmarks[rows], look, who))
    if not found:
        none = np.zeros(0, np.int64)
        nobody = np.zeros((0, 0), np.float32)
        return _Seen(none, np.zeros((0, 68, 2), np.float32), np.zeros((0, LOOK), np.uint8), nobody, none)
    parts: list[tuple[I64, F32, U8, F32]] = []
    strands: list[I64] = []
    shots = np.concatenate(cuts)
    last = 0
    for number in sorted(found):
        frame, marks, look, who = (np.concatenate(values) for values in zip(*found[number], strict=True))
        u = np.maximum(np.hypot(*(marks[:, 45] - marks[:, 36]).T), 1e-3)
        moved = np.abs(np.diff(marks.mean(axis=1), axis=0)).max(axis=1) / u[1:]
        others = (np.diff(frame) != 1) | (moved > _JUMP) | np.isin(frame[1:], shots) | _another(who)
        begins = np.concatenate((np.ones(min(len(frame), 1), np.bool_), np.asarray(others, np.bool_)))
        strands.append(np.cumsum(begins) + last)
        last += int(begins.sum())
        parts.append((frame, marks, look, who))
    frame, marks, look, who = (np.concatenate(values) for values in zip(*parts, strict=True))
    return _Seen(frame, marks, look, who, np.concatenate(strands))


def _another(who: F32) -> Bools:
    """(n - 1,) bool for embeddings (n, d): the row after is another person, in a dissolve or where faces cross."""
    known = np.asarray(who.any(axis=1), np.bool_)
    away = np.sqrt((np.diff(who, axis=0) ** 2).sum(axis=1))
    return np.asarray(known[1:] & known[:-1] & (away >= SAME_PERSON), np.bool_)


def _people(seen: _Seen) -> list[I64]:
    """The rows of each person, the one seen most first."""
    large = np.hypot(*(seen.marks[:, 45] - seen.marks[:, 36]).T) >= SMALLEST if len(seen.frame) else np.zeros(0, bool)
    if not seen.identity.shape[1]:
        return [np.flatnonzero(large)] if large.any() else []
    people: list[tuple[F64, list[I64]]] = []
    strands = [np.flatnonzero(large & (seen.strand == number)) for number in np.unique(seen.strand)]
    for rows in sorted(strands, key=lambda one: (-len(one), int(one[0]) if len(one) else 0)):
        known = seen.identity[rows].any(axis=1)
        if not known.any():
            continue
        mean = seen.identity[rows[known]].astype(np.float64).mean(axis=0)
        away = [float(np.linalg.norm(mean - centre)) for centre, _ in people]
        if away and min(away) < ALIKE:
            people[int(np.argmin(away))][1].append(rows)
        else:
            people.append((mean, [rows]))
    found = [np.sort(np.concatenate(rows)) for _, rows in people]
    return sorted(found, key=lambda rows: (-len(rows), int(rows[0])))


def _person(reference: F64, fitted: Fitted, seen: _Seen, good: Bools) -> Person:
    shape = Shape.of(fitted.points[good])
    known = seen.identity.any(axis=1) if seen.identity.shape[1] else np.zeros(0, bool)
    who = seen.identity[known].mean(axis=0) if known.any() else seen.identity[:0].reshape(-1)
    openings = np.quantile(shape.opening, LEVELS)
    spread = max(float(shape.opening.std()), 1e-3)
    width = float(shape.width.mean()), max(float(shape.width.std()), 1e-3)
    return Person(reference, np.asarray(who, np.float32), openings, spread, width)


def _runs(seen: _Seen, good: Bools) -> list[I64]:
    """Rows of consecutive usable frames of one strand, in pieces of about RUN frames."""
    rows = np.flatnonzero(good)
    breaks = np.flatnonzero((np.diff(seen.frame[rows]) != 1) | (np.diff(seen.strand[rows]) != 0)) + 1
    runs = []
    for whole in np.split(rows, breaks):
        pieces = np.array_split(whole, max(1, round(len(whole) / RUN)))
        runs += [piece for piece in pieces if len(piece) >= SHORTEST_RUN]
    return runs


def _covering(runs: list[I64], fitted: Fitted, who: Person, room: int) -> list[I64]:
    """Runs of together at most `room` frames, chosen one by one: each time the one that brings all frames nearest to
    what is kept."""
    shape, pose = Shape.of(fitted.points), fitted.pose
    space = np.stack(
        (shape.opening / who.spread, 0.7 * shape.width / who.width[1], pose.yaw / 6, pose.pitch / 6), axis=1
    )
    goal = np.concatenate([space[run] for run in runs]) if runs else space[:0]
    near = np.full(len(goal), 1e6)
    # of each run: the squared distance of every frame from the run
    away = [((goal[:, None] - space[run][None]) ** 2).sum(axis=-1).min(axis=1) for run in runs]
    left, kept = list(range(len(runs))), []
    while left:
        best = min(left, key=lambda one: (float(np.minimum(near, away[one]).sum()), one))
        left.remove(best)
        if len(runs[best]) > room:
            continue
        room -= len(runs[best])
        near = np.minimum(near, away[best])
        kept.append(runs[best])
    return kept


def _stored(source: MouthSource, seen: _Seen, person: I64, people: tuple[Person, ...]) -> Gallery:
    data: list[U8] = [np.zeros(0, np.uint8)] * len(person)
    corner, scale = np.zeros((len(person), 2), np.int32), np.zeros((len(person), 2), np.float32)
    frames = np.unique(seen.frame)
    for run in np.split(frames, np.flatnonzero(np.diff(frames) != 1) + 1):
        for frame in source.frames(int(run[0]), int(run[-1]) + 1):
            for row in np.flatnonzero(seen.frame == frame.index).tolist():
                data[row], corner[row], scale[row] = stored(frame, seen.marks[row])
    ends: I32 = np.cumsum([len(one) for one in data]).astype(np.int32)
    return Gallery(
        people,
        seen.frame.astype(np.int32),
        person.astype(np.int32),
        seen.strand.astype(np.int32),
        seen.marks,
        seen.look,
        corner,
        scale,
        np.concatenate(data),
        ends,
    )
