"""Who says what in which voice, and whose mouth moves to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError, StageError
from raydub.manifests.options import Options
from raydub.tts.cast import Line, cast_of, folded
from raydub.tts.types import Segment, Utterance, Voice
from tests.examples import examples

VOICES = (
    Voice("lola", ("es", "es-419"), "female"),
    Voice("pepe", ("es",), "male"),
    Voice("john", ("en-us", "en"), "male"),
    Voice("anne", ("fr",), "female"),
)


class Listed:
    """An engine that lists voices, and counts how often it is asked for them."""

    name = "listed"
    max_speed = 1.5

    def __init__(self) -> None:
        self.asked = 0

    def voices(self) -> tuple[Voice, ...]:
        self.asked += 1
        return VOICES

    def named(self, name: str) -> Voice | None:
        return Voice(name, ("de",)) if name.startswith("/") else None

    def identity(self, voice: Voice) -> str:
        return voice.name

    def synthesise(self, text: str, voice: Voice, language: str, speed: float) -> Utterance:
        raise AssertionError("nothing is spoken while the cast is found")


def script(*speakers: str, **more: Any) -> tuple[Segment, ...]:
    return tuple(Segment(n, f"line {n}", speaker=speaker, **more) for n, speaker in enumerate(speakers, 1))


def cast(segments: tuple[Segment, ...], **said: Any) -> tuple[Line, ...]:
    return cast_of(segments, Options(**{"language": "es", **said}), Listed())


def faces(*speakers: str, **said: Any) -> list[str]:
    return [line.face for line in cast(script(*speakers), **said)]


def refused(*speakers: str, **said: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        cast(script(*speakers), **said)
    return caught.value


def test_without_speakers_everything_is_the_job_s_own_face() -> None:
    assert faces("Ana", "", "Ben") == ["", "", ""]


@pytest.mark.parametrize("said", ["Ana=left; Ben=right", "ana=left;BEN=right", " ANA = left ,  Ben=right"])
def test_speakers_are_found_however_they_are_written(said: str) -> None:
    assert faces("Ana", "ben", "ANA", speakers=said) == ["left", "right", "left"]


def test_spaces_and_case_of_other_scripts() -> None:
    assert faces("  Doña   Inés ", "GROẞVATER", speakers="doña inés=left; großvater=right") == ["left", "right"]
    assert folded("Straße") == folded("STRASSE")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Ana=left; *=none", ["left", "none", "none"]),
        ("*=none", ["none", "none", "none"]),
        ("*=largest", ["largest", "largest", "largest"]),
        ("Ana=index:2; *=reference:/tmp/a b.png", ["index:2", "reference:/tmp/a b.png", "reference:/tmp/a b.png"]),
        ("Ana=NONE; Ben=left; *=right", ["none", "left", "right"]),
        ({"Ana": "left", "Ben": "left", "*": "none"}, ["left", "left", "none"]),
    ],
)
def test_everybody_else(said: Any, found: list[str]) -> None:
    assert faces("Ana", "Ben", "", speakers=said) == found


@pytest.mark.parametrize("field", ["speakers", "voice", "language"])
def test_a_speaker_who_says_nothing_is_named_with_the_nearest(field: str) -> None:
    value = {"speakers": "left", "voice": "lola", "language": "es"}[field]
    error = refused("Anna", "Ben", **{field: f"Ana={value}; *={value}"})
    assert (error.code, error.field) == (Code.SPEAKER_UNKNOWN, field)
    assert f"{field} names 'Ana', who has no line" in error.message
    assert "its speakers are Anna, Ben" in error.message
    assert "did you mean 'Anna'?" in error.hint


def test_a_speaker_of_a_script_that_names_nobody() -> None:
    error = refused("", "", speakers="Ana=left; *=none")
    assert "its speakers are not named" in error.message
    assert "did you mean" not in error.hint


def test_speakers_without_a_face_are_named() -> None:
    error = refused("Ana", "Zoe", "ben", "", speakers="ana=left")
    assert (error.code, error.field) == (Code.SPEAKER_UNKNOWN, "speakers")
    assert "the script has Zoe, a speaker without a name, ben" in error.message
    assert "*=none" in error.hint
    assert "*=largest" in error.hint


@pytest.mark.parametrize("field", ["speakers", "voice", "language"])
def test_one_speaker_twice_is_refused(field: str) -> None:
    """In two spellings: which of them counts, nobody could tell."""
    one, two = {"speakers": ("left", "right"), "voice": ("lola", "pepe"), "language": ("es", "fr")}[field]
    error = refused("Ana", **{field: f"Ana={one}; ANA={two}"})
    assert (error.code, error.field) == (Code.FIELD_CONFLICT, field)
    assert "'Ana' and 'ANA'" in error.message


def spoken(segments: tuple[Segment, ...], **said: Any) -> list[tuple[str, str]]:
    options = Options(**said)
    return [(line.voice.name, line.language) for line in cast_of(segments, options, Listed())]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"voice": "pepe"}, [("pepe", "es")] * 3),
        ({"voice": "ana=lola; *=john"}, [("lola", "es"), ("john", "en-us"), ("john", "en-us")]),
        ({"voice": "Ana=lola; Ben=pepe", "language": "fr"}, None),
        ({"voice": "Ana=lola; Ben=pepe; *=anne"}, [("lola", "es"), ("pepe", "es"), ("anne", "fr")]),
        ({"language": "Ana=es-MX; Ben=en; *=fr"}, [("lola", "es-419"), ("john", "en-us"), ("anne", "fr")]),
        ({"language": "es", "voice": "BEN=pepe"}, [("lola", "es"), ("pepe", "es"), ("lola", "es")]),
        ({"language": "EN"}, [("john", "en-us")] * 3),
    ],
)
def test_voices_and_languages_of_speakers(said: dict[str, str], found: list[tuple[str, str]] | None) -> None:
    segments = script("Ana", "Ben", "")
    if found is None:
        with pytest.raises(InputError) as caught:
            spoken(segments, **said)
        assert caught.value.code == Code.FIELD_CONFLICT
        assert "'lola'" in caught.value.message
    else:
        assert spoken(segments, **said) == found


def test_a_segment_s_own_words_go_first() -> None:
    segments = (
        Segment(1, "a", speaker="Ana", voice="pepe"),
        Segment(2, "b", speaker="Ana", language="fr"),
        Segment(3, "c", speaker="Ana"),
        Segment(4, "d", voice="/voices/my.onnx"),
    )
    assert spoken(segments, language="Ana=es; *=de") == [
        ("pepe", "es"),
        ("anne", "fr"),
        ("lola", "es"),
        ("/voices/my.onnx", "de"),
    ]


def test_a_segment_s_wrong_voice_is_told_with_its_number() -> None:
    for segment in (Segment(7, "hola", voice="lolla"), Segment(7, "hola", voice="LOLA2", language="es")):
        with pytest.raises(InputError) as caught:
            spoken((*script("", ""), segment), language="es")
        assert caught.value.code == Code.VOICE_UNKNOWN
        assert caught.value.message.startswith(
            "cue 7 ('hola'): the engine listed has no voice 'lol" if segment.voice == "lolla" else "cue 7 ('hola'): "
        )
        assert "did you mean 'lola'?" in caught.value.hint


def test_a_job_s_wrong_voice_is_no_cue_s_fault() -> None:
    error = refused("Ana", "Ben", voice="pepito")
    assert (error.code, error.field) == (Code.VOICE_UNKNOWN, "voice")
    assert "cue" not in error.message
    assert "did you mean 'pepe'?" in error.hint
    error = refused("Ana", language="spannish")
    assert (error.code, error.field) == (Code.VOICE_UNKNOWN, "language")
    assert "'spannish'" in error.message


def test_nothing_said_of_voice_or_language() -> None:
    with pytest.raises(InputError) as caught:
        cast_of(script("Ana"), Options(), Listed())
    assert (caught.value.code, caught.value.field) == (Code.FIELD_MISSING, "language")


def test_an_engine_s_own_trouble_passes() -> None:
    class Dead(Listed):
        def voices(self) -> tuple[Voice, ...]:
            raise StageError(Code.TTS_FAILED, "the engine listed crashed")

    with pytest.raises(StageError, match="crashed"):
        cast_of(script("Ana"), Options(language="es"), Dead())


def test_a_long_script_asks_for_each_voice_once() -> None:
    engine = Listed()
    lines = cast_of(script(*["Ana", "Ben"] * 500), Options(voice="Ana=lola; Ben=pepe"), engine)
    assert [line.segment.number for line in lines] == list(range(1, 1001))
    assert engine.asked <= 4


NAMES = st.sampled_from(["Ana", "BEN", "Zoë", "Dr. No", "großer", "Señora  Ruiz"])


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=8), st.data())
def test_spelling_never_decides(names: list[str], data: st.DataObject) -> None:
    """Whatever the case and the spaces: everybody has the face that was said of them."""
    ways = (str.upper, str.lower, str.title, lambda name: f" {name.replace(' ', '   ')} ")
    options = {name: f"index:{number}" for number, name in enumerate(dict.fromkeys(names))}
    segments = script(*(data.draw(st.sampled_from(ways))(name) for name in names))
    said = {data.draw(st.sampled_from(ways))(name): face for name, face in options.items()}
    assert [line.face for line in cast(segments, speakers=said)] == [options[name] for name in names]
