"""Round trips through every form, other programs' files, and what any bytes at all come to."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError
from raydub.tts.scripts.prose import LONGEST
from raydub.tts.scripts.read import SUFFIXES, read_script
from raydub.tts.types import Script, Segment
from tests.examples import examples

WORD = st.text("abcdefghijklmnopqrstuvwxyzñéüßдж語你ابक", min_size=1, max_size=12)
TEXT = st.lists(WORD, min_size=1, max_size=8).map(" ".join)
NAME = st.sampled_from(["", "Anna", "Bert Müller", "安娜"])


@st.composite
def scripts(draw: st.DrawFn) -> list[Segment]:
    """Segments in order, in centiseconds (the coarsest of the forms), that are heard one after the other."""
    found, clock = [], 0
    for number in range(1, draw(st.integers(1, 8)) + 1):
        start = clock + draw(st.integers(0, 500_000))
        clock = start + draw(st.integers(400, 2000))
        times = Fraction(start, 100), Fraction(clock, 100)
        found.append(Segment(number, draw(TEXT), *times, speaker=draw(NAME)))
    return found


def clock(time: Fraction, comma: str, digits: int) -> str:
    units = int(time * 10**digits)
    seconds, decimals = divmod(units, 10**digits)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{comma}{decimals:0{digits}}"


def cue_times(segment: Segment, comma: str) -> str:
    assert segment.start is not None
    assert segment.end is not None
    return f"{clock(segment.start, comma, 3)} --> {clock(segment.end, comma, 3)}"


def as_srt(segments: list[Segment]) -> str:
    named = ((s, f"[{s.speaker}] {s.text}" if s.speaker else s.text) for s in segments)
    return "\n".join(f"{s.number}\n{cue_times(s, ',')}\n{text}\n" for s, text in named)


def as_vtt(segments: list[Segment]) -> str:
    named = ((s, f"<v {s.speaker}>{s.text}</v>" if s.speaker else s.text) for s in segments)
    return "WEBVTT\n\n" + "\n".join(f"{cue_times(s, '.')} align:start\n{text}\n" for s, text in named)


def as_ass(segments: list[Segment]) -> str:
    lines = (
        f"Dialogue: 0,{clock(s.start or Fraction(0), '.', 2)},{clock(s.end or Fraction(0), '.', 2)},"
        f"Default,{s.speaker},0,0,0,,{{\\an8}}{s.text}"
        for s in segments
    )
    return "[Script Info]\n\n[Events]\n" + "\n".join(lines)


def rows(segments: list[Segment]) -> list[dict[str, Any]]:
    return [
        {"start": float(s.start or 0), "end": float(s.end or 0), "text": s.text, "speaker": s.speaker} for s in segments
    ]


def as_jsonl(segments: list[Segment]) -> str:
    return "\n".join(json.dumps(row) for row in rows(segments))


WRITERS: dict[str, Callable[[list[Segment]], str]] = {
    "srt": as_srt,
    "vtt": as_vtt,
    "ass": as_ass,
    "json": lambda segments: json.dumps({"segments": rows(segments)}),
    "jsonl": as_jsonl,
}


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=examples(60), deadline=None)
@given(segments=scripts(), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), crlf=st.booleans())
def test_what_is_written_is_read(
    form: str, segments: list[Segment], encoding: str, crlf: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"round.{form}"
    text = WRITERS[form](segments)
    path.write_bytes((text.replace("\n", "\r\n") if crlf else text).encode(encoding))
    found = read_script(str(path))
    assert found == Script(tuple(segments))


@settings(max_examples=examples(60), deadline=None)
@given(segments=scripts())
@pytest.mark.parametrize("form", ["srt", "vtt", "ass", "ssa"])
def test_files_that_another_program_wrote(
    form: str, segments: list[Segment], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Times and words of what pysubs2 writes, markup and all."""
    pysubs2 = pytest.importorskip("pysubs2")
    file = pysubs2.SSAFile()
    for segment in segments:
        times = (int((time or Fraction(0)) * 1000) for time in (segment.start, segment.end))
        text = segment.text.replace(" ", "\\N", 1)
        file.append(pysubs2.SSAEvent(*times, text=f"{{\\i1}}{text}{{\\i0}}", name=segment.speaker))
    path = tmp_path_factory.getbasetemp() / f"other.{form}"
    file.save(str(path))
    found = read_script(str(path)).segments
    assert [(s.number, s.start, s.end, s.text) for s in found] == [(s.number, s.start, s.end, s.text) for s in segments]


