"""Who speaks, and what of a cue's text is speech: names, dashes, sounds, music; and sentences of plain text."""

from __future__ import annotations

from pathlib import Path

import pytest

from raydub.tts.scripts.cue_text import say
from raydub.tts.scripts.prose import LONGEST
from raydub.tts.scripts.read import read_script
from raydub.tts.types import Script


@pytest.mark.parametrize(
    ("written", "speaker", "text"),
    [
        ("[Anna] hello", "Anna", "hello"),
        ("[Anna]: hello", "Anna", "hello"),
        ("[anna]: hello", "anna", "hello"),
        ("[ANNA]\nhello", "ANNA", "hello"),
        ("[SPEAKER_00]: hello", "SPEAKER_00", "hello"),
        ("[Speaker 2] hello", "Speaker 2", "hello"),
        ("- [Anna] hello", "Anna", "hello"),
        ("Anna: hello", "Anna", "hello"),
        ("ANNA: hello", "ANNA", "hello"),
        ("ANNA:\nhello", "ANNA", "hello"),
        ("ANNA (on phone): hello", "ANNA", "hello"),
        ("Dr. Smith: hello", "Dr. Smith", "hello"),
        ("María de la: hello", "María de la", "hello"),
        ("O'Brien-Ng : hello", "O'Brien-Ng", "hello"),
        ("Speaker 1: hello", "Speaker 1", "hello"),
        ("安娜：你好", "安娜", "你好"),
        ("[Laughter] ANNA: hello", "ANNA", "hello"),
        ("(sighs) Anna: hello", "Anna", "hello"),
        ("Anna: [laughs] hello", "Anna", "hello"),
        ("(ANNA) hello", "", "hello"),
        ("[laughter] hello", "", "hello"),
        ("[Music] hello", "", "hello"),
        ("[Music playing] hello", "", "hello"),
        ("[Door slams]\nhello", "", "hello"),
        ("[00:01:02] hello", "", "hello"),
        ("[1] hello", "", "hello"),
        ("At 10:30 we go", "", "At 10:30 we go"),
        ("Chapter 3: the end", "", "Chapter 3: the end"),
        ("I said this: no", "", "I said this: no"),
        ("so: no", "", "so: no"),
        ("He Said All This: no", "", "He Said All This: no"),
        ("Well, Anna: no", "", "Well, Anna: no"),
        ("https://example.com", "", "https://example.com"),
        ("We need\nMilk: two litres", "", "We need Milk: two litres"),
        ("[Anna]", "", ""),
        ("[Anna", "", "[Anna"),
    ],
)
def test_names(written: str, speaker: str, text: str) -> None:
    said = say(written)
    assert (said.speaker, said.text) == (speaker, text)


def test_a_field_goes_before_a_name_in_the_text() -> None:
    assert (say("anna: hello", "Anna").text, say("ANNA: hello", "Anna").text) == ("anna: hello", "hello")
    other = say("Note: hello", "Anna")
    assert (other.speaker, other.text) == ("Anna", "Note: hello")
    assert say("[Bert] hello", "Anna").text == "hello"


@pytest.mark.parametrize(
    ("written", "text", "remarks"),
    [
        ("- Hello\n- Hi", "Hello Hi", 1),
        ("-Hello\n-Hi", "Hello Hi", 1),
        ("– ¿Qué?\n— Nada.", "¿Qué? Nada.", 1),
        ("- Hello", "Hello", 0),
        (">> Hello\n>> Hi", "Hello Hi", 1),
        (">> HOST: Hello", "Hello", 0),
        ("-5 degrees", "-5 degrees", 0),
        ("- 5 degrees\n-5 more", "5 degrees -5 more", 0),
        ("well-known\n--stop", "well-known stop", 0),
        ("- ANNA: Hello\n- BERT: Hi", "Hello Hi", 1),
        ("[Anna] Hello\n[Anna] again", "Hello again", 0),
        ("Hello\n[Bert] Hi", "Hello Hi", 1),
    ],
)
def test_dialogue_in_one_cue(written: str, text: str, remarks: int) -> None:
    said = say(written)
    assert (said.text, len(said.remarks)) == (text, remarks)


@pytest.mark.parametrize(
    ("written", "text", "remarks"),
    [
        ("(door slams)", "", 0),
        ("[♪ music ♪]", "", 0),
        ("♪♫ 🎵", "", 0),
        ("?! -- ...", "", 0),
        ("(door\nslams) Hello", "Hello", 0),
        ("Hello (laughs)", "Hello", 0),
        ("I'm fine. (sighs) Really.", "I'm fine. Really.", 0),
        ("Hello (laughs), you", "Hello, you", 1),
        ("It costs (about five dollars) a lot", "It costs a lot", 1),
        ("a ((b) c) d [e [f]] g", "a d g", 1),
        ("（笑）你好【音楽】", "你好", 0),
        ("a ) b ( c", "a ) b ( c", 0),
        ("so [this is a long remark by the editor about that] then", "so then", 1),
    ],
)
def test_sounds_are_not_spoken(written: str, text: str, remarks: int) -> None:
    said = say(written)
    assert (said.text, len(said.remarks)) == (text, remarks)


