"""Speech on the command line: `raydub tts`, `raydub voices`, and scripts in dub, run, validate, plan and submit."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.errors import EXIT_DEPENDENCY, EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE
from raydub.media.probe import probe_speech, probe_video
from raydub.media.sound import sound_shape
from raydub.tts.engines import find
from raydub.tts.engines.find import COMMAND_VARIABLE
from tests.cluster.clips import make_clip
from tests.cluster.fake_jobs import FakeJobs
from tests.ffmpeg import ffmpeg_program
from tests.stages.fakes import write_wav

CUES = [(0.5, 1.4, "Hola a todos."), (2.0, 2.9, "¿Qué tal estáis?")]


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _command(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set, so that what a command under test sets is undone.
    monkeypatch.setenv(COMMAND_VARIABLE, "")


def clock(seconds: float) -> str:
    return f"00:00:{int(seconds):02d},{round(seconds % 1 * 1000):03d}"


def srt(path: Path, cues: list[tuple[float, float, str]] | None = None) -> Path:
    rows = [
        f"{number}\n{clock(start)} --> {clock(end)}\n{text}\n"
        for number, (start, end, text) in enumerate(cues or CUES, 1)
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def with_sound(path: Path, seconds: float = 3.2) -> Path:
    """A clip with a stereo hum at 44.1 kHz for a sound."""
    silent, hum = path.with_name(f"silent-{path.name}"), path.with_name(f"{path.stem}.wav")
    make_clip(silent, seconds, side=128)
    write_wav(hum, 0.1 * np.sin(np.arange(round(seconds * 44100)) * 0.03), 44100)
    words = ["-i", silent, "-i", hum, "-c:v", "copy", "-c:a", "aac", "-ac", "2", "-shortest", path]
    subprocess.run([ffmpeg_program(), "-v", "error", "-y", *map(str, words)], check=True, timeout=60)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A script, a clip with sound and a silent one."""
    found = tmp_path_factory.mktemp("speech")
    srt(found / "s.srt")
    with_sound(found / "v.mp4")
    return found


def level(samples: np.ndarray[Any, Any], rate: int, start: float, stop: float) -> float:
    """RMS in dB re full scale of the seconds start .. stop."""
    piece = np.asarray(samples, np.float64).reshape(len(samples), -1)[round(start * rate) : round(stop * rate)]
    return float(10 * np.log10(np.mean(piece**2) + 1e-12))


# -- tts ----------------------------------------------------------------------------------------------------------


def test_a_script_becomes_sound_and_a_report(folder: Path, tmp_path: Path) -> None:
    said = invoke("tts", folder / "s.srt", "--language", "es", "-o", tmp_path / "new" / "a.wav")
    assert said.exit_code == EXIT_OK, said.stderr
    samples, rate = soundfile.read(str(tmp_path / "new" / "a.wav"))
    assert (rate, samples.ndim) == (48000, 1)
    report = json.loads((tmp_path / "new" / "a.timing.json").read_text())
    assert len(samples) / rate == pytest.approx(report["seconds"], abs=1e-4)
    assert [row["start"] for row in report["segments"]] == [0.5, 2.0]
    assert level(samples, rate, 0.0, 0.45) < -80
    assert level(samples, rate, 0.55, 1.0) > -35
    assert level(samples, rate, 2.1, 2.5) > -35
    assert report["script"] == str(folder / "s.srt")
    assert "voices" not in report
    assert report["mix"]["integrated_lufs"] == pytest.approx(-16, abs=0.5)
    lines = said.stdout.splitlines()
    assert len(lines) == 3
    assert "Hola a todos." in lines[0]
    assert lines[0].split()[:2] == ["1", "0.500"]
    assert lines[2].startswith(str(tmp_path / "new" / "a.wav"))
    assert "LUFS" in lines[2]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.timing.json", "a.wav"]


