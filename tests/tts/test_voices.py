"""From what a script says of voice and language to a voice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, InputError
from raydub.tts.engines.languages import parse
from raydub.tts.engines.voices import choose_voice, speaks
from raydub.tts.types import Voice

VOICES = (
    Voice("cmn", ("cmn", "zh-cmn", "zh"), "male", "Chinese (Mandarin, latin as English)"),
    Voice("cmn-latn-pinyin", ("cmn-latn-pinyin", "zh-cmn", "zh"), "male", "Chinese (Mandarin, latin as Pinyin)"),
    Voice("de", ("de",), "male", "German"),
    Voice("en-029", ("en-029", "en"), "male", "English (Caribbean)"),
    Voice("en-gb", ("en-gb", "en"), "male", "English (Great Britain)"),
    Voice("en-us", ("en-us", "en"), "male", "English (America)"),
    Voice("es", ("es",), "male", "Spanish (Spain)"),
    Voice("es-419", ("es-419", "es-mx"), "male", "Spanish (Latin America)"),
    Voice("fr-be", ("fr-be", "fr"), "male", "French (Belgium)"),
    Voice("fr-fr", ("fr-fr", "fr"), "male", "French (France)"),
    Voice("he", ("he",), "male", "Hebrew"),
    Voice("id", ("id",), "male", "Indonesian"),
    Voice("nb", ("nb", "no"), "male", "Norwegian Bokmål"),
    Voice("pt", ("pt", "pt-pt"), "male", "Portuguese (Portugal)"),
    Voice("pt-br", ("pt-br", "pt"), "male", "Portuguese (Brazil)"),
    Voice("tl", ("tl",), "", "Tagalog"),
    Voice("yue", ("yue", "zh-yue", "zh"), "male", "Chinese (Cantonese)"),
)


def choose(voice: str = "", language: str = "", voices: tuple[Voice, ...] = VOICES) -> tuple[str, str]:
    found, tag = choose_voice("espeak", voices, voice, language)
    return found.name, tag


def refused(voice: str = "", language: str = "", voices: tuple[Voice, ...] = VOICES) -> InputError:
    with pytest.raises(InputError) as caught:
        choose(voice, language, voices)
    return caught.value


@pytest.mark.parametrize(
    ("language", "name", "tag"),
    [
        ("es", "es", "es"),
        ("ES", "es", "es"),
        (" es ", "es", "es"),
        ("spa", "es", "es"),
        ("es-MX", "es-419", "es-mx"),
        ("es_MX", "es-419", "es-mx"),
        ("ES-mx", "es-419", "es-mx"),
        ("es-AR", "es-419", "es-419"),
        ("es_ES.UTF-8", "es", "es"),
        ("es-GQ", "es", "es"),
        ("zh", "cmn", "cmn"),
        ("zh-CN", "cmn", "cmn"),
        ("zh-Hans-CN", "cmn", "cmn"),
        ("zh-TW", "cmn", "cmn"),
        ("zho", "cmn", "cmn"),
        ("cmn-Latn-pinyin", "cmn-latn-pinyin", "cmn-latn-pinyin"),
        ("zh-yue", "yue", "yue"),
        ("zh-HK", "yue", "yue"),
        ("pt-br", "pt-br", "pt-br"),
        ("pt_BR", "pt-br", "pt-br"),
        ("pt", "pt", "pt"),
        ("pt-PT", "pt", "pt-pt"),
        ("pt-AO", "pt", "pt"),
        ("en", "en-us", "en-us"),
        ("en-GB", "en-gb", "en-gb"),
        ("en-AU", "en-gb", "en-gb"),
        ("en-PH", "en-us", "en-us"),
        ("fr", "fr-fr", "fr-fr"),
        ("fr-CA", "fr-fr", "fr-fr"),
        ("fr-BE", "fr-be", "fr-be"),
        ("de-AT", "de", "de"),
        ("de-1996", "de", "de"),
        ("no", "nb", "nb"),
        ("nb-NO", "nb", "nb"),
        ("iw", "he", "he"),
        ("heb", "he", "he"),
        ("in", "id", "id"),
        ("fil", "tl", "tl"),
        ("fil-PH", "tl", "tl"),
    ],
)
def test_tags_in_any_spelling(language: str, name: str, tag: str) -> None:
    assert choose("", language) == (name, tag)


def test_by_name() -> None:
    assert choose("es-419") == ("es-419", "es-419")
    assert choose("EN_us") == ("en-us", "en-us")
    assert choose("es", "es-MX") == ("es", "es")
    assert choose("en-gb", "en") == ("en-gb", "en")
    # Names in different case that both exist are told apart by case alone.
    both = (Voice("Ana", ("es",)), Voice("ana", ("en",)))
    assert choose("ana", voices=both) == ("ana", "en")
    assert refused("ANA", voices=both).code == Code.VOICE_UNKNOWN


def test_a_voice_that_does_not_speak_the_language() -> None:
    error = refused("es", "fr")
    assert (error.code, error.field) == (Code.FIELD_CONFLICT, "language")
    assert "'es'" in error.message
    assert "not fr" in error.message
    assert refused("es", "not a tag").code == Code.VOICE_UNKNOWN


def test_neither() -> None:
    error = refused()
    assert (error.code, error.field) == (Code.FIELD_MISSING, "language")
    assert "a language or a voice" in error.message
    assert choose(voices=(VOICES[2],)) == ("de", "de")
    assert choose(voices=(Voice("only", ()),)) == ("only", "")


@pytest.mark.parametrize(
    ("language", "near"),
    [
        ("spanish", "es"),
        ("Spanich", "es"),
        ("portuguese (brazil)", "pt-br"),
        ("german", "de"),
        ("hebrew", "he"),
        ("es-419-x-", "es-419"),
    ],
)
def test_languages_that_are_no_tags(language: str, near: str) -> None:
    error = refused(language=language)
    assert (error.code, error.field) == (Code.VOICE_UNKNOWN, "language")
    assert f"did you mean '{near}'?" in error.hint
    assert "`raydub voices`" in error.hint


@pytest.mark.parametrize(
    "language", ["ja", "xx", "ca-ES", "nn", "../../etc/passwd", "e", "a" * 5000, "--help", "es fr"]
)
def test_never_another_language(language: str) -> None:
    error = refused(language=language)
    assert error.code == Code.VOICE_UNKNOWN
    assert len(error.message) < 200


def test_unknown_voices_name_the_nearest() -> None:
    error = refused("es-419x")
    assert (error.code, error.field) == (Code.VOICE_UNKNOWN, "voice")
    assert "did you mean 'es-419'?" in error.hint
    assert "did you mean 'es'?" in refused("spanish").hint
    assert refused("es", voices=()).code == Code.VOICE_UNKNOWN


def test_voices_without_languages_speak_any() -> None:
    open_ended = (Voice("any", ()),)
    assert choose("any", "es_MX", open_ended) == ("any", "es-mx")
    assert choose("", "zh-CN", open_ended) == ("any", "zh-cn")
    # Who says that it speaks the language comes first.
    assert choose("", "ja", (*VOICES, *open_ended)) == ("any", "ja")
    assert choose("", "es", (*open_ended, *VOICES)) == ("es", "es")


@given(st.text(max_size=12), st.text(max_size=12))
def test_whatever_is_said_the_answer_is_a_voice_or_an_error(voice: str, language: str) -> None:
    try:
        found, tag = choose_voice("espeak", VOICES, voice, language)
    except InputError as error:
        assert error.field in ("voice", "language")
        return
    asked = parse(language)
    assert tag in found.languages
    if asked is not None:
        spoken = parse(tag)
        assert spoken is not None
        assert spoken.language == asked.language


@given(st.sampled_from([voice.name for voice in VOICES]), st.sampled_from(["_", "-"]), st.booleans())
def test_every_voice_is_found_by_its_own_tags(name: str, dash: str, upper: bool) -> None:
    voice = next(voice for voice in VOICES if voice.name == name)
    first = voice.languages[0].replace("-", dash)
    assert choose("", first.upper() if upper else first) == (name, voice.languages[0])


@pytest.mark.parametrize(
    ("language", "names"),
    [
        ("es", ["es", "es-419"]),
        ("ES_mx", ["es-419"]),
        ("pt-BR", ["pt-br"]),
        ("zh", ["cmn", "cmn-latn-pinyin", "yue"]),
        ("yue", ["yue"]),
        ("xx", []),
        ("no tag", []),
        ("", []),
    ],
)
def test_which_voices_speak_a_language(language: str, names: list[str]) -> None:
    assert [voice.name for voice in VOICES if speaks(voice.languages, language)] == names
