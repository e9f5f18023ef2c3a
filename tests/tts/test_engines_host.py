"""Engines in a process of their own: real entry points of a stranger's package that does everything wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from raydub.errors import Code, DependencyError, InputError, RaydubError, StageError, UsageError
from raydub.plugins import SPEECH_ENGINES
from raydub.tts.engines import find, host
from raydub.tts.engines.find import check_engine, engine_names, make_engine
from raydub.tts.engines.host import HostedEngine, checked
from raydub.tts.types import Mark, Utterance, Voice
from tests.tts.engines_support import install, is_running

ODD = """
import ctypes, os, sys, threading, time
import numpy as np
from raydub.errors import Code, InputError
from raydub.tts.types import Mark, Utterance, Voice

print("printed at import")

class Odd:
    name = "odd"
    max_speed = 1.5
    def voices(self):
        print("printed by voices")
        return (Voice("one", ("ES", "es-mx"), "female", "a note"), Voice("two", ()))
    def named(self, name):
        return Voice(name, ("x-odd",)) if name.startswith("made-") else None
    def identity(self, voice):
        return f"odd 1.0 {voice.name}"
    def synthesise(self, text, voice, language, speed):
        count = int(1600 * len(text) / speed)
        samples = np.sin(np.arange(count) * 0.1).astype(np.float32) * 0.5
        rate = 16000
        marks = [Mark("word", 0.2, "b"), Mark("word", 0.1, "a")]
        if text == "crash": os.kill(os.getpid(), 11)
        if text == "abort": os.abort()
        if text == "leave": os._exit(7)
        if text == "exit": sys.exit("bye")
        if text == "hang": time.sleep(600)
        if text == "close": os.close(1); os.close(2)
        if text == "fork": os.system("sleep 600 & echo $! > " + os.environ["ODD_PID"]); os.kill(os.getpid(), 9)
        if text == "print":
            print("x" * 100000); os.write(1, b"y" * 100000); sys.stderr.write("z" * 3000000)
            os.system("echo from a program")
        if text == "read": assert sys.stdin.read() == ""
        if text == "odd": raise KeyError("nobody knows")
        if text == "ours": raise InputError(Code.VOICE_UNKNOWN, "said by the engine", field="voice", hint="a hint")
        if text == "nan": samples[3] = np.nan
        if text == "inf": samples[3] = np.inf
        if text == "silent": samples[:] = 0.0005
        if text == "loud": samples *= 3
        if text == "brim": samples *= 2.01
        if text == "short": samples = samples[:300]
        if text == "empty": samples = samples[:0]
        if text == "long": samples = np.tile(samples, 200)
        if text == "endless": samples = np.zeros(30_000_000, np.float32)
        if text == "rate": rate = 1000
        if text == "stereo": samples = np.stack([samples, samples])
        if text == "whole": samples = (samples * 30000).astype(np.int16)
        if text == "none": return None
        if text == "late": marks = [Mark("word", 99.0, "b")]
        if text == "kind": marks = [Mark("breath", 0.1, "b")]
        if text == "wide": samples = samples.astype(np.float64)
        return Utterance(samples, rate, tuple(marks))

class Shapeless:
    name = "shapeless"

class Twins(Odd):
    def voices(self): return (Voice("one", ("es",)), Voice("one", ("en",)))

class Wrong(Odd):
    def voices(self): return ("one",)

class Raising:
    def __init__(self): raise RuntimeError("not today")

class Leaving:
    def __init__(self): os._exit(3)
