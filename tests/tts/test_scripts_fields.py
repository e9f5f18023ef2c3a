"""Forms with fields: ASS and SSA events, JSON and JSON lines segments."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from raydub.errors import Code, InputError
from raydub.tts.scripts.read import read_script, voice_files
from raydub.tts.types import Script

HEAD = """[Script Info]
; a comment
Title: x

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def script(folder: Path, text: str, suffix: str) -> Script:
    path = folder / f"a.{suffix}"
    path.write_bytes(text.encode())
    return read_script(str(path))


def refused(folder: Path, text: str, suffix: str, code: Code = Code.SCRIPT_CUE) -> InputError:
    with pytest.raises(InputError) as caught:
        script(folder, text, suffix)
    assert caught.value.code == code
    return caught.value


def event(text: str, kind: str = "Dialogue", name: str = "", effect: str = "", at: int = 1) -> str:
    return f"{kind}: 0,0:00:0{at}.00,0:00:0{at}.95,Default,{name},0,0,0,{effect},{text}\n"


def test_ass_events(tmp_path: Path) -> None:
    lines = [
        event("left out", kind="Comment"),
        event("{\\an8\\pos(1,2)}Hello, Tom,\\Nand {\\i1}you{\\i0}{a comment}\\hthere", name=" Anna "),
        event("{\\p1}m 0 0 l 100 0{\\p0}Words{\\p2}m 1 1", at=2),
        event("{\\p1}m 0 0 l 100 0", at=3),
        event("{\\k10}la {\\kf20}la", at=4),
        event("la la", effect="Karaoke", at=5),
        event("banner", effect="Banner;10", at=6).replace("Dialogue: 0", "Dialogue: 5"),
    ]
    found = script(tmp_path, HEAD + "".join(lines), "ass")
    assert [(segment.number, segment.speaker, segment.text) for segment in found.segments] == [
        (2, "Anna", "Hello, Tom, and you there"),
        (3, "", "Words"),
        (7, "", "banner"),
    ]
    assert (found.segments[0].start, found.segments[0].end) == (1, Fraction(39, 20))
    assert [warning[:16] for warning in found.warnings] == [f"W_SCRIPT: cue {n}:" for n in (4, 5, 6)]


def test_ssa_and_other_orders_of_columns(tmp_path: Path) -> None:
    ssa = HEAD.replace("Layer", "Marked").replace("V4+", "V4")
    found = script(tmp_path, f"{ssa}Dialogue: Marked=0,0:00:01.00,0:00:02.50,Default,Bob,0000,0000,0000,,Hi", "ssa")
    assert (found.segments[0].speaker, found.segments[0].text) == ("Bob", "Hi")
    short = "[Events]\nFormat: Actor, End, Start, Text\nDialogue: Eve,0:00:02.50,0:00:01.00,Hi, you\n"
    segment = script(tmp_path, short, "ass").segments[0]
    assert (segment.speaker, segment.start, segment.text) == ("Eve", 1, "Hi, you")


@pytest.mark.parametrize(
    "line",
    [
        "Dialoge: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,two",
        "Dialogue: 0,0:00:03.00,0:00:04.00,Default",
        "Dialogue: 0,0:00:0x.00,0:00:04.00,Default,,0,0,0,,two",
        "Dialogue: 0,,0:00:04.00,Default,,0,0,0,,two",
        "Dialogue: 0,0:00:04.00,0:00:03.00,Default,,0,0,0,,two",
        "Dialogue:",
        "the second half of a line",
        "Format: Layer, Text, Start, End",
    ],
)
def test_a_damaged_event_is_refused_by_number_and_line(line: str, tmp_path: Path) -> None:
    error = refused(tmp_path, HEAD + event("one") + line + "\n" + event("three", at=5), "ass")
    assert error.message.startswith("cue 2 (line 12)")


def segments(tmp_path: Path, *rows: Any) -> Script:
    return script(tmp_path, json.dumps(list(rows)), "json")


