"""When each segment of a script is heard, and how fast: speech of any length into the time that its cue has.

A cue whose speech is too long is helped by degrees, each only as far as needed: the engine speaks faster, within what
sounds natural; the sound is compressed at the same pitch, within a bound; it runs on into the gap before the next cue;
and where that does not do, the policy decides: squeeze on, shift what follows, trim, or fail.

Cues of different speakers that overlap in the script are asked to overlap. Others never do: a cue's room ends where the
next one of its speaker begins, and a gap is borrowed up to the next cue of anybody. Pure arithmetic in samples; times
of the script are exact fractions.
"""

from __future__ import annotations

from collections.abc import Sequence

from raydub.tts.placement import Placement, Policy, Speak, TimingLimits, summary
from raydub.tts.timed import Timed
from raydub.tts.types import Segment
from raydub.tts.untimed import Untimed

__all__ = ["Placement", "Policy", "Speak", "TimingLimits", "plan_timing", "summary"]


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

    Raises InputError SPEECH_OVERFLOW with the cue's number, its time, how much is too much and the way out.
    """
    if not segments:
        return ()
    if segments[0].start is None:
        return Untimed(rate, total, policy, speak, limits).placed(segments)
    return Timed(segments, rate, total, policy, speak, limits).placed()
