"""Ray's own processes die in the middle of a run: it ends soon, says why in one line, writes its results, keeps its
finished parts and leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.test_signals import descendants, ended_well, manifest, parts, running, runs, wait_for  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Start = Callable[..., subprocess.Popen[str]]
SOON = 120.0
"""Seconds, on a machine that is busy with other tests."""


def named(pid: int, name: str) -> list[int]:
    """Descendants whose command line holds a name."""
    found = []
    for child in descendants(pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if name in words.split("\0")[0] + " " + words.partition("\0")[2][:200]:
            found.append(child)
    return found


def at_work(process: subprocess.Popen[str], manifest: Path) -> None:  # noqa: F811
    wait_for(lambda: len(parts(manifest)) >= 2, process)


def check(process: subprocess.Popen[str], manifest: Path, before: set[int], code: int) -> list[dict[str, object]]:  # noqa: F811
    _, said = process.communicate(timeout=SOON)
    assert process.returncode == code, said
    assert "E_INTERNAL" not in said
    return ended_well(manifest, before)


@pytest.mark.parametrize("name", ["gcs_server", "raylet/raylet"])
def test_killed(manifest: Path, running: Start, name: str) -> None:  # noqa: F811
    process = running("--cpus", "2")
    at_work(process, manifest)
    kept = set(parts(manifest))
    before = descendants(process.pid)
    [victim] = named(process.pid, name)
    os.kill(victim, signal.SIGKILL)
    rows = check(process, manifest, before, 1)
    assert [row["error_code"] for row in rows] == ["E_WORKER_LOST"] * 2
    assert f"Ray's {name.split('/')[0]}" in str(rows[0]["error_message"])
    assert kept <= set(parts(manifest))


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_the_process_that_speaks_to_ray(manifest: Path, running: Start, signum: signal.Signals) -> None:  # noqa: F811
    process = running("--cpus", "2")
    at_work(process, manifest)
    before = descendants(process.pid)
    [victim] = named(process.pid, "raydub.cluster.session.ray_child")
    os.kill(victim, signum)
    rows = check(process, manifest, before, 1)
    assert [row["error_code"] for row in rows] == ["E_WORKER_LOST"] * 2
    assert signum.name in str(rows[0]["error_message"])


@pytest.mark.parametrize("name", ["ray::DashboardAgent", "ray::RuntimeEnvAgent"])
def test_an_agent(manifest: Path, running: Start, name: str) -> None:  # noqa: F811
    process = running("--cpus", "2")
    at_work(process, manifest)
    before = descendants(process.pid)
    for victim in named(process.pid, name):
        os.kill(victim, signal.SIGKILL)
    # Its raylet may end with it, or go on without.
    wait_for(lambda: process.poll() is not None or len(parts(manifest)) >= 60, process_or_end(process))
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        check(process, manifest, before, 143)
    else:
        rows = check(process, manifest, before, 1)
        assert {row["error_code"] for row in rows} <= {"E_WORKER_LOST", None}


def process_or_end(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    class Patient:
        """wait_for() takes an end for a failure; here it is one of two outcomes."""

        def poll(self) -> None:
            return None

    return Patient()  # type: ignore[return-value]


def test_all_workers_at_once(manifest: Path, running: Start) -> None:  # noqa: F811
    for name in ("en", "es"):
        (manifest.parent / f"{name}.v").write_text("8")
    process = running("--cpus", "2")
    at_work(process, manifest)
    workers = named(process.pid, "ray::")
    workers = [pid for pid in workers if pid not in named(process.pid, "Agent")]
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    rows = [json.loads(line) for line in manifest.with_name("m.results.jsonl").read_text().splitlines()]
    assert [row["status"] for row in rows] == ["ok"] * 2


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGQUIT])
def test_a_terminal_that_goes_away(manifest: Path, running: Start, signum: signal.Signals) -> None:  # noqa: F811
    process = running("--cpus", "2")
    at_work(process, manifest)
    before = descendants(process.pid)
    process.send_signal(signum)
    rows = check(process, manifest, before, 128 + signum)
    assert {row["error_code"] for row in rows} <= {"E_INTERRUPTED", None}


def test_the_head_is_stopped(manifest: Path, running: Start) -> None:  # noqa: F811
    process = running("--cpus", "2", "--stall-timeout", "30", "--step-timeout", "30")
    at_work(process, manifest)
    before = descendants(process.pid)
    for name in ("gcs_server", "raylet/raylet"):
        for victim in named(process.pid, name):
            os.kill(victim, signal.SIGSTOP)
    rows = check(process, manifest, before, 1)
    assert {row["error_code"] for row in rows} <= {"E_STALLED", "E_WORKER_LOST"}
