"""How long chunks are."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from raydub.stages.job_plan import chunk_length

RATES = st.sampled_from([Fraction(25), Fraction(30), Fraction(30000, 1001), Fraction(1), Fraction(120)])


@given(RATES, st.integers(1, 100_000), st.floats(0.2, 120))
def test_chunks_are_within_the_length_asked_for(rate: Fraction, n_frames: int, seconds: float) -> None:
    length = chunk_length(seconds, rate, n_frames)
    most = max(1, round(Fraction(seconds) * rate))
    assert 1 <= length <= most
    if n_frames >= 40 * rate:
        assert length == most


@given(RATES, st.integers(1, 4_800))
def test_short_videos_are_cut_into_equal_parts_of_about_five_seconds(rate: Fraction, n_frames: int) -> None:
    length = chunk_length(10.0, rate, n_frames)
    if n_frames >= 40 * rate or rate < 25:
        return
    chunks = [min(length, n_frames - start) for start in range(0, n_frames, length)]
    assert max(chunks) <= 7.5 * rate
    assert max(chunks) - min(chunks) < len(chunks)
    if n_frames >= 8 * rate:
        assert len(chunks) >= 2
        assert min(chunks) >= 3 * rate
