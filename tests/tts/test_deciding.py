"""What decides how a voice sounds is known without its engine, and is spoken anew when it changes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import raydub.identity as identity_module
from raydub.errors import Code, InputError
from raydub.identity import COARSE_TICK_NS
from raydub.manifests.speech import SpeechTracks
from raydub.models.store.importing import import_file
from raydub.store import Store
from raydub.tts.engines.deciding import UNNAMED, decided_by
from raydub.tts.engines.utterances import Speaker
from raydub.tts.mix.format import MixFormat
from raydub.tts.track import SpeechMaker
from raydub.tts.types import Utterance
from tests.examples import slow
from tests.tts.engines_support import piper_voice
from tests.tts.test_utterances import ES, HOLA, Counting
from tests.tts.track_support import job_of, write_json

ROOT = Path(__file__).resolve().parents[2]
GRAPH = b"\x08\x07\x12\x07pytorch"
SOUND = (
    "import sys, numpy as np, soundfile\nsoundfile.write(sys.argv[2], np.sin(np.arange(8000) * {step}) / 2, 16000)\n"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files by which voices of all engines speak."""
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAYDUB_OFFLINE", "1")
    for name in ("a#b/own.onnx", "my.onnx"):
        put(tmp_path / name, GRAPH + b"x" * 5000)
        put(tmp_path / f"{name}.json", b'{"audio": {"sample_rate": 16000}}')
    import_file(tmp_path / "my.onnx", to_name="my-own")
    for name in ("kokoro.onnx", "kokoro.bin", "prog", "prog.py", "set.cfg", "v.wav"):
        put(tmp_path / name, b"content")
    (tmp_path / "prog").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    words = ["prog", str(tmp_path / "prog.py"), f"--set={tmp_path / 'set.cfg'}", "--v={voice}", "{text_file}"]
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", shlex.join([*words, "{out_wav}"]))
    monkeypatch.setenv("RAYDUB_KOKORO_MODEL", str(tmp_path / "kokoro.onnx"))
    monkeypatch.setenv("RAYDUB_KOKORO_VOICES", str(tmp_path / "kokoro.bin"))
    monkeypatch.setattr(
        "raydub.tts.engines.find.check_engine", lambda name: None
    )  # packages are not what this is about
    return tmp_path


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    then = time.time_ns() - 10 * COARSE_TICK_NS
    os.utime(path, ns=(then, then))


def import_anew(folder: Path, name: str, content: bytes) -> None:
    put(folder / name, content)
    import_file(folder / "my.onnx", to_name="my-own")


CHANGES: list[tuple[str, str, Callable[[Path], object]]] = [
    ("piper", "a#b/own.onnx", lambda at: put(at / "a#b/own.onnx", GRAPH + b"y" * 5000)),
    ("piper", "a#b/own.onnx#3", lambda at: put(at / "a#b/own.onnx", GRAPH + b"y" * 5000)),
    ("piper", "a#b/own.onnx", lambda at: put(at / "a#b/own.onnx.json", b'{"audio": {"sample_rate": 16001}}')),
    ("piper", "a#b/own.onnx#3", lambda at: put(at / "a#b/own.onnx.json", b'{"audio": {"sample_rate": 16001}}')),
    ("piper", "my-own", lambda at: import_anew(at, "my.onnx", GRAPH + b"y" * 5000)),
    ("piper", "My-Own#3", lambda at: import_anew(at, "my.onnx.json", b'{"audio": {"sample_rate": 16001}}')),
    ("piper", UNNAMED, lambda at: import_anew(at, "my.onnx", GRAPH + b"y" * 5000)),
    ("piper", UNNAMED, lambda at: import_file(at / "a#b" / "own.onnx", to_name="another")),
    ("kokoro", "ef_dora", lambda at: put(at / "kokoro.onnx", b"CONTENT")),
    ("kokoro", UNNAMED, lambda at: put(at / "kokoro.bin", b"CONTENT")),
    ("kokoro", "ef_dora", lambda at: os.environ.update(RAYDUB_KOKORO_MODEL=str(at / "my.onnx"))),
    ("kokoro", "ef_dora", lambda at: os.environ.update(RAYDUB_KOKORO_VOICES=str(at / "my.onnx"))),
    ("kokoro", "ef_dora", lambda at: os.environ.update(RAYDUB_KOKORO_MODEL="")),
    ("command", "ana", lambda at: put(at / "prog", b"CONTENT")),
    ("command", UNNAMED, lambda at: put(at / "prog.py", b"CONTENT")),
    ("command", "ana", lambda at: put(at / "set.cfg", b"CONTENT")),
    ("command", "a#b/own.onnx#3", lambda at: put(at / "a#b/own.onnx", GRAPH + b"y" * 5000)),
    ("command", "v.wav", lambda at: put(at / "v.wav", b"CONTENT")),
]


@pytest.mark.parametrize(("engine", "voice", "change"), CHANGES)
def test_every_file_by_which_a_voice_speaks_decides(
    folder: Path, monkeypatch: pytest.MonkeyPatch, engine: str, voice: str, change: Callable[[Path], object]
) -> None:
    for name in ("RAYDUB_KOKORO_MODEL", "RAYDUB_KOKORO_VOICES"):
        monkeypatch.setenv(name, os.environ[name])  # put back afterwards
    voice = str(folder / voice) if (folder / voice.partition("#3")[0]).is_file() and voice else voice
    before, others = decided_by(engine, voice), [decided_by(*other) for other in (("espeak", "es"), ("espeak", ""))]
    assert decided_by(engine, voice) == before
    time.sleep(0.02)  # the clock of ctime has ticks of some ms
    change(folder)
    assert decided_by(engine, voice) != before
    assert [decided_by(*other) for other in (("espeak", "es"), ("espeak", ""))] == others


