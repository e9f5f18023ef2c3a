"""Timing at its edges: backlogs, cues shorter than a sample, and what the errors say."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from time import process_time

import pytest

from raydub.errors import InputError
from raydub.tts.timing.place import plan_timing
from raydub.tts.timing.placement import Policy
from raydub.tts.types import Segment
from tests.tts.test_timing import LIMITS, RATE, cue, plan


def test_a_backlog_takes_no_time_either() -> None:
    """All are longer than they may be, so that none is ever done when the next one is due."""
    segments = [cue(n + 1, n, n + 0.8, "ab"[n % 2]) for n in range(20_000)]
    before = process_time()
    placed = plan_timing(segments, RATE, None, "shift", lambda _s, speed: round(3000 / speed), LIMITS)
    assert process_time() - before < 15  # a quadratic plan takes minutes
    assert all(one.stop == other.start for one, other in pairwise(placed))


def test_cues_shorter_than_a_sample() -> None:
    """What overlaps in the script is not a matter of the sample rate."""
    at, brief = Fraction(1), Fraction(1, 10_000)
    first = Segment(1, "one", at, at + brief, "a")
    overlapping = Segment(2, "two", at + brief / 2, at + 1, "b")
    placed = plan([first, overlapping], [500, 500])
    assert placed[0].stop > placed[1].start == 1000
    after = Segment(2, "two", at + brief, at + 1, "b")
    with pytest.raises(InputError, match=r"cue 1 \('one'\).*the next cue begins at the same time"):
        plan([first, after], [500, 500])
    placed = plan([first, after], [500, 500], "shift")
    assert placed[1].start == placed[0].stop
    assert plan([first, after], [500, 500], "trim")[0].actions == ("trimmed",)


def test_errors_tell_the_way_out() -> None:
    def refused(cues: list[Segment], lengths: list[int], policy: Policy, total: int | None = None) -> tuple[str, str]:
        with pytest.raises(InputError) as caught:
            plan(cues, lengths, policy, total)
        return caught.value.message, caught.value.hint

    message, hint = refused([cue(1, 1, 2)], [6000], "squeeze", 3000)
    assert "too long, overflow=squeeze: it would run beyond the end at 3.00 s" in message
    assert "length=audio" in hint
    message, hint = refused([cue(1, 0, 1), cue(2, 1, 2)], [2000, 5000], "shift", 3000)
    assert "cue 2" in message
    assert "the end at 3.00 s" in message
    message, hint = refused([cue(1, 0, 1), cue(2, 1, 2)], [9000, 100], "squeeze")
    assert hint == "shorten the text, or choose another overflow: shift or trim"
