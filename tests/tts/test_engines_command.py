"""Any program as an engine: its command line, and what manifests may not do with it."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from raydub.errors import Code, DependencyError, InputError, RaydubError, StageError, UsageError
from raydub.tts.engines import command
from raydub.tts.engines.command import Command
from raydub.tts.engines.host import HostedEngine
from raydub.tts.engines.voices import find_voice
from raydub.tts.types import Utterance, Voice
from tests.tts.engines_support import is_running

PROGRAM = """
import json, os, sys, time
import numpy as np, soundfile
text = open(sys.argv[1], encoding="utf-8").read()
said = {"words": sys.argv, "text": text, "group": os.getpgrp() == os.getpid(), "stdin": sys.stdin.read()}
json.dump(said, open(os.environ["SAID"], "w"))
print("chatter"); print("warned about " + text.strip(), file=sys.stderr)
if "crash" in text: os.kill(os.getpid(), 11)
if "fail" in text: sys.exit(3)
if "hang" in text:
    open(os.environ["SAID"] + ".pid", "w").write(str(os.getpid()))
    time.sleep(600)
if "nothing" in text: sys.exit(0)
if "garbage" in text: open(sys.argv[2], "w").write("no sound"); sys.exit(0)
if "folder" in text: os.mkdir(sys.argv[2]); sys.exit(0)
speed = float(sys.argv[5]) if len(sys.argv) > 5 else 1.0
wave = np.sin(np.arange(int(44100 * 0.5 / speed)) * 0.05)
if "endless" in text: wave = np.tile(wave, 60)
soundfile.write(sys.argv[2], np.stack([wave * 0.6, wave * 0.2], axis=1), 44100, "PCM_24")
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my tts.py"
    path.write_text(PROGRAM)
    monkeypatch.setenv("SAID", str(tmp_path / "said.json"))
    words = [sys.executable, str(path), "{text_file}", "{out_wav}", "{language}", "v={voice}", "{speed}"]
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", shlex.join(words))
    return path


@pytest.fixture
def engine(program: Path) -> Iterator[HostedEngine]:
    with HostedEngine("command") as engine:
        yield engine
        pid = engine.pid
    assert pid is None or not is_running(pid)


def speak(engine: HostedEngine, text: str, voice: str = "ana", language: str = "es", speed: float = 1.0) -> Utterance:
    chosen, tag = find_voice(engine, voice, language)
    return engine.synthesise(text, chosen, tag, speed)


def said(program: Path) -> dict[str, object]:
    import json

    found: dict[str, object] = json.loads((program.parent / "said.json").read_text())
    return found


def test_a_program_speaks(engine: HostedEngine, program: Path) -> None:
    made = speak(engine, "¡Olé! {voice} $(id) `id` ; rm -rf /", "ana maría", "es_MX", 1.25)
    assert made.rate == 44100
    assert made.samples.shape == (17640,)
    np.testing.assert_allclose(made.samples, np.sin(np.arange(17640) * 0.05) * 0.4, atol=1e-5)
    found = said(program)
    assert found["text"] == "¡Olé! {voice} $(id) `id` ; rm -rf /\n"
    assert found["words"][3:] == ["es-mx", "v=ana maría", "1.25"]  # type: ignore[index]
    assert found["group"] is True
    assert found["stdin"] == ""
    assert engine.max_speed == 1.25
    assert not os.path.exists(found["words"][1])  # type: ignore[index]


def test_any_voice_and_language_goes(engine: HostedEngine) -> None:
    assert engine.voices() == ()
    assert find_voice(engine, "anybody", "") == (Voice("anybody", ()), "")
    assert find_voice(engine, "", "tlh") == (Voice("", ()), "tlh")
    assert find_voice(engine, "", "") == (Voice("", ()), "")
    with pytest.raises(InputError) as caught:
        find_voice(engine, "", "no tag at all")
    assert caught.value.field == "language"


