"""The clock of the active speaker network, 25 ticks a second, beside the frames of a source of any rate."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from raydub.arrays import F64, I64
from raydub.models.light_asd import RATE
from raydub.stages.types import Span


@dataclass(frozen=True)
class Ticks:
    """Tick k is the moment (k + 1/2) / 25 s and shows the source frame whose time it falls into. rate: source frames a
    second; n_frames: of the source."""

    rate: Fraction
    n_frames: int

    @property
    def count(self) -> int:
        """Ticks that show a frame; at least one."""
        return max(1, self._edge(self.n_frames))

    def frames(self, ticks: Span) -> I64:
        """The frame that each tick shows; the last one for ticks after the end."""
        at = 2 * np.arange(ticks.start, ticks.stop, dtype=np.int64) + 1
        shown = at * self.rate.numerator // (2 * RATE * self.rate.denominator)
        return np.minimum(shown, self.n_frames - 1)

    def inner(self, ticks: Span) -> Span:
        """The frames whose middle lies within the time of these ticks: each frame in one of consecutive spans."""
        first, stop = (self._first(edge) for edge in ticks)
        return Span(min(first, self.n_frames), self.n_frames if ticks.stop >= self.count else min(stop, self.n_frames))

    def covering(self, span: Span) -> Span:
        """Ticks whose inner frames hold those of `span`."""
        place = [int(Fraction((2 * at + 1) * RATE, 2) / self.rate) for at in (span.start, span.stop - 1)]
        return Span(min(place[0], self.count - 1), min(place[1] + 1, self.count))

    def places(self, span: Span) -> F64:
        """(n,) the middles of frames, in ticks."""
        middles = (2 * np.arange(span.start, span.stop, dtype=np.int64) + 1) * (RATE * self.rate.denominator)
        return np.asarray(middles / (2 * self.rate.numerator) - 0.5, np.float64)

    def _edge(self, frame: int) -> int:
        """The first tick that shows this frame or a later one."""
        return -((1 - Fraction(2 * RATE * frame) / self.rate) // 2) if frame > 0 else 0

    def _first(self, tick: int) -> int:
        """The first frame whose middle does not lie before the tick's time."""
        return max(0, -((RATE - Fraction(2 * tick) * self.rate) // (2 * RATE)))
