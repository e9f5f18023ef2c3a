"""Nothing that raydub makes depends on what stands on PATH: an `ffmpeg` there is not run, whatever it would do."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from raydub.media.mux import check_output
from raydub.media.sound import sound_shape
from tests.cluster.clips import make_clip, make_speech
from tests.conftest import REPOSITORY

NAMES = ("ffmpeg", "ffprobe", "ffplay", "avconv", "sox", "mkvmerge", "MP4Box")


def hostile(folder: Path, then: str) -> Path:
    """A folder for PATH in which each name is a program that leaves a mark, and then does as it is told."""
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {shlex.quote(str(folder / "marks"))}\n{then}\n')
        (folder / name).chmod(0o755)
    return folder


def raydub(path: str, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "raydub.cluster.cli", *map(str, words)]
    return subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=280)


PROGRAM = """
import sys
import numpy as np, soundfile
soundfile.write(sys.argv[2], np.sin(np.arange(12000) * 0.05) * 0.4, 24000, "PCM_16")
"""


slow = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize(
    "then",
    ["exit 1", pytest.param("sleep 600", marks=slow), pytest.param(None, marks=slow)],
    ids=["fails", "hangs", "nothing on PATH"],
)
def test_a_dub_runs_no_program(tmp_path: Path, then: str | None) -> None:
    folder = hostile(tmp_path / "bin", then or "exit 1")
    path = str(tmp_path / "nowhere") if then is None else f"{folder}{os.pathsep}{os.environ['PATH']}"
    clip, speech = make_clip(tmp_path / "clip.mp4", 0.6), make_speech(tmp_path / "speech.wav", 0.6)
    output = tmp_path / ("talk.mkv" if then == "exit 1" else "talk.mp4")
    words = ["--set", "no_face=keep", "--device", "cpu"]
    done = raydub(path, "dub", "--video", clip, "--audio", speech, "-o", output, *words)
    assert done.returncode == 0, done.stderr
    check_output(str(output), 15, Fraction(25))
    cleaned = raydub(path, "frames", "clean", clip, "-o", tmp_path / "clean.mkv")
    assert cleaned.returncode == 0, cleaned.stderr
    assert (tmp_path / "clean.mkv").stat().st_size > 0
    assert not (folder / "marks").exists()


@pytest.mark.slow
def test_a_sound_file_runs_no_program(tmp_path: Path) -> None:
    folder = hostile(tmp_path / "bin", "exit 1")
    engine = tmp_path / "engine.py"
    engine.write_text(PROGRAM)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    line = shlex.join([sys.executable, str(engine), "{text_file}", "{out_wav}"])
    words = ["tts", "--text", "Hola.", "--language", "es", "--tts", "command", "--tts-command", line]
    for suffix in ("wav", "m4a"):
        said = raydub(path, *words, "-o", tmp_path / f"a.{suffix}")
        assert said.returncode == 0, said.stderr
        assert sound_shape(str(tmp_path / f"a.{suffix}")) is not None
    assert not (folder / "marks").exists()


@pytest.mark.slow
def test_doctor_runs_no_program(tmp_path: Path) -> None:
    folder = hostile(tmp_path / "bin", "exit 1")
    said = raydub(f"{folder}{os.pathsep}{os.environ['PATH']}", "doctor")
    assert "missing ffmpeg" not in said.stdout
    assert "ffmpeg" in said.stdout
    assert not (folder / "marks").exists()