"""


@pytest.fixture
def odd_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    names = ("Odd", "Shapeless", "Twins", "Wrong", "Raising", "Leaving")
    engines = {name.lower(): f"oddvoices:{name}" for name in names}
    install(tmp_path, monkeypatch, "oddvoices", ODD, **engines, absent="nowhere_at_all:Engine", moved="oddvoices:Gone")
    monkeypatch.setenv("ODD_PID", str(tmp_path / "pid"))
    return tmp_path


@pytest.fixture
def odd(odd_path: Path) -> Iterator[HostedEngine]:
    engine = HostedEngine("odd")
    yield engine
    pid = engine.pid
    engine.close()
    assert pid is None or not is_running(pid)


ONE = Voice("one", ("es",))


def say(engine: HostedEngine, text: str, speed: float = 1.0) -> Utterance:
    return engine.synthesise(text, ONE, "es", speed)


def failure(engine: HostedEngine, text: str) -> StageError:
    with pytest.raises(StageError) as caught:
        say(engine, text)
    assert caught.value.code == Code.TTS_FAILED
    return caught.value


def test_a_third_party_engine(odd: HostedEngine) -> None:
    assert {"espeak", "piper", "kokoro", "command", "odd"} <= set(engine_names())
    assert odd.pid is None
    assert odd.max_speed == 1.5
    assert odd.voices() == (Voice("one", ("es", "es-mx"), "female", "a note"), Voice("two", ()))
    assert odd.named("made-up") == Voice("made-up", ("x-odd",))
    assert odd.named("unmade") is None
    assert odd.identity(ONE) == "odd 1.0 one"
    made = say(odd, "good day to all")
    assert (made.samples.dtype, made.samples.shape, made.rate) == (np.float32, (24000,), 16000)
    np.testing.assert_allclose(made.samples, np.sin(np.arange(24000) * 0.1) * 0.5, atol=1e-6)
    assert made.marks == (Mark("word", 0.1, "a"), Mark("word", 0.2, "b"))
    assert len(say(odd, "good day to all", 1.5).samples) == 16000
    assert say(odd, "wide").samples.dtype == np.float32
    assert float(np.abs(say(odd, "brim").samples).max()) <= 1.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("crash", "crashed (signal 11, SIGSEGV)"),
        ("abort", "crashed (signal 6, SIGABRT)"),
        ("leave", "crashed (exit code 7)"),
    ],
)
def test_a_crash_is_an_error_and_the_next_request_is_answered(odd: HostedEngine, text: str, words: str) -> None:
    say(odd, "before")
    first = odd.pid
    assert first is not None
    assert words in failure(odd, text).message
    assert not is_running(first)
    assert say(odd, "afterwards").rate == 16000
    assert odd.pid not in (None, first)


def test_a_hang_ends_and_takes_what_it_started_along(odd: HostedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    say(odd, "before")
    first = odd.pid
    assert first is not None
    monkeypatch.setattr(host, "time_limit", lambda text: 0.4)
    monkeypatch.setattr(host, "_MARGIN", 0.0)
    start = time.monotonic()
    assert "gave no answer within 0 s" in failure(odd, "hang").message
    assert time.monotonic() - start < 5
    assert not is_running(first)
    monkeypatch.undo()


def test_programs_of_a_crashed_engine_end_too(odd: HostedEngine, odd_path: Path) -> None:
    assert "SIGKILL" in failure(odd, "fork").message
    pid = int((odd_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)


@pytest.mark.parametrize("text", ["print", "read", "close"])
def test_what_libraries_do_to_the_standard_streams_does_no_harm(odd: HostedEngine, text: str) -> None:
    assert len(say(odd, text).samples) == 1600 * len(text)
    assert len(say(odd, "next").samples) == 6400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nan", "NaN or infinite"),
        ("inf", "NaN or infinite"),
        ("silent", "silence for 'silent'"),
        ("loud", "beyond full scale"),
        ("short", "19 ms of sound"),
        ("empty", "answered with no sound for 'empty'"),
        ("long", "s of sound for 4 characters"),
        ("endless", "30000000 samples"),
        ("rate", "sample rate of 1000 Hz"),
        ("stereo", "shape (2, "),
        ("whole", "int16"),
        ("none", "AttributeError"),
        ("late", "outside its sound"),
        ("kind", "outside its sound"),
        ("odd", "KeyError: 'nobody knows'"),
        ("exit", "SystemExit: bye"),
    ],
)
def test_answers_are_looked_at(odd: HostedEngine, text: str, words: str) -> None:
    assert words in failure(odd, text).message
    assert say(odd, "afterwards").seconds == 1.0


def test_errors_of_ours_arrive_as_they_were(odd: HostedEngine) -> None:
    say(odd, "before")
    first = odd.pid
    with pytest.raises(InputError) as caught:
        say(odd, "ours")
    error = caught.value
    assert (error.code, error.message, error.hint) == (Code.VOICE_UNKNOWN, "said by the engine", "a hint")
    assert error.field == "voice"
    assert odd.pid == first


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", "no module 'nowhere_at_all'"),
        ("moved", "AttributeError"),
        ("shapeless", "lacks voices, named, identity, synthesise, max_speed"),
        ("raising", "RuntimeError: not today"),
    ],
)
def test_entry_points_that_cannot_be_used(odd_path: Path, name: str, words: str) -> None:
    with pytest.raises(DependencyError) as caught:
        HostedEngine(name).voices()
    assert caught.value.code == Code.DEPENDENCY_MISSING
    assert words in caught.value.message
    assert "oddvoices" in caught.value.message
    assert name in caught.value.message
    with pytest.raises(DependencyError, match="oddvoices"):
        make_engine(name)


def test_other_ways_to_be_no_engine(odd_path: Path) -> None:
    for name, words in (("twins", "same name"), ("wrong", "TypeError"), ("leaving", "crashed (exit code 3)")):
        with pytest.raises(StageError) as caught, HostedEngine(name) as engine:
            engine.voices()
        assert words in caught.value.message
        assert engine.pid is None


def test_unknown_engines_name_the_nearest(odd_path: Path) -> None:
    for call in (check_engine, make_engine, HostedEngine):
        with pytest.raises(UsageError) as caught:
            call("espeek")
        assert (caught.value.code, caught.value.field) == (Code.FIELD_VALUE, "tts")
        assert "did you mean 'espeak'?" in caught.value.hint
        assert "kokoro" in caught.value.hint
        assert "odd" in caught.value.hint


@pytest.mark.parametrize("name", ["espeak", "piper", "kokoro"])
def test_engines_that_are_not_installed_name_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "is_installed", lambda package: False)
    with pytest.raises(DependencyError) as caught:
        HostedEngine(name)
    assert caught.value.code == Code.DEPENDENCY_MISSING
    assert caught.value.hint == f"pip install 'raydub[{name}]'"


def test_an_engine_whose_package_is_missing_when_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "espeakng_loader.py").write_text("raise ImportError('gone', name='espeakng_loader')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "espeakng_loader", raising=False)
    with pytest.raises(DependencyError) as caught:
        HostedEngine("espeak").voices()
    assert caught.value.hint == "pip install 'raydub[espeak]'"


def test_releases(odd_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find.release("odd") == "oddvoices 1.0"
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", "my-tts {text_file} {out_wav}")
    assert find.release("command") == "command my-tts {text_file} {out_wav}"
    pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")
    assert find.release("espeak").startswith("espeakng-loader 0.")
    with pytest.raises(UsageError):
        find.release("espeek")


def test_two_packages_with_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "a", monkeypatch, "voices_a", "", same="voices_a:E", espeak="voices_a:E")
    install(tmp_path / "b", monkeypatch, "voices_b", "", same="voices_b:E")
    with pytest.raises(DependencyError, match="voices_a, voices_b"):
        check_engine("same")
    # What raydub brings itself is not replaced.
    assert SPEECH_ENGINES.point("espeak").value == "raydub.tts.engines.espeak:Espeak"


def test_looking_engines_up_is_light(odd_path: Path) -> None:
    script = (
        "import sys\nfrom raydub.tts.engines.find import check_engine, engine_names\nengine_names()\n"
        "check_engine('odd')\ncheck_engine('espeak')\n"
        "heavy = ('oddvoices', 'espeakng_loader', 'onnxruntime', 'torch', 'soundfile', 'numpy')\n"
        "print([n for n in heavy if n in sys.modules])"
    )
    pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")
    path = os.pathsep.join([str(odd_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)", "pass"])
def test_the_child_ends_with_its_parent(odd_path: Path, end: str) -> None:
    script = (
        "import os, sys\nfrom raydub.tts.engines.host import HostedEngine\n"
        f"engine = HostedEngine('odd')\nengine.voices()\nprint(engine.pid, flush=True)\n{end}\n"
    )
    path = os.pathsep.join([str(odd_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    pid = int(done.stdout)
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)


def test_threads_take_turns_and_may_end(odd: HostedEngine) -> None:
    made: dict[int, int] = {}

    def ask(count: int) -> None:
        made[count] = len(say(odd, "a" * count).samples)

    first = threading.Thread(target=ask, args=(4,))
    first.start()
    first.join()
    pid = odd.pid
    threads = [threading.Thread(target=ask, args=(count,)) for count in range(5, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == {count: 1600 * count for count in range(4, 11)}
    # The thread that started the child is long gone.
    assert odd.pid == pid


def test_closing_and_forgetting_end_the_child(odd_path: Path) -> None:
    engine = HostedEngine("odd")
    engine.close()
    engine.voices()
    first = engine.pid
    assert first is not None
    engine.close()
    assert not is_running(first)
    engine.voices()
    second = engine.pid
    assert second is not None
    del engine
    assert not is_running(second)


def test_an_interrupt_leaves_no_half_read_answer(odd: HostedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    say(odd, "before")
    child = odd._child
    assert child is not None

    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(child._process, "receive_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        say(odd, "interrupted")
    assert not is_running(child.pid)


def test_long_texts_go_through_the_pipe(odd: HostedEngine) -> None:
    text = 'á 😀 "quoted" \\ \n' * 20_000
    assert say(odd, text, 100.0).seconds > 100


def test_checked_says_what_is_wrong_and_keeps_what_is_right() -> None:
    sound = np.linspace(-1.005, 1.005, 16000).astype(np.float32)
    made = checked(sound, 16000, (Mark("word", 1.03, "b"), Mark("phoneme", 0.0, "a")), "a word")
    assert float(np.abs(made.samples).max()) == 1.0
    assert [mark.seconds for mark in made.marks] == [0.0, 1.0]
    with pytest.raises(Exception, match="no sound"):
        checked(np.zeros(16000, np.float32), 16000, (), "…!?")
    with pytest.raises(Exception, match="silence"):
        checked(np.zeros(16000, np.float32), 16000, (), "word")


def test_an_answer_that_is_none(odd: HostedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    say(odd, "before")
    child = odd._child
    assert child is not None
    monkeypatch.setattr(child._process, "receive", lambda seconds: [1])
    with pytest.raises(RaydubError) as caught:
        odd.voices()
    assert "invalid message" in caught.value.message
    assert not is_running(child.pid)
