"""Thresholds' files, verdicts, windows, cues."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, UsageError
from raydub.manifests.evaluation import Segment
from raydub.stages.evaluate.cues import Cue, cue_figures, film_figures
from raydub.stages.evaluate.names import FIGURES, JUDGED
from raydub.stages.evaluate.thresholds import load_thresholds, parse_thresholds
from raydub.stages.evaluate.verdict import always, judged, messages, overall, reasons_of, worst
from raydub.stages.evaluate.windows import LENGTH, WINDOWS, windows_of

LATE = """
[delay_ms]
what = "late"
unit = "ms"
look_below = -80
look_above = 80
bad_above = 160
segments = true
"""


def test_the_own_file_is_sound_and_every_figure_is_documented() -> None:
    own = load_thresholds()
    assert own.limits.keys() <= JUDGED.keys()
    assert len(own.digest) == 64
    table = (Path(__file__).parents[3] / "docs" / "evaluate.md").read_text(encoding="utf-8")
    for name, (unit, what) in FIGURES.items():
        assert f"| `{name}` | {unit} | {what} |" in table


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("delay_ms = ", Code.MANIFEST_SYNTAX, "no TOML"),
        ("[sharpnes]\nlook_below = 1", Code.FIELD_UNKNOWN, "sharpnes"),
        ("[readable]\nwhat = 'x'\nlook_below = 1", Code.FIELD_UNKNOWN, "readable"),
        ("[sharpness]\nwhat = 'x'\nlook_under = 1", Code.FIELD_VALUE, "sharpness.look_under"),
        ("[sharpness]\nwhat = 'x'\nlook_below = 'much'", Code.FIELD_VALUE, "sharpness.look_below"),
        ("[sharpness]\nwhat = 'x'\nlook_below = nan", Code.FIELD_VALUE, "sharpness.look_below"),
        ("[sharpness]\nwhat = 'x'", Code.FIELD_VALUE, "no limit"),
        ("[sharpness]\nlook_below = 1", Code.FIELD_VALUE, "sharpness.what"),
        ("[sharpness]\nwhat = 'x'\nlook_below = 1\nbad_below = 2", Code.FIELD_VALUE, "does not hold"),
        ("sharpness = 3", Code.FIELD_VALUE, "sharpness"),
        (f"sharpness = {'[' * 5000}", Code.MANIFEST_SYNTAX, "too deeply"),
    ],
)
def test_wrong_files_say_what_is_wrong(text: str, code: Code, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_thresholds(text, "mine.toml")
    assert caught.value.code is code
    assert caught.value.hint
    assert "mine.toml" in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(UsageError) as caught:
            load_thresholds(path)
        assert caught.value.code is Code.MANIFEST_UNREADABLE
    # A part of a file would judge by some of its limits.
    (tmp_path / "large.toml").write_text(f"#{'x' * (1 << 20)}\n[r]\nwhat = 'x'\nlook_below = 1")
    with pytest.raises(UsageError, match="more than 1 MB") as caught:
        load_thresholds(tmp_path / "large.toml")
    assert caught.value.code is Code.MANIFEST_UNREADABLE
    (tmp_path / "latin.toml").write_bytes(b"[r]\nwhat = '\xe9'")
    with pytest.raises(UsageError) as caught:
        load_thresholds(tmp_path / "latin.toml")
    assert caught.value.code is Code.MANIFEST_SYNTAX


@given(st.floats(-500, 500))
def test_a_value_has_one_verdict(value: float) -> None:
    found = reasons_of({"delay_ms": value, "r": None}, parse_thresholds(LATE, "x"))
    expected = "bad" if value > 160 else "look" if value > 80 or value < -80 else "good"
    assert worst(one.verdict for one in found) == expected
    assert len(found) == (expected != "good")


def test_segments_and_the_whole() -> None:
    limits = parse_thresholds(LATE, "x")
    parts = [Segment(start=k, stop=k + 1, figures={"delay_ms": value}) for k, value in enumerate((0.0, 0.0, 200.0))]
    segments, reasons = judged(parts, limits)
    assert [one.verdict for one in segments] == ["good", "good", "bad"]
    assert messages(reasons) == ("2.0 to 3.0 s: late: 200 ms, at most 160 expected",)
    assert overall([], reasons, segments) == "look"
    most, reasons = judged(parts[2:] * 2 + parts[:1], limits)
    assert overall([], reasons, most) == "bad"
    assert overall([always("sound", 0.0, "look", "none")], [], []) == "look"
    assert overall([], [], []) == "good"
    silent, none = judged(parts, parse_thresholds(LATE.replace("segments = true", ""), "x"))
    assert none == []
    assert {one.verdict for one in silent} == {"good"}


@given(st.integers(0, 400_000))
def test_windows_are_bounded_and_inside(n: int) -> None:
    found = windows_of(n)
    frames = sum(len(one) for one in found)
    assert frames == min(n, frames)
    assert frames == n or (n > LENGTH * WINDOWS and frames == LENGTH * WINDOWS)
    assert all(a.stop <= b.start for a, b in itertools.pairwise(found))
    if found:
        assert found[0].start == 0
        assert n - 60 < found[-1].stop <= n


def test_figures_of_cues() -> None:
    row = {"start": 1.0, "end": 3.0, "cue_end": 2.5, "text": "Hello, you two!", "cut": 0.25}
    cue = Cue.of(row)
    assert cue_figures(cue) == {"speech_rate": 5.5, "overrun_s": 0.5, "cut_s": 0.25}
    free = Cue(4.0, 4.1, None, "Oh", 0.0)
    assert cue_figures(free) == {"speech_rate": None, "overrun_s": None, "cut_s": 0.0}
    assert film_figures([cue, free]) == {"speech_rate": 5.5, "overrun_s": 0.5, "overruns": 1.0, "cut_s": 0.25}
    assert set(film_figures([]).values()) == {None}
    with pytest.raises(KeyError):
        Cue.of({"start": 1})
