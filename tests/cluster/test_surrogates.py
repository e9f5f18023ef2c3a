"""Paths and texts that are no UTF-8: a usage error as an argument, an error of its row in a manifest, never a bug."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.manifests.read import read_manifest
from raydub.manifests.results import read_results
from tests.cluster.clips import make_clip, make_speech

ROOT = Path(__file__).resolve().parents[2]
ODD = "caf\udce9"


@pytest.mark.parametrize(
    "call",
    [
        ["dub", "--video", f"{ODD}.mp4", "--audio", "b.wav", "-o", "o.mp4"],
        ["dub", "--video", "a.mp4", "--audio", f"{ODD}.wav", "-o", "o.mp4"],
        ["dub", "--video", "a.mp4", "--audio", "b.wav", "-o", f"{ODD}.mp4"],
        ["dub", "--video", "a.mp4", "--script", f"{ODD}.srt", "-o", "o.mp4"],
        ["dub", "--video", "a.mp4", "--audio", "b.wav", "-o", "o.mp4", "--work-dir", ODD],
        ["dub", "--video", "a.mp4", "--audio", "b.wav", "-o", "o.mp4", "--model", f"{ODD}.pth"],
        ["dub", "--video", "a.mp4", "--audio", "b.wav", "-o", "o.mp4", "--set", f"face=reference:{ODD}.png"],
        ["dub", "--video", "a.mp4", "--audio", "b.wav", "-o", "o.mp4", "--accept-license", ODD],
        ["run", f"{ODD}.jsonl"],
        ["run", "m.jsonl", "--output-root", ODD],
        ["run", "m.jsonl", "--work-dir", ODD],
        ["run", "m.jsonl", "--results", ODD, "--json"],
        ["run", "m.jsonl", "--voice", ODD],
        ["run", "m.jsonl", "--address", ODD],
        ["run", "m.jsonl", "--device", ODD],
        ["validate", f"{ODD}.jsonl"],
        ["plan", f"{ODD}.jsonl"],
        ["submit", f"{ODD}.jsonl"],
        ["submit", "m.jsonl", "--", "--output-root", ODD],
        ["tts", f"{ODD}.srt", "--language", "es", "-o", "o.wav"],
        ["tts", "a.srt", "--language", "es", "-o", f"{ODD}.wav"],
        ["timeline", f"{ODD}.jsonl", "--job", "a"],
        ["frames", "clean", f"{ODD}.mp4", "-o", "o.mp4"],
        ["frames", "clean", "a.mp4", "-o", f"{ODD}.mp4"],
        ["models", "import", f"{ODD}.pth"],
        ["models", "pull", ODD],
        ["voices", "--language", ODD],
        [ODD],
        ["run", f"--{ODD}"],
        ["run", "m.jsonl", "--cpus", ODD],
    ],
)
def test_an_argument_that_is_no_utf8_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: list[str]
) -> None:
    (tmp_path / "m.jsonl").write_text('{"video": "a.mp4", "audio": "b.wav", "output": "o.mp4"}\n')
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 2, (done.output, done.exception)
    assert "E_INTERNAL" not in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.jsonl"], "nothing is made, not even a folder"


def test_as_the_shell_gives_it(tmp_path: Path) -> None:
    """The bytes themselves, through a real terminal's encoding, from a folder whose name is no UTF-8 either."""
    odd = tmp_path / ODD
    odd.mkdir()
    make_clip(odd / "a.mp4", 0.2)
    make_speech(odd / "b.wav", 0.2)
    call = [sys.executable, "-m", "raydub.cluster.cli", "dub", "--audio", "b.wav", "-o"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for folder, last in ((odd, ["o.mp4", "--video", "a.mp4"]), (tmp_path, ["o.mp4", "--video", b"caf\xe9/a.mp4"])):
        done = subprocess.run([*call, *last], cwd=folder, env=env, capture_output=True, timeout=120, check=False)
        assert done.returncode == 2, done.stderr
        assert "[E_FIELD_VALUE]" in done.stderr.decode("utf-8")
        assert "rename" in done.stderr.decode("utf-8")
        assert b"Traceback" not in done.stderr


def manifest(folder: Path) -> Path:
    """A good row, a folder of pictures with such names, and a bad row for every field that may hold a path or text."""
    make_clip(folder / "clip.mp4", 0.4)
    make_speech(folder / "speech.wav", 0.4)
    pictures = folder / "pictures"
    pictures.mkdir()
    for name in (f"{ODD}1.png", f"{ODD}2.png"):
        (pictures / name).write_bytes((ROOT / "examples" / "demo" / "portrait.png").read_bytes())
    good = {"video": "clip.mp4", "audio": "speech.wav"}
    spoken = {"video": "clip.mp4", "script": "lines.srt", "language": "en"}
    rows: list[dict[str, Any]] = [
        {**good, "output": "good.mp4"},
        {**good, "video": "pictures", "output": "pictures.mp4"},
        {**good, "video": f"{ODD}.mp4", "output": "1.mp4"},
        {**good, "audio": f"{ODD}.wav", "output": "2.mp4"},
        {**good, "output": f"{ODD}.mp4"},
        {**good, "id": ODD, "output": "4.mp4"},
        {**spoken, "script": f"{ODD}.srt", "output": "5.mp4"},
        {**good, "bed": "mix", "bed_audio": f"{ODD}.wav", "output": "6.mp4"},
        {**good, "model": f"./{ODD}.pth", "output": "7.mp4"},
        {**good, "restore": "gfpgan", "restore_model": f"./{ODD}.pth", "output": "8.mp4"},
        {**good, "upscale": "x2", "upscale_model": f"./{ODD}.pth", "output": "9.mp4"},
        {**good, "face": f"reference:{ODD}.png", "output": "10.mp4"},
        {**spoken, "speakers": {"anna": f"reference:{ODD}.png"}, "output": "11.mp4"},
        {**spoken, "voice": f"{ODD}.onnx", "output": "12.mp4"},
        {**spoken, "language": ODD, "output": "13.mp4"},
        {**good, "comment": ODD, "output": "14.mp4"},
        {**good, ODD: 1, "output": "15.mp4"},
    ]
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def check_run(folder: Path, root: Path, *more: str) -> None:
    """One outcome each, and every file that is written can be read by those who read such files."""
    done = CliRunner().invoke(app, ["run", str(folder / "m.jsonl"), "--output-root", str(root), "--json", *more])
    assert done.exit_code == 1, (done.output, done.exception)
    said = json.loads(done.stdout.encode("utf-8"))
    results = read_results(root / "m.results.jsonl")
    assert said["results"] == [result.model_dump(mode="json") for result in results]
    assert [result.status for result in results] == ["ok"] * 2 + ["failed"] * 15, [r.error_message for r in results]
    assert {result.error_code for result in results[2:15]} == {"E_FIELD_VALUE"}
    assert {result.error_code for result in results[15:]} == {"E_FIELD_UNKNOWN"}
    assert read_results(root / "m.results.parquet") == results
    assert pq.read_table(root / "m.results.parquet").num_rows == 17
    again = read_manifest(root / "m.results.failed.jsonl", root)
    assert not again.jobs
    asked = {error.field for error in read_manifest(folder / "m.jsonl", root).errors}
    assert {error.field for error in again.errors} == asked


@pytest.mark.slow
def test_rows_without_ray(tmp_path: Path) -> None:
    manifest(tmp_path)
    check_run(tmp_path, tmp_path / "out", "--no-ray")


@pytest.mark.slow
def test_rows_on_ray(tmp_path: Path) -> None:
    manifest(tmp_path)
    check_run(tmp_path, tmp_path / "out", "--cpus", "2")
