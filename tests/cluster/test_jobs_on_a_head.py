"""Jobs on a real head with a token: submit twice, status, logs, cancel, resume, results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.clips import SAMPLE
from tests.cluster.test_own_ray import closed_environment
from tests.conftest import REPOSITORY

pytest.importorskip("aiohttp", reason="the dashboard needs raydub[cluster]")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HEAD = """
import functools, json, sys
import ray
from ray._private.parameter import RayParams
# Ray's agent listens at a fixed port, which another Ray of this machine may have.
RayParams.__init__ = functools.partialmethod(RayParams.__init__, dashboard_agent_listen_port=0)
from raydub.cluster.session.connect import on_loopback
with on_loopback():
    ray.init(address="local", num_cpus=2, include_dashboard=True, dashboard_host="127.0.0.1", dashboard_port=0,
             object_store_memory=300 << 20, log_to_driver=False, _temp_dir=sys.argv[1])
from ray._private.worker import _global_node
# As `ray start` does: without it, jobs are given the address of whatever Ray is found on this machine.
with open(f"{sys.argv[1]}/ray_current_cluster", "w") as file:
    file.write(_global_node.gcs_address)
print(json.dumps({"address": "http://" + _global_node.webui_url}), flush=True)
sys.stdin.read()
"""
TOKEN = "f" * 64


@pytest.fixture
def head(tmp_path: Path) -> Iterator[str]:
    """The address of a head's dashboard. Its jobs find a command `raydub`."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "raydub"
    program.write_text(f'#!/bin/sh\nexport PYTHONPATH={REPOSITORY}\nexec {sys.executable} -m raydub.cluster.cli "$@"\n')
    program.chmod(0o755)
    # Loopback for the agent and the jobs, too: they would look for the head at the machine's other address.
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # Sockets lie below it, and their paths are short.
    with tempfile.TemporaryDirectory(prefix="rdj-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", HEAD, folder], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=closed_environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN, PATH=path, **loopback),
        )  # fmt: skip
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["address"]
        finally:
            process.communicate(timeout=60)


BLIND = """
import sys
from raydub.errors import Code, UsageError
from raydub.pipeline import run_lookup
def work_folder(given):
    raise UsageError(Code.NO_RUN, f"{given} is on another disk")
run_lookup.work_folder = work_folder
from raydub.cluster.cli import main
main()
"""


class Outside:
    """Commands of a machine that is not part of the cluster. blind: it does not see the cluster's folders."""

    def __init__(self, address: str, folder: Path, token: str = TOKEN, *, blind: bool = False) -> None:
        self.folder = folder
        self.program = ["-c", BLIND] if blind else ["-m", "raydub.cluster.cli"]
        self.environment = closed_environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token, RAYDUB_ADDRESS=address)
        self.environment["PYTHONPATH"] = str(REPOSITORY)

    def __call__(self, command: str, *arguments: str) -> tuple[int, Any]:
        """Exit code and JSON document."""
        call = [sys.executable, *self.program, command, "--json", *arguments]
        done = subprocess.run(call, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def test_a_job_from_its_submission_to_its_results(head: str, tmp_path: Path) -> None:
    outside, out = Outside(head, tmp_path), tmp_path / "out"
    rows = [
        {"id": name, "video": str(SAMPLE / "clip.mp4"), "audio": str(SAMPLE / f"speech_{name}.flac"),
         "output": f"{name}.mp4"}
        for name in ("es", "en")
    ]  # fmt: skip
    rows.append({"id": "absent", "video": "/nowhere.mp4", "audio": "/nowhere.wav", "output": "absent.mp4"})
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    submit = ("jobs.jsonl", "--", "--output-root", str(out))

    stranger = Outside(head, tmp_path, "e" * 64)("submit", *submit)
    assert (stranger[0], stranger[1]["error"]["code"]) == (3, "E_CLUSTER_DENIED")
    code, first = outside("submit", *submit)
    assert (code, first["new"], first["sent"]) == (0, True, ["jobs.jsonl"])
    job = first["job_id"]
    code, second = outside("submit", *submit)
    assert (code, second["new"], second["job_id"]) == (0, False, job)

    while True:
        code, seen = outside("status", job)
        if seen["state"] is not None and seen["state"]["frames"]["planned"]:
            break
        assert seen["job"]["status"] in ("PENDING", "RUNNING"), outside("logs", job)
        time.sleep(1)
    assert seen["alive"] is True
    assert seen["state"]["ray_job"] == job
    assert sum(seen["state"]["counts"].values()) == 3
    assert seen["state"]["failures"][0]["error_code"] == "E_INPUT_MISSING"
    assert outside("cancel", job)[1] == {"job_id": job, "status": "STOPPED"}

    # Without Ray: the stopped run has written its end and its results.
    nowhere = Outside("http://127.0.0.1:9", tmp_path)
    code, stopped = nowhere("status", str(out))
    assert (code, stopped["state"]["status"], stopped["alive"]) == (1, "interrupted", False)
    assert stopped["state"]["counts"]["skipped"] >= 1
    code, results = nowhere("results", str(out), "--failed-only")
    assert (code, "absent" in [row["id"] for row in results["rows"]]) == (1, True)

    # A machine that does not see the folder asks the head, which leaves no job behind.
    begin = time.monotonic()
    code, far = Outside(head, tmp_path, blind=True)("status", job)
    assert time.monotonic() - begin < 60
    assert (code, far["read"], far["state"]) == (1, "head", {**stopped["state"]})
    assert [row["job_id"] for row in outside("jobs")[1]["jobs"]] == [job]
    code, nothing = Outside(head, tmp_path, blind=True)("results", job)
    assert (code, nothing["error"]["code"]) == (2, "E_NO_RESULTS")

    assert outside("cancel", job)[1]["error"]["code"] == "E_JOB_STATE"
    assert outside("submit", *submit)[1]["error"]["code"] == "E_JOB_STATE"
    code, ended = outside("resume", job, "--wait")
    assert (code, ended["job_id"], ended["exit_code"]) == (1, f"{job}-2", 1)
    code, results = outside("results", job)
    assert [(row["id"], row["status"]) for row in results["rows"]] == [("es", "ok"), ("en", "ok"), ("absent", "failed")]
    assert all((out / f"{name}.mp4").is_file() for name in ("es", "en"))
    assert (out / "jobs.results.jsonl").is_file()
    log = outside("logs", job)[1]["lines"]
    assert any(line.startswith("3 rows: 2 ok, 1 failed") for line in log)
    listed = outside("jobs")[1]["jobs"]
    assert [(row["job_id"], row["status"], row["ok"]) for row in listed] == [
        (f"{job}-2", "FAILED", 2),
        (job, "STOPPED", 0),
    ]