@pytest.mark.parametrize("voice", ["--output=/etc/passwd", "-x", "a\nb", "a\x00b", "a" * 300])
def test_voices_that_look_like_something_else(engine: HostedEngine, program: Path, voice: str) -> None:
    for call in (
        lambda: find_voice(engine, voice, ""),
        lambda: engine.synthesise("hola", Voice(voice, ()), "es", 1.0),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.code == Code.VOICE_UNKNOWN
    assert not (program.parent / "said.json").exists()


def test_values_are_filled_in_once(engine: HostedEngine, program: Path) -> None:
    speak(engine, "hola", "{text_file} {out_wav}")
    assert said(program)["words"][4] == "v={text_file} {out_wav}"  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fail", "ended with exit code 3: warned about fail"),
        ("crash", "crashed (signal 11): warned about crash"),
        ("nothing", "wrote no sound file: warned about nothing"),
        ("garbage", "not an audio file"),
        ("folder", "wrote no sound file"),
        ("endless", "s of sound for 7 characters"),
    ],
)
def test_programs_that_fail(engine: HostedEngine, text: str, words: str) -> None:
    with pytest.raises(StageError) as caught:
        speak(engine, text)
    assert caught.value.code == Code.TTS_FAILED
    assert words in caught.value.message
    assert speak(engine, "afterwards").seconds == 0.5


def test_a_program_that_hangs_ends(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "time_limit", lambda text: 1.5)
    with pytest.raises(StageError, match="was killed"):
        Command().synthesise("hang", Voice("ana", ()), "es", 1.0)
    assert not is_running(int((program.parent / "said.json.pid").read_text()))


def test_a_program_ends_with_its_engine(engine: HostedEngine, program: Path) -> None:
    import threading

    def ask() -> None:
        with pytest.raises(StageError):
            speak(engine, "hang")

    thread = threading.Thread(target=ask)
    thread.start()
    note = program.parent / "said.json.pid"
    deadline = time.monotonic() + 10
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    child = engine._child
    assert child is not None
    os.kill(child.pid, 9)
    thread.join(10)
    pid = int(note.read_text())
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("my-tts {out_wav}", "lacks {text_file}"),
        ("my-tts {text_file}", "lacks {out_wav}"),
        ("my-tts {text_file} {out_wav} {speaker}", "placeholder {speaker}"),
        ("{voice} {text_file} {out_wav}", "name of a program"),
        ("my-tts '{text_file} {out_wav}", "cannot be split"),
    ],
)
def test_command_lines_that_cannot_work(monkeypatch: pytest.MonkeyPatch, line: str, words: str) -> None:
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", line)
    with pytest.raises(UsageError) as caught:
        HostedEngine("command").voices()
    assert caught.value.code == Code.FIELD_VALUE
    assert words in caught.value.message


@pytest.mark.parametrize("line", ["", "   ", None, "no-such-program-anywhere {text_file} {out_wav}"])
def test_no_command(monkeypatch: pytest.MonkeyPatch, line: str | None) -> None:
    monkeypatch.delenv("RAYDUB_TTS_COMMAND", raising=False)
    if line is not None:
        monkeypatch.setenv("RAYDUB_TTS_COMMAND", line)
    with pytest.raises(RaydubError) as caught:
        HostedEngine("command").voices()
    assert isinstance(caught.value, DependencyError)
    assert "RAYDUB_TTS_COMMAND" in f"{caught.value}"


def test_the_identity_is_line_and_files(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Command().identity(Voice("ana", ()))
    assert Command().identity(Voice("ana", ())) == first
    assert Command().identity(Voice("juan", ())) != first
    program.write_text(PROGRAM + "# another\n")
    changed = Command().identity(Voice("ana", ()))
    assert changed != first
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", os.environ["RAYDUB_TTS_COMMAND"] + " --nice")
    assert Command().identity(Voice("ana", ())) != changed
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", f"{sys.executable} {{text_file}} {{out_wav}}")
    assert Command().max_speed == 1.0