def test_json_of_transcribers(tmp_path: Path) -> None:
    row = {"id": 0, "seek": 0, "start": 0.1, "end": 0.30000000000000004, "text": " Hola.", "tokens": [1, 2]}
    row |= {"temperature": 0.0, "avg_logprob": -0.2, "compression_ratio": 1.1, "no_speech_prob": 0.01, "words": []}
    whole = {"text": " Hola.", "language": "es", "segments": [row, row | {"start": 1, "end": 2, "language": "ca"}]}
    found = script(tmp_path, json.dumps(whole), "json")
    first, second = found.segments
    assert (first.start, first.end, first.text) == (Fraction(1, 10), Fraction(3, 10), "Hola.")
    assert (first.language, second.language) == ("es", "ca")
    assert found.warnings == ()
    named = script(tmp_path, json.dumps(whole | {"language": "spanish (Spain)"}), "json")
    assert named.segments[0].language == ""


def test_json_fields(tmp_path: Path) -> None:
    found = segments(
        tmp_path,
        {"start": "00:00:01.500", "duration": 0.1, "text": "a", "speaker": "Anna", "voice": "v1", "language": "en"},
        {"start": "2.5", "end": "00:03,25", "text": "<i>b</i>\n c", "speaker": None, "voice": None},
        {"start": 4, "end": 5, "text": "write to <anna@example.com>", "speaker": 2},
    )
    assert [(s.start, s.end, s.text, s.speaker, s.voice, s.language) for s in found.segments] == [
        (Fraction(3, 2), Fraction(8, 5), "a", "Anna", "v1", "en"),
        (Fraction(5, 2), Fraction(13, 4), "b c", "", "", ""),
        (4, 5, "write to <anna@example.com>", "2", "", ""),
    ]


def test_json_without_times(tmp_path: Path) -> None:
    found = segments(tmp_path, {"text": "a"}, {"text": "b", "start": None})
    assert not found.timed
    assert [segment.number for segment in found.segments] == [1, 2]


OK = {"start": 0, "end": 1, "text": "a"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"start": 1, "end": 2, "txt": "b"}, "'text'"),
        ({"strat": 1, "end": 2, "text": "b"}, "'start'"),
        ({"Start": 1, "end": 2, "text": "b"}, "'start'"),
        ({"start": 1, "ends": 2, "text": "b"}, "'end'"),
        ({"start": 1, "durration": 2, "text": "b"}, "'duration'"),
        ({"start": 1, "end": 2, "text": "b", "speeker": "x"}, "'speaker'"),
        ({"start": 1, "end": 2, "text": "b", "langauge": "x"}, "'language'"),
        ({"start": 1, "end": 2}, "'text' is missing"),
        ({"start": 1, "text": "b"}, "'end' is missing"),
        ({"end": 1, "text": "b"}, "'start' is missing"),
        ({"text": "b"}, "it has no times"),
        ({"start": "soon", "end": 2, "text": "b"}, "'soon' is not a time"),
        ({"start": True, "end": 2, "text": "b"}, "not a time"),
        ({"start": [1], "end": 2, "text": "b"}, "not a time"),
        ({"start": "NaN", "end": 2, "text": "b"}, "not a time"),
        ({"start": 1, "end": "Infinity", "text": "b"}, "not a time"),
        ({"start": 1, "end": "1e999999", "text": "b"}, "not a time"),
        ({"start": "1e-999999", "end": 2, "text": "b"}, "not a time"),
        ({"start": -1, "end": 2, "text": "b"}, "before 0"),
        ({"start": 1, "duration": 0, "text": "b"}, "no length"),
        ({"start": 1, "duration": -1, "text": "b"}, "ends before"),
        ({"start": 1, "end": 90000, "text": "b"}, "24 hours"),
        ({"start": 1, "end": 2, "text": 5}, "not text"),
        ({"start": 1, "end": 2, "text": "b", "voice": ["x"]}, "not text"),
        ({"start": 1, "end": 2, "text": "b", "speaker": "x" * 101}, "101 characters"),
        ("words", "not an object"),
        (None, "not an object"),
        ([], "not an object"),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_bad_segment_is_refused_by_number(row: Any, said: str, suffix: str, tmp_path: Path) -> None:
    rows = [OK, row, {"start": 5, "end": 6, "text": "c"}]
    text = json.dumps(rows) if suffix == "json" else "\n\n".join(json.dumps(item) for item in rows)
    error = refused(tmp_path, text, suffix)
    assert error.message.startswith("cue 2" if suffix == "json" else "cue 2 (line 3)")
    assert said in str(error)


