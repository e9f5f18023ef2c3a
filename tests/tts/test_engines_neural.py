"""Piper and Kokoro through their real packages, with tiny networks of the right shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from raydub.errors import Code, DependencyError, InputError, RaydubError, StageError
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.models.store.importing import import_file
from raydub.tts.engines.files import piper_entry, weights_of, weights_used
from raydub.tts.engines.host import HostedEngine
from raydub.tts.engines.voices import find_voice
from raydub.tts.types import Utterance, Voice
from tests.tts.engines_support import is_running, kokoro_voice, piper_voice

pytest.importorskip("onnx", reason="onnx, which builds the tiny networks, is not installed")

TEXT = "Hola a todos. Esta es la segunda frase."


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAYDUB_OFFLINE", "1")
    for name in ("RAYDUB_ACCEPT_LICENSE", "RAYDUB_KOKORO_MODEL", "RAYDUB_KOKORO_VOICES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def hosted(name: str) -> Iterator[HostedEngine]:
    with HostedEngine(name) as engine:
        yield engine
        pid = engine.pid
    assert pid is None or not is_running(pid)


@pytest.fixture
def piper() -> Iterator[HostedEngine]:
    pytest.importorskip("piper", reason="the extra piper is not installed")
    yield from hosted("piper")


@pytest.fixture
def kokoro(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostedEngine]:
    pytest.importorskip("kokoro_onnx", reason="the extra kokoro is not installed")
    model, voices = kokoro_voice(folder)
    monkeypatch.setenv("RAYDUB_KOKORO_MODEL", str(model))
    monkeypatch.setenv("RAYDUB_KOKORO_VOICES", str(voices))
    yield from hosted("kokoro")


def speak(engine: HostedEngine, voice: str, text: str = TEXT, speed: float = 1.0) -> Utterance:
    chosen, tag = find_voice(engine, voice, "")
    return engine.synthesise(text, chosen, tag, speed)


def test_piper_by_path(piper: HostedEngine, folder: Path) -> None:
    path = str(piper_voice(folder / "own.onnx"))
    made = speak(piper, path)
    assert (made.rate, made.samples.dtype) == (22050, np.float32)
    assert len(made.samples) % 256 == 0
    assert 0.5 < made.seconds < 3
    assert float(np.abs(made.samples).max()) == pytest.approx(1.0, abs=0.01)
    sounds = [mark.text for mark in made.marks if mark.kind == "phoneme"]
    assert "".join(sounds).replace("ˈ", "").startswith("olaat")
    times = [mark.seconds for mark in made.marks]
    assert times == sorted(times)
    assert times[-1] < made.seconds
    np.testing.assert_array_equal(speak(piper, path).samples, made.samples)
    assert made.seconds / speak(piper, path, speed=1.25).seconds == pytest.approx(1.25, rel=0.02)
    voice = piper.named(path)
    assert voice == Voice(path, ("es-es",), "", "your own")
    assert find_voice(piper, path, "es-MX") == (voice, "es-es")
    with pytest.raises(InputError, match="not fr"):
        find_voice(piper, path, "fr")


def test_piper_speakers(piper: HostedEngine, folder: Path) -> None:
    path = str(piper_voice(folder / "two.onnx", {"ana": 0, "juan": 1}))
    assert speak(piper, f"{path}#juan").seconds > 0.5
    assert piper.named(f"{path}#pedro") is None
    voice = piper.named(f"{path}#ana")
    assert voice is not None
    assert piper.identity(voice).endswith("speaker ana")
    with pytest.raises(InputError) as caught:
        piper.synthesise(TEXT, Voice(f"{path}#pedro", ("es",)), "es", 1.0)
    assert "ana, juan" in caught.value.hint


@pytest.mark.parametrize("name", ["a#b/own.onnx", "a#b/#1/own#x.ONNX", "a.onnx#/own.onnx"])
def test_piper_in_a_folder_with_a_hash(piper: HostedEngine, folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True)
    path = piper_voice(folder / name, {"ana": 0, "juan": 1})
    job = Job(id="a", video="v", script="s", output="o", options=Options(tts="piper", voice=f"{path}#juan"))
    assert job.inputs()["voice:"] == str(path)
    voice = piper.named(f"{path}#juan")
    assert voice == Voice(f"{path}#juan", ("es-es",), "", "your own")
    assert piper.identity(voice).endswith("speaker juan")
    assert speak(piper, str(path)).seconds > 0.5
    assert speak(piper, f"{path}#juan").seconds > 0.5
    assert [weights.name for weights in weights_used("piper", [voice])] == [path.name]
    assert weights_of("piper", voice.name) is None


def test_piper_identity_is_the_content(piper: HostedEngine, folder: Path) -> None:
    first, second = piper_voice(folder / "one.onnx"), piper_voice(folder / "two.onnx")
    voices = [Voice(str(path), ("es",)) for path in (first, second)]
    assert piper.identity(voices[0]) == piper.identity(voices[1])
    assert "piper-tts 1" in piper.identity(voices[0])
    config = second.with_name("two.onnx.json")
    config.write_text(config.read_text().replace("0.667", "0.5"))
    assert piper.identity(voices[0]) != piper.identity(voices[1])


def test_piper_imported(piper: HostedEngine, folder: Path) -> None:
    source = piper_voice(folder / "mi.voz.onnx")
    entry, place = import_file(source, to_name="mi-voz")
    assert (entry.name, entry.custom, place) == ("mi-voz", True, folder / "weights" / "mi-voz.onnx")
    assert (folder / "weights" / "mi-voz.onnx.json").read_bytes() == source.with_name("mi.voz.onnx.json").read_bytes()
    assert piper_entry("mi-voz") == entry
    source.unlink()
    assert [voice.name for voice in piper.voices() if voice.note == "your own"] == ["mi-voz"]
    assert speak(piper, "mi-voz").seconds > 0.5
    (folder / "weights" / "mi-voz.onnx.json").write_text("{}")
    with pytest.raises(RaydubError) as caught:
        speak(piper, "mi-voz")
    assert caught.value.code == Code.WEIGHTS_HASH


def test_piper_of_the_catalogue(piper: HostedEngine) -> None:
    voices = {voice.name: voice for voice in piper.voices()}
    assert voices["es_ES-davefx-medium"] == Voice("es_ES-davefx-medium", ("es-es",), "male", "Spanish, a man")
    assert voices["en_US-ljspeech-high"].gender == "female"
    assert find_voice(piper, "", "es-MX")[0].name == "es_ES-davefx-medium"
    assert find_voice(piper, "ES_es-davefx-medium", "")[0].name == "es_ES-davefx-medium"
    entry = weights_of("piper", "es_ES-davefx-medium")
    assert entry is not None
    assert entry.companions[0].file == "es_ES-davefx-medium.onnx.json"
    assert entry.sha256 in piper.identity(voices["es_ES-davefx-medium"])
    with pytest.raises(DependencyError) as caught:
        speak(piper, "es_ES-davefx-medium")
    assert caught.value.code == Code.WEIGHTS_MISSING
    assert "RAYDUB_OFFLINE" in caught.value.message
    with pytest.raises(DependencyError) as caught:
        speak(piper, "en_US-lessac-medium")
    assert caught.value.code == Code.LICENCE
    with pytest.raises(InputError) as unknown:
        find_voice(piper, "es_ES-davefix-medium", "")
    assert "'es_ES-davefx-medium'" in unknown.value.hint
    # Weights, but not a voice.
    with pytest.raises(InputError):
        find_voice(piper, "RealESRGAN_x4plus", "")


def test_piper_files_that_are_no_voice(piper: HostedEngine, folder: Path) -> None:
    def refused(path: Path) -> RaydubError:
        with pytest.raises(RaydubError) as caught:
            speak(piper, str(path))
        return caught.value

    path = folder / "voice.onnx"
    assert refused(path).code == Code.VOICE_UNKNOWN
    path.write_bytes(b"<!doctype html>")
    assert refused(path).code == Code.VOICE_UNKNOWN  # no configuration beside it
    config = folder / "voice.onnx.json"
    config.write_text("{}")
    assert refused(path).code == Code.WEIGHTS_REFUSED
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert refused(path).code == Code.WEIGHTS_REFUSED
    path.write_bytes(b"\x08\x07garbage")
    for text in ("{}", "[1]", "not json", '{"audio": 3}'):
        config.write_text(text)
        assert refused(path).code == Code.WEIGHTS_LAYOUT
    config.write_text(json.dumps({"audio": {"sample_rate": 22050}, "espeak": {"voice": "es"}}))
    assert refused(path).code == Code.WEIGHTS_LAYOUT
    piper_voice(path)
    assert speak(piper, str(path)).seconds > 0.5
    known = json.loads(config.read_text())
    config.write_text(json.dumps({**known, "phoneme_type": "pinyin"}))
    error = refused(path)
    assert error.code == Code.DEPENDENCY_MISSING
    assert "pinyin" in error.message


def test_piper_has_nothing_to_say(piper: HostedEngine, folder: Path) -> None:
    path = str(piper_voice(folder / "own.onnx"))
    for text in (" ", "...", "¿?"):
        with pytest.raises(StageError) as caught:
            speak(piper, path, text)
        assert "no sound" in caught.value.message


def test_kokoro(kokoro: HostedEngine) -> None:
    assert [voice.name for voice in kokoro.voices()] == ["am_adam", "ef_dora"]
    assert kokoro.voices()[1] == Voice("ef_dora", ("es",), "female", "Spanish")
    made = speak(kokoro, "ef_dora")
    assert made.rate == 24000
    assert 0.3 < made.seconds < 5
    np.testing.assert_array_equal(speak(kokoro, "ef_dora").samples, made.samples)
    assert made.seconds / speak(kokoro, "ef_dora", speed=1.25).seconds == pytest.approx(1.25, rel=0.03)
    assert find_voice(kokoro, "", "en-GB")[0].name == "am_adam"
    with pytest.raises(StageError, match="no sound"):
        speak(kokoro, "ef_dora", "...")
    with pytest.raises(InputError):
        kokoro.synthesise(TEXT, Voice("ef_nobody", ("es",)), "es", 1.0)
    assert "kokoro-onnx 0" in kokoro.identity(kokoro.voices()[0])


def test_kokoro_of_the_catalogue(kokoro: HostedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYDUB_KOKORO_MODEL")
    voices = kokoro.voices()
    assert len(voices) == 41
    assert voices[0] == Voice("af_heart", ("en-us",), "female", "English (America)")
    assert find_voice(kokoro, "", "pt")[0].name == "pf_dora"
    entry = weights_of("kokoro", "af_heart")
    assert entry is not None
    assert kokoro.identity(voices[0]).endswith(f"{entry.sha256}+{entry.companions[0].sha256}")
    with pytest.raises(DependencyError) as caught:
        speak(kokoro, "af_heart")
    assert caught.value.code == Code.WEIGHTS_MISSING


def test_kokoro_files_that_are_none(kokoro: HostedEngine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = Voice("ef_dora", ("es",))

    def refused() -> RaydubError:
        with pytest.raises(RaydubError) as caught, HostedEngine("kokoro") as engine:
            engine.synthesise(TEXT, voice, "es", 1.0)
        return caught.value

    (folder / "voices.bin").write_bytes(b"no archive")
    assert refused().code == Code.WEIGHTS_LAYOUT
    kokoro_voice(folder)
    (folder / "kokoro.onnx").write_bytes(b"\x08\x07garbage")
    assert refused().code == Code.WEIGHTS_LAYOUT
    monkeypatch.setenv("RAYDUB_KOKORO_VOICES", "")
    assert refused().code == Code.WEIGHTS_MISSING
