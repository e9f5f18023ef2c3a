"""No script takes time that grows faster than it does."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from tests.examples import examples
from tests.tts.hostile_scripts import scripts

ROOT = Path(__file__).resolve().parents[2]
BUDGET = 45
"""Seconds of processor time for all of them, which take 4 to 8. With one quadratic pattern it is hours."""


def test_no_script_takes_long(tmp_path: Path) -> None:
    """Processor time is limited by the kernel: a busy machine changes nothing."""
    call = [sys.executable, "-m", "tests.tts.hostile_scripts", str(examples(500_000)), str(tmp_path)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (BUDGET, BUDGET + 5))

    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=limit)
    told = [line.split()[0] for line in done.stdout.splitlines()]
    assert told == list(scripts(100)), done.stderr[-2000:] or f"too long after {told[-1:]}"
    assert done.returncode == 0
