"""Submitting a run through Ray Jobs, with a client that only writes down what it is told."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.cluster.session import jobs
from raydub.errors import Code, DependencyError


class Client:
    """log: what the run said; info: what Ray knows of its process. Without them neither can be had."""

    def __init__(self, *statuses: str, log: str | None = None, info: SimpleNamespace | None = None) -> None:
        self.statuses = list(statuses)
        self.entrypoint = ""
        self.log, self.info = log, info

    def submit_job(self, entrypoint: str) -> str:
        self.entrypoint = entrypoint
        return "raysubmit_1"

    def get_job_status(self, job_id: str) -> str:
        assert job_id == "raysubmit_1"
        return self.statuses.pop(0)

    def get_job_logs(self, job_id: str) -> str:
        if self.log is None:
            raise RuntimeError("the agent is gone")
        return self.log

    def get_job_info(self, job_id: str) -> SimpleNamespace:
        if self.info is None:
            raise RuntimeError("the agent is gone")
        return self.info


LOG = """2026-01-01 12:00:00 INFO job_manager.py -- Runtime env is setting up.
job 'a': 50 frames in 1 chunk
[E_INPUT_MISSING] job 'b', line 2: video /x.mp4 does not exist
job 'a': ok, 50 frames (50 new), 3.0 s: /data/a.mp4
2 rows: 1 ok, 1 failed; 4.0 s
  /data/m.results.jsonl
  /data/m.results.failed.jsonl
"""


def manifest(tmp_path: Path, output: str = "o.mp4") -> Path:
    path = tmp_path / "my jobs.jsonl"
    path.write_text(json.dumps({"video": "v.mp4", "audio": "a.wav", "output": output}) + "\n")
    return path


def test_the_entrypoint_is_quoted_and_joins_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    monkeypatch.setattr(jobs, "connect", lambda address: client)
    path = manifest(tmp_path)
    result = CliRunner().invoke(app, ["submit", str(path), "--json", "--", "--set", "crf=20"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"job_id": "raysubmit_1", "status": "SUBMITTED"}
    assert client.entrypoint == f"raydub run '{path}' --set crf=20 --address auto"


@pytest.mark.parametrize(("last", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("STOPPED", 1)])
def test_waiting_tells_the_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str, code: int) -> None:
    monkeypatch.setattr(jobs, "connect", lambda address: Client("PENDING", "RUNNING", last))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    naps: list[float] = []
    assert jobs.wait(Client("RUNNING", last), "raysubmit_1", sleep=naps.append) == last
    assert naps == [2.0]


def waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: Client, *more: str) -> Any:
    monkeypatch.setattr(jobs, "connect", lambda address: client)
    return CliRunner().invoke(app, ["submit", str(manifest(tmp_path)), "--wait", *more])


def test_the_end_of_a_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = SimpleNamespace(driver_exit_code=1, message="Job entrypoint command failed\nwith its last lines")
    client = Client("FAILED", log=LOG, info=info)
    result = waited(tmp_path, monkeypatch, client)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "raysubmit_1: FAILED (exit code 1)",
        "  2 rows: 1 ok, 1 failed; 4.0 s",
        "    /data/m.results.jsonl",
        "    /data/m.results.failed.jsonl",
        "  full log: ray job logs --address http://127.0.0.1:8265 raysubmit_1",
    ]
    assert "[E_INPUT_MISSING] job 'b', line 2: video /x.mp4 does not exist" in result.stderr
    document = json.loads(waited(tmp_path, monkeypatch, Client("FAILED", log=LOG, info=info), "--json").stdout)
    assert (document["status"], document["exit_code"]) == ("FAILED", 1)
    assert document["last"][0] == "2 rows: 1 ok, 1 failed; 4.0 s"
    assert document["errors"] == ["[E_INPUT_MISSING] job 'b', line 2: video /x.mp4 does not exist"]


def test_a_good_end_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = "3 rows: 3 ok; 9.0 s\n  warnings: W_NO_FACE in 1 job\n  /data/m.results.jsonl\n"
    result = waited(tmp_path, monkeypatch, Client("SUCCEEDED", log=log, info=SimpleNamespace(driver_exit_code=0)))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["raysubmit_1: SUCCEEDED", *(f"  {line}" for line in log.splitlines())]


@pytest.mark.parametrize("code", [2, 3, 143])
def test_the_exit_code_is_that_of_the_run(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = "[E_WEIGHTS_MISSING] job 'a': no weights\n1 row: 1 failed; 1.0 s\n"
    info = SimpleNamespace(driver_exit_code=code, message="")
    result = waited(tmp_path, monkeypatch, Client("FAILED", log=log, info=info))
    assert result.exit_code == code
    assert "E_WEIGHTS_MISSING" in result.stderr


def test_a_run_that_never_came_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """raydub is not there, or was killed: there is no summary, but Ray's reason and the end of the log."""
    log = "".join(f"line {number}\n" for number in range(50)) + "sh: 1: raydub: not found\n"
    info = SimpleNamespace(driver_exit_code=127, message="Job entrypoint command failed with exit code 127")
    result = waited(tmp_path, monkeypatch, Client("FAILED", log=log, info=info))
    assert result.exit_code == 127
    said = result.stdout.splitlines()
    assert said[-2:] == [
        "  sh: 1: raydub: not found",
        "  full log: ray job logs --address http://127.0.0.1:8265 raysubmit_1",
    ]
    assert len(said) == 22
    silent = waited(tmp_path, monkeypatch, Client("FAILED", log="", info=info))
    assert "  Job entrypoint command failed with exit code 127" in silent.stdout
    gone = waited(tmp_path, monkeypatch, Client("STOPPED"))
    assert gone.exit_code == 1
    assert gone.stdout.splitlines()[0] == "raysubmit_1: STOPPED"
    assert "full log: ray job logs" in gone.stdout


def test_errors_are_shown_up_to_a_number() -> None:
    log = "".join(f"[E_STORAGE] job '{number}': no\n" for number in range(100)) + "100 rows: 100 failed; 1.0 s\n"
    found = jobs.outcome(Client(log=log), "raysubmit_1", "FAILED")
    assert found.errors[-1] == "and 80 more"
    assert len(found.errors) == 21


def test_a_bad_manifest_is_not_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    monkeypatch.setattr(jobs, "connect", lambda address: client)
    result = CliRunner().invoke(app, ["submit", str(manifest(tmp_path, "../o.mp4"))])
    assert result.exit_code == 2
    assert "E_OUTPUT_ESCAPES" in result.stderr
    assert client.entrypoint == ""


def test_no_dashboard_is_a_dependency_error() -> None:
    with pytest.raises(DependencyError) as found:
        jobs.connect("http://127.0.0.1:1")
    assert found.value.code in (Code.DEPENDENCY_MISSING, Code.CLUSTER_UNREACHABLE)
    assert found.value.hint
