"""Segments without times onto the timeline: one after the other, at one pace."""

from __future__ import annotations

from collections.abc import Sequence

from raydub.errors import Code, InputError
from raydub.tts.fit import Fit, Fitter
from raydub.tts.placement import ENDLESS, Placement, Policy, Speak, TimingLimits
from raydub.tts.types import Segment


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
                hint="length=audio lets the picture go on; overflow=trim cuts the speech off",
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
