"""Joining somebody's cluster: what its head says to us is told, and soon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.test_own_ray import closed_environment
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HEAD = """
import json, sys
import ray
from raydub.cluster.session.connect import on_loopback
with on_loopback():
    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False)
from ray._private.worker import _global_node
print(json.dumps({"address": _global_node.address}), flush=True)
for line in sys.stdin:
    from ray._common.usage import usage_lib
    from ray.experimental.internal_kv import _internal_kv_put
    key, namespace = usage_lib.usage_constant.CLUSTER_METADATA_KEY, usage_lib.ray_constants.KV_NAMESPACE_CLUSTER
    _internal_kv_put(key, line.encode(), overwrite=True, namespace=namespace)
    print("{}", flush=True)
"""
TOKEN = "f" * 64


class Head:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HEAD], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=closed_environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN),
        )  # fmt: skip
        assert self.process.stdout is not None
        # Its end shows in the pipe: a head that cannot start is no hang.
        self.address = json.loads(self.process.stdout.readline())["address"]

    def claims_to_be(self, about: dict[str, str]) -> None:
        """Let the head say another version than it has."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(about) + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    made = Head()
    yield made
    made.process.communicate(timeout=60)


def run(tmp_path: Path, address: str, **more: str) -> tuple[int, str, list[dict[str, str]]]:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / "m.jsonl").write_text(json.dumps({"video": "a.mp4", "audio": "a.wav", "output": "o.mp4"}))
    command = [sys.executable, "-m", "raydub.cluster.cli", "run", str(tmp_path / "m.jsonl"), "--address", address]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=closed_environment(**more), capture_output=True, text=True, timeout=280
    )
    rows = [json.loads(line) for line in (tmp_path / "m.results.jsonl").read_text().splitlines()]
    return done.returncode, done.stderr, rows


def test_tokens(head: Head, tmp_path: Path) -> None:
    code, said, rows = run(tmp_path, head.address)
    assert (code, rows[0]["status"]) == (3, "skipped")
    assert "it requires a token" in said
    assert "RAY_AUTH_TOKEN" in said
    code, said, _ = run(tmp_path, head.address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
    assert code == 3
    assert "refuses our token" in said
    code, said, rows = run(tmp_path, head.address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    assert code == 1
    assert rows[0]["error_code"] not in ("E_CLUSTER_UNREACHABLE", "E_WORKER_LOST"), "the job's own fault: it ran"


def test_another_version_is_told_whole(head: Head, tmp_path: Path) -> None:
    true = {"ray_version": __import__("ray").__version__, "python_version": ".".join(map(str, sys.version_info[:3]))}
    head.claims_to_be({"ray_version": "2.9.3", "python_version": "3.8.10"})
    try:
        code, said, rows = run(tmp_path, head.address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    finally:
        head.claims_to_be(true)
    assert code == 3
    assert "it runs Ray 2.9.3 with Python 3.8.10, here is Ray" in said
    assert rows[0]["error_code"] == "E_CLUSTER_UNREACHABLE"


def test_the_head_goes_while_a_run_joins(tmp_path: Path) -> None:
    head = Head()
    threading.Timer(2.0, head.process.terminate).start()
    code, said, rows = run(tmp_path, head.address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    head.process.communicate(timeout=60)
    # It may have gone before we knocked, while we joined, or when the work had begun.
    assert code in (1, 3), said
    assert "Traceback" not in said
    assert rows[0]["error_code"] in ("E_CLUSTER_UNREACHABLE", "E_WORKER_LOST", "E_INPUT_UNREADABLE")
    assert os.getpid()
