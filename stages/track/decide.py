"""From raw tracks to the faces that are dubbed: link, check, smooth, choose. Pure and windowed.

The decision at frame t reads raw frames within ±HALO of t and nothing else: 12 for links (chains.GAP + 2), 11 for
support and lip state, 5 for smoothing, then 12 + 4 for the choice. With no_face=hold another HOLD frames before t.
`halo(no_face)` says how much raw track a caller must supply on both sides; less is valid only at the ends of the
source.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from raydub.arrays import F32, I32
from raydub.stages.track.chains import GAP, SUPPORT, Chain, chains_of
from raydub.stages.track.choose import DWELL, VOTE, choose, dense
from raydub.stages.track.config import FaceChoice
from raydub.stages.track.look import LOOK
from raydub.stages.track.raw import RawTracks
from raydub.stages.track.speakers import speakers
from raydub.stages.types import FaceTrack, Span

LARGEST = FaceChoice()

HALO = (GAP + 2) + (SUPPORT + 1) + VOTE + DWELL
"""Frames before and after t that decide t's faces."""
WHO = HALO - (GAP + 2)
"""An embedding tells who a face is for so many frames before and after it."""
HOLD = 24
"""no_face=hold carries the last box for at most this many frames, and never across a shot cut; after that the frame is
faceless. A longer hold would draw a mouth on something else."""


def halo(no_face: str = "keep") -> int:
    """Frames of raw track needed on each side of the frames asked for."""
    return HALO + HOLD if no_face == "hold" else HALO


def decide(
    raw: RawTracks,
    span: Span,
    choices: FaceChoice | Sequence[FaceChoice] = LARGEST,
    *,
    no_face: str = "keep",
    smooth: bool = True,
    references: Sequence[F32 | None] = (),
    rate: Fraction | None = None,
) -> list[FaceTrack]:
    """The chosen faces over the source frames `span`: one FaceTrack per choice, or for the choice `all`, which stands
    alone, one per face in a frame.

    raw must cover span widened by halo(no_face), clipped to the source. With `all`, track k holds the k-th face from
    the left of every frame (persons may change tracks; nothing that is smoothed or remembered crosses from one to the
    other); there is always at least one track. Landmarks and boxes are of the raw track where smooth is False.
    no_face: "hold" fills frames without the face from the last one with it (see HOLD); any other value leaves them out.
    references: by choice, (128,) float32 of embed.reference_embedding where it is `reference`. rate: frames a second,
    for the choice `active`, whose tracks have a limit and need scores in raw (track.active) within track.speakers.REACH
    seconds more.
    """
    if span.start < raw.span.start or span.stop > raw.span.stop:
        raise ValueError(f"raw tracks of {raw.span} do not cover {span}")
    chains = chains_of(raw, smooth)
    asked = [choices] if isinstance(choices, FaceChoice) else list(choices)
    hold = no_face == "hold"
    if asked[0].kind == "all":
        return [_track(chains, raw, span, one, hold=hold) for one in _from_left(chains, raw.span)]
    tracks = []
    for choice, reference in zip(asked, [*references, *[None] * len(asked)], strict=False):
        limit = None
        if choice.kind == "active":
            if rate is None:
                raise ValueError("the choice `active` needs the source's rate")
            chosen, limit = speakers(chains, raw.cut, raw.sounding, raw.span, rate)
        else:
            chosen = choose(chains, raw.cut, raw.span, choice, reference)
        tracks.append(_track(chains, raw, span, chosen, hold=hold, limit=limit))
    return tracks


def _from_left(chains: list[Chain], span: Span) -> list[I32]:
    """For k = 0, 1, ..: the chain that is the k-th from the left at every frame of span, −1 for none."""
    if not chains:
        return [np.full(len(span), -1, np.int32)]
    seen = dense(chains, span, [chain.valid.astype(np.float64) for chain in chains]) > 0
    centre = np.where(seen, dense(chains, span, [chain.centre for chain in chains]), np.inf)
    order = np.argsort(centre, axis=0, kind="stable")
    many = seen.sum(axis=0)
    return [np.where(many > k, order[k], -1).astype(np.int32) for k in range(max(1, int(many.max())))]


def _track(
    chains: list[Chain], raw: RawTracks, span: Span, chosen: I32, *, hold: bool, limit: F32 | None = None
) -> FaceTrack:
    n = len(span)
    track = FaceTrack(
        span=span,
        present=np.zeros(n, np.bool_),
        box=np.zeros((n, 4), np.float32),
        landmarks=np.zeros((n, 68, 2), np.float32),
        lips_open=np.zeros(n, np.bool_),
        held=np.zeros(n, np.bool_),
        look=np.zeros((n, LOOK), np.uint8),
        identity=np.zeros((n, raw.embedding.shape[1]), np.float32),
        limit=np.zeros(0 if limit is None else n, np.float32),
    )
    who = [_identity(chain) for chain in chains]
    shots = np.cumsum(raw.cut)
    last = -HOLD - 1
    first, stop = span.start - raw.span.start, span.stop - raw.span.start
    for at in range(max(0, first - HOLD) if hold else first, stop):
        if chosen[at] >= 0:
            last = at
        elif not hold or at - last > HOLD or shots[at] != shots[last]:
            continue
        row = at + raw.span.start - span.start
        if row < 0:
            continue
        chain = chains[chosen[last]]
        here = last + raw.span.start - chain.start
        track.present[row] = True
        track.held[row] = last != at
        track.box[row] = chain.box[here]
        track.landmarks[row] = chain.landmarks[here]
        track.lips_open[row] = chain.lips[here]
        track.look[row] = chain.look[here]
        track.identity[row] = who[chosen[last]][here]
        if limit is not None:
            track.limit[row] = limit[last]
    return track


def _identity(chain: Chain) -> F32:
    """(m, 128): at each frame the nearest embedding of the chain, the earlier of two; zeros if none is near enough."""
    known = np.flatnonzero(chain.has_embedding)
    if not len(known):
        return np.zeros_like(chain.embedding)
    away = np.abs(np.arange(len(chain))[:, None] - known[None, :])
    nearest = away.argmin(axis=1)
    near = away[np.arange(len(chain)), nearest] <= WHO
    return np.asarray(chain.embedding[known[nearest]] * near[:, None], np.float32)
