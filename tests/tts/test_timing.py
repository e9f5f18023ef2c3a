"""Timing laws for any script: order kept, no overlap unless asked for, nothing beyond the end, every sample accounted
for."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError
from raydub.tts.timing.place import plan_timing
from raydub.tts.timing.placement import Placement, Policy, TimingLimits, summary
from raydub.tts.types import Segment
from tests.examples import examples

RATE = 1000
LIMITS = TimingLimits(speed=1.25, stretch=1.2, squeeze=2.5, gap=0.05, pause=0.2)
POLICIES: tuple[Policy, ...] = ("squeeze", "shift", "trim", "fail")


def cue(number: int, start: float, end: float, speaker: str = "") -> Segment:
    return Segment(number, f"words {number}", Fraction(str(start)), Fraction(str(end)), speaker)


class Voice:
    """Speaks each segment in a given number of samples; its speed is off by a few percent, as engines are."""

    def __init__(self, lengths: dict[int, int], off: float = 0.0) -> None:
        self.lengths, self.off = lengths, off
        self.asked: list[tuple[int, float]] = []

    def __call__(self, segment: Segment, speed: float) -> int:
        self.asked.append((segment.number, speed))
        return max(1, round(self.lengths[segment.number] / speed * (1 + self.off * (speed > 1))))


def plan(
    segments: list[Segment],
    lengths: list[int],
    policy: Policy = "squeeze",
    total: int | None = None,
    off: float = 0.0,
    limits: TimingLimits = LIMITS,
) -> tuple[Placement, ...]:
    voice = Voice({segment.number: length for segment, length in zip(segments, lengths, strict=True)}, off)
    return plan_timing(segments, RATE, total, policy, voice, limits)


@st.composite
def scripts(draw: st.DrawFn) -> tuple[list[Segment], list[int]]:
    count = draw(st.integers(1, 12))
    speakers = draw(st.sampled_from([("",), ("", "a"), ("a", "b", "c")]))
    cues = [
        (draw(st.integers(0, 9000)), draw(st.integers(1, 2500)), draw(st.sampled_from(speakers))) for _ in range(count)
    ]
    cues.sort(key=lambda one: one[0])
    segments = [
        Segment(number, f"words {number}", Fraction(start, 1000), Fraction(start + length, 1000), speaker)
        for number, (start, length, speaker) in enumerate(cues, start=1)
    ]
    return segments, draw(st.lists(st.integers(1, 4000), min_size=count, max_size=count))


def apart(one: Segment, other: Segment) -> bool:
    """Were the two not asked to overlap?"""
    assert one.start is not None
    assert one.end is not None
    assert other.start is not None
    assert other.end is not None
    return one.speaker == other.speaker or one.end <= other.start or other.end <= one.start


def only_what_is_needed(one: Placement, mouth_stop: float) -> None:
    """Each degree begins where the one before it ends. mouth_stop: where its cue or its speaker's time ends."""
    if one.actions == ("fits",):
        assert (one.start, one.length, one.speed, one.stretch) == (one.slot_start, one.natural, 1, 1)
        assert one.natural <= one.slot_stop - one.slot_start
    elif one.length and not one.shifted and "squeezed" not in one.actions and not one.cut:
        own = max(1, mouth_stop - one.slot_start)
        assert one.speed <= max(1.0, one.natural / own)
        assert one.length >= min(own, one.spoken), "no shorter than the cue"
        if one.borrowed > round(LIMITS.tolerance * RATE):
            assert one.length == ceil(one.spoken / LIMITS.stretch), "nothing is borrowed before all else is used"
            assert one.speed in (1.0, LIMITS.speed)


@settings(max_examples=examples(400), deadline=None)
@given(scripts(), st.sampled_from(POLICIES), st.none() | st.integers(200, 14000), st.sampled_from([0.0, 0.04, -0.04]))
def test_laws_of_timed_scripts(
    script: tuple[list[Segment], list[int]], policy: Policy, total: int | None, off: float
) -> None:
    segments, lengths = script
    try:
        placed = plan(segments, lengths, policy, total, off)
    except InputError as error:
        assert error.code is Code.SPEECH_OVERFLOW
        assert policy != "trim"
        assert error.field == "overflow"
        assert error.message.split("cue ")[1].split(" ")[0].isdigit()
        return
    assert [one.segment for one in placed] == segments
    assert [one.start for one in placed] == sorted(one.start for one in placed), "order kept"
    for number, one in enumerate(placed):
        assert one.start >= 0
        assert total is None or one.stop <= total, "nothing beyond the end"
        assert one.slot_start == round(one.segment.start * RATE)  # type: ignore[operator]
        assert one.shifted == (one.start - one.slot_start if one.length else 0)
        assert one.length == 0 or one.shifted == 0 or policy == "shift"
        assert one.natural == max(1, lengths[number])
        assert one.length + one.cut == round(one.spoken / one.stretch), "every sample accounted for"
        assert 1 <= one.speed <= LIMITS.speed
        assert "squeezed" in one.actions or one.stretch <= LIMITS.stretch + 1e-9
        assert one.natural / (one.length + one.cut) <= LIMITS.squeeze + 0.01 or one.natural <= 3
        assert one.cut == 0 or policy == "trim"
        assert ("trimmed" in one.actions) == (one.cut > 0)
        assert ("shifted" in one.actions) == (one.shifted > 0)
        assert ("faster" in one.actions) == (one.speed > 1)
        ends = [other.slot_start for other in placed[number + 1 :] if other.segment.speaker == one.segment.speaker]
        only_what_is_needed(one, min([one.slot_stop, *ends, *([] if total is None else [total])]))
        waited = [o.stop for o in placed[:number] if o.length and apart(o.segment, one.segment)]
        if one.length:
            first = max([one.slot_start, *waited, *(other.start for other in placed[:number])])
            assert one.start == first, "no later than it must"
        for other in placed[:number]:
            if one.length and other.length and apart(one.segment, other.segment):
                assert other.stop <= one.start or one.stop <= other.start, "no overlap unless asked for"
    assert placed == plan(segments, lengths, policy, total, off)


