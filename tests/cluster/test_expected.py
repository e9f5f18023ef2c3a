"""What a stranger expects of a command line: completion, an old Python that is told at once, messages in the words of
the command that was typed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.models.catalogue import find

ROOT = Path(__file__).resolve().parents[2]


def invoke(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def completed(typed: str) -> list[str]:
    """What bash would offer for the last word of a line."""
    words = typed.split(" ")
    environment = {
        **os.environ,
        "_RAYDUB_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "from raydub.cluster.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120
    )
    return done.stdout.split()


def test_shells_complete_flags_and_their_values() -> None:
    assert {"run", "dub", "clean", "faces", "fields"} <= set(completed("raydub "))
    assert completed("raydub dub --mas") == ["--masking"]
    assert completed("raydub run --length ") == ["auto", "audio", "video", "shortest"]
    assert "--install-completion" in invoke("--help").stdout


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 9, 1)])
def test_an_old_python_is_told_at_once(version: tuple[int, ...]) -> None:
    """A checkout has no pip that would refuse it."""
    code = f"import sys; sys.version_info = {version}; import runpy; sys.argv = ['raydub', '--version']; "
    code += "import raydub"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: raydub needs Python 3.11 or newer, and this is ")


def test_make_tells_an_old_python(tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    lie = "sys.version_info = (3, 10, 1); sys.version = '3.10.1 x'"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; {lie}\n$2"\n')
    old.chmod(0o755)
    call = ["make", "-s", "lint", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode != 0
    assert done.stderr.startswith(f"raydub needs Python 3.11 or newer, and {old} is 3.10.1")
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("output", [".", "..", "folder", "folder/"])
def test_dub_says_that_its_output_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    done = invoke("dub", "--video", "v.mp4", "--audio", "a.wav", "-o", output)
    assert done.exit_code == 2
    assert done.stderr.startswith("[E_OUTPUT_FORMAT] field 'output': --output ")
    assert "dubbed.mp4" in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_wav2lip_without_a_checkpoint_names_one(tmp_path: Path) -> None:
    done = invoke("dub", "--video", "v", "--audio", "a", "-o", tmp_path / "o.mp4", "--engine", "wav2lip")
    assert done.exit_code == 2
    assert "--model wav2lip_gan" in done.stderr


def test_pull_without_a_network_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("RAYDUB_OFFLINE", raising=False)
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path))
    done = invoke("models", "pull", "yunet")
    assert done.exit_code == 3
    [line] = done.stderr.splitlines()
    entry = find("yunet")
    assert entry is not None
    assert line.startswith(f"[E_WEIGHTS_MISSING] {entry.file} is missing and cannot be downloaded: ")


def test_validate_looks_for_the_files(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"\0" * 64)
    rows = [{"video": name, "audio": "a.wav", "output": f"{name}-o.mp4"} for name in ("v.mp4", "none.mp4")]
    (tmp_path / "a.wav").write_bytes(b"RIFF" + b"\0" * 64)
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = invoke("validate", tmp_path / "m.jsonl", "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["valid"], said["bad"]) == (2, 1, 1)
    assert (said["errors"][0]["code"], said["errors"][0]["line"]) == ("E_INPUT_MISSING", 2)
    unseen = invoke("validate", tmp_path / "m.jsonl", "--no-probe")
    assert (unseen.exit_code, unseen.stdout.strip()) == (0, "2 valid rows, 0 bad rows")
    assert not (tmp_path / ".raydub").exists()


def test_validate_names_what_a_commercial_job_may_not_use(tmp_path: Path) -> None:
    rows = [
        {
            "video": "v.mp4",
            "audio": "a.wav",
            "landmarks": "dlib",
            "commercial": commercial,
            "output": f"{commercial}.mp4",
        }
        for commercial in (True, False)
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = invoke("validate", tmp_path / "m.jsonl", "--no-probe", "--json")
    assert done.exit_code == 2
    said = json.loads(done.stdout)
    assert (said["valid"], said["bad"]) == (1, 1)
    assert [(one["code"], one["line"], one["field"]) for one in said["errors"]] == [("E_LICENCE", 1, "landmarks")]
