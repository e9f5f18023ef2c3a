"""The face that speaks in every frame, from scores of faces (track.active): windowed, so it does not depend on chunk
borders, and slow enough not to flicker.

1. A face speaks where the mean of its log odds within ±SMOOTH is above 0; pauses up to PAUSE count as speech, bursts
   below BURST do not.
2. Of several that speak at once, the one has the word whose lips fit the sound: the cheapest path through the faces,
   where a change costs CHANGE, over AROUND on both sides of blocks of BLOCK that lie on an absolute grid.
   Where nothing tells them apart, such as in silence, the larger face has it.
3. The word is kept where nobody speaks: through silence for HOLD after a face spoke, or else before it speaks; while
   somebody is heard whom no face speaks (a narrator, somebody out of the picture), for LINGER after and LEAD before.
4. Elsewhere nobody has the word, and no mouth may move.

Nothing of this crosses a shot cut. All times are in seconds.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from raydub.arrays import F32, F64, I32, I64, Bools
from raydub.stages.gate import RAMP
from raydub.stages.track.chains import Chain
from raydub.stages.track.choose import dense, neighbours
from raydub.stages.types import Span

SMOOTH, PAUSE, BURST = 0.2, 0.4, 0.3
BLOCK, AROUND = 0.5, 1.6
HOLD, LINGER, LEAD = 1.5, 0.4, 0.2
CHANGE = 12 / 25
"""Of a sum over time of correlations of opening and width (-2 to 2), in seconds."""
_TIE = 1e-4
"""Of the gain, for who comes first where nothing else tells faces apart, such as in silence."""
_SILENT, _ABSENT = -4.0, -8.0
"""Instead of the correlation, of faces that do not speak, or are not there."""
REACH = SMOOTH + PAUSE + BURST + BLOCK + AROUND + HOLD + 0.1
"""Seconds of scores before and after a frame that decide who speaks in it; with some room for rounding."""


def frames_of(seconds: float, rate: Fraction) -> int:
    """At least one."""
    return max(1, round(seconds * float(rate)))


def speakers(chains: list[Chain], cut: Bools, sounding: Bools, span: Span, rate: Fraction) -> tuple[I32, F32]:
    """For each frame of span: the number of the chain that has the word, or, where nobody has it, of the largest face,
    −1 for none; and how far its mouth may change, from 0 where it has not the word to 1, with half-open ends where the
    word passes from one face to another.

    cut, sounding: (n,) bool over span, see RawTracks.
    """
    n = len(span)
    if not chains:
        return np.full(n, -1, np.int32), np.zeros(n, np.float32)
    valid = dense(chains, span, [chain.valid.astype(np.float64) for chain in chains]) > 0
    speaks = dense(chains, span, [speech_of(chain, rate).astype(np.float64) for chain in chains]) > 0
    fitting = dense(chains, span, [np.nan_to_num(chain.speaking[:, 1]).astype(np.float64) for chain in chains])
    area = dense(chains, span, [chain.area * chain.valid for chain in chains])
    rank = _rank(area, dense(chains, span, [chain.centre for chain in chains]))
    gain = np.where(speaks, fitting * sounding, np.where(valid, _SILENT, _ABSENT)) + _TIE * rank
    word = _kept(_word(gain, speaks, cut, span, rate), valid, cut, sounding, rate)
    limit = np.where(word >= 0, np.float32(1), np.float32(0)).astype(np.float32)
    passes = np.flatnonzero((word[1:] != word[:-1]) & (word[1:] >= 0) & (word[:-1] >= 0) & ~cut[1:])
    limit[passes] = limit[passes + 1] = np.float32(1 / (RAMP + 1))
    anybody = np.where(valid.any(axis=0), np.where(valid, rank, -1.0).argmax(axis=0), -1)
    return np.where(word >= 0, word, anybody).astype(np.int32), limit


def _rank(area: F64, centre: F64) -> F64:
    """(K, n) from 0 to 1: the larger face of a frame first, of equal ones the left one. Never the order of chains,
    which depends on where the span begins."""
    largest = np.maximum(area.max(axis=0), 1.0)
    place = 1 - centre / np.maximum(centre.max(axis=0), 1.0)
    return np.asarray((area / largest + 1e-6 * place) / (1 + 1e-6), np.float64)


def speech_of(chain: Chain, rate: Fraction) -> Bools:
    """(m,) bool: the face speaks, by its own scores."""
    mean = _mean(chain, frames_of(SMOOTH, rate))
    on = np.asarray((mean > 0) & chain.valid, np.bool_)
    on |= ~_long(~on, frames_of(PAUSE, rate) + 1, ends=True) & chain.valid
    return on & _long(on, frames_of(BURST, rate), ends=False)


def _mean(chain: Chain, reach: int) -> F64:
    """(m,) mean of the known scores within ±reach, −inf without any; added in a fixed order."""
    odds = chain.speaking[:, 0]
    known = ~np.isnan(odds)
    values = np.where(known, odds, np.float32(0)).astype(np.float64)
    total, count = np.zeros(len(chain)), np.zeros(len(chain))
    for to, of, _ in neighbours(np.zeros(len(chain), np.int64), reach):
        total[to] += values[of]
        count[to] += known[of]
    return np.where(count > 0, total / np.maximum(count, 1), -np.inf)


def _long(mask: Bools, least: int, *, ends: bool) -> Bools:
    """The mask without runs shorter than `least`; with `ends`, runs at the first and the last frame stay."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    kept = np.zeros(len(mask), np.bool_)
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        at_end = ends and (start == 0 or stop == len(mask))
        kept[start:stop] = at_end or stop - start >= least
    return kept


