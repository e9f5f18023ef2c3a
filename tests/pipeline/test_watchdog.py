"""The watchdog kills its process, so every test gives it one."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from raydub.pipeline.attempts import Attempts
from raydub.pipeline.watchdog import overran
from tests.conftest import REPOSITORY

WORKER = """
    import sys, time
    from pathlib import Path
    from raydub.pipeline.attempts import Attempts, this_worker
    from raydub.pipeline.watchdog import Watchdog
    from tests.pipeline.hazards import do_harm
    folder, hazard, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    worker = this_worker()
    attempt = Attempts(folder, "r").begin("j", "track.000000", worker={**worker, "limit_s": seconds})
    with Watchdog(folder, "r", worker, grace=0.5).limit(seconds, attempt):
        if hazard == "work":
            time.sleep(0.2)
        else:
            do_harm(hazard)
    time.sleep(1.5)  # long enough for a limit that was not lifted
    attempt.end()
    print("released")
"""


def worker(tmp_path: Path, hazard: str, seconds: float, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(tmp_path), hazard, str(seconds)]
    return subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def always(_: object) -> bool:
    return True


def test_work_within_its_limit_is_left_alone(tmp_path: Path) -> None:
    done = worker(tmp_path, "work", 1.0)
    assert (done.returncode, done.stdout) == (0, "released\n"), done.stderr
    assert Attempts(str(tmp_path), "r").deaths("j", "track.000000", always) == []


def test_no_limit_is_too_long(tmp_path: Path) -> None:
    done = worker(tmp_path, "work", float("inf"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "released\n", "")


@pytest.mark.parametrize(("hazard", "code"), [("hang", -9), ("libav", -9), ("hold", 1)])
def test_a_hang_ends_with_its_process_and_the_attempt_tells(tmp_path: Path, hazard: str, code: int) -> None:
    """A hang that holds the interpreter's lock lets no Python thread run, and ends all the same."""
    start = time.monotonic()
    done = worker(tmp_path, hazard, 0.5)
    assert done.returncode == code
    assert time.monotonic() - start < 60
    [death] = Attempts(str(tmp_path), "r").deaths("j", "track.000000", always)
    assert overran(str(tmp_path), "r", death)
    [trace] = (tmp_path / "runs" / "r" / "hangs").iterdir()
    assert "do_harm" in trace.read_text(), "says where it hung"


def test_another_death_is_no_overrun(tmp_path: Path) -> None:
    done = worker(tmp_path, "kill", 30.0)
    assert done.returncode == -9
    [death] = Attempts(str(tmp_path), "r").deaths("j", "track.000000", always)
    assert not overran(str(tmp_path), "r", death)
