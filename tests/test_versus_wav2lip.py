"""bench/versus_wav2lip.py, as far as it needs no checkout of the published code."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from bench import published, versus_wav2lip
from tests.conftest import REPOSITORY


def test_a_wrong_path_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "inference.py").touch()
    command = [sys.executable, "bench/versus_wav2lip.py", str(tmp_path), "--clip", "x", "--speech", "x", "--box", "1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip() == f"{tmp_path} is no checkout of github.com/Rudrabha/Wav2Lip: it has no audio.py"


def test_librosa_takes_its_arguments_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def mel(*, sr: float, n_fft: int, n_mels: int = 128) -> Any:
        return sr, n_fft, n_mels

    filters = types.SimpleNamespace(mel=mel)
    monkeypatch.setitem(sys.modules, "tqdm", None)  # as if it were not installed
    monkeypatch.setattr(published.importlib.util, "find_spec", lambda name: None)
    published.patch(filters)
    assert filters.mel(16000, 800, n_mels=80) == (16000, 800, 80)
    assert list(sys.modules["tqdm"].tqdm(iter("ab"), total=2)) == ["a", "b"]


def test_the_outputs_of_both_are_compared_frame_by_frame_and_in_the_box(tmp_path: Path) -> None:
    for name, brightness, seconds in (("a", "0", 1), ("b", "0.5", 2)):
        # Grey, and in b a brighter square from 16,16 to 48,48.
        source = f"color=c=gray:size=64x64:rate=10:duration={seconds}"
        draw = f"drawbox=16:16:32:32:white@{brightness}:fill"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-vf", draw, f"{name}.mp4"]
        subprocess.run(command, cwd=tmp_path, env=versus_wav2lip.with_ffmpeg(tmp_path), check=True, timeout=60)
    whole, frames = versus_wav2lip.psnr(tmp_path, "a.mp4", "b.mp4")
    box, _ = versus_wav2lip.psnr(tmp_path, "a.mp4", "b.mp4", "16 48 16 48")
    outside, _ = versus_wav2lip.psnr(tmp_path, "a.mp4", "b.mp4", "0 8 0 64")
    assert frames == 10
    assert box < whole < outside


def test_a_whole_process_is_measured_with_what_it_starts(tmp_path: Path) -> None:
    inner = "b = bytearray(60 << 20); b[::4096] = b'x' * len(b[::4096]); import time; time.sleep(1.5); print('done')"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    found, said = versus_wav2lip.whole([sys.executable, "-c", code], tmp_path, {})
    assert said == "done\n"
    assert found["peak_mb"] >= 60
    assert found["wall_s"] >= 1.5
