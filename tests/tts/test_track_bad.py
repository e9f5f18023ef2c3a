"""Scripts, voices, engines and times that are wrong: the error of one job, with the cue's number and a way out."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raydub.errors import Code, DependencyError, InputError, RaydubError, StageError, UsageError
from raydub.manifests.speech import SpeechTracks
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.driver import Driver
from raydub.tts.scripts.read import script_length
from raydub.tts.track import SpeechMaker
from tests.examples import slow
from tests.kept import blobs_below
from tests.pipeline.fakes import LocalExecutor
from tests.stages.fakes import write_video
from tests.tts.engines_support import install
from tests.tts.track_support import job_of, report_of, sound_of, write_json, write_srt

CUES = [(0.1, 0.9, "hello there"), (1.0, 1.9, "how are you")]
MOODY = """
import os
import time
import numpy as np
from raydub.tts.types import Utterance, Voice

class Moody:
    name = "moody"
    max_speed = 1.0
    def voices(self):
        return (Voice("mo", ("en", "es")),)
    def named(self, name):
        return None
    def identity(self, voice):
        return "moody 1"
    def synthesise(self, text, voice, language, speed):
        count = 8000
        if "crash" in text: os.kill(os.getpid(), 11)
        if "leave" in text: os._exit(7)
        if "raise" in text: raise KeyError("nobody knows")
        if "long" in text: count = 16000 * 300
        if "short" in text: count = 100
        samples = (0.3 * np.sin(np.arange(count) * 0.1)).astype(np.float32)
        if "silent" in text: samples[:] = 0
        if "nan" in text: samples[5] = np.nan
        if "loud" in text: samples *= 9
        if "empty" in text: samples = samples[:0]
        if "stereo" in text: samples = np.stack([samples, samples])
        return Utterance(samples, 16000)
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """2 s without sound."""
    return write_video(tmp_path_factory.mktemp("clip") / "v.mp4", 50)


@pytest.fixture
def moody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpeechMaker]:
    """With a stranger's engine that does what the text says."""
    install(tmp_path / "packages", monkeypatch, "moodyvoice", MOODY, moody="moodyvoice:Moody")
    maker = SpeechMaker("run")
    yield maker
    maker.close()


@pytest.fixture(scope="module")
def espeak() -> Iterator[SpeechMaker]:
    pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")
    maker = SpeechMaker("run")
    yield maker
    maker.close()


def refused(maker: SpeechMaker, folder: Path, clip: str, **said: Any) -> RaydubError:
    said = {"script": write_srt(folder / "s.srt", CUES), **said} if "script" not in said else said
    work = folder / "work"
    with pytest.raises(RaydubError) as caught:
        maker.make(job_of(folder, clip, **said), str(work))
    assert not list(work.glob("speech/*/tracks.json")), "nothing that a later run would take for whole"
    return caught.value


# engines


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("crash", "crashed (signal 11"),
        slow("leave", "crashed (exit code 7)"),
        ("raise", "KeyError: 'nobody knows'"),
        ("silent", "silence"),
        slow("nan", "NaN or infinite"),
        slow("long", "samples"),
        slow("short", "6 ms of sound"),
        slow("loud", "beyond full scale"),
        slow("empty", "no sound"),
        slow("stereo", "shape (2, 8000)"),
    ],
)
def test_an_engine_that_fails_on_one_cue(moody: SpeechMaker, tmp_path: Path, clip: str, what: str, said: str) -> None:
    script = write_srt(tmp_path / "s.srt", [*CUES[:1], (1.0, 1.9, f"please {what}")])
    error = refused(moody, tmp_path, clip, script=script, tts="moody", voice="mo")
    assert isinstance(error, StageError)
    assert error.code == Code.TTS_FAILED
    assert error.message.startswith(f"cue 2 ('please {what}'): the engine moody ")
    assert said in error.message
    assert error.field == "script"
    mended = write_srt(tmp_path / "s.srt", CUES)
    tracks = moody.make(job_of(tmp_path, clip, script=mended, tts="moody", voice="mo"), str(tmp_path / "work"))
    assert tracks.spoken == 2, "the engine is there again, and what was spoken counts for the run"
    assert len(blobs_below(tmp_path / "work", "utterances")) == 2