def _word(gain: F64, speaks: Bools, cut: Bools, span: Span, rate: Fraction) -> I32:
    """(n,) who of those that speak has the word, −1 where nobody does. gain: (K, n), see CHANGE."""
    word = np.where(speaks.any(axis=0), np.where(speaks, gain, -np.inf).argmax(axis=0), -1).astype(np.int32)
    block, around, price = frames_of(BLOCK, rate), frames_of(AROUND, rate), CHANGE * float(rate)
    shots = np.cumsum(cut, dtype=np.int64)
    many = speaks.sum(axis=0) > 1
    for first in range(span.start // block * block, span.stop, block):
        inner = slice(max(0, first - span.start), min(first + block, span.stop) - span.start)
        if not many[inner].any():
            continue
        for shot in np.unique(shots[inner]).tolist():
            low, high = (int(edge) for edge in np.searchsorted(shots, [shot, shot + 1]))
            start, stop = max(low, first - around - span.start), min(high, first + block + around - span.start)
            here = slice(max(inner.start, low), min(inner.stop, high))
            path = _path(gain[:, start:stop], price)[here.start - start : here.stop - start]
            sure = speaks[path, np.arange(here.start, here.stop)]
            word[here] = np.where(sure, path, word[here])
    return word


def _path(gain: F64, price: float) -> I64:
    """(n,) the faces with the largest sum of gains (K, n), less the price of each change."""
    total = gain[:, 0].copy()
    came = np.zeros(gain.shape, np.int64)
    stay = np.arange(len(gain))
    for at in range(1, gain.shape[1]):
        best = int(total.argmax())
        changes = total[best] - price > total
        came[:, at] = np.where(changes, best, stay)
        total = np.where(changes, total[best] - price, total) + gain[:, at]
    path = np.zeros(gain.shape[1], np.int64)
    path[-1] = total.argmax()
    for at in range(gain.shape[1] - 1, 0, -1):
        path[at - 1] = came[path[at], at]
    return path


def _kept(word: I32, valid: Bools, cut: Bools, sounding: Bools, rate: Fraction) -> I32:
    """The word, kept by the face that had it last, then by the one that gets it next."""
    word, hold = word.copy(), frames_of(HOLD, rate)
    joined = ~cut[1:]
    for back, heard in ((True, frames_of(LINGER, rate)), (False, frames_of(LEAD, rate))):
        to, of = (slice(1, None), slice(None, -1)) if back else (slice(None, -1), slice(1, None))
        for step in range(1, hold + 1):
            who = word[of]
            free = (word[to] < 0) & (who >= 0) & joined & (~sounding[to] | (step <= heard))
            free &= valid[np.maximum(who, 0), np.arange(len(valid[0]))[to]]
            if not free.any():
                break
            word[to] = np.where(free, who, word[to])
    return word