@settings(max_examples=examples(150), deadline=None)
@given(scripts(), st.sampled_from(POLICIES))
def test_what_fits_is_left_as_it_is(script: tuple[list[Segment], list[int]], policy: Policy) -> None:
    segments, _ = script
    free = [one for one in segments if all(apart(one, other) for other in segments if other is not one)]
    alone = [one for one in free if not any(one is not o and o.start == one.start for o in segments)]
    kept = [
        one
        for at, one in enumerate(alone)
        if at + 1 == len(alone) or one.end <= alone[at + 1].start  # type: ignore[operator]
    ]
    lengths = [max(1, int((one.end - one.start) * RATE)) for one in kept]  # type: ignore[operator]
    voice = Voice({one.number: length for one, length in zip(kept, lengths, strict=True)})
    for placed, length in zip(plan_timing(kept, RATE, None, policy, voice, LIMITS), lengths, strict=True):
        assert (placed.start, placed.length, placed.actions) == (placed.slot_start, length, ("fits",))
    assert all(speed == 1 for _, speed in voice.asked)


@settings(max_examples=examples(150), deadline=None)
@given(scripts(), st.sampled_from(POLICIES), st.integers(1, 4000))
def test_later_cues_change_nothing_before(script: tuple[list[Segment], list[int]], policy: Policy, length: int) -> None:
    segments, lengths = script
    far = cue(99, 100, 101)
    try:
        before = plan(segments, lengths, policy)
    except InputError as error:
        with pytest.raises(InputError) as again:
            plan([*segments, far], [*lengths, length], policy)
        assert again.value.message == error.message
        return
    try:
        assert plan([*segments, far], [*lengths, length], policy)[:-1] == before
    except InputError as error:
        assert "cue 99" in error.message


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=8),
    st.sampled_from(POLICIES),
    st.none() | st.integers(50, 9000),
    st.sampled_from([0.0, 0.05]),
)
def test_laws_of_scripts_without_times(lengths: list[int], policy: Policy, total: int | None, off: float) -> None:
    segments = [Segment(number, f"words {number}") for number in range(1, len(lengths) + 1)]
    try:
        placed = plan(segments, lengths, policy, total, off)
    except InputError as error:
        assert error.code is Code.SPEECH_OVERFLOW
        assert policy != "trim"
        assert total is not None
        return
    pause = round(LIMITS.pause * RATE)
    for one, other in pairwise(placed):
        assert other.start == min(one.start + one.length + one.cut + pause, total if total is not None else 1 << 60)
    assert placed[0].start == 0
    assert total is None or all(one.stop <= total for one in placed)
    if total is None or sum(lengths) + pause * (len(lengths) - 1) <= total:
        assert all(one.actions == ("fits",) for one in placed)
    assert all(one.cut == 0 or policy == "trim" for one in placed)


def test_measures_are_taken_by_degrees() -> None:
    """One cue of a second with a gap of half a second after it, and ever more to say."""
    cues = [cue(1, 1, 2), cue(2, 2.5, 3)]

    def first(length: int, policy: Policy = "squeeze") -> Placement:
        return plan(cues, [length, 100], policy)[0]

    assert first(1000).actions == ("fits",)
    faster = first(1100)
    assert (faster.actions, faster.length, round(faster.speed, 3)) == (("faster",), 1000, 1.1)
    stretched = first(1400)
    assert (stretched.actions, stretched.length, stretched.speed) == (("faster", "stretched"), 1000, 1.25)
    borrowed = first(1800)
    assert borrowed.actions == ("faster", "stretched", "borrowed")
    assert (borrowed.length, borrowed.borrowed) == (1200, 200)
    squeezed = first(2900)
    assert squeezed.actions == ("faster", "squeezed", "borrowed")
    assert squeezed.stop == 2450, "up to the gap before the next cue"
    with pytest.raises(InputError, match="cue 1") as too_long:
        first(4000)
    assert "s too long, overflow=squeeze" in too_long.value.message
    trimmed = first(4000, "trim")
    assert trimmed.actions == ("faster", "stretched", "borrowed", "trimmed")
    assert (trimmed.stop, trimmed.cut) == (2450, 2667 - 1450)
    with pytest.raises(InputError, match=r"cue 1 \('words 1'\) at 1.000 to 2.000 s is 0.55 s too long"):
        first(3000, "fail")