@pytest.mark.parametrize("engine", ["piper", "command", "espeak"])
def test_a_release_decides(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    before = decided_by(engine, "my-own")
    monkeypatch.setattr("raydub.tts.engines.deciding.release", lambda name: f"{name} next")
    assert decided_by(engine, "my-own") != before


def test_files_that_were_seen_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Store(folder / "work").identities
    asked = [(engine, str(folder / "a#b/own.onnx")) for engine in ("piper", "kokoro", "command")]
    # As after a tick of the clock, in which a change could hide.
    monkeypatch.setattr(identity_module, "is_settled", lambda state: True)
    before = [decided_by(*one, cache) for one in asked]
    identity_module._memo.clear()

    def never(*_: object) -> str:
        raise AssertionError("the content was read")

    monkeypatch.setattr(identity_module, "open_regular", never)
    assert [decided_by(*one, cache) for one in asked] == before


def test_it_is_told_without_an_engine() -> None:
    code = (
        "import sys\nfrom raydub.tts.engines import find\nfrom raydub.tts.engines.deciding import decided_by\n"
        "find.check_engine = lambda name: None\n"
        "for engine in ('piper', 'kokoro', 'command', 'espeak'):\n"
        "    decided_by(engine, 'my-own')\n    decided_by(engine, '')\n"
        "heavy = ('torch', 'ray', 'onnxruntime', 'piper', 'kokoro_onnx', 'espeakng_loader', 'soundfile', 'numpy')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_a_speaker_has_one_voice_of_a_name(tmp_path: Path) -> None:
    """What the key of the tracks names and what is heard in them are one."""
    engine = Counting()
    speaker = Speaker(engine, Store(tmp_path), 48000)
    speaker.identity(ES)
    engine.release = "2"
    with pytest.raises(InputError, match="voice 'es'") as caught:
        speaker.say(HOLA, ES, "es", 1.0)
    assert (caught.value.code, caught.value.retryable, engine.asked) == (Code.INPUT_CHANGED, True, [])


# -- through the whole step: an engine in its own process, a script, the store ----------------------------------------


def spoken(folder: Path, **said: str) -> SpeechTracks:
    maker = SpeechMaker()
    try:
        job = job_of(folder, "none", script=str(folder / "s.json"), **said)
        return maker.speak(job, MixFormat(16000, 1, None, None, False, ()), str(folder / "work"))
    finally:
        maker.close()


@pytest.fixture
def program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "prog.py"
    put(path, SOUND.format(step=0.05).encode())
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", shlex.join([sys.executable, str(path), "{text_file}", "{out_wav}"]))
    return path


def test_a_program_that_changed_speaks_again(folder: Path, program: Path) -> None:
    write_json(folder / "s.json", [{"text": "hola", "voice": "ana"}, {"text": "hola"}])
    first = spoken(folder, tts="command", voice="ben")
    assert first.voiced == {name: decided_by("command", name) for name in ("ana", "ben")}
    again = spoken(folder, tts="command", voice="ben")
    assert (again.voiced, again.sound_identity) == (first.voiced, first.sound_identity)
    put(program, SOUND.format(step=0.1).encode())
    other = spoken(folder, tts="command", voice="ben")
    assert other.voiced != first.voiced
    assert (other.spoken, other.sound_identity != first.sound_identity) == (2, True)


def test_a_program_that_changes_meanwhile_leaves_nothing(
    folder: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(folder / "s.json", [{"text": "hola"}])
    real = Speaker.utterance

    def meanwhile(self: Speaker, *asked: object) -> Utterance:
        made = real(self, *asked)  # type: ignore[arg-type]
        put(program, SOUND.format(step=0.1).encode())
        return made

    monkeypatch.setattr(Speaker, "utterance", meanwhile)
    with pytest.raises(InputError) as caught:
        spoken(folder, tts="command", voice="ben")
    assert (caught.value.code, caught.value.retryable) == (Code.INPUT_CHANGED, True)
    assert Store(folder / "work").names("speech") == []


@pytest.mark.parametrize("named", [slow("segment"), "job", slow("imported")])
def test_a_voice_that_changed_speaks_again(folder: Path, named: str) -> None:
    pytest.importorskip("piper", reason="the extra piper is not installed")
    pytest.importorskip("onnx", reason="onnx, which builds the tiny networks, is not installed")
    path = piper_voice(folder / "v.onnx")
    voice = "my-own" if named == "imported" else str(path)
    if named == "imported":
        import_file(path, to_name=voice)
    write_json(folder / "s.json", [{"text": "hola", **({"voice": voice} if named == "segment" else {})}])
    said = {"tts": "piper", **({"voice": voice} if named != "segment" else {})}
    first = spoken(folder, **said)
    assert first.voiced == {voice: decided_by("piper", voice)}
    assert (spoken(folder, **said).spoken, first.spoken) == (0, 1)
    config = folder / "v.onnx.json"
    config.write_text(config.read_text().replace("16000", "16001").replace("22050", "22051"))
    if named == "imported":
        import_file(path, to_name=voice)
    other = spoken(folder, **said)
    assert (other.spoken, other.voiced == first.voiced, other.sound == first.sound) == (1, False, False)


def test_a_voice_that_a_language_chose_is_chosen_again(folder: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")
    write_json(folder / "s.json", [{"text": "hola", "language": "es"}, {"text": "hola", "voice": "de"}])
    assert set(spoken(folder).voiced) == {UNNAMED, "es", "de"}
