"""Place the segments of a script: fit speech of any length into the time of its cue.

A cue whose speech is too long is fitted in steps, each only as far as needed: the engine speaks faster, within what
sounds natural; the sound is compressed at the same pitch, within a bound; it uses the gap before the next cue; and if
that is not enough, the policy decides: squeeze further, shift what follows, trim, or fail.

Cues of different speakers that overlap in the script may overlap. Others never do: a cue's room ends where the next one
of its speaker begins, and a gap is used up to the next cue of any speaker. All arithmetic is in samples; times of the
script are exact fractions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from heapq import heappop, heappush

from raydub.errors import Code, InputError
from raydub.tts.scripts.cue import shown
from raydub.tts.timing.placement import ENDLESS, Fit, Fitter, Placement, Policy, Speak, TimingLimits
from raydub.tts.types import Segment


def plan_timing(
    segments: Sequence[Segment],
    rate: int,
    total: int | None,
    policy: Policy,
    speak: Speak,
    limits: TimingLimits = TimingLimits(),  # noqa: B008 (frozen)
) -> tuple[Placement, ...]:
    """Placements of the segments, in their order.

    segments: by (start, number), all with times or none; rate: samples a second; total: samples of the output, beyond
    which nothing is heard, None for no end; speak: (segment, speed) → samples of its speech without silence around it,
    asked at speed 1 and at most once more at a higher one.

    Raises InputError SPEECH_OVERFLOW with the cue's number, its time, the excess and a hint.
    """
    if not segments:
        return ()
    if segments[0].start is None:
        return Untimed(rate, total, policy, speak, limits).placed(segments)
    return Timed(segments, rate, total, policy, speak, limits).placed()


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
        # Exact, so that overlaps in the script do not depend on the sample rate.
        self._script = [(_known(segment.start), _known(segment.end)) for segment in segments]
        self._same = self._next_of_same_speaker()
        # The end of each speaker's speech so far; those of cues that a later one may overlap, by the end of the cue;
        # and the first sample that all earlier cues leave free. Cues keep their order.
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
        # Under `shift` a cue may begin after the end of its room: it is then as fast as possible.
        room = max(1, limit - start)
        wanted = max(1, min(self._stops[index] - start, room))
        fit = self._fitter.fit(segment, wanted, room, squeeze=self._policy == "squeeze")
        if fit.length > room and shift:
            # It may run up to the end of the output, where even a shift has to squeeze.
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
        """A cue at or beyond the end, or without time before the next one of its speaker."""
        segment = self._segments[index]
        natural = self._fitter.natural(segment)
        if self._policy != "trim":
            raise self._overflow(index, natural)
        slot = (self._starts[index], self._stops[index])
        return Fit(natural, 1.0, natural, natural, False).placement(segment, min(start, self._end), natural, slot)

    def _free_from(self, index: int, asked: int) -> int:
        """The first sample at which the cue may start: after all cues that it does not overlap in the script."""
        while self._overlappable and self._overlappable[0][0] <= self._script[index][0]:
            self._free = max(self._free, heappop(self._overlappable)[1])
        # No cue starts before an earlier one.
        self._free = max(asked, self._free)
        start = self._free = max(self._free, self._own_stop.get(self._segments[index].speaker, 0))
        return start

    def _limit(self, index: int) -> int:
        """The end of the cue's room: the next cue of its speaker, the gap before the next cue of any speaker that it
        does not overlap in the script, or the end of the output."""
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
        cue = f"cue {segment.number} ({shown(segment.text, 40)}) at {times} s"
        others = [policy for policy in ("squeeze", "shift", "trim") if policy != self._policy]
        hint = f"shorten the text, or choose another overflow: {' or '.join(others)}"
        if self._starts[index] >= self._end:
            message = f"{cue} lies beyond {end}"
            hint = "length=audio extends the video, overflow=trim leaves such cues out"
        else:
            message = f"the speech of {cue} is {self._seconds(samples)} s too long, overflow={self._policy}"
            if self._policy == "shift" or self._limit(index) == self._end:
                message += f": it would run beyond {end}"
                hint = "shorten the text; length=audio extends the video, overflow=trim cuts the speech off"
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


class Untimed:
    """Segments without times: one after the other, at one pace."""

    def __init__(self, rate: int, total: int | None, policy: Policy, speak: Speak, limits: TimingLimits) -> None:
        self._rate, self._policy, self._limits = rate, policy, limits
        self._end = ENDLESS if total is None else total
        self._speak = speak
        self._fitter = Fitter(rate, speak, limits)

    def placed(self, segments: Sequence[Segment]) -> tuple[Placement, ...]:
        pauses = round(self._limits.pause * self._rate) * (len(segments) - 1)
        natural = [self._fitter.natural(segment) for segment in segments]
        fits = [Fit(length, 1.0, length, length, False) for length in natural]
        room = self._end - pauses
        if sum(natural) > room:
            fits = self._faster(segments, natural, room)
        too_long = sum(fit.length for fit in fits) - room
        if too_long > 0 and self._policy != "trim":
            raise InputError(
                Code.SPEECH_OVERFLOW,
                f"the speech of the script is {too_long / self._rate:.2f} s longer than the video, "
                f"overflow={self._policy}",
                hint="length=audio extends the video; overflow=trim cuts the speech off",
                field="overflow",
            )
        return self._in_order(segments, fits)

    def _faster(self, segments: Sequence[Segment], natural: Sequence[int], room: int) -> list[Fit]:
        """All of them at the same higher pace."""
        factor = sum(natural) / max(1, room)
        speed = min(factor, self._limits.speed)
        spoken = list(natural)
        if speed > 1:
            pairs = zip(segments, natural, strict=True)
            spoken = [min(length, max(1, self._speak(one, speed))) for one, length in pairs]
        shrink = max(1.0, sum(spoken) / max(1, room))
        squeezed = shrink > self._limits.stretch and self._policy == "squeeze"
        bound = self._limits.squeeze * sum(spoken) / sum(natural) if squeezed else self._limits.stretch
        shrink = min(shrink, max(1.0, bound))
        asked = [speed if length < before else 1.0 for length, before in zip(spoken, natural, strict=True)]
        return [
            # Rounded down: the sum must not be longer than the room.
            Fit(before, pace, length, max(1, int(length / shrink)), squeezed)
            for before, pace, length in zip(natural, asked, spoken, strict=True)
        ]

    def _in_order(self, segments: Sequence[Segment], fits: Sequence[Fit]) -> tuple[Placement, ...]:
        found: list[Placement] = []
        at = 0
        for segment, fit in zip(segments, fits, strict=True):
            room = max(0, self._end - at)
            cut = max(0, fit.length - room)
            start = min(at, self._end)
            found.append(fit.placement(segment, start, cut, (start, start + fit.length - cut)))
            at += fit.length + round(self._limits.pause * self._rate)
        return tuple(found)
