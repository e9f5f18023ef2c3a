"""SRT and WebVTT as they are found in the wild."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from raydub.errors import Code, InputError
from raydub.tts.scripts.read import read_script
from raydub.tts.types import Script


def script(folder: Path, text: str, suffix: str = "srt") -> Script:
    path = folder / f"a.{suffix}"
    path.write_bytes(text.encode())
    return read_script(str(path))


def refused(folder: Path, text: str, suffix: str = "srt") -> str:
    with pytest.raises(InputError) as caught:
        script(folder, text, suffix)
    assert caught.value.code == Code.SCRIPT_CUE
    return caught.value.message


def texts(found: Script) -> list[str]:
    return [segment.text for segment in found.segments]


ONE = "1\n00:00:01,000 --> 00:00:02,000\none\n"
THREE = "3\n00:00:05,000 --> 00:00:06,000\nthree\n"


@pytest.mark.parametrize(
    ("line", "start", "end"),
    [
        ("00:00:01,500 --> 00:00:02,250", Fraction(3, 2), Fraction(9, 4)),
        ("00:00:01.500 --> 00:00:02.250", Fraction(3, 2), Fraction(9, 4)),
        ("00:00:01,500-->00:00:02,250", Fraction(3, 2), Fraction(9, 4)),
        ("  00:00:01,500   -->\t00:00:02,250  ", Fraction(3, 2), Fraction(9, 4)),
        ("00:00:01, 500 --> 00: 00:02 ,250", Fraction(3, 2), Fraction(9, 4)),
        ("0:0:1,5 --> 0:0:2,25", Fraction(3, 2), Fraction(9, 4)),
        ("00:00:01 --> 00:00:02", 1, 2),
        ("00:01.500 --> 00:02.250", Fraction(3, 2), Fraction(9, 4)),
        ("01:00:00,001 --> 01:59:59,999", Fraction(3600001, 1000), Fraction(7199999, 1000)),
        ("00:00:01,500 --> 00:00:02,250 X1:40 X2:600 Y1:20 Y2:50", Fraction(3, 2), Fraction(9, 4)),
        ("00:01.500 --> 00:02.250 align:start position:10%,line-left size:35% line:0", Fraction(3, 2), Fraction(9, 4)),
        ("00:01.500 --> 00:02.250 align: middle", Fraction(3, 2), Fraction(9, 4)),
        ("00:00:00,033333333 --> 00:00:02,250", Fraction(33333333, 10**9), Fraction(9, 4)),
    ],
)
@pytest.mark.parametrize("suffix", ["srt", "vtt"])
def test_times_as_people_write_them(line: str, start: Fraction, end: Fraction, suffix: str, tmp_path: Path) -> None:
    head = "WEBVTT\n\n" if suffix == "vtt" else "1\n"
    segment = script(tmp_path, f"{head}{line}\nHello", suffix).segments[0]
    assert (segment.start, segment.end) == (start, end)


@pytest.mark.parametrize(
    "line",
    [
        "00:00:03,000 --> 00:00:04,000 and words",
        "00:00:03,000 --> 00:00:04,000 --> 00:00:05,000",
        "00:00:03,000 -->",
        "--> 00:00:04,000",
        "00:00:03,000 --> 00:00:0x,000",
        "00:00:03,000 --> 00:61:04,000",
        "00:00:03,000 --> 00:00:75,000",
        "00:00:03:000 --> 00:00:04:000",
        "00:00:03,000 -> 00:00:04,000",
        "00:00:03,000 —> 00:00:04,000",
        "00:00:03,000 → 00:00:04,000",
        "3 --> 4",
        "٠٠:٠٠:٠٣,٠٠٠ --> ٠٠:٠٠:٠٤,٠٠٠",
    ],
)
@pytest.mark.parametrize("suffix", ["srt", "vtt"])
def test_a_damaged_time_line_is_refused_by_number_and_line(line: str, suffix: str, tmp_path: Path) -> None:
    head = "WEBVTT\n\n" if suffix == "vtt" else ""
    message = refused(tmp_path, f"{head}{ONE}\n2\n{line}\ntwo\n\n{THREE}", suffix)
    assert message.startswith(f"cue 2 (line {8 if suffix == 'vtt' else 6})")


@pytest.mark.parametrize("suffix", ["srt", "vtt"])
def test_a_cue_that_lost_its_times_is_not_lost_silently(suffix: str, tmp_path: Path) -> None:
    head = "WEBVTT\n\n" if suffix == "vtt" else ""
    assert refused(tmp_path, f"{head}{ONE}\n2\ntwo\n\n{THREE}", suffix).startswith("cue 2 (line ")
    assert refused(tmp_path, f"{head}{ONE}\n2\n\ntwo\n\n{THREE}", suffix).startswith("cue 2 (line ")
    assert refused(tmp_path, f"{head}{ONE}\n2\n", suffix).startswith("cue 2 (line ")
    assert refused(tmp_path, f"{head}1\none\n\n{THREE}", suffix).startswith("cue 1 (line ")
    assert refused(tmp_path, f"{head}some words\n\n{THREE}", suffix).startswith("cue 1 (line ")


@pytest.mark.parametrize("suffix", ["srt", "vtt"])
def test_a_blank_line_inside_a_cue(suffix: str, tmp_path: Path) -> None:
    head = "WEBVTT\n\n" if suffix == "vtt" else ""
    found = script(tmp_path, f"{head}{ONE}\nand more\n  \nand the rest\n\n{THREE}", suffix)
    assert texts(found) == ["one and more and the rest", "three"]
    assert ["cue 1" in warning for warning in found.warnings] == [True, True]
    assert texts(script(tmp_path, f"{head}{ONE}\nlast words", suffix)) == ["one last words"]


def test_no_blank_line_between_cues(tmp_path: Path) -> None:
    found = script(tmp_path, "1\n00:01 --> 00:02\none\n2\n00:03 --> 00:04\ntwo\n00:05 --> 00:06\nthree")
    assert texts(found) == ["one", "two", "three"]
    assert found.warnings == ()


def test_a_number_that_is_spoken(tmp_path: Path) -> None:
    """A countdown without indices, and a year before a cue whose blank line is missing."""
    count = "\n\n".join(f"00:0{n} --> 00:0{n + 1}\n{9 - n}" for n in range(1, 4))
    assert texts(script(tmp_path, count)) == ["8", "7", "6"]
    found = script(tmp_path, "1\n00:01 --> 00:03\nHe was born in\n1984\n00:03 --> 00:04\nin May")
    assert texts(found) == ["He was born in 1984", "in May"]
    assert "cue 1" in found.warnings[0]
    indexed = script(tmp_path, "1\n00:01 --> 00:02\n3\n\n2\n00:02 --> 00:03\n2\n\n3\n00:03 --> 00:04\n1\n")
    assert texts(indexed) == ["3", "2", "1"]


@pytest.mark.parametrize("numbers", [("1", "1", "1"), ("7", "3", "0"), ("0", "1", "2"), ("", "", "")])
def test_printed_numbers_do_not_count(numbers: tuple[str, str, str], tmp_path: Path) -> None:
    blocks = [f"{n}\n00:0{place} --> 00:0{place + 1}\nword {place}" for place, n in enumerate(numbers)]
    found = script(tmp_path, "\n\n\n".join(block.strip() for block in blocks))
    assert [(segment.number, segment.text) for segment in found.segments] == [
        (1, "word 0"),
        (2, "word 1"),
        (3, "word 2"),
    ]
    assert found.warnings == ()


def test_a_blank_line_between_number_and_times(tmp_path: Path) -> None:
    found = script(tmp_path, f"{ONE}\n2\n\n00:00:03,000 --> 00:00:04,000\ntwo\n")
    assert (texts(found), found.warnings) == (["one", "two"], ())


def test_an_empty_cue_is_told(tmp_path: Path) -> None:
    found = script(tmp_path, f"{ONE}\n2\n00:00:03,000 --> 00:00:04,000\n\n{THREE}")
    assert [segment.number for segment in found.segments] == [1, 3]
    assert found.warnings == ("W_SCRIPT: cue 2: no text to speak, left out",)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("<i>Hello</i> <b>you</b>", "Hello you"),
        ('<font color="#fff" size=3>Hello</FONT>', "Hello"),
        ("{\\an8}{\\i1}Hello{\\i0}", "Hello"),
        ("{y:i}Hello", "Hello"),
        ("one<br>two<br/>three", "one two three"),
        ("one\\Ntwo\\hthree", "one two three"),
        ("Tom &amp; Jerry&nbsp;&lt;3 AT&T R&B;", "Tom & Jerry <3 AT&T R&B;"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("♪ la la ♪", "la la"),
        ("a [door slams] b", "a b"),
        ("unclosed <i>tag <b", "unclosed tag <b"),
    ],
)
def test_markup_is_not_spoken(written: str, spoken: str, tmp_path: Path) -> None:
    assert texts(script(tmp_path, f"1\n00:01 --> 00:05\n{written}\n")) == [spoken]


WEBVTT = """WEBVTT - a title
Kind: captions
X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000

