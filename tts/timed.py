"""Cues with times onto the timeline, one after the other, each in the room that the script leaves it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from heapq import heappop, heappush

from raydub.errors import Code, InputError
from raydub.tts.fit import Fit, Fitter
from raydub.tts.placement import ENDLESS, Placement, Policy, Speak, TimingLimits
from raydub.tts.types import Segment

_SHOWN = 40


class Timed:
    """Cues with times."""

    def __init__(
        self,
        segments: Sequence[Segment],
        rate: int,
        total: int | None,
        policy: Policy,
        speak: Speak,
        limits: TimingLimits,
    ) -> None:
        self._segments, self._rate, self._policy = segments, rate, policy
        self._end = ENDLESS if total is None else total
        self._fitter = Fitter(rate, speak, limits)
        self._gap = round(limits.gap * rate)
        self._starts = [_samples(segment.start, rate) for segment in segments]
        self._stops = [_samples(segment.end, rate) for segment in segments]
        # Exact: what overlaps in the script is not a matter of the sample rate.
        self._script = [(_known(segment.start), _known(segment.end)) for segment in segments]
        self._same = self._next_of_same_speaker()
        # Where each speaker's speech so far stops; that of the cues that a later one may still overlap, by the stop of
        # the cue; and the first sample that all before leave free, whose order is kept.
        self._own_stop: dict[str, int] = {}
        self._overlappable: list[tuple[Fraction, int]] = []
        self._free = 0

    def placed(self) -> tuple[Placement, ...]:
        return tuple(self._place(index) for index in range(len(self._segments)))

    def _place(self, index: int) -> Placement:
        segment, asked = self._segments[index], self._starts[index]
        start, limit = self._free_from(index, asked), self._limit(index)
        shift = self._policy == "shift"
        if asked >= self._end or start >= (self._end if shift else limit):
            return self._without_room(index, start)
        # Under `shift` a cue may begin later than its room ends: it then hurries as much as it can.
        room = max(1, limit - start)
        wanted = max(1, min(self._stops[index] - start, room))
        fit = self._fitter.fit(segment, wanted, room, squeeze=self._policy == "squeeze")
        if fit.length > room and shift:
            # It runs on, up to the end of all: there even a shift has to squeeze.
            room = self._end - start
            if fit.length > room:
                fit = self._fitter.fit(segment, wanted, room, squeeze=True)
        cut = max(0, fit.length - room)
        if cut and self._policy != "trim":
            raise self._overflow(index, cut)
        return self._settled(index, start, fit, cut)

    def _settled(self, index: int, start: int, fit: Fit, cut: int) -> Placement:
        length = fit.length - cut
        stop = start + length
        shifted, borrowed = start - self._starts[index], max(0, stop - max(self._stops[index], start))
        speaker = self._segments[index].speaker
        self._own_stop[speaker] = max(stop, self._own_stop.get(speaker, 0))
        heappush(self._overlappable, (self._script[index][1], stop))
        slot = (self._starts[index], self._stops[index])
        return fit.placement(self._segments[index], start, cut, slot, borrowed, shifted)

    def _without_room(self, index: int, start: int) -> Placement:
        """A cue at or beyond the end, or wholly under the next one of its speaker."""
        segment = self._segments[index]
        natural = self._fitter.natural(segment)
        if self._policy != "trim":
            raise self._overflow(index, natural)
        slot = (self._starts[index], self._stops[index])
        return Fit(natural, 1.0, natural, natural, False).placement(segment, min(start, self._end), natural, slot)

    def _free_from(self, index: int, asked: int) -> int:
        """The first sample at which the cue may be heard: after all that it did not overlap in the script."""
        while self._overlappable and self._overlappable[0][0] <= self._script[index][0]:
            self._free = max(self._free, heappop(self._overlappable)[1])
        # Nobody begins before somebody whose cue came first.
        self._free = max(asked, self._free)
        start = self._free = max(self._free, self._own_stop.get(self._segments[index].speaker, 0))
        return start

    def _limit(self, index: int) -> int:
        """Where the cue's room ends: at the next cue of its speaker, before the next one of anybody that it does not
        overlap in the script, and at the end of all."""
        return min(self._end, self._same[index], self._before_next(index))

    def _before_next(self, index: int) -> int:
        stop = self._stops[index]
        at = bisect_left(self._script, (self._script[index][1],), lo=index + 1)
        if at == len(self._starts):
            return ENDLESS
        return max(stop, self._starts[at] - self._gap)

    def _next_of_same_speaker(self) -> list[int]:
        following: dict[str, int] = {}
        found = [ENDLESS] * len(self._segments)
        for index in range(len(self._segments) - 1, -1, -1):
            speaker = self._segments[index].speaker
            found[index] = following.get(speaker, ENDLESS)
            following[speaker] = self._starts[index]
        return found

    def _overflow(self, index: int, samples: int) -> InputError:
        segment, end = self._segments[index], f"the end at {self._seconds(self._end)} s"
        times = " to ".join(f"{float(at):.3f}" for at in (segment.start, segment.end) if at is not None)
        cue = f"cue {segment.number} ({_short(segment)}) at {times} s"
        others = [policy for policy in ("squeeze", "shift", "trim") if policy != self._policy]
        hint = f"shorten the text, or choose another overflow: {' or '.join(others)}"
        if self._starts[index] >= self._end:
            message = f"{cue} lies beyond {end}"
            hint = "length=audio lets the picture go on, overflow=trim leaves such cues out"
        else:
            message = f"the speech of {cue} is {self._seconds(samples)} s too long, overflow={self._policy}"
            if self._policy == "shift" or self._limit(index) == self._end:
                message += f": it would run beyond {end}"
                hint = "shorten the text; length=audio lets the picture go on, overflow=trim cuts the speech off"
            elif self._limit(index) <= self._starts[index]:
                message += ": the next cue begins at the same time"
        return InputError(Code.SPEECH_OVERFLOW, message, hint=hint, field="overflow")

    def _seconds(self, samples: int) -> str:
        return f"{samples / self._rate:.2f}"


def _known(seconds: Fraction | None) -> Fraction:
    assert seconds is not None  # all segments have times, or none
    return seconds


def _samples(seconds: Fraction | None, rate: int) -> int:
    return round(_known(seconds) * rate)


def _short(segment: Segment) -> str:
    text = segment.text
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..")
