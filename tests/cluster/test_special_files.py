"""Named pipes, sockets, devices, folders and broken links where a file is wanted: each row fails by name, quickly."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raydub.manifests.results import read_results
from tests.cluster.clips import make_clip, make_speech

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("fifo", "socket", "zero", "folder", "dangling", "loop")
FIELDS = (
    "video",
    "audio",
    "script",
    "bed_audio",
    "face",
    "speakers",
    "model",
    "restore_model",
    "upscale_model",
    "voice",
)
SECONDS = 240
"""A hang is for ever; a run of all rows takes some 20 s."""


def special(folder: Path, kind: str, suffix: str) -> str:
    """The path of a special file of that kind, made in `folder`; /dev/zero is itself."""
    path = folder / f"{kind}{suffix}"
    if kind == "zero":
        return "/dev/zero"
    if path.is_symlink() or path.exists():
        return str(path)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere" if kind == "dangling" else path.name)
    return str(path)


def row_of(folder: Path, field: str, kind: str) -> dict[str, Any]:
    """A row that is good but for one field."""
    row: dict[str, Any] = {"id": f"{field}-{kind}", "video": "clip.mp4", "output": f"out/{field}-{kind}.mp4"}
    suffix = {"video": ".mp4", "audio": ".wav", "script": ".srt", "bed_audio": ".wav", "voice": ".onnx"}.get(
        field, ".pth"
    )
    if field in ("face", "speakers"):
        suffix = ".png"
    path = special(folder, kind, suffix)
    spoken = field in ("script", "speakers", "voice")
    row |= {"script": "lines.srt", "language": "en"} if spoken else {"audio": "speech.wav"}
    more: dict[str, Any] = {
        "bed_audio": {"bed": "mix", "bed_audio": path},
        "face": {"face": f"reference:{path}"},
        "speakers": {"speakers": {"Anna": f"reference:{path}"}},
        "restore_model": {"restore": "gfpgan", "restore_model": path},
        "upscale_model": {"upscale": "x2", "upscale_model": path},
        "voice": {"tts": "piper", "voice": path if path.endswith(".onnx") else f"{path}.onnx"},
    }
    return row | more.get(field, {field: path})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip, a speech, a script, a folder of pictures with a pipe among them, and a manifest of all rows."""
    folder = tmp_path_factory.mktemp("special")
    make_clip(folder / "clip.mp4", 0.4)
    make_speech(folder / "speech.wav", 0.4)
    (folder / "lines.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nAnna: hello\n")
    rows = [{"id": "good", "video": "clip.mp4", "audio": "speech.wav", "output": "out/good.mp4"}]
    rows += [row_of(folder, field, kind) for field in FIELDS for kind in KINDS]
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, kind in enumerate(("fifo", "socket", "folder", "dangling", "loop")):
        one = pictures / str(number)
        one.mkdir()
        for name in ("1.png", "3.png"):
            (one / name).write_bytes((ROOT / "examples" / "demo" / "portrait.png").read_bytes())
        os.rename(special(one, kind, ".png"), one / "2.png") if kind != "loop" else (one / "2.png").symlink_to("2.png")
        rows.append(
            {"id": f"pictures-{kind}", "video": str(one), "audio": "speech.wav", "output": f"out/p{number}.mp4"}
        )
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def raydub(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "raydub.cluster.cli", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        call, cwd=cwd, env=env, capture_output=True, text=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL
    )


def test_validate_waits_for_nobody(folder: Path) -> None:
    done = raydub("validate", "all.jsonl", cwd=folder)
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr
    assert "[E_SCRIPT_UNREADABLE] job 'script-fifo'" in done.stderr


@pytest.mark.slow
def test_every_row_fails_by_name_and_none_hangs(folder: Path, tmp_path: Path) -> None:
    done = raydub("run", "all.jsonl", "--no-ray", "--output-root", str(tmp_path), cwd=folder)
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    assert done.returncode == 1, done.stderr[-3000:]
    found = {result.id: result for result in read_results(tmp_path / "all.results.jsonl")}
    rows = [json.loads(line) for line in (folder / "all.jsonl").read_text().splitlines()]
    assert list(found) == [row["id"] for row in rows]
    assert found.pop("good").status == "ok"
    wrong = {
        name: (result.status, result.error_code, result.error_message)
        for name, result in found.items()
        if result.status != "failed"
        or not str(result.error_code).startswith(
            ("E_INPUT", "E_SCRIPT", "E_WEIGHTS", "E_VOICE", "E_DEPENDENCY", "E_VIDEO_NO_FRAMES")
        )
    }
    assert not wrong