def test_a_key_that_is_there_twice(tmp_path: Path) -> None:
    assert "'text' occurs twice" in refused(tmp_path, '[{"text": "a", "text": "b"}]', "json").message
    assert len(script(tmp_path, '[{"text": "a", "id": 1, "id": 2}]', "json").segments) == 1


def test_a_damaged_line_of_json_lines(tmp_path: Path) -> None:
    good = json.dumps(OK)
    later = good.replace("0", "2").replace("1", "3")
    for suffix in ("jsonl", "json"):
        assert refused(tmp_path, f"{good}\n\n{later[:-1]}\n", suffix).message.startswith("cue 2 (line 3)")
    assert refused(tmp_path, f"{good[:-1]}\n{later}\n", "jsonl").message.startswith("cue 1 (line 1)")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"a": 1}',
        '{"segmets": []}',
        '{"segments": {}}',
        "[" * 200_000,
        '"words"',
        "[NaN]",
        "1e5",
        "[1e" + "9" * 30 + "]",
        "[" + "9" * 5000 + "]",
    ],
)
def test_json_of_another_make(text: str, tmp_path: Path) -> None:
    error = refused(tmp_path, text, "json", Code.SCRIPT_UNREADABLE)
    assert len(error.message) < 300
    assert ("segmets" in text) == ("segmets" in error.message)


def test_lone_surrogates_do_not_come_through(tmp_path: Path) -> None:
    segment = script(tmp_path, '[{"text": "a\\ud800b", "speaker": "\\udc00Eve"}]', "json").segments[0]
    assert (segment.text, segment.speaker) == ("ab", "Eve")


def test_voices_that_are_files_start_at_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the command is run; as paths in a manifest start at the manifest."""
    folder = tmp_path / "a#b"
    folder.mkdir()
    voices = ["x.onnx", "../v/y.ONNX#ana", "/v/z.onnx#3", "amy#2", "es", ""]
    placed = [f"{folder}/x.onnx", f"{tmp_path}/v/y.ONNX#ana", "/v/z.onnx#3", "amy#2", "es", ""]
    said = [{"text": str(number), "voice": voice} for number, voice in enumerate(voices)]
    for suffix, text in (("json", json.dumps(said)), ("jsonl", "\n".join(map(json.dumps, said)))):
        assert [segment.voice for segment in script(folder, text, suffix).segments] == placed
        monkeypatch.chdir(tmp_path)
        assert [segment.voice for segment in read_script(f"a#b/a.{suffix}").segments] == placed
        models = [f"{folder}/x.onnx", f"{tmp_path}/v/y.ONNX", "/v/z.onnx"]
        assert voice_files(f"a#b/a.{suffix}") == tuple(f"{path}{end}" for path in models for end in ("", ".json"))


def test_a_script_that_cannot_be_read_names_no_voice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "bad.json").write_text('[{"txet": "a", "voice": "x.onnx"}]')
    (tmp_path / "bytes.json").write_bytes(b"onnx \xff\xfe\x00")
    for name in ("pipe.json", "bad.json", "bytes.json", "absent.json", "", ".", "nul\0byte.json", "\udce9.json"):
        assert voice_files(str(tmp_path / name)) == ()
