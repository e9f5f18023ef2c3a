"""Speech made to fit into a time: the engine speaks faster, then its sound is compressed, then it is squeezed."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from raydub.tts.placement import Placement, Speak, TimingLimits
from raydub.tts.types import Segment


@dataclass(frozen=True)
class Fit:
    """Speech made to fit into a room, as far as it goes."""

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
    """The first two degrees, and squeezing: how long a segment's speech is in a given room."""

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
        """wanted: samples that it should take, its cue's own time; room: those that it has. It may be longer than both
        afterwards."""
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
        """(speed, samples) at the speed that a factor asks for, within the natural bound."""
        speed = min(factor, self.limits.speed)
        if speed <= 1:
            return 1.0, natural
        if segment.number not in self._faster:
            self._faster[segment.number] = (speed, max(1, self._speak(segment, speed)))
        known, spoken = self._faster[segment.number]
        # An engine that is no faster for it is not asked to be.
        return (known, spoken) if spoken < natural else (1.0, natural)