def test_an_engine_without_its_package_names_the_extra(
    tmp_path: Path, clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name in ("espeakng_loader", "piper", "kokoro_onnx") else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    for engine in ("espeak", "piper", "kokoro"):
        error = refused(SpeechMaker(), tmp_path, clip, tts=engine, language="es")
        assert isinstance(error, DependencyError)
        assert (error.code, error.hint) == (Code.DEPENDENCY_MISSING, f"pip install 'raydub[{engine}]'")


def test_an_engine_that_nobody_knows(tmp_path: Path, clip: str) -> None:
    error = refused(SpeechMaker(), tmp_path, clip, tts="espeek", language="es")
    assert isinstance(error, UsageError)
    assert (error.code, error.field) == (Code.FIELD_VALUE, "tts")
    assert "did you mean 'espeak'?" in error.hint


# voices and speakers


@pytest.mark.parametrize(
    ("said", "field", "near"),
    [
        ({"language": "xx"}, "language", ""),
        ({"language": "spanich"}, "language", "did you mean 'es'?"),
        ({"language": "es", "voice": "es-491"}, "voice", "did you mean 'es-419'?"),
        ({"voice": "../../etc/passwd"}, "voice", ""),
        ({"voice": "../none/such"}, "voice", ""),
        ({"voice": "/none/such.onnx#3"}, "voice", ""),
    ],
)
def test_an_unknown_voice_or_language(
    espeak: SpeechMaker, tmp_path: Path, clip: str, said: dict[str, str], field: str, near: str
) -> None:
    error = refused(espeak, tmp_path, clip, **said)
    assert (error.code, error.field) == (Code.VOICE_UNKNOWN, field)
    assert near in error.hint
    assert said[field].partition("#")[0] in error.message
    assert not (tmp_path / "work" / "utterances").exists(), "nothing was spoken for it"


def test_a_segment_s_unknown_voice_is_told_with_its_number(espeak: SpeechMaker, tmp_path: Path, clip: str) -> None:
    rows = [{"start": 0, "end": 1, "text": "hola"}, {"start": 1, "end": 2, "text": "adiós", "voice": "es-491"}]
    error = refused(espeak, tmp_path, clip, script=write_json(tmp_path / "s.json", rows), language="es")
    assert error.code == Code.VOICE_UNKNOWN
    assert error.message.startswith("cue 2 ('adiós'): ")
    assert "did you mean 'es-419'?" in error.hint


def test_speakers_that_do_not_fit_the_script(espeak: SpeechMaker, tmp_path: Path, clip: str) -> None:
    rows = [
        {"start": 0, "end": 1, "text": "hola", "speaker": "Ana"},
        {"start": 1, "end": 2, "text": "adiós", "speaker": "Ben"},
    ]
    script = write_json(tmp_path / "s.json", rows)
    error = refused(espeak, tmp_path, clip, script=script, language="es", speakers="Anna=left; *=none")
    assert error.code == Code.SPEAKER_UNKNOWN
    assert "'Anna'" in error.message
    assert "did you mean 'Ana'?" in error.hint
    error = refused(espeak, tmp_path, clip, script=script, language="es", speakers="Ana=left")
    assert error.code == Code.SPEAKER_UNKNOWN
    assert "Ben" in error.message


# times


def test_a_cue_beyond_the_end(moody: SpeechMaker, tmp_path: Path, clip: str) -> None:
    script = write_srt(tmp_path / "s.srt", [*CUES, (2.5, 3.0, "too late")])
    said: dict[str, Any] = {"script": script, "tts": "moody", "voice": "mo"}
    for overflow in ("squeeze", "shift", "fail"):
        error = refused(moody, tmp_path, clip, overflow=overflow, **said)
        assert isinstance(error, InputError)
        assert error.code == Code.SPEECH_OVERFLOW
        assert error.message.startswith("cue 3 ('too late')")
        assert "beyond the end at 2.00 s" in error.message
        assert "length=audio" in error.hint
    tracks = moody.make(job_of(tmp_path, clip, overflow="trim", **said), str(tmp_path / "work"))
    assert [row["samples"]["length"] > 0 for row in report_of(tracks)["segments"]] == [True, True, False]
    assert any("cut off: cue 3" in warning for warning in tracks.warnings)
    tracks = moody.make(job_of(tmp_path, clip, length="audio", **said), str(tmp_path / "work"))
    assert tracks.samples == pytest.approx(3.0 * 48000, abs=0.05 * 48000)


def test_nothing_within_the_video(moody: SpeechMaker, tmp_path: Path, clip: str) -> None:
    script = write_srt(tmp_path / "s.srt", [(5.0, 6.0, "too late"), (7.0, 8.0, "later")])
    error = refused(moody, tmp_path, clip, script=script, tts="moody", voice="mo", overflow="trim")
    assert (error.code, error.field) == (Code.SCRIPT_EMPTY, "script")


@pytest.mark.parametrize("timed", [True, False])
def test_a_script_longer_than_the_video(moody: SpeechMaker, tmp_path: Path, clip: str, timed: bool) -> None:
    """Twelve cues of half a second each for two seconds."""
    texts = [f"This is the sentence of number {n}." for n in range(1, 13)]
    (tmp_path / "s.txt").write_text("\n".join(texts))
    timed_script = write_srt(tmp_path / "s.srt", [(n / 6, n / 6 + 0.16, text) for n, text in enumerate(texts)])
    script = timed_script if timed else str(tmp_path / "s.txt")
    said: dict[str, Any] = {"script": script, "length": "video", "tts": "moody", "voice": "mo"}
    for overflow in ("squeeze", "shift", "fail"):
        error = refused(moody, tmp_path, clip, overflow=overflow, **said)
        assert (error.code, error.field) == (Code.SPEECH_OVERFLOW, "overflow")
        assert f"overflow={overflow}" in error.message or "beyond the end" in error.message
        assert ("cue " in error.message) == timed
        assert "trim" in error.hint
    tracks = moody.make(job_of(tmp_path, clip, overflow="trim", **said), str(tmp_path / "work"))
    assert (tracks.samples, len(sound_of(tracks))) == (96000, 96000)
    rows = report_of(tracks)["segments"]
    assert len(rows) == 12
    assert all(row["end"] <= 2.0 for row in rows)
    assert any(warning.startswith("W_TIMING: cut off") for warning in tracks.warnings)


def test_frames_taken_away_from_a_script_with_times(moody: SpeechMaker, tmp_path: Path, clip: str) -> None:
    error = refused(moody, tmp_path, clip, tts="moody", voice="mo", no_face="drop")
    assert (error.code, error.field) == (Code.FIELD_CONFLICT, "no_face")
    assert "no_face=keep" in error.hint
    (tmp_path / "s.txt").write_text("No times here.")
    job = job_of(tmp_path, clip, script=str(tmp_path / "s.txt"), tts="moody", voice="mo", no_face="drop")
    assert moody.make(job, str(tmp_path / "work")).timed is False


# scripts


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("s.srt", b"", Code.SCRIPT_EMPTY),
        ("s.txt", b" \n\n\t", Code.SCRIPT_EMPTY),
        ("s.srt", b"1\n00:00:01,000 --> 00:00:02,000\n<i></i>\n", Code.SCRIPT_EMPTY),
        ("s.json", b"[]", Code.SCRIPT_EMPTY),
        ("s.srt", bytes(range(256)) * 20, Code.SCRIPT_UNREADABLE),
        ("s.txt", b"\x7fELF\x02\x01\x01" + bytes(500), Code.SCRIPT_UNREADABLE),
        ("s.json", b"[" * 200_000, Code.SCRIPT_UNREADABLE),
        ("s.txt", b"word " * 13_000_000, Code.SCRIPT_UNREADABLE),
        ("s.srt", b"1\n00:00:02,000 --> 00:00:01,000\nhola\n", Code.SCRIPT_CUE),
        ("s.srt", None, Code.INPUT_MISSING),
    ],
    ids=["nothing", "blank", "markup", "no-rows", "binary", "program", "deep", "huge", "backwards", "missing"],
)
def test_scripts_that_cannot_be_spoken(
    moody: SpeechMaker, tmp_path: Path, clip: str, name: str, content: bytes | None, code: Code
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    script = str(tmp_path / name)
    error = refused(moody, tmp_path, clip, script=script, tts="moody", voice="mo")
    assert isinstance(error, InputError)
    assert (error.code, error.field) == (code, "script")
    assert error.hint
    assert len(str(error)) < 600
    assert script_length(job_of(tmp_path, clip, script=script)) == 0


def test_a_script_s_folder_is_no_script(moody: SpeechMaker, tmp_path: Path, clip: str) -> None:
    assert refused(moody, tmp_path, clip, script=str(tmp_path), tts="moody").code == Code.SCRIPT_UNREADABLE


# whole jobs


@pytest.mark.slow
def test_one_job_s_engine_dies_and_the_others_go_on(moody: SpeechMaker, tmp_path: Path, clip: str) -> None:
    crash = write_srt(tmp_path / "bad.srt", [*CUES[:1], (1.0, 1.9, "please crash")])
    good = write_srt(tmp_path / "good.srt", CUES)
    said: dict[str, Any] = {"tts": "moody", "voice": "mo", "chunk_seconds": 1}
    jobs = [
        job_of(tmp_path, clip, "first", 1, script=good, **said),
        job_of(tmp_path, clip, "bad", 2, script=crash, **said),
        job_of(tmp_path, clip, "gone", 3, script=str(tmp_path / "gone.srt"), **said),
        job_of(tmp_path, clip, "last", 4, script=good, overflow="trim", **said),
    ]
    executor = LocalExecutor(WorkSettings(str(tmp_path / "work"), "run", device="cpu", tries=1))
    results, interrupted = Driver(executor).run(jobs)
    assert not interrupted
    assert [result.status for result in results] == ["ok", "failed", "failed", "ok"]
    assert [result.error_code for result in results] == [None, Code.TTS_FAILED, Code.INPUT_MISSING, None]
    assert str(results[1].error_message).startswith("cue 2 ('please crash'): the engine moody crashed (signal 11")
    assert [(result.segments, result.spoken) for result in (results[0], results[3])] == [(2, 2), (2, 2)]
    assert [Path(job.output).is_file() for job in jobs] == [True, False, False, True]


def test_the_speech_of_a_job_survives_json() -> None:
    """As it travels to workers and into plans."""
    fields = {"voices": [{"speaker": "", "path": "/v", "identity": "i", "spans": [[1, 2], [3, 4]]}]}
    tracks = SpeechTracks.model_validate(
        {**fields, "sound": "/s", "sound_identity": "i", "rate": 48000, "samples": 100_100}
    )
    assert SpeechTracks.model_validate_json(tracks.model_dump_json()) == tracks
    assert tracks.voices[0].spans == ((1, 2), (3, 4))
    assert tracks.duration.numerator == 1001
