"""Submitting a run through Ray Jobs, with a client that only writes down what it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster import jobs
from cluster.cli import app
from raydub.errors import Code, DependencyError


class Client:
    def __init__(self, *statuses: str) -> None:
        self.statuses = list(statuses)
        self.entrypoint = ""

    def submit_job(self, entrypoint: str) -> str:
        self.entrypoint = entrypoint
        return "raysubmit_1"

    def get_job_status(self, job_id: str) -> str:
        assert job_id == "raysubmit_1"
        return self.statuses.pop(0)


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
