"""Flags that stand for manifest fields: what they become, and what submit understands of those it hands on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub.cluster.session import jobs
from raydub.cluster.cli import app
from raydub.cluster.commands.options import chosen
from raydub.cluster.commands.submit import run_options
from raydub.errors import Code, UsageError
from tests.cluster.test_submit import Client


def test_flags_become_fields() -> None:
    assert chosen(None, None, None) == {}
    fields = chosen("wav2lip", "wav2lip_gan", ["restore-steady=0.5"], "gfpgan", "x2")
    assert fields == {
        "engine": "wav2lip",
        "model": "wav2lip_gan",
        "restore_steady": "0.5",
        "restore": "gfpgan",
        "upscale": "x2",
    }


def test_a_model_is_a_file_from_here_or_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike a path in a row, one of the command line starts at the current folder."""
    monkeypatch.chdir(tmp_path)
    assert chosen(None, "sub/w.pth", None)["model"] == str(tmp_path / "sub" / "w.pth")
    assert chosen(None, "w.pth", None)["model"] == str(tmp_path / "w.pth")
    assert chosen(None, "WAV2LIP.pth", None)["model"] == "WAV2LIP.pth"
    assert chosen(None, "nonsense", None)["model"] == "nonsense"
    (tmp_path / "nonsense").write_bytes(b"x")
    assert chosen(None, "nonsense", None)["model"] == str(tmp_path / "nonsense")


def test_commands_have_the_flags() -> None:
    for name in ("run", "dub"):
        said = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output
        assert "--restore" in said
        assert "--upscale" in said


def test_a_flag_that_contradicts_is_named(tmp_path: Path) -> None:
    arguments = ["dub", "--video", "v.mp4", "--audio", "a.wav", "-o", str(tmp_path / "o.mp4"), "--upscale", "x2"]
    done = CliRunner().invoke(app, [*arguments, "--set", "upscale_denoise=0.5"])
    assert done.exit_code == 2
    assert "E_FIELD_CONFLICT" in done.stderr
    assert "upscale_denoise" in done.stderr


def test_submit_checks_rows_as_the_run_will_read_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """outscale alone contradicts itself; with the flag that is handed on it does not."""
    client = Client()
    monkeypatch.setattr(jobs, "connect", lambda address: client)
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps({"video": "v.mp4", "audio": "a.wav", "output": "o.mp4", "outscale": 2}) + "\n")
    refused = CliRunner().invoke(app, ["submit", str(path)])
    assert (refused.exit_code, client.entrypoint) == (2, "")
    assert "E_FIELD_CONFLICT" in refused.stderr
    taken = CliRunner().invoke(app, ["submit", str(path), "--", "--upscale", "general"])
    assert taken.exit_code == 0, taken.stderr
    assert client.entrypoint.endswith("--upscale general --address auto")
    typo = CliRunner().invoke(app, ["submit", str(path), "--", "--upscael", "general"])
    assert typo.exit_code == 2
    assert "--upscael" in typo.stderr


def test_arguments_that_run_refuses() -> None:
    assert run_options(["jobs.jsonl", "--wait-gpu", "600"])["wait_gpu"] == 600
    for arguments in (["jobs.jsonl", "--nope"], ["jobs.jsonl", "--workers", "none"], []):
        with pytest.raises(UsageError) as error:
            run_options(arguments)
        assert error.value.code is Code.FIELD_VALUE
