"""The placement of a segment, the limits of fitting, and the steps: the engine speaks faster, then its sound is
compressed, then squeezed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal

from raydub.tts.types import Segment

Policy = Literal["squeeze", "shift", "trim", "fail"]
Speak = Callable[[Segment, float], int]
"""(segment, speed) → samples of its speech without silence around it."""
ENDLESS = 1 << 62
"""The end of a timeline that has none."""


@dataclass(frozen=True)
class TimingLimits:
    """speed: the engine's fastest natural speed; stretch: the factor by which its sound may be compressed in addition;
    squeeze: the total factor, from the normal pace, that the policy squeeze may use; gap: seconds kept free before a
    cue that must not be overlapped; pause: seconds between segments without times; tolerance: seconds by which a faster
    engine may miss its time, if there is room, before its sound is compressed: engines are not exact, and a compression
    of a hundredth is audible and gains nothing."""

    speed: float = 1.25
    stretch: float = 1.15
    squeeze: float = 2.5
    gap: float = 0.06
    pause: float = 0.25
    tolerance: float = 0.03


@dataclass(frozen=True)
class Placement:
    """One segment on the timeline, in samples. start, length: what is heard, length 0 for a segment that is left out;
    natural: its speech at the engine's normal pace; speed: asked of the engine, which then gave `spoken` samples;
    stretch: the factor by which these are compressed to length + cut; cut: samples left out at the end; slot_start,
    slot_stop: the cue's own time; borrowed: samples heard after it; shifted: samples by which it starts later than the
    cue; actions: what was done, of "fits", "faster", "stretched", "borrowed", "squeezed", "shifted", "trimmed"."""

    segment: Segment
    start: int
    length: int
    natural: int
    speed: float
    spoken: int
    stretch: float
    cut: int
    slot_start: int
    slot_stop: int
    borrowed: int = 0
    shifted: int = 0
    actions: tuple[str, ...] = field(default=("fits",))

    @property
    def stop(self) -> int:
        """The sample after the last one that is heard."""
        return self.start + self.length


def summary(placements: Sequence[Placement], rate: int) -> list[dict[str, Any]]:
    """The placements as JSON-ready rows: times in seconds, and the exact samples."""

    def seconds(samples: int) -> float:
        return round(samples / rate, 4)

    return [
        {
            "number": one.segment.number,
            "speaker": one.segment.speaker,
            "text": one.segment.text,
            "cue_start": None if one.segment.start is None else round(float(one.segment.start), 4),
            "cue_end": None if one.segment.end is None else round(float(one.segment.end), 4),
            "start": seconds(one.start),
            "end": seconds(one.stop),
            "natural": seconds(one.natural),
            "spoken": seconds(one.spoken),
            "speed": round(one.speed, 4),
            "stretch": round(one.stretch, 4),
            "borrowed": seconds(one.borrowed),
            "shifted": seconds(one.shifted),
            "cut": seconds(one.cut),
            "actions": list(one.actions),
            "samples": {"start": one.start, "length": one.length, "cut": one.cut},
        }
        for one in placements
    ]


@dataclass(frozen=True)
class Fit:
    """Speech fitted into a room, as far as possible."""

    natural: int
    speed: float
    spoken: int
    length: int
    squeezed: bool

    def placement(
        self, segment: Segment, start: int, cut: int, slot: tuple[int, int], borrowed: int = 0, shifted: int = 0
    ) -> Placement:
        """The segment heard from `start` on, without its last `cut` samples. slot: its own time, start and stop."""
        words = self.actions()
        words += [word for word, much in (("borrowed", borrowed), ("shifted", shifted), ("trimmed", cut)) if much]
        return Placement(
            segment,
            start,
            self.length - cut,
            self.natural,
            self.speed,
            self.spoken,
            self.spoken / self.length,
            cut,
            *slot,
            borrowed,
            shifted,
            tuple(words) or ("fits",),
        )

    def actions(self) -> list[str]:
        words = ["faster"] if self.speed > 1 else []
        words += ["stretched"] if self.length < self.spoken and not self.squeezed else []
        return words + (["squeezed"] if self.squeezed else [])


class Fitter:
    """The first two steps, and squeezing: the length of a segment's speech in a given room."""

    def __init__(self, rate: int, speak: Speak, limits: TimingLimits) -> None:
        self._speak, self.limits = speak, limits
        self._tolerance = round(limits.tolerance * rate)
        self._natural: dict[int, int] = {}
        self._faster: dict[int, tuple[float, int]] = {}

    def natural(self, segment: Segment) -> int:
        """Samples at the normal pace."""
        if segment.number not in self._natural:
            self._natural[segment.number] = max(1, self._speak(segment, 1.0))
        return self._natural[segment.number]

    def fit(self, segment: Segment, wanted: int, room: int, squeeze: bool) -> Fit:
        """wanted: samples of its cue's own time; room: samples that are available. The result may be longer than
        both."""
        natural = self.natural(segment)
        if natural <= wanted:
            return Fit(natural, 1.0, natural, natural, False)
        speed, spoken = self._at(segment, natural, natural / max(1, wanted))
        if speed > 1 and spoken <= min(room, wanted + self._tolerance):
            return Fit(natural, speed, spoken, spoken, False)
        within = ceil(spoken / self.limits.stretch)
        length = min(spoken, max(wanted, within))
        if squeeze and length > room:
            # No shorter than the bound allows from the normal pace.
            least = max(room, ceil(natural / self.limits.squeeze), 1)
            if least < length:
                return Fit(natural, speed, spoken, least, True)
        return Fit(natural, speed, spoken, length, False)

    def _at(self, segment: Segment, natural: int, factor: float) -> tuple[float, int]:
        """(speed, samples) at the speed of a factor, within the natural bound."""
        speed = min(factor, self.limits.speed)
        if speed <= 1:
            return 1.0, natural
        if segment.number not in self._faster:
            self._faster[segment.number] = (speed, max(1, self._speak(segment, speed)))
        known, spoken = self._faster[segment.number]
        # Keep the normal pace if the engine did not get faster.
        return (known, spoken) if spoken < natural else (1.0, natural)