@pytest.mark.parametrize("suffix", [".flac", ".mp3", ".m4a", ".ogg", ".opus", ".WAV"])
def test_the_suffix_says_the_form(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"a{suffix}"
    words = ["tts", "--text", "Hola a todos.", "--language", "es", "-o", output]
    said = invoke(*words, "--report", tmp_path / "r.json", "--json")
    assert said.exit_code == EXIT_OK, said.stderr
    info = probe_speech(str(output))
    codecs = {".flac": "flac", ".mp3": "mp3", ".m4a": "aac", ".ogg": "opus", ".opus": "opus", ".WAV": "pcm_s16le"}
    assert info.codec.removesuffix("float") == codecs[suffix]
    document = json.loads(said.stdout)
    assert abs(info.seconds - document["seconds"]) < 0.1
    assert document["output"] == str(output)
    assert document["warnings"] == []
    report = json.loads((tmp_path / "r.json").read_text())
    assert {**report, "output": str(output), "warnings": []} == document
    assert document["script"] is None, "a text is no file"
    assert [row["text"] for row in document["segments"]] == ["Hola a todos."]


@pytest.mark.parametrize("name", ["a.mp4", "a", "a.txt", ".wav", "a.wav.exe"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    said = invoke("tts", "--text", "Hola.", "--language", "es", "-o", tmp_path / name)
    assert said.exit_code == EXIT_USAGE
    assert "[E_OUTPUT_FORMAT]" in said.stderr
    assert ".flac" in said.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "code", "exit_code", "words"),
    [
        (["s.srt", "--text", "Hola."], "E_FIELD_CONFLICT", EXIT_USAGE, "either a script or --text"),
        ([], "E_FIELD_CONFLICT", EXIT_USAGE, "either a script or --text"),
        (["--text", "  \n "], "E_SCRIPT_EMPTY", EXIT_USAGE, "--text is empty"),
        (["none.srt"], "E_INPUT_MISSING", EXIT_SOME_FAILED, "none.srt"),
        (["--text", "x", "--tts", "espaek"], "E_FIELD_VALUE", EXIT_USAGE, "did you mean 'espeak'?"),
        (["--text", "x", "--language", "spanihs"], "E_VOICE_UNKNOWN", EXIT_SOME_FAILED, "did you mean 'es'?"),
        (["--text", "x", "--voice", "es+f99"], "E_VOICE_UNKNOWN", EXIT_SOME_FAILED, "variant 'f99'"),
        (["--text", "x", "--voice", "de"], "E_FIELD_CONFLICT", EXIT_SOME_FAILED, "speaks de"),
        (["--text", "x", "--bed", "duck"], "E_FIELD_CONFLICT", EXIT_USAGE, "--video"),
        (["--text", "x", "--bed", "loud"], "E_FIELD_VALUE", EXIT_USAGE, "duck"),
        (["--text", "x", "--video", "none.mp4"], "E_INPUT_MISSING", EXIT_SOME_FAILED, "none.mp4"),
        (["--text", "x", "--tts", "command"], "E_DEPENDENCY_MISSING", EXIT_DEPENDENCY, "RAYDUB_TTS_COMMAND"),
        (["--text", "x", "--set", "tts_command=rm"], "E_FIELD_UNKNOWN", EXIT_USAGE, "tts_command"),
        (["--text", "x", "--set", "overflow"], "E_FIELD_VALUE", EXIT_USAGE, "FIELD=VALUE"),
        (["--text", "x", "--set", "speakers=Ana=left"], "E_SPEAKER_UNKNOWN", EXIT_SOME_FAILED, "Ana"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_cannot_be_spoken(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    code: str,
    exit_code: int,
    words: str,
    as_json: bool,
) -> None:
    monkeypatch.chdir(folder)
    language = [] if "--language" in more else ["--language", "es"]
    said = invoke("tts", *more, *language, "-o", tmp_path / "a.wav", *(["--json"] if as_json else []))
    assert said.exit_code == exit_code, said.stderr
    assert said.stderr.startswith(f"[{code}]")
    assert words in said.stderr
    assert "/tmp/raydub-tts" not in said.stderr
    if as_json:
        assert json.loads(said.stdout)["error"]["code"] == code
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_is_not_installed_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(find._NEEDS, "espeak", ("no_such_package",))
    said = invoke("tts", "--text", "Hola.", "--language", "es", "-o", tmp_path / "a.wav")
    assert said.exit_code == EXIT_DEPENDENCY
    assert said.stderr.startswith("[E_DEPENDENCY_MISSING]")
    assert "raydub[espeak]" in said.stderr
    listed = invoke("voices", "--tts", "espeak", "--json")
    assert listed.exit_code == EXIT_DEPENDENCY
    [absent] = json.loads(listed.stdout)["absent"]
    assert absent["code"] == "E_DEPENDENCY_MISSING"
    # Of all engines some are always absent: the list is no failure.
    every = invoke("voices")
    assert every.exit_code == EXIT_OK
    assert "raydub[espeak]" in every.stdout


def test_an_error_leaves_the_former_output(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("former")
    tight = srt(tmp_path / "s.srt", [(0.0, 0.2, "Una frase que no cabe en dos décimas de segundo."), (0.2, 0.4, "Ni")])
    said = invoke("tts", tight, "--language", "es", "-o", tmp_path / "a.wav", "--set", "overflow=fail")
    assert said.exit_code == EXIT_SOME_FAILED
    assert said.stderr.startswith("[E_SPEECH_OVERFLOW]")
    assert "cue 1" in said.stderr
    assert (tmp_path / "a.wav").read_text() == "former"
    assert not (tmp_path / "a.timing.json").exists()
    late = invoke("tts", tight, "--language", "es", "-o", tmp_path / "a.wav", "--set", "overflow=shift")
    assert late.exit_code == EXIT_OK
    assert "W_TIMING" in late.stderr
    assert soundfile.info(str(tmp_path / "a.wav")).duration > 1


@pytest.mark.parametrize("bed", ["none", "duck"])
def test_the_sound_of_a_video(folder: Path, tmp_path: Path, bed: str) -> None:
    output = tmp_path / "a.wav"
    said = invoke("tts", folder / "s.srt", "--language", "es", "--video", folder / "v.mp4", "--bed", bed, "-o", output)
    assert said.exit_code == EXIT_OK, said.stderr
    samples, rate = soundfile.read(str(output))
    # Rate, channels and length are the video's.
    assert (rate, samples.shape[1]) == (44100, 2)
    assert len(samples) == 80 * 44100 // 25
    between = level(samples, rate, 0.05, 0.3)
    assert (between > -45) == (bed == "duck")
    report = json.loads((tmp_path / "a.timing.json").read_text())
    assert (report["bed"] is None) == (bed == "none")
    if bed == "duck":
        assert report["bed"]["mode"] == "duck"
        curve = report["bed_curve"]
        at = report["curve_rate"]
        assert max(curve[: round(0.2 * at)]) == 0.0
        assert min(curve[round(0.6 * at) : round(1.0 * at)]) <= -10


def test_a_silent_video_has_no_bed(tmp_path: Path) -> None:
    make_clip(tmp_path / "v.mp4", 2.0, side=128)
    words = ["tts", "--text", "Hola.", "--language", "es", "--video", tmp_path / "v.mp4", "--bed", "duck"]
    said = invoke(*words, "-o", tmp_path / "a.wav")
    assert said.exit_code == EXIT_OK
    assert "W_BED" in said.stderr


def test_what_was_spoken_is_kept_where_a_folder_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    words = ["tts", folder / "s.srt", "--language", "es", "-o", tmp_path / "a.wav", "--json"]
    first = json.loads(invoke(*words).stdout)
    assert [row["spoken_now"] for row in first["segments"]] == [True, True]
    assert list((tmp_path / "here").iterdir()) == [], "without a work folder nothing is left"
    kept = [json.loads(invoke(*words, "--work-dir", "work").stdout) for _ in range(2)]
    assert kept[0]["segments"] == first["segments"]
    files = {path: path.stat().st_mtime_ns for path in Path("work/refs/utterances").rglob("*.json")}
    assert files
    sound = (tmp_path / "a.wav").read_bytes()
    # One line changes: it is the only one that is spoken.
    changed = srt(tmp_path / "t.srt", [CUES[0], (*CUES[1][:2], "¿Cómo estáis?")])
    third = json.loads(invoke("tts", changed, *words[2:], "--work-dir", "work").stdout)
    assert [row["spoken_now"] for row in third["segments"]] == [False, True]
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert (tmp_path / "a.wav").read_bytes() != sound


PROGRAM = """
import os, sys
import numpy as np, soundfile
soundfile.write(sys.argv[2], np.sin(np.arange(12000) * 0.05) * 0.4, 24000, "PCM_16")
open(os.environ["NOTED"], "a").write(open(sys.argv[1]).read())
"""


def own_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """A command line that hums for half a second, and the file in which it notes what it said."""
    program, noted = tmp_path / "hum.py", tmp_path / "noted"
    program.write_text(PROGRAM)
    monkeypatch.setenv("NOTED", str(noted))
    return shlex.join([sys.executable, str(program), "{text_file}", "{out_wav}"]), noted


def test_a_program_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line, noted = own_program(tmp_path, monkeypatch)
    words = ["--text", "Hola.", "--language", "es", "--tts", "command", "--tts-command", line]
    said = invoke("tts", *words, "-o", tmp_path / "a.wav", "--json")
    assert said.exit_code == EXIT_OK, said.stderr
    assert json.loads(said.stdout)["seconds"] == pytest.approx(0.5, abs=0.05)
    assert noted.read_text().strip() == "Hola."
    assert os.environ[COMMAND_VARIABLE] == line


# -- voices -------------------------------------------------------------------------------------------------------


def test_voices_of_a_language() -> None:
    said = invoke("voices", "--tts", "espeak", "--language", "es")
    assert said.exit_code == EXIT_OK, said.stderr
    rows = [line.split() for line in said.stdout.splitlines()]
    assert {row[0] for row in rows} == {"espeak"}
    assert "es" in {row[1] for row in rows}
    document = json.loads(invoke("voices", "--tts", "espeak", "--language", "es", "--json").stdout)
    assert [row["voice"] for row in document["voices"]] == [row[1] for row in rows]
    assert all(any(tag.split("-")[0] == "es" for tag in row["languages"]) for row in document["voices"])
    assert document["absent"] == []
    every = json.loads(invoke("voices", "--tts", "espeak", "--json").stdout)["voices"]
    assert len(every) > 100
    assert json.loads(invoke("voices", "--tts", "espeak", "--language", "tlh", "--json").stdout)["voices"] == []


def test_engines_that_cannot_be_used() -> None:
    named = invoke("voices", "--tts", "command")
    assert named.exit_code == EXIT_DEPENDENCY
    assert "RAYDUB_TTS_COMMAND" in named.stdout
    unknown = invoke("voices", "--tts", "espaek", "--json")
    assert unknown.exit_code == EXIT_USAGE
    assert json.loads(unknown.stdout)["error"]["code"] == "E_FIELD_VALUE"
    assert "did you mean 'espeak'?" in unknown.stderr


def test_an_engine_that_is_set_up_wrongly_hides_no_other() -> None:
    every = invoke("voices", "--tts-command", "say {out_wav}")
    assert every.exit_code == EXIT_OK
    assert any(line.startswith("espeak ") for line in every.stdout.splitlines())
    assert "lacks {text_file}" in every.stdout
    assert invoke("voices", "--tts-command", "say {out_wav}", "--tts", "command").exit_code == EXIT_USAGE


# -- scripts in the other commands --------------------------------------------------------------------------------


def test_dub_with_a_script(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    line, noted = own_program(tmp_path, monkeypatch)
    words = ["dub", "--video", "v.mp4", "--script", "s.srt", "--tts", "command", "--tts-command", line, "--bed", "duck"]
    said = invoke(*words, "-o", tmp_path / "o.mp4", "--set", "preset=ultrafast", "--json")
    assert said.exit_code == EXIT_OK, said.stderr
    result = json.loads(said.stdout)
    assert (result["script"], result["audio"]) == (str(folder / "s.srt"), None)
    assert (result["segments"], result["spoken"], result["frames"]) == (2, 2, 80)
    assert {"speak", "prepare", "track", "stitch"} <= set(result["seconds"])
    # The flag reached the worker's process.
    assert sorted(noted.read_text().split("\n")) == sorted(["", *(text for _, _, text in CUES)])
    made = probe_video(str(tmp_path / "o.mp4"))
    assert made.n_frames == 80
    shape = sound_shape(str(tmp_path / "o.mp4"))
    assert shape is not None
    assert (shape.rate, shape.channels) == (44100, 2)
    # Its records say what became of the lines.
    shown = invoke("timeline", result["job_dir"], "--json", "-o", tmp_path / "t.png")
    assert shown.exit_code == EXIT_OK, shown.stderr
    table = json.loads(shown.stdout)
    assert [row["number"] for row in table["segments"]] == [1, 2]
    assert (tmp_path / "t.png").stat().st_size > 2000


@pytest.mark.parametrize(
    ("more", "code", "exit_code"),
    [
        ([], "E_FIELD_MISSING", EXIT_USAGE),
        (["--audio", "a.wav", "--script", "s.srt"], "E_FIELD_CONFLICT", EXIT_USAGE),
        (["--audio", "v.wav", "--set", "speakers=ana=left"], "E_FIELD_CONFLICT", EXIT_USAGE),
        (["--script", "s.srt", "--set", "tts_command=x"], "E_FIELD_UNKNOWN", EXIT_USAGE),
        (["--script", "s.srt", "--tts", "command"], "E_DEPENDENCY_MISSING", EXIT_DEPENDENCY),
        (["--script", "s.srt", "--tts", "espaek"], "E_FIELD_VALUE", EXIT_SOME_FAILED),
    ],
)
def test_dub_refuses(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], code: str, exit_code: int
) -> None:
    monkeypatch.chdir(folder)
    said = invoke("dub", "--video", "v.mp4", *more, "-o", tmp_path / "o.mp4", "--json")
    assert not (tmp_path / "o.mp4").exists()
    document = json.loads(said.stdout)
    assert document.get("error_code", document.get("error", {}).get("code")) == code
    assert said.exit_code == exit_code


def manifest(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_validate_and_plan_know_scripts(folder: Path, tmp_path: Path) -> None:
    path = manifest(
        tmp_path / "m.jsonl",
        {"video": str(folder / "v.mp4"), "script": str(folder / "s.srt"), "output": "a.mp4", "bed": "duck"},
        {"video": str(folder / "v.mp4"), "script": str(folder / "s.srt"), "output": "b.mp4", "language": {"": "es"}},
        {"video": str(folder / "v.mp4"), "script": str(folder / "s.srt"), "output": "c.mp4", "tts_command": "rm -rf /"},
        {"video": str(folder / "v.mp4"), "script": "s.srt", "audio": "a.wav", "output": "d.mp4"},
        {"video": str(folder / "v.mp4"), "audio": "a.wav", "output": "e.mp4", "speakers": "ana=left"},
        {"video": str(folder / "v.mp4"), "output": "f.mp4"},
    )
    said = json.loads(invoke("validate", path, "--json").stdout)
    problems = {error["line"]: (error["code"], error["field"]) for error in said["errors"]}
    assert problems[3] == ("E_FIELD_UNKNOWN", "tts_command")
    assert problems[4][0] == "E_FIELD_CONFLICT"
    assert problems[5] == ("E_FIELD_CONFLICT", "speakers")
    assert problems[6][0] == "E_FIELD_MISSING"
    assert 1 not in problems
    plan = invoke("plan", path, "--json")
    assert plan.exit_code == EXIT_SOME_FAILED
    first = json.loads(plan.stdout)["jobs"][0]
    # A script with times keeps the video's length.
    assert (first["frames"], first["video_seconds"]) == (80, 3.2)
    assert first["seconds"]["speak"] > 0


def test_plan_names_scripts_that_are_absent(folder: Path, tmp_path: Path) -> None:
    path = manifest(tmp_path / "m.jsonl", {"video": str(folder / "v.mp4"), "script": "none.srt", "output": "a.mp4"})
    said = invoke("plan", path)
    assert said.exit_code == EXIT_SOME_FAILED
    assert "[E_INPUT_MISSING]" in said.stderr
    assert "none.srt" in said.stderr


@pytest.mark.parametrize("flag", ["--tts", "--voice", "--language", "--bed", "--tts-command"])
def test_commands_have_the_flags(flag: str) -> None:
    for name in ("run", "dub", "tts"):
        assert (
            flag in invoke(name, "--help").output
            or flag in CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output
        )


def test_submit_hands_the_flags_on(folder: Path, tmp_path: Path, cluster: FakeJobs) -> None:
    """bed_audio alone contradicts itself; with the flag that is handed on it does not."""
    row = {"video": "v.mp4", "script": "s.srt", "output": "o.mp4", "bed_audio": "m.wav"}
    path = manifest(tmp_path / "m.jsonl", row)
    refused = invoke("submit", path)
    assert (refused.exit_code, cluster.entrypoint) == (EXIT_USAGE, "")
    flags = ["--bed", "duck", "--tts", "piper", "--voice", "ana=es; ben=de", "--language", "es"]
    taken = invoke("submit", path, "--", *flags, "--tts-command", "say {text_file} {out_wav}")
    assert taken.exit_code == EXIT_OK, taken.stderr
    assert "--bed duck --tts piper --voice 'ana=es; ben=de' --language es" in cluster.entrypoint
    assert "--tts-command 'say {text_file} {out_wav}'" in cluster.entrypoint
    typo = invoke("submit", path, "--", "--bed", "loud")
    assert typo.exit_code == EXIT_USAGE
    assert "bed" in typo.stderr
