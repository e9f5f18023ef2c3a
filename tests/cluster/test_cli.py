"""The command line as users meet it: help, version, exit codes, errors, JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub import __version__
from raydub.cluster.cli import app
from raydub.errors import EXIT_DEPENDENCY, EXIT_SOME_FAILED, EXIT_USAGE

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "ray", "cv2", "dlib", "librosa", "av", "openvino", "pyarrow")


def invoke(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_manifest(path: Path, *rows: object) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["doctor", "--help"]])
def test_start_up_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom raydub.cluster.cli import main\n"
        f"sys.argv = ['raydub', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_version() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.stdout.strip()) == (0, f"raydub {__version__}")


def test_all_commands_are_there() -> None:
    text = invoke("--help").stdout
    for name in ("run", "dub", "submit", "validate", "plan", "frames", "doctor", "demo", "train", "models", "faces"):
        assert name in text


def test_no_manifest_is_a_usage_error(tmp_path: Path) -> None:
    result = invoke("validate", tmp_path / "none.jsonl")
    assert result.exit_code == EXIT_USAGE
    assert result.stderr.startswith("[E_MANIFEST_UNREADABLE]")
    assert "Traceback" not in result.stderr


def test_validate_reports_every_bad_row(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").touch()
    manifest = write_manifest(
        tmp_path / "m.jsonl",
        {"video": "v.mp4", "audio": "a.wav", "output": "o.mp4"},
        {"video": "v.mp4", "audio": "a.wav", "output": "p.mp4", "maskin": "always"},
        {"video": "v.mp4", "audio": "a.wav", "output": "../out.mp4"},
        "{",
    )
    result = invoke("validate", manifest, "--no-probe")
    assert result.exit_code == EXIT_USAGE
    assert "1 valid rows, 3 bad rows" in result.stdout
    lines = result.stderr.splitlines()
    assert lines[0].startswith("[E_FIELD_UNKNOWN] job 'p', line 2, field 'maskin'")
    assert "masking" in lines[0]
    assert lines[1].startswith("[E_OUTPUT_ESCAPES]")
    assert "line 4" in lines[2]
    as_json = json.loads(invoke("validate", manifest, "--no-probe", "--json").stdout)
    assert (as_json["valid"], as_json["bad"], len(as_json["errors"])) == (1, 3, 3)
    assert as_json["errors"][0]["code"] == "E_FIELD_UNKNOWN"


def test_flags_fill_in_what_rows_leave_out(tmp_path: Path) -> None:
    rows = [
        {"video": "v.mp4", "audio": "a.wav", "output": "o.mp4"},
        {"video": "v.mp4", "audio": "a.wav", "output": "p.mp4", "crf": 30, "masking": ""},
    ]
    manifest = write_manifest(tmp_path / "m.jsonl", *rows)
    from raydub.manifests.read import read_manifest

    asked = read_manifest(manifest, tmp_path / "root", {"crf": "20", "masking": "always"})
    assert [(job.options.crf, job.options.masking) for job in asked.jobs] == [(20, "always"), (30, "always")]
    assert asked.jobs[0].output == str(tmp_path / "root" / "o.mp4")
    bad = invoke("validate", manifest, "--set", "crf")
    assert bad.exit_code == EXIT_USAGE
    assert "E_FIELD_VALUE" in bad.stderr
    assert "E_FIELD_VALUE" in invoke("validate", manifest, "--set", "crf=99").stderr


def test_errors_are_json_for_machines(tmp_path: Path) -> None:
    result = invoke("plan", tmp_path / "none.jsonl", "--json")
    assert result.exit_code == EXIT_USAGE
    assert json.loads(result.stdout)["error"]["code"] == "E_MANIFEST_UNREADABLE"


def test_plan_names_rows_that_cannot_run(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl", {"video": "v.mp4", "audio": "a.wav", "output": "o.mp4"})
    result = invoke("plan", manifest)
    assert result.exit_code == EXIT_SOME_FAILED
    assert "[E_INPUT_MISSING] job 'o', line 1" in result.stderr


def test_dub_with_a_bad_flag_is_a_usage_error(tmp_path: Path) -> None:
    result = invoke("dub", "--video", "v", "--audio", "a", "-o", tmp_path / "o.mp4", "--set", "masking=alwys")
    assert result.exit_code == EXIT_USAGE
    assert "always" in result.stderr
    assert "line" not in result.stderr.split(":")[0]


def test_bugs_show_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("raydub.manifests.read.read_manifest", broken)
    monkeypatch.delenv("RAYDUB_DEBUG", raising=False)
    result = invoke("validate", tmp_path / "m.jsonl")
    assert result.exit_code == EXIT_SOME_FAILED
    assert result.stderr.startswith("[E_INTERNAL] ZeroDivisionError: oh")


def test_missing_weights_stop_the_run_before_it_starts(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video")
    (tmp_path / "a.wav").write_bytes(b"no sound")
    manifest = write_manifest(tmp_path / "m.jsonl", {"video": "v.mp4", "audio": "a.wav", "output": "o.mp4"})
    result = invoke("run", manifest, "--no-ray", "--engine", "wav2lip", "--model", tmp_path / "none.pth", "--json")
    assert result.exit_code == EXIT_DEPENDENCY
    [row] = json.loads(result.stdout)["results"]
    assert (row["status"], row["error_code"]) == ("failed", "E_WEIGHTS_MISSING")


def test_cluster_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video")
    (tmp_path / "a.wav").write_bytes(b"no sound")
    manifest = write_manifest(tmp_path / "m.jsonl", {"video": "v.mp4", "audio": "a.wav", "output": "o.mp4"})
    # A process of its own: this one may be connected to a Ray already.
    command = [sys.executable, "-m", "raydub.cluster.cli", "run", str(manifest), "--address", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, env=os.environ.copy())
    assert done.returncode == EXIT_DEPENDENCY
    assert "[E_CLUSTER_UNREACHABLE]" in done.stderr
    assert "Traceback" not in done.stderr
