"""Where Ray puts the workers of a run that restores or upscales; GPUs are numbers here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "share", "most"), [([], 0.5, 2), (["L4"], 0.25, 6)])
def test_rendering_and_the_lip_network_share_each_gpu(kind: list[str], share: float, most: int, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    quiet = {"RAY_AUTH_MODE": "disabled", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_USAGE_STATS_ENABLED": "0"}
    environment = {**os.environ, **quiet, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.placement", str(tmp_path), *kind],
        cwd=REPOSITORY,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    shares = {stage: {worker["share"] for worker in workers} for stage, workers in found.items()}
    assert shares == {"prepare": {0.0}, "track": {0.0}, "lipsync": {share}, "render": {share}}
    # The workers' shares fill two GPUs; no worker has parts of different ones.
    assert all(len(worker["gpus"]) == 1 for stage in ("lipsync", "render") for worker in found[stage])
    assert 1 <= len(found["render"]) <= most