STYLE
::cue { color: red }
::cue(b) { color: blue }

REGION
id:fred
width:40%

NOTE one line

NOTE
several
lines

intro
00:01.000 --> 00:02.000 region:fred align:start
<v.loud.first Anna Mar&iacute;a>Hello <00:01.500><c.yellow>you</c></v> &amp; me&lrm;

00:00:03.000 --> 00:00:04.000
<v Bob>Hi

NOTE between cues

00:00:05.000 --> 00:00:06.000
<lang es>Hola</lang> <ruby>漢<rt>kan</rt>字<rt>ji</rt></ruby>
"""


def test_webvtt_with_everything(tmp_path: Path) -> None:
    found = script(tmp_path, WEBVTT, "vtt")
    assert [(segment.speaker, segment.text) for segment in found.segments] == [
        ("Anna María", "Hello you & me"),
        ("Bob", "Hi"),
        ("", "Hola 漢字"),
    ]
    assert found.warnings == ()


def test_two_voices_in_one_cue_are_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Anna>Hi</v>\n<v Bob>Hello</v>\n", "vtt")
    assert "cue 1 (line 3)" in message
    assert "Anna, Bob" in message
    silent = script(tmp_path, "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Anna>Hi</v> <v Bob>...</v> <v Anna>you", "vtt")
    assert (silent.segments[0].speaker, silent.segments[0].text) == ("Anna", "Hi ... you")


@pytest.mark.parametrize("word", ["NOTE", "NOTE was cue 2", "STYLE", "REGION"])
def test_times_in_a_comment_are_refused(word: str, tmp_path: Path) -> None:
    text = f"WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n\n{word}\n00:03.000 --> 00:04.000\nhidden\n"
    assert refused(tmp_path, text, "vtt").startswith("cue 2 (line 7)")


def test_a_webvtt_header_without_a_blank_line(tmp_path: Path) -> None:
    assert texts(script(tmp_path, "WEBVTT\n00:01.000 --> 00:02.000\nHi\n", "vtt")) == ["Hi"]
    assert texts(
        script(tmp_path, "WEBVTT\n1\n00:01.000 --> 00:02.000\nHi\n\n2\n00:03.000 --> 00:04.000\nyou", "vtt")
    ) == [
        "Hi",
        "you",
    ]


def test_note_is_a_word_in_srt(tmp_path: Path) -> None:
    assert texts(script(tmp_path, "1\n00:01 --> 00:02\nNOTE\nthis\n")) == ["NOTE this"]


def test_words_that_webvtt_takes_for_a_name_are_told(tmp_path: Path) -> None:
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n\nand more\n00:03.000 --> 00:04.000\nyou\n"
    found = script(tmp_path, text, "vtt")
    assert texts(found) == ["Hi", "you"]
    assert ["cue 2: 'and more'" in warning for warning in found.warnings] == [True]
