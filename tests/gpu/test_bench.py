"""The GPU bench on a CPU: every phase runs and says what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_every_phase_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.gpu.phases", "--device", "cpu", "--quick", "--out", str(tmp_path)]
    command += ["--seconds", "570"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=580)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert done.returncode == 0, summary
    assert [one["phase"] for one in summary] == [
        "machine", "tests", "faces", "restore", "upscale", "loop", "ray", "trace",
    ]  # fmt: skip
    assert {one["state"] for one in summary} == {"ok"}
    faces = json.loads((tmp_path / "faces.json").read_text())
    assert all(row["faces_per_s"] > 0 for row in faces)
    for phase in ("loop", "ray"):
        [row] = json.loads((tmp_path / f"{phase}.json").read_text())
        assert row["synthesised"] == row["frames"] == 30
        assert set(row["stage_seconds"]) >= {"track", "lipsync", "render"}
    assert json.loads((tmp_path / "trace.json").read_text())["operators"]
    assert (tmp_path / "trace.json.gz").stat().st_size > 1000


def test_a_phase_that_takes_too_long_is_cut_and_the_next_one_runs(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom bench.gpu import phases\nfrom bench.gpu.phases import Phase\n"
        "phases.PHASES = (Phase('slow', 1.0, ('-c', 'import time; print(1, flush=True); time.sleep(60)')),"
        " Phase('bad', 20.0, ('-c', 'raise SystemExit(3)')), Phase('good', 20.0, ('-c', 'print(2)')))\n"
        "phases.main()"
    )
    command = [sys.executable, "-c", code, "--device", "cuda", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert done.returncode == 1
    assert [one["state"] for one in summary] == ["ended after 1 s", "exit 3", "ok"]
    assert [(tmp_path / f"{name}.json").read_text() for name in ("slow", "good")] == ["1\n", "2\n"]
