"""The face that is dubbed in every frame, by a windowed vote: it does not flicker, and does not depend on chunk
borders.

At frame t the candidates are the faces seen in at least half of the frames within ±VOTE of the same shot (or, without
any, those seen at t). The face that wins most frames within ±DWELL is taken. If it is not seen at t, the frame is
faceless: no other person's mouth is moved instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from raydub.arrays import F32, F64, I32, I64, Bools
from raydub.stages.track import landmarks as lm
from raydub.stages.track.chains import Chain
from raydub.stages.track.config import FaceChoice
from raydub.stages.track.embed import SAME_PERSON
from raydub.stages.track.raw import RawTracks
from raydub.stages.types import Span

VOTE = 12
DWELL = 4


def choose(chains: list[Chain], cut: Bools, span: Span, choice: FaceChoice, reference: F32 | None) -> I32:
    """(n,) int32: number of the chosen chain at every frame of span, −1 for none. cut: (n,) bool over the same span.
    reference: (128,) embedding, needed by the choice `reference`."""
    n = len(span)
    if not chains:
        return np.full(n, -1, np.int32)
    shots = np.cumsum(cut, dtype=np.int64)
    seen = dense(chains, span, [chain.valid.astype(np.float64) for chain in chains])
    centre = _window(dense(chains, span, [chain.centre * chain.valid for chain in chains]), shots)
    count = _window(seen, shots)
    frames = _window(np.ones((1, n)), shots)
    mean_centre = centre / np.maximum(count, 1.0)
    regular = 2 * count >= np.maximum(frames, 1.0)
    now = seen > 0
    area = _window(dense(chains, span, [chain.area * chain.valid for chain in chains]), shots) / np.maximum(count, 1.0)
    away = None if reference is None else _distances(chains, span, shots, reference)
    wanted = _wanted(choice, mean_centre, area, away)
    regular, now = regular & wanted.eligible, now & wanted.eligible
    first = _ranked(wanted, mean_centre, np.where(regular.any(axis=0), regular, now))
    winner = _majority(first, shots)
    here = (winner >= 0) & (seen[np.maximum(winner, 0), np.arange(n)] > 0)
    return np.where(here, winner, -1).astype(np.int32)


def choose_one(raw: RawTracks, choice: FaceChoice, reference: F32 | None) -> int | None:
    """The row of the chosen face in the raw track of a single frame, by the same rules; None without one. With the
    choices `all` and `active` it is the largest."""
    if not len(raw.frame):
        return None
    area, centre = lm.area_and_centre(raw.landmarks)
    away = None
    if reference is not None:
        known = (raw.embedding != 0).any(axis=1)
        away = np.where(known, np.linalg.norm(raw.embedding - reference, axis=1).astype(np.float64), np.inf)[:, None]
    wanted = _wanted(choice, centre[:, None], area[:, None], away)
    row = int(_ranked(wanted, centre[:, None], wanted.eligible)[0])
    return row if row >= 0 else None


class _Wanted(NamedTuple):
    """The criterion of a choice. value: (K, n), the smallest is taken first; eligible: (K, n), may the face be taken at
    all? rank: which of them in that order."""

    value: F64
    eligible: Bools
    rank: int


def _wanted(choice: FaceChoice, centre: F64, area: F64, away: F64 | None) -> _Wanted:
    """All of shape (K, n), for K faces at n moments. away: distance to the reference, inf where it is not known."""
    anybody = np.ones(centre.shape, np.bool_)
    if choice.kind == "reference":
        if away is None:
            raise ValueError("the choice `reference` needs the picture's embedding")
        return _Wanted(away, np.asarray(away < SAME_PERSON, np.bool_), 0)
    if choice.kind in ("largest", "all", "active"):
        return _Wanted(-area, anybody, 0)
    if choice.kind == "right":
        return _Wanted(-centre, anybody, 0)
    return _Wanted(centre, anybody, choice.index if choice.kind == "index" else 0)


def dense(chains: list[Chain], span: Span, values: list[F64]) -> F64:
    """(K, n) array with every chain's values at its frames, 0 elsewhere."""
    rows = np.zeros((len(chains), len(span)))
    for row, chain, value in zip(rows, chains, values, strict=True):
        row[chain.start - span.start : chain.start - span.start + len(chain)] = value
    return rows


def _window(rows: F64, shots: I64) -> F64:
    """Sums over ±VOTE frames of the same shot, added in a fixed order: the same bits wherever the array begins."""
    total = np.zeros_like(rows)
    for to, of, same in neighbours(shots, VOTE):
        total[:, to] += np.where(same, rows[:, of], 0.0)
    return total


def neighbours(shots: I64, reach: int) -> Iterator[tuple[slice, slice, Bools]]:
    """For each offset of -reach .. reach, in this order: (frames, the frames at that offset, are both in one shot?).
    shots: (n,) number of each frame's shot."""
    n = len(shots)
    for offset in range(-reach, reach + 1):
        to, of = slice(max(0, -offset), min(n, n - offset)), slice(max(0, offset), min(n, n + offset))
        if to.start < to.stop:
            yield to, of, shots[to] == shots[of]


def _distances(chains: list[Chain], span: Span, shots: I64, reference: F32) -> F64:
    """Mean distance to the reference over the embeddings in the window; infinite where there is none."""
    away = [
        np.linalg.norm(chain.embedding - reference, axis=1).astype(np.float64) * chain.has_embedding for chain in chains
    ]
    total = _window(dense(chains, span, away), shots)
    count = _window(dense(chains, span, [chain.has_embedding.astype(np.float64) for chain in chains]), shots)
    return np.where(count > 0, total / np.maximum(count, 1.0), np.inf)


def _ranked(wanted: _Wanted, centre: F64, candidates: Bools) -> I32:
    """Which candidate is wanted at every frame (ties: from the left), −1 where there are too few."""
    order = np.lexsort((np.where(candidates, centre, np.inf), np.where(candidates, wanted.value, np.inf)), axis=0)
    enough = candidates.sum(axis=0) > wanted.rank
    return np.where(enough, order[min(wanted.rank, len(order) - 1)], -1).astype(np.int32)


def _majority(first: I32, shots: I64) -> I32:
    """The most frequent winner within ±DWELL frames of the shot; the frame's own winner where it ties."""
    names = np.unique(first)
    votes = np.where(first == names[:, None], 0.5, 0.0)
    for to, of, same in neighbours(shots, DWELL):
        votes[:, to] += (first[of] == names[:, None]) & same
    return np.asarray(names[votes.argmax(axis=0)], np.int32)