def plain(folder: Path, text: str) -> Script:
    (folder / "a.txt").write_text(text, encoding="utf-8")
    return read_script(str(folder / "a.txt"))


def texts(folder: Path, text: str) -> list[str]:
    return [segment.text for segment in plain(folder, text).segments]


@pytest.mark.parametrize(
    "one",
    [
        "We met Dr. Smith at 3.5 km from St. Paul today.",
        "The tall Sr. García and Sra. López came home.",
        "It was J. R. R. Tolkien who wrote the book.",
        "See No. 5 and fig. 3 in the book.",
        "Am 3. Mai kommt z.B. der Herr bzw. Frau Meier.",
        "“Stop right there!” he said to the man.",
        "He waited for a while... and then he left.",
        "Visit www.example.com/index.html for more of it.",
        "The fee (about $5, or 4 euros today) is small.",
        "Does the U.S. Army know about it?",
    ],
)
def test_sentences_that_are_not_cut(one: str, tmp_path: Path) -> None:
    assert texts(tmp_path, one) == [one]


@pytest.mark.parametrize(
    ("written", "pieces"),
    [
        ("This is the first one. This is the second one.", ["This is the first one.", "This is the second one."]),
        (
            "Is this the first one?! Yes it is one… Here it ends.",
            ["Is this the first one?!", "Yes it is one…", "Here it ends."],
        ),
        ("¿Qué hora es ahora? ¡Es muy tarde ya!", ["¿Qué hora es ahora?", "¡Es muy tarde ya!"]),
        ("He said: “I will come.” “She did not come.”", ["He said: “I will come.”", "“She did not come.”"]),
        (
            "我今天去了北京的天安门广场看风景。他明天要去上海的外滩和朋友们见面。",
            ["我今天去了北京的天安门广场看风景。", "他明天要去上海的外滩和朋友们见面。"],
        ),
        ("यह एक लंबा वाक्य है। यह दूसरा वाक्य है।", ["यह एक लंबा वाक्य है।", "यह दूसरा वाक्य है।"]),
        ("هل هذا سؤال طويل؟ نعم هذا هو الجواب.", ["هل هذا سؤال طويل؟", "نعم هذا هو الجواب."]),
        ("That was in 2020. Then it was over.", ["That was in 2020.", "Then it was over."]),
        ("No. I will not go there.", ["No. I will not go there."]),
        ("I will not go. No.", ["I will not go. No."]),
        ("你好。我好。", ["你好。我好。"]),
        ("A line without an end\nAnother line of it", ["A line without an end", "Another line of it"]),
        (
            "This text was wrapped\nby a program at some\nwidth. It goes on.",
            ["This text was wrapped by a program at some width.", "It goes on."],
        ),
        ("- a first item\n- a second item\n• a third item", ["a first item", "a second item", "a third item"]),
        ("Yes.\n\nNo.", ["Yes.", "No."]),
        ("(laughs) I am fine. (sighs) You are too.", ["I am fine.", "You are too."]),
    ],
)
def test_sentences(written: str, pieces: list[str], tmp_path: Path) -> None:
    assert texts(tmp_path, written) == pieces


def test_speakers_of_plain_text(tmp_path: Path) -> None:
    found = plain(
        tmp_path,
        "Anna: Hi. How are you this morning?\nI am here now.\n[Bert] Fine.\nAnna: Good to hear that.\n\n"
        "Nobody says this one.",
    )
    assert [(segment.speaker, segment.text) for segment in found.segments] == [
        ("Anna", "Hi. How are you this morning?"),
        ("Anna", "I am here now."),
        ("Bert", "Fine."),
        ("Anna", "Good to hear that."),
        ("", "Nobody says this one."),
    ]
    assert [segment.number for segment in found.segments] == [1, 2, 3, 4, 5]
    assert not found.timed
    assert found.warnings == ()


def test_a_word_that_might_be_no_name_is_told(tmp_path: Path) -> None:
    found = plain(tmp_path, "This is a sentence here.\nAttention: the train leaves now.\n")
    assert found.segments[1].speaker == "Attention"
    assert found.warnings == ("W_SCRIPT: cue 2: 'Attention' at its beginning is taken as the speaker's name",)


def test_a_line_with_nothing_to_say_is_told(tmp_path: Path) -> None:
    found = plain(tmp_path, "This is the first line.\n[applause]\nThis is the last line.")
    assert [segment.number for segment in found.segments] == [1, 3]
    assert found.warnings == ("W_SCRIPT: cue 2: no text to speak, left out",)


def test_long_sentences_are_cut_at_commas_then_at_spaces(tmp_path: Path) -> None:
    commas = ", ".join(["some words in a row"] * 40)
    pieces = texts(tmp_path, commas)
    assert " ".join(pieces) == commas
    assert all(len(piece) <= LONGEST for piece in pieces)
    assert all(piece.endswith(",") for piece in pieces[:-1])
    spaces = " ".join(["word"] * 400)
    pieces = texts(tmp_path, spaces)
    assert " ".join(pieces) == spaces
    assert all(LONGEST - 10 < len(piece) <= LONGEST for piece in pieces[:-1])
    solid = "x" * 900
    assert texts(tmp_path, f"a {solid} b") == ["a", solid, "b"]
