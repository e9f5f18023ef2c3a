"""Is it still the same person? Distances of dlib's face embedding."""

from __future__ import annotations

import numpy as np

from raydub.arrays import F32, I64
from raydub.media.frames import open_frames
from raydub.media.probe import probe_video
from raydub.stages.evaluate.seen import Seen
from raydub.stages.track.embed import SAME_PERSON, embedding

SAMPLES = 8
SPEAKING_SPREAD = 0.25
"""Mean distance among frames of a person who speaks (median of 25 clips, 0.14 to 0.43); a still picture has 0."""


def faces_of(seen: Seen) -> F32:
    """(k, 128) float32: embeddings of at most SAMPLES frames with a face, spread evenly."""
    there = np.flatnonzero(seen.present)
    chosen = there[spread(len(there), SAMPLES)]
    with open_frames(probe_video(str(seen.path))) as reader:
        found = [embedding(frame, seen.points[frame.index]) for frame in reader.frames_at(int(at) for at in chosen)]
    return np.stack(found) if found else np.zeros((0, 128), np.float32)


def spread(n: int, most: int) -> I64:
    """At most `most` of the numbers 0 .. n - 1, ascending, spread evenly."""
    return np.unique(np.linspace(0, n - 1, min(most, n)).astype(np.int64))


def identity(source: F32, drawn: F32, *, at_rest: bool = False) -> dict[str, float | None]:
    """at_rest: the source's face does not move, so that a speaking one is further from it than its frames are from each
    other; SPEAKING_SPREAD counts then.

    identity: mean distance of the drawn faces to those of the source, above identity_spread: that among the source's
    own. Each drawn frame is compared with the source's other frames, so that an unchanged film has 0."""
    n = min(len(source), len(drawn))
    if n < 2:
        return {"identity": None, "identity_spread": None}
    other = ~np.eye(n, dtype=bool)
    spread = float(np.linalg.norm(source[:n, None] - source[None, :n], axis=2)[other].mean())
    away = float(np.linalg.norm(drawn[:n, None] - source[None, :n], axis=2)[other].mean())
    usual = max(spread, SPEAKING_SPREAD) if at_rest else spread
    return {"identity": away - usual, "identity_spread": spread}


def same_person(one: F32, other: F32) -> bool:
    """Do two sets of embeddings show one person? Mean distance below dlib's own threshold. False for an empty set."""
    if not len(one) or not len(other):
        return False
    return bool(np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) < SAME_PERSON)
