"""Reading scripts: forms, encodings, limits, and what every form has in common."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from raydub.errors import Code, InputError
from raydub.tts.scripts import cue as limits
from raydub.tts.scripts.read import read_script
from raydub.tts.types import Script

Write = Callable[[str, str | bytes], str]
SRT = "1\n00:00:01,000 --> 00:00:02,500\nHola a todos.\n"
VTT = "WEBVTT\n\n00:01.000 --> 00:02.500\nHola a todos.\n"
ASS = "[Script Info]\n\n[Events]\nDialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,Hola a todos.\n"
JSON = '[{"start": 1, "end": 2.5, "text": "Hola a todos."}]'
JSONL = '{"start": 1, "end": 2.5, "text": "Hola a todos."}\n'
FORMS = {"srt": SRT, "vtt": VTT, "ass": ASS, "json": JSON, "jsonl": JSONL}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return put


def refused(path: str, code: Code) -> InputError:
    with pytest.raises(InputError) as caught:
        read_script(path)
    assert caught.value.code == code
    assert caught.value.field == "script"
    assert caught.value.hint
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return caught.value


def is_hola(script: Script) -> bool:
    segment = script.segments[0]
    known = (segment.number, segment.start, segment.end, segment.text)
    return script.timed and len(script.segments) == 1 and known == (1, 1, Fraction(5, 2), "Hola a todos.")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [*FORMS, "txt", "SRT", "sub"])
def test_the_content_decides_whatever_the_suffix(form: str, suffix: str, write: Write) -> None:
    assert is_hola(read_script(write(f"a.{suffix}", FORMS[form])))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(form: str, encoding: str, ends: str, write: Write) -> None:
    text = FORMS[form].replace("\n", ends)
    bom = "\ufeff" if encoding.endswith("-bom") else ""
    path = write(f"a.{form}", (bom + text).encode(encoding.removesuffix("-bom")))
    assert is_hola(read_script(path))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "cp1251"])
@pytest.mark.parametrize("name", ["a.srt", "a.txt", "a.json"])
def test_other_encodings_are_refused_and_never_guessed(encoding: str, name: str, write: Write) -> None:
    letters = "жар-птица" if encoding == "cp1251" else "Adiós, niña"
    text = JSON if name.endswith("json") else SRT
    error = refused(write(name, text.replace("Hola a todos", letters).encode(encoding)), Code.SCRIPT_UNREADABLE)
    assert "UTF-8" in error.hint


def test_an_encoding_error_names_the_line(write: Write) -> None:
    path = write("a.srt", SRT.encode() + b"\n2\n00:00:03,000 --> 00:00:04,000\nAdi\xf3s\n")
    assert "line 7" in refused(path, Code.SCRIPT_UNREADABLE).message


def test_no_file(tmp_path: Path) -> None:
    assert "nowhere.srt" in refused(str(tmp_path / "nowhere.srt"), Code.INPUT_MISSING).message


def test_what_is_no_file_or_cannot_be_opened(tmp_path: Path) -> None:
    refused(str(tmp_path), Code.SCRIPT_UNREADABLE)
    os.mkfifo(tmp_path / "pipe.srt")
    refused(str(tmp_path / "pipe.srt"), Code.SCRIPT_UNREADABLE)
    refused("a\0b.srt", Code.SCRIPT_UNREADABLE)
    refused(f"{'x' * 5000}.srt", Code.SCRIPT_UNREADABLE)
    (tmp_path / "loop.srt").symlink_to(tmp_path / "loop.srt")
    refused(str(tmp_path / "loop.srt"), Code.SCRIPT_UNREADABLE)


@pytest.mark.parametrize("content", ["", "\n \r\n\t\n", "\ufeff", "\ufeff\n\u200b"])
@pytest.mark.parametrize("name", ["a.srt", "a.vtt", "a.ass", "a.json", "a.jsonl", "a.txt", "a.xyz"])
def test_empty_files(name: str, content: str, write: Write) -> None:
    refused(write(name, content), Code.SCRIPT_EMPTY)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.srt", SRT.replace("Hola a todos.", "[applause]")),
        ("a.vtt", "WEBVTT\n\nNOTE nothing\n"),
        ("a.vtt", "WEBVTT"),
        ("a.ass", ASS.replace("Dialogue", "Comment")),
        ("a.ass", "[Script Info]\nTitle: x\n"),
        ("a.json", "[]"),
        ("a.json", '{"segments": []}'),
        ("a.txt", "... -- !\n\n[music]"),
    ],
)
def test_nothing_to_say(name: str, content: str, write: Write) -> None:
    refused(write(name, content), Code.SCRIPT_EMPTY)


@pytest.mark.parametrize("name", ["a.srt", "a.vtt", "a.ass", "a.ssa", "a.json", "a.jsonl", "a.xml", "a"])
def test_text_under_a_wrong_suffix(name: str, write: Write) -> None:
    error = "E_SCRIPT_CUE" if name == "a.jsonl" else "E_SCRIPT_UNREADABLE"
    assert "cue 1" in refused(write(name, "Just words."), Code(error)).message or error == "E_SCRIPT_UNREADABLE"


def test_a_binary_file(write: Write) -> None:
    refused(write("a.srt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), Code.SCRIPT_UNREADABLE)


def test_limits(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [f"00:00:{n:02}" for n in range(9)]
    many = "\n".join(f"1\n{time},000 --> {time},900\nword\n" for time in times)
    monkeypatch.setattr("raydub.tts.scripts.settle.MAX_CUES", 9)
    assert len(read_script(write("a.srt", many)).segments) == 9
    monkeypatch.setattr("raydub.tts.scripts.settle.MAX_CUES", 8)
    assert "8 cues" in refused(write("a.srt", many), Code.SCRIPT_UNREADABLE).message
    monkeypatch.setattr("raydub.tts.scripts.read.MAX_LINES", 20)
    assert "lines" in refused(write("a.srt", many), Code.SCRIPT_UNREADABLE).message


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    with path.open("wb") as stream:
        stream.truncate(50 << 30)
    assert "16 MiB" in refused(str(path), Code.SCRIPT_UNREADABLE).message


def test_plain_text_beyond_a_day_of_speech(write: Write) -> None:
    refused(write("a.txt", "word " * 400_001), Code.SCRIPT_UNREADABLE)


@pytest.mark.parametrize("form", FORMS)
def test_text_per_cue(form: str, write: Write) -> None:
    fits, more = "word " * 199 + "words", "word " * 199 + "words."
    assert len(fits) == limits.MAX_TEXT
    assert read_script(write(f"a.{form}", FORMS[form].replace("Hola a todos.", fits))).segments[0].text == fits
    error = refused(write(f"a.{form}", FORMS[form].replace("Hola a todos.", more)), Code.SCRIPT_CUE)
    assert error.message.startswith("cue 1")
    assert "1,001 characters" in error.message
    raw = "[a] " * 5000 + "hi"
    assert "cue 1" in refused(write(f"a.{form}", FORMS[form].replace("Hola a todos.", raw)), Code.SCRIPT_CUE).message


def srt(*cues: tuple[str, str, str]) -> str:
    return "".join(f"{place}\n{start} --> {end}\n{text}\n\n" for place, (start, end, text) in enumerate(cues, 1))


def test_out_of_order_cues_are_sorted_and_keep_their_numbers(write: Write) -> None:
    script = read_script(
        write(
            "a.srt",
            srt(
                ("00:00:05,000", "00:00:06,000", "third"),
                ("00:00:01,000", "00:00:02,000", "first"),
                ("00:00:03,000", "00:00:04,000", "second"),
            ),
        )
    )
    assert [(segment.number, segment.text) for segment in script.segments] == [
        (2, "first"),
        (3, "second"),
        (1, "third"),
    ]
    assert [warning[:15] for warning in script.warnings] == ["W_SCRIPT: cue 2", "W_SCRIPT: cue 3"]
    assert "before cue 1" in script.warnings[0]


def test_the_same_cue_twice_is_spoken_once(write: Write) -> None:
    cue = ("00:00:01,000", "00:00:02,000", "again")
    script = read_script(write("a.srt", srt(cue, cue, ("00:00:03,000", "00:00:04,000", "again"))))
    assert [segment.number for segment in script.segments] == [1, 3]
    assert script.warnings == ("W_SCRIPT: cue 2: the same as cue 1, left out",)


def test_lines_said_twice_without_times_stay(write: Write) -> None:
    assert len(read_script(write("a.jsonl", '{"text": "Again."}\n' * 3)).segments) == 3


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("00:00:02,000", "00:00:02,000", "no length"),
        ("00:00:02,000", "00:00:01,999", "ends before"),
        ("-00:00:02,000", "00:00:01,999", "before 0"),
        ("00:00:-2,000", "00:00:01,999", "before 0"),
        ("23:59:59,000", "24:00:00,001", "24 hours"),
        ("999999:00:00,000", "999999:00:00,001", "24 hours"),
    ],
)
def test_impossible_times_are_refused_by_number(start: str, end: str, said: str, write: Write) -> None:
    error = refused(write("a.srt", srt(("00:00:00,000", "00:00:01,000", "hi"), (start, end, "there"))), Code.SCRIPT_CUE)
    assert error.message.startswith("cue 2 (line 6)")
    assert said in error.message


def test_a_cue_may_end_with_the_day(write: Write) -> None:
    assert read_script(write("a.srt", srt(("23:59:59,000", "24:00:00,000", "hi")))).segments[0].end == 86400


def test_overlap_is_kept_and_told_only_of_one_speaker(write: Write) -> None:
    one = srt(("00:00:01,000", "00:00:03,000", "[Anna] hello"), ("00:00:02,000", "00:00:04,000", "[Anna] there"))
    script = read_script(write("a.srt", one))
    assert len(script.segments) == 2
    assert ["cue 2" in warning and "cue 1" in warning for warning in script.warnings] == [True]
    assert read_script(write("a.srt", one.replace("[Anna] there", "[Bert] there"))).warnings == ()


def test_overlap_with_a_long_cue_before_the_last_one(write: Write) -> None:
    spans = [(0, 9), (1, 2), (3, 4)]
    script = read_script(write("a.srt", srt(*((f"00:00:0{a},000", f"00:00:0{b},000", "word") for a, b in spans))))
    assert ["while cue 1" in warning for warning in script.warnings] == [True, True]


def test_too_fast_to_say(write: Write) -> None:
    fits = read_script(write("a.srt", srt(("00:00:01,000", "00:00:02,000", "x" * 40))))
    fast = read_script(write("a.srt", srt(("00:00:01,000", "00:00:02,000", "x" * 41))))
    assert fits.warnings == ()
    assert [("cue 1" in warning, "41 characters a second" in warning) for warning in fast.warnings] == [(True, True)]


def test_empty_cues_are_left_out_by_number_even_with_bad_times(write: Write) -> None:
    zero = ("00:00:03,000", "00:00:03,000", "<i></i>")
    script = read_script(write("a.srt", srt(("00:00:01,000", "00:00:02,000", "hi"), zero)))
    assert [segment.number for segment in script.segments] == [1]
    assert script.warnings == ("W_SCRIPT: cue 2: no text to speak, left out",)


def test_many_warnings_end_in_a_sum(write: Write) -> None:
    cues = [(f"00:00:{n:02},000", f"00:00:{n:02},900", "[noise]") for n in range(30)]
    script = read_script(write("a.srt", srt(*cues, ("00:01:00,000", "00:01:01,000", "hi"))))
    assert len(script.warnings) == limits.MAX_WARNINGS + 1
    assert script.warnings[-1] == "W_SCRIPT: 10 more remarks, about cues 21 to 30"


def test_signs_nobody_hears(write: Write) -> None:
    text = "\x07A\u0301d\u00adio\u200bs\u2028a\x1b \u202btodos\u202c\u00a0 x\ufeff"
    assert (
        read_script(write("a.srt", srt(("00:00:01,000", "00:00:02,000", text)))).segments[0].text
        == "\u00c1dios a todos x"
    )
    persian = "می\u200cخواهم"
    assert read_script(write("a.srt", srt(("00:00:01,000", "00:00:02,000", persian)))).segments[0].text == persian


def test_letters_that_another_program_lost_are_told(write: Write) -> None:
    script = read_script(write("a.srt", srt(("00:00:01,000", "00:00:02,000", "Adi\ufffds"))))
    assert script.segments[0].text == "Adis"
    assert "U+FFFD" in script.warnings[0]
