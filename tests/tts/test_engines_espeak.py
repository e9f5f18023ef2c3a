"""espeak-ng really speaks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from raydub.errors import Code, InputError, StageError
from raydub.tts.engines.espeak import Espeak
from raydub.tts.engines.host import HostedEngine
from raydub.tts.engines.voices import find_voice
from raydub.tts.types import Mark, Utterance, Voice
from tests.tts.engines_support import is_running

pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")

ENGLISH = "Speech is written, but it has to sound; every single word of it."
SPANISH = "Hola, ¿qué tal? Había una vez dos niños que vivían cerca del mar."


@pytest.fixture(scope="module")
def engine() -> Iterator[HostedEngine]:
    with HostedEngine("espeak") as engine:
        yield engine
        pid = engine.pid
    assert pid is not None
    assert not is_running(pid)


def speak(engine: HostedEngine, text: str, language: str = "en", voice: str = "", speed: float = 1.0) -> Utterance:
    chosen, tag = find_voice(engine, voice, language)
    return engine.synthesise(text, chosen, tag, speed)


def of(kind: str, marks: tuple[Mark, ...]) -> list[str]:
    return [mark.text for mark in marks if mark.kind == kind]


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", ENGLISH, ["Speech", "is", "written", "but"]),
        ("es", SPANISH, ["Hola", "qué", "tal", "Había", "una", "vez", "dos", "niños"]),
        ("cmn", "你好世界，今天天气很好。", ["你"]),
        ("el", "Καλημέρα σας, τι κάνετε;", ["Καλημέρα", "σας", "τι", "κάνετε"]),
    ],
)
def test_speech_with_words_and_phonemes(engine: HostedEngine, language: str, text: str, words: list[str]) -> None:
    made = speak(engine, text, language)
    assert made.rate == 22050
    assert made.samples.dtype == np.float32
    assert 1.0 < made.seconds < 6.0
    assert 0.02 < float(np.sqrt(np.mean(made.samples**2))) < 0.5
    assert of("word", made.marks)[: len(words)] == words
    assert all(word in text for word in of("word", made.marks))
    times = [mark.seconds for mark in made.marks]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] < made.seconds
    phonemes = of("phoneme", made.marks)
    assert len(phonemes) > len(of("word", made.marks))
    assert not any(sound.startswith("(") for sound in phonemes)


def test_phonemes_are_ipa_and_lie_where_the_sound_is(engine: HostedEngine) -> None:
    made = speak(engine, "Sí, pasa.", "es")
    assert "".join(of("phoneme", made.marks)).replace("ˈ", "") == "sipasa"
    pause = next(mark for mark in made.marks if mark.text == "pasa").seconds
    before = made.samples[int((pause - 0.1) * made.rate) : int((pause - 0.02) * made.rate)]
    vowel = next(mark for mark in made.marks if mark.kind == "phoneme" and mark.text == "ˈi").seconds
    during = made.samples[int(vowel * made.rate) : int((vowel + 0.08) * made.rate)]
    assert float(np.abs(before).max()) < 0.02 < 0.1 < float(np.abs(during).max())


@pytest.mark.parametrize("speed", [0.8, 1.25, 1.5])
def test_faster_is_shorter_by_about_that(engine: HostedEngine, speed: float) -> None:
    factor = speak(engine, ENGLISH).seconds / speak(engine, ENGLISH, speed=speed).seconds
    assert factor == pytest.approx(speed, rel=0.06)


@pytest.mark.parametrize("voice", ["es", "es+f3", "es+whisper"])
def test_the_same_text_gives_the_same_samples(engine: HostedEngine, voice: str) -> None:
    first = speak(engine, SPANISH, "", voice)
    speak(engine, "Something else in between, with another voice.", "en-gb")
    again = speak(engine, SPANISH, "", voice)
    with HostedEngine("espeak") as other:
        elsewhere = speak(other, SPANISH, "", voice)
        assert other.identity(Voice("es", ("es",))) == engine.identity(Voice("es", ("es",)))
    for one in (again, elsewhere):
        np.testing.assert_array_equal(first.samples, one.samples)
        assert one.marks == first.marks


def test_voices(engine: HostedEngine) -> None:
    voices = {voice.name: voice for voice in engine.voices()}
    assert len(voices) > 100
    assert voices["es"] == Voice("es", ("es",), "male", "Spanish (Spain)")
    assert voices["cmn"].languages == ("cmn", "zh-cmn", "zh")
    assert voices["yue-latn-jyutping"].languages[0] == "yue"
    assert engine.max_speed == 1.25
    assert "1.52" in engine.identity(voices["es"])


def test_variants(engine: HostedEngine) -> None:
    woman = engine.named("es+f3")
    assert woman == Voice("es+f3", ("es",), "female", "Spanish (Spain), f3")
    assert engine.named("EN_us+m2") == Voice("en-us+m2", ("en-us", "en"), "male", "English (America), m2")
    assert engine.named("es") is None
    assert engine.named("xx+f3") is None
    man, other = speak(engine, SPANISH, "es").samples, speak(engine, SPANISH, "", "es+f3").samples
    assert len(man) != len(other) or not np.array_equal(man, other)
    with pytest.raises(InputError) as caught:
        find_voice(engine, "es+f33", "")
    assert caught.value.code == Code.VOICE_UNKNOWN
    assert "'es+f3'" in caught.value.hint


@pytest.mark.parametrize("text", ["...", "¿?!", " ", "—", "\x00"])
def test_nothing_to_say(engine: HostedEngine, text: str) -> None:
    with pytest.raises(StageError) as caught:
        speak(engine, text, "es")
    assert caught.value.code == Code.TTS_FAILED
    assert "no sound" in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "<speak><break time='9s'/>Hola <b>mundo</b></speak> [[h@'loU]] {voice} %s $(id)",
        "uno\0dos",
        "lone \ud800 surrogate",
        "👩‍👩‍👧 emoji and ‮right to left‬ עברית العربية",
        "a" * 300,
    ],
)
def test_strange_texts_are_read_and_nothing_else(engine: HostedEngine, text: str) -> None:
    made = speak(engine, text, "es")
    assert made.seconds < 60
    assert engine.pid is not None


def test_markup_means_nothing(engine: HostedEngine) -> None:
    said = of("word", speak(engine, "Hola <break/> [[k'aza]] mundo", "es").marks)
    assert "break" in said
    assert any(word.startswith("k'") for word in said)


def test_in_this_process_too() -> None:
    engine = Espeak()
    made = engine.synthesise("Hola", engine.voices()[0], "", 1.0)
    assert made.seconds > 0.2
    with pytest.raises(InputError):
        engine.synthesise("Hola", Voice("nope", ()), "", 1.0)
    with pytest.raises(InputError):
        engine.synthesise("Hola", Voice("es+nope", ()), "", 1.0)
