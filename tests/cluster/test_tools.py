"""frames, doctor, demo and train, and stopping a run, through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from typer.testing import CliRunner

from raydub.cluster import checks
from raydub.cluster.checks_marks import marks_check
from raydub.cluster.cli import app
from raydub.errors import Code, DependencyError
from raydub.media import mux
from raydub.stages.marks.signing import CERT_VARIABLE, KEY_VARIABLE
from tests.cluster.clips import SAMPLE, make_clip
from tests.stages.marks.certificates import make

REPOSITORY = Path(__file__).resolve().parents[2]


def invoke(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 1.0, faceless=range(10, 16))


def test_frames_extract(clip: Path, tmp_path: Path) -> None:
    result = invoke(
        "frames", "extract", clip, "-o", tmp_path / "png", "--start", 5, "--stop", 11, "--every", 2, "--json"
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["frames"] == 3
    assert sorted(path.name for path in (tmp_path / "png").iterdir()) == ["000005.png", "000007.png", "000009.png"]
    wrong = invoke("frames", "extract", clip, "-o", tmp_path / "x", "--format", "bmp")
    assert wrong.exit_code == 2
    assert "[E_FIELD_VALUE]" in wrong.stderr


def test_frames_clean(clip: Path, tmp_path: Path) -> None:
    result = invoke("frames", "clean", clip, "-o", tmp_path / "faces.mp4", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["frames"] == 25
    assert found["kept"] + found["removed"] == 25
    assert found["removed"] == 6


def test_doctor_finds_everything_here() -> None:
    result = invoke("doctor", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0, found
    names = [check["name"] for check in found["checks"]]
    assert {"ffmpeg", "gpu", "lip engine", "quality", "ray", "face detector", "marks"} <= set(names)
    assert "wav2lip" in next(check["hint"] for check in found["checks"] if check["name"] == "quality")


def test_doctor_on_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CERT_VARIABLE, raising=False)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    here = marks_check()
    assert here.state == "ok"
    assert "labels (Pillow" in here.found
    assert "credentials (c2pa-python" in here.found
    made = make()
    made.use(monkeypatch)
    assert "CN=Test Studio" in marks_check().found
    monkeypatch.setenv(CERT_VARIABLE, make().chain)
    with pytest.raises(DependencyError, match="does not fit"):
        marks_check()
    found = {check.name: check for check in checks.all_checks()}["marks"]
    assert (found.state, "does not fit" in found.found) == ("missing", True)


def test_doctor_tries_the_ffmpeg_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the libraries, not of a program; by writing films and reading them back, not by a number."""
    good = checks._ffmpeg()
    assert good.state == "ok"
    assert f"inside PyAV {av.__version__}" in good.found
    assert "no ffmpeg program is used" in good.found
    pictures = mux._pictures

    def late(*arguments: Any) -> Iterator[Any]:
        for packet in pictures(*arguments):
            packet.pts += 999
            yield packet

    monkeypatch.setattr(mux, "_pictures", late)
    bad = checks._ffmpeg()
    assert bad.state == "missing"
    assert "off its time" in bad.hint
    assert "constraints.txt" in bad.hint


def test_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> str:
        raise DependencyError(Code.DEPENDENCY_MISSING, "no ffmpeg", hint="install it")

    monkeypatch.setattr(checks, "_ffmpeg", absent)
    monkeypatch.setattr(checks, "_torch", lambda: 1 / 0)
    result = invoke("doctor")
    assert result.exit_code == 3
    assert "missing ffmpeg         no ffmpeg" in result.stdout
    assert "install it" in result.stdout
    assert "missing: ffmpeg, torch" in result.stdout


def test_train_refuses_nonsense(tmp_path: Path) -> None:
    assert "[E_INPUT_MISSING]" in invoke("train", tmp_path / "none").stderr
    assert "[E_FIELD_VALUE]" in invoke("train", tmp_path, "-o", "weights.bin").stderr


def test_demo_says_where_its_results_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One second of speech instead of two sentences: the demo itself is run by `make demo`.
    from raydub.cluster.commands import demo
    from tests.cluster.clips import make_speech

    sample = tmp_path / "sample"
    sample.mkdir()
    (sample / "clip.mp4").write_bytes((SAMPLE / "clip.mp4").read_bytes())
    make_speech(sample / "speech.wav", 0.8)
    row = {"id": "d", "video": "clip.mp4", "audio": "speech.wav", "output": "d.mp4"}
    (sample / "jobs.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setattr(demo, "_sample", lambda: sample)
    result = invoke("demo", "--no-ray", "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [Path(path).name for path in found["videos"] + found["sheets"]] == ["d.mp4", "d.png"]
    assert all(Path(path).stat().st_size > 1000 for path in found["videos"] + found["sheets"])
    assert "the sample is a still portrait" in invoke("demo", "--no-ray", "-o", tmp_path / "out").stdout


def test_the_sample_of_the_repository_is_found() -> None:
    from raydub.cluster.commands.demo import _sample

    rows = [json.loads(line) for line in (_sample() / "jobs.jsonl").read_text().splitlines()]
    # A portrait has no mouths for `own`: a newcomer's first run would be full of warnings.
    assert {row["engine"] for row in rows} == {"warp"}


@pytest.mark.slow
def test_ctrl_c_keeps_finished_parts_and_exits_130(tmp_path: Path) -> None:
    row = {"video": str(SAMPLE / "clip.mp4"), "audio": str(SAMPLE / "speech_en.flac"), "output": "o.mp4"}
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({**row, "chunk_seconds": 0.5}) + "\n")
    command = [sys.executable, "-m", "raydub.cluster.cli", "run", str(manifest), "--no-ray"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob(".raydub/refs/parts/*/*.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    [result] = [json.loads(line) for line in (tmp_path / "m.results.jsonl").read_text().splitlines()]
    assert (result["status"], result["error_code"]) == ("skipped", "E_INTERRUPTED")
    parts = len(list(tmp_path.glob(".raydub/refs/parts/*/*.json")))
    assert 1 <= parts < 15
    assert not (tmp_path / "o.mp4").exists()
    again = invoke("run", manifest, "--no-ray", "--json")
    assert again.exit_code == 0, again.stderr
    report = json.loads(again.stdout)
    assert report["results"][0]["frames"] == 188