def test_shift_pushes_what_follows_and_catches_up() -> None:
    cues = [cue(1, 0, 1), cue(2, 1, 2), cue(3, 2, 3), cue(4, 6, 7)]
    placed = plan(cues, [2250, 1000, 900, 500], "shift")
    assert [one.start for one in placed] == [0, 1500, 2167, 6000]
    assert [one.shifted for one in placed] == [0, 500, 167, 0]
    assert "shifted" in placed[1].actions
    assert placed[1].speed == 1.25, "it hurries to catch up"


def test_two_speakers_talk_at_once_only_where_the_script_does() -> None:
    cues = [cue(1, 0, 2, "a"), cue(2, 1, 3, "b"), cue(3, 3, 4, "a")]
    placed = plan(cues, [2000, 2400, 900], "squeeze")
    assert [one.start for one in placed] == [0, 1000, 3000]
    assert placed[0].stop == 2000
    assert placed[1].stop == 3000, "b may not run into a's next line"
    same = [cue(1, 0, 2, "a"), cue(2, 1, 3, "a")]
    assert plan(same, [2000, 500])[0].stop == 1000, "one mouth says one thing at a time"


def test_the_end_of_the_video_is_hard() -> None:
    cues = [cue(1, 1, 2), cue(2, 9, 11), cue(3, 12, 13)]
    with pytest.raises(InputError, match=r"cue 3 .* lies beyond the end at 10.00 s") as beyond:
        plan(cues, [500, 800, 300], "squeeze", total=10_000)
    assert "length=audio" in beyond.value.hint
    placed = plan(cues, [500, 1800, 300], "trim", total=10_000)
    assert (placed[1].start, placed[1].stop, placed[1].cut) == (9000, 10_000, 200)
    assert (placed[2].length, placed[2].cut, placed[2].actions) == (0, 300, ("trimmed",))
    assert plan(cues, [500, 2400, 300], "shift", total=13_000)[1].stop <= 13_000
    free = plan(cues, [500, 1800, 9000], "fail", total=None)
    assert free[2].actions[-1] == "borrowed", "without an end the last one runs on"


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_cues_begin_at_their_exact_sample(rate: int) -> None:
    times = [Fraction(number * 1001, 30000) + Fraction(1, 3) for number in range(40)]
    segments = [Segment(n + 1, "x", at, at + Fraction(1, 100)) for n, at in enumerate(times)]
    placed = plan_timing(segments, rate, None, "trim", lambda _segment, _speed: 10, LIMITS)
    assert [one.start for one in placed] == [round(at * rate) for at in times]


def test_an_engine_that_cannot_hurry_is_not_asked_to() -> None:
    voice = Voice({1: 1300})
    limits = TimingLimits(speed=1.0, stretch=1.2)
    (placed,) = plan_timing([cue(1, 0, 1)], RATE, 1100, "squeeze", voice, limits)
    assert voice.asked == [(1, 1.0)]
    assert (placed.speed, placed.length, placed.actions) == (1.0, 1084, ("stretched", "borrowed"))
    stubborn = Voice({1: 1300}, off=0.5)
    (placed,) = plan_timing([cue(1, 0, 1)], RATE, 1100, "squeeze", stubborn, LIMITS)
    assert placed.speed == 1.0, "it got longer: the normal pace is kept"


def test_twenty_thousand_cues_take_no_time() -> None:
    segments = [cue(n + 1, n, n + 0.8, "ab"[n % 2]) for n in range(20_000)]
    placed = plan_timing(segments, RATE, None, "shift", lambda _s, speed: round(900 / speed), LIMITS)
    assert len(placed) == 20_000
    assert placed[-1].shifted == 0


def test_the_summary_is_json_for_people() -> None:
    import json

    rows: list[dict[str, Any]] = summary(plan([cue(3, 1, 2, "Ana"), cue(4, 5, 6)], [1100, 10]), RATE)
    assert json.loads(json.dumps(rows)) == rows
    assert rows[0] == {
        "number": 3,
        "speaker": "Ana",
        "text": "words 3",
        "cue_start": 1.0,
        "cue_end": 2.0,
        "start": 1.0,
        "end": 2.0,
        "natural": 1.1,
        "spoken": 1.0,
        "speed": 1.1,
        "stretch": 1.0,
        "borrowed": 0.0,
        "shifted": 0.0,
        "cut": 0.0,
        "actions": ["faster"],
        "samples": {"start": 1000, "length": 1000, "cut": 0},
    }
    assert plan([], []) == ()
