"""What the machine withholds (a place to write to, a current folder, memory) is told as that, and not as a bug."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.cluster.output import unforeseen
from raydub.errors import Code

REPOSITORY = Path(__file__).resolve().parents[2]
FULL = Path("/dev/full")


def raydub(*arguments: str, cwd: Path = REPOSITORY, **more: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "raydub.cluster.cli", *arguments],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
        text=True,
        cwd=cwd,
        env=environment,
        timeout=120,
    )


def one_job(folder: Path) -> str:
    (folder / "m.jsonl").write_text(json.dumps({"video": "v.mp4", "audio": "a.wav", "output": "o.mp4"}) + "\n")
    return str(folder / "m.jsonl")


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_full_stdout_loses_no_results(more: list[str], tmp_path: Path) -> None:
    with FULL.open("w") as full:
        done = raydub("run", one_job(tmp_path), "--no-ray", *more, stdout=full)
    assert done.returncode == 1
    assert "[E_STORAGE] cannot write to stdout: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    [row] = [json.loads(line) for line in (tmp_path / "m.results.jsonl").read_text().splitlines()]
    assert row["error_code"] == "E_INPUT_MISSING"


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_a_full_stdout_of_what_is_no_command(argument: str) -> None:
    with FULL.open("w") as full:
        done = raydub(argument, stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("[E_STORAGE]")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
def test_a_full_stderr_stops_no_work(tmp_path: Path) -> None:
    with FULL.open("w") as full:
        done = raydub("run", one_job(tmp_path), "--no-ray", stderr=full)
    assert done.returncode == 1
    assert "1 row: 1 failed" in done.stdout
    assert (tmp_path / "m.results.jsonl").exists()


def test_a_reader_that_has_gone_is_told_nothing(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = raydub("validate", "--no-probe", one_job(tmp_path), stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["dub", "--video", "v.mp4", "--audio", "a.wav", "-o", "o.mp4"],
        ["tts", "--text", "hello", "-o", "o.wav"],
        ["frames", "extract", "v.mp4", "-o", "pictures"],
        ["validate", "m.jsonl"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_deleted_current_folder(arguments: list[str], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os, sys\nfrom raydub.cluster.cli import main\n"
        f"os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\nsys.argv = ['raydub', *{arguments!r}]\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    assert done.returncode in (1, 2)
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "the current folder has been deleted" in done.stderr or arguments[0] in ("frames", "validate")
    assert done.stderr.startswith("[E_")


def test_an_address_space_that_is_too_small_is_told_as_memory(tmp_path: Path) -> None:
    """Whichever library it is that finds no room: under no limit is it called a bug."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (100 << 20, 100 << 20))

    done = raydub("run", one_job(tmp_path), "--no-ray", preexec_fn=limit)
    assert done.returncode not in (0, None)
    assert "bug" not in done.stderr
    assert "memory" in done.stderr.lower()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), Code.OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Code.OUT_OF_MEMORY),
        (ImportError("libx.so: failed to map segment from shared object"), Code.OUT_OF_MEMORY),
        (RuntimeError("can't start new thread"), Code.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "No space left on device"), Code.DISK_FULL),
        (PermissionError(errno.EACCES, "Permission denied", "x"), Code.STORAGE),
        (ZeroDivisionError("oh"), Code.INTERNAL),
        (ImportError("no module"), Code.INTERNAL),
    ],
)
def test_exceptions_that_nobody_caught(error: Exception, code: Code) -> None:
    known = unforeseen(error)
    assert known.code is code
    assert ("bug" in known.hint) == (code is Code.INTERNAL)
    assert known.hint


def test_causes_are_looked_at() -> None:
    error = ImportError("numpy cannot be imported")
    error.__cause__ = MemoryError()
    assert unforeseen(error).code is Code.OUT_OF_MEMORY


@pytest.mark.parametrize("command", ["run", "dub"])
@pytest.mark.parametrize("device", ["foo", "cuda:1", "gpu", ""])
def test_devices_that_there_are_not(command: str, device: str, tmp_path: Path) -> None:
    arguments = {
        "run": ["run", one_job(tmp_path)],
        "dub": ["dub", "--video", "v.mp4", "--audio", "a.wav", "-o", str(tmp_path / "o.mp4")],
    }[command]
    result = CliRunner().invoke(app, [*arguments, "--device", device])
    assert result.exit_code == 2
    assert "is not one of auto, cpu, cuda" in result.stderr
    assert ("CUDA_VISIBLE_DEVICES" in result.stderr) == device.startswith("cuda")
    assert not (tmp_path / "m.results.jsonl").exists()


def test_submit_refuses_a_device_as_run_does(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["submit", one_job(tmp_path), "--", "--device", "foo"])
    assert result.exit_code == 2
    assert "is not one of auto, cpu, cuda" in result.stderr
