"""`raydub run --address` on a cluster that was running before and goes on afterwards, with more than one node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from raydub.cluster.session.connect import on_loopback
from raydub.media.writer import count_frames
from tests.cluster.clips import make_clip, make_speech


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a cluster of two nodes with two CPUs each."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "object_store_memory": 150 << 20}
    with on_loopback():
        cluster = Cluster(initialize_head=True, head_node_args=node)
        try:
            cluster.add_node(**node)
            yield cluster.address
        finally:
            cluster.shutdown()


@pytest.mark.slow
def test_run_on_a_running_cluster(two_nodes: str, tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mp4", 1.0, Fraction(25))
    make_speech(tmp_path / "es.wav", 0.8, language="es")
    rows = [{"video": "clip.mp4", "audio": "es.wav", "output": f"{name}.mp4"} for name in ("a", "b")]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [
        sys.executable,
        "-m",
        "raydub.cluster.cli",
        "run",
        str(tmp_path / "jobs.jsonl"),
        "--address",
        two_nodes,
        "--json",
    ]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, env=environment)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [row["status"] for row in results] == ["ok", "ok"]
    assert [count_frames(row["output"]) for row in results] == [row["frames"] for row in results] == [20, 20]
