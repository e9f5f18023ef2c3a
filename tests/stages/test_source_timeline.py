"""Which source frame is shown when."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError
from raydub.stages.prepare import spans_of
from raydub.stages.source_timeline import Timeline, frames_of, plan_timeline
from raydub.stages.types import Span
from tests.examples import examples

RATES = [Fraction(24000, 1001), *map(Fraction, (24, 25, 30, 50, 60)), Fraction(30000, 1001)]


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    n_src = draw(st.integers(1, 40))
    kept = None
    if draw(st.booleans()):
        frames = sorted(draw(st.sets(st.integers(0, n_src - 1), min_size=1)))
        kept = tuple(spans_of(np.array(frames)))
    shown = n_src if kept is None else sum(len(span) for span in kept)
    n_out = draw(st.integers(1, 150))
    extend = draw(st.sampled_from(["loop", "pingpong", "hold"])) if n_out > shown else "none"
    return Timeline(n_out=n_out, n_src=n_src, extend=extend, kept=kept)


@given(timelines())
def test_every_output_frame_shows_a_frame_that_may_be_shown(timeline: Timeline) -> None:
    shown = timeline.sources(0, timeline.n_out).tolist()
    allowed = set(range(timeline.n_src))
    if timeline.kept is not None:
        allowed = {frame for span in timeline.kept for frame in range(*span)}
    assert len(shown) == timeline.n_out
    assert set(shown) <= allowed
    order = sorted(allowed)
    assert shown[: len(order)] == order[: timeline.n_out]


@given(timelines(), st.data())
def test_runs_are_the_sources_again(timeline: Timeline, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, timeline.n_out - 1))
    stop = data.draw(st.integers(start, timeline.n_out))
    longest = data.draw(st.integers(1, 9))
    frame, rebuilt = start, []
    for run in timeline.runs(start, stop, longest):
        assert run.frame == frame
        assert run.n >= 1
        assert run.step >= 0 or run.n <= longest
        rebuilt += [run.first + k * run.step for k in range(run.n)]
        frame += run.n
    assert rebuilt == timeline.sources(start, stop).tolist()


@given(st.integers(2, 30), st.integers(1, 200))
def test_pingpong_turns_without_showing_an_end_twice(n_src: int, n_out: int) -> None:
    shown = Timeline(n_out=n_out, n_src=n_src, extend="pingpong").sources(0, n_out).tolist()
    assert all(abs(a - b) == 1 for a, b in itertools.pairwise(shown))


def test_pingpong_of_one_frame_stays() -> None:
    assert Timeline(n_out=3, n_src=1, extend="pingpong").sources(0, 3).tolist() == [0, 0, 0]


@settings(max_examples=examples(50))
@given(timelines())
def test_json_keeps_a_timeline(timeline: Timeline) -> None:
    again = Timeline.model_validate_json(timeline.model_dump_json())
    assert again == timeline
    assert again.sources(0, again.n_out).tolist() == timeline.sources(0, timeline.n_out).tolist()
    assert json.loads(timeline.model_dump_json())["n_out"] == timeline.n_out


@given(st.sampled_from(RATES), st.integers(1, 10_000_000))
def test_speech_length_in_frames_is_exact(rate: Fraction, samples: int) -> None:
    n = frames_of(Fraction(samples, 16000), rate)
    assert (n - 1) / rate < Fraction(samples, 16000) <= n / rate
    assert n == -(-samples * rate.numerator // (16000 * rate.denominator))


def test_length_policies() -> None:
    def n_out(seconds: int, n_src: int, length: str) -> int:
        return plan_timeline(Fraction(seconds), Fraction(25), n_src, length=length, extend="pingpong").n_out  # type: ignore[arg-type]

    assert [n_out(4, 50, length) for length in ("audio", "video", "shortest")] == [100, 50, 50]
    assert [n_out(1, 50, length) for length in ("audio", "video", "shortest")] == [25, 50, 25]


def test_refusals() -> None:
    with pytest.raises(InputError) as short:
        plan_timeline(Fraction(4), Fraction(25), 50, length="audio", extend="fail")
    assert short.value.code == Code.VIDEO_TOO_SHORT
    with pytest.raises(InputError) as nobody:
        plan_timeline(Fraction(4), Fraction(25), 50, length="audio", extend="loop", kept=[])
    assert nobody.value.code == Code.FACE_NONE
    with pytest.raises(ValueError, match="not extended"):
        Timeline(n_out=3, n_src=2).source(2)


def test_an_image_is_held_for_the_speech() -> None:
    timeline = plan_timeline(Fraction(2), Fraction(25), 1, length="video", extend="fail", still=True)
    assert (timeline.n_out, timeline.extend) == (50, "hold")


def test_removed_frames_are_skipped() -> None:
    timeline = plan_timeline(Fraction(1), Fraction(5), 10, length="audio", extend="loop", kept=[Span(1, 3), Span(7, 8)])
    assert timeline.sources(0, 5).tolist() == [1, 2, 7, 1, 2]