@settings(max_examples=examples(60), deadline=None)
@given(segments=scripts(), broken=st.data())
@pytest.mark.parametrize("form", ["srt", "vtt", "ass"])
def test_a_line_that_is_lost_is_never_a_cue_lost_silently(
    form: str, segments: list[Segment], broken: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without any one of its lines, a script is refused, or every word that is still in the file is spoken."""
    lines = WRITERS[form](segments).split("\n")
    dropped = lines.pop(broken.draw(st.integers(0, len(lines) - 1)))
    path = tmp_path_factory.getbasetemp() / f"lost.{form}"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        found = read_script(str(path))
    except InputError as error:
        assert error.code in (Code.SCRIPT_CUE, Code.SCRIPT_EMPTY, Code.SCRIPT_UNREADABLE)
        return
    spoken = " ".join(segment.text for segment in found.segments)
    assert all(segment.text in spoken for segment in segments if segment.text not in dropped)


PIECES = [
    *("\n", "\n\n", "1", "2\n", "00:00:01,000 --> 00:00:02,000\n", "00:03.000 --> 00:04.000", "-->"),
    *("WEBVTT\n\n", "NOTE", "STYLE\n", "<v Anna>", "</v>", "<", ">", "&lt;", "&", "{", "}", "{\\p1}", "\\N"),
    *("[Events]\n", "[Script Info]\n", "Format: Start, End, Text\n", "Dialogue: 0,0:00:01.00,0:00:02.00,a,b,0,0,0,,"),
    *("[", "]", '{"segments": [', '{"text": "a"}', '{"start": 1, "end": 2, "text": "b"}', ",", '"', "1e99", "null"),
    *(
        "(",
        ")",
        "- ",
        "Anna: ",
        "[Bert] ",
        ". ",
        "♪",
        "\u0301",
        "\ud7ff",
        "\ufeff",
        "\u2028",
        "\r",
        "\t",
        "word",
        "你好。",
    ),
]
HOSTILE = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=25).map(
    lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
)
ANYTHING = st.one_of(st.binary(max_size=200), HOSTILE, HOSTILE.map(lambda data: b"\xff\xfe" + data))


@settings(max_examples=examples(700), deadline=None)
@given(data=ANYTHING, suffix=st.sampled_from([*SUFFIXES, "", ".doc"]))
def test_any_bytes_are_a_script_or_a_named_error(
    data: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_bytes(data)
    try:
        check(read_script(str(path)))
    except InputError as error:
        assert error.code in (Code.SCRIPT_CUE, Code.SCRIPT_EMPTY, Code.SCRIPT_UNREADABLE)
        assert (error.code == Code.SCRIPT_CUE) == error.message.startswith("cue ")
        assert error.field == "script"
        assert error.hint


def check(script: Script) -> None:
    """All that tts.types promises of a script."""
    assert script.segments
    for segment in script.segments:
        assert segment.number >= 1
        assert segment.text == " ".join(segment.text.split())
        assert any(sign.isalnum() for sign in segment.text)
        segment.text.encode()
        assert (segment.start is None) == (segment.end is None) == (not script.timed)
        if segment.start is not None and segment.end is not None:
            assert 0 <= segment.start < segment.end
    order = [(segment.start or 0, segment.number) for segment in script.segments]
    assert order == sorted(order)
    numbers = [segment.number for segment in script.segments]
    assert len(set(numbers)) == len(numbers)
    assert all(warning.startswith("W_SCRIPT: ") for warning in script.warnings)


@settings(max_examples=examples(150), deadline=None)
@given(
    paragraphs=st.lists(
        st.lists(st.tuples(WORD, st.sampled_from(["", "", ",", ".", "!", "?", "…", ";"])), min_size=1, max_size=120),
        min_size=1,
        max_size=3,
    )
)
def test_plain_text_loses_and_moves_no_word(
    paragraphs: list[list[tuple[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "\n\n".join(" ".join(word + sign for word, sign in words) for words in paragraphs)
    path = tmp_path_factory.getbasetemp() / "plain.txt"
    path.write_text(text, encoding="utf-8")
    found = read_script(str(path)).segments
    assert " ".join(segment.text for segment in found).split() == text.split()
    assert [segment.number for segment in found] == list(range(1, len(found) + 1))
    assert all(len(segment.text) <= LONGEST for segment in found)


@pytest.mark.parametrize(
    "unit", ["[", "(", "([", "()", "<a", "{\\", "&a", ".", "- ", '."', "\u0323\u0301", "a (b) ", "1:", "\n"]
)
@pytest.mark.parametrize("suffix", ["txt", "srt", "vtt", "ass", "json"])
def test_a_long_run_of_signs_is_read_in_seconds(unit: str, suffix: str, tmp_path: Path) -> None:
    """Nothing in the readers takes the square of a length: at this size that would be hours."""
    head = {
        "srt": "1\n00:00:01,000 --> 00:00:02,000\n",
        "vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\n",
        "ass": "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,,,0,0,0,,",
        "json": '[{"text": "',
    }.get(suffix, "")
    path = tmp_path / f"long.{suffix}"
    path.write_text(head + unit * (400_000 // len(unit)), encoding="utf-8")
    began = time.process_time()
    with contextlib.suppress(InputError):
        read_script(str(path))
    assert time.process_time() - began < 3
