"""Ctrl-C and SIGTERM from outside: wherever a run is, it ends soon, with its results written and nothing left
running. The stages are the fault suite's, which take as long as they are told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raydub.manifests.read import read_manifest
from tests.cluster_faults.faults import write_script
from tests.examples import slow
from tests.stages.fakes import write_video

REPOSITORY = Path(__file__).resolve().parents[2]
SOON = 30.0
"""Seconds from the signal to the end. The promise is 10 on a machine that is not busy with other tests."""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    write_script(tmp_path / ".raydub", lipsync=0.2)
    rows = []
    for name in ("en", "es"):
        (tmp_path / f"{name}.v").write_text("60")  # chunks
        (tmp_path / f"{name}.wav").write_text("speech")
        rows.append({"video": f"{name}.v", "audio": f"{name}.wav", "output": f"{name}.mp4"})
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def start(manifest: Path, *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-m", "tests.cluster_faults.drive", "run", str(manifest), "--verbose", *more]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(what: Callable[[], object], process: subprocess.Popen[str], seconds: float = 200.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "what the test waits for did not happen"
        time.sleep(0.02)


def descendants(pid: int) -> set[int]:
    """Processes that `pid` started, and those that they started."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(text[text.rindex(")") + 2 :].split()[1])
    found, todo = set(), [pid]
    while todo:
        above = todo.pop()
        new = {child for child, parent in parents.items() if parent == above}
        found |= new
        todo += new
    return found


def runs(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] not in "ZX"


def ended_well(manifest: Path, started: set[int]) -> list[dict[str, object]]:
    """The results of a run that has ended, after a check that none of its processes is left and that the list of
    failed jobs agrees."""
    until = time.monotonic() + 20
    while any(map(runs, started)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [pid for pid in started if runs(pid)]
    rows = [json.loads(line) for line in manifest.with_name("m.results.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["en", "es"]
    failed = [json.loads(line) for line in manifest.with_name("m.results.failed.jsonl").read_text().splitlines()]
    assert [row["id"] for row in failed] == [row["id"] for row in rows if row["status"] != "ok"]
    assert not list(manifest.parent.glob(".raydub/runs/*"))
    return rows


def check_end(process: subprocess.Popen[str], manifest: Path, signum: signal.Signals) -> list[dict[str, object]]:
    """Send the signal; the process ends soon with the right code, all that it had started is gone, results are
    written. Returns them."""
    started = descendants(process.pid)
    assert started
    process.send_signal(signum)
    _, said = process.communicate(timeout=SOON)
    assert process.returncode == 128 + signum, said
    assert "Traceback" not in said
    return ended_well(manifest, started)


def parts(manifest: Path) -> list[Path]:
    return list(manifest.parent.glob(".raydub/refs/parts/*/*.json"))


@pytest.fixture
def running(manifest: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """start(), with an end in any case."""
    made: list[subprocess.Popen[str]] = []

    def go(*more: str) -> subprocess.Popen[str]:
        made.append(start(manifest, *more))
        return made[-1]

    yield go
    for process in made:
        if process.poll() is None:
            for pid in [*descendants(process.pid), process.pid]:
                os.kill(pid, signal.SIGKILL)
            process.communicate()


def test_sigterm_while_the_child_works(manifest: Path, running: Callable[..., subprocess.Popen[str]]) -> None:
    process = running("--no-ray")
    wait_for(lambda: parts(manifest), process)
    rows = check_end(process, manifest, signal.SIGTERM)
    assert [row["error_code"] for row in rows] == ["E_INTERRUPTED"] * 2
    # what failed.jsonl holds can be fed back in, and means the same jobs
    asked = read_manifest(manifest).jobs
    again = read_manifest(manifest.with_name("m.results.failed.jsonl"))
    assert [job.row() for job in again.jobs] == [job.row() for job in asked]
    assert not again.bad


WAITS = """
import pathlib, sys, time
import raydub.cluster.admission, raydub.cluster.runner
from raydub.cluster.cli import main
from raydub.cluster.glance import Glance

reached = pathlib.Path(sys.argv.pop(1))

def wait(*arguments, **more):
    if not reached.exists():
        reached.touch()
        time.sleep(60)
"""
LOOKING = (
    WAITS
    + """
raydub.cluster.admission.fetch_absent = wait
first = Glance.problem
Glance.problem = lambda self, job: None if job.id == "es" else first(self, job)
main()
"""
)


def signalled(process: subprocess.Popen[str], there: Callable[[], object], signum: signal.Signals) -> None:
    """Send the signal once the process is there: it ends soon, in order, and is gone in any case."""
    try:
        wait_for(there, process)
        process.send_signal(signum)
        _, said = process.communicate(timeout=SOON)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + signum, said
    assert "Traceback" not in said


def stopped_there(manifest: Path, code: str, signum: signal.Signals) -> list[dict[str, object]]:
    """Results of a run that gets a signal where `code` makes it wait."""
    reached = manifest.with_name("reached")
    command = [sys.executable, "-c", code, str(reached), "run", str(manifest), "--no-ray"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    signalled(process, reached.exists, signum)
    return ended_well(manifest, set())


@pytest.mark.parametrize("waits", ["raydub.cluster.written.check_written", "raydub.cluster.runner.show_error"])
def test_a_signal_before_anything_is_looked_at(manifest: Path, waits: str) -> None:
    """While it is asked where results may be written, and while bad rows are told (to somebody who does not read)."""
    row = json.loads(manifest.read_text().splitlines()[0])
    manifest.write_text(json.dumps({**row, "id": "en", "odd": 1}) + "\n" + manifest.read_text().splitlines()[1] + "\n")
    code = f"{WAITS}\nimport raydub.cluster.written\n{waits} = wait\nmain()\n"
    rows = stopped_there(manifest, code, signal.SIGTERM)
    assert [row["status"] for row in rows] == ["failed", "skipped"]


PROGRAM = """#!/bin/sh
sleep 600 &
echo $! > "$0.pid"
wait
"""


@pytest.mark.parametrize("command", ["tts", slow("run")])
@pytest.mark.parametrize("signum", [signal.SIGTERM, slow(signal.SIGINT), slow(signal.SIGQUIT)])
def test_what_a_speech_program_has_started_ends_too(tmp_path: Path, command: str, signum: signal.Signals) -> None:
    program = tmp_path / "program"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    (tmp_path / "s.srt").write_text("1\n00:00:00,100 --> 00:00:01,000\nHello there.\n")
    write_video(tmp_path / "v.mp4", 30)
    (tmp_path / "m.jsonl").write_text(
        json.dumps({"video": "v.mp4", "script": "s.srt", "output": "o.mp4", "tts": "command"}) + "\n"
    )
    asked = {
        "tts": ["tts", str(tmp_path / "s.srt"), "--tts", "command", "-o", str(tmp_path / "o.wav")],
        "run": ["run", str(tmp_path / "m.jsonl"), "--no-ray"],
    }[command]
    environment = {**os.environ, "RAYDUB_TTS_COMMAND": f"{program} {{text_file}} {{out_wav}}", "TMPDIR": str(tmp_path)}
    started = tmp_path / "program.pid"
    process = subprocess.Popen(
        [sys.executable, "-m", "raydub.cluster.cli", *asked],
        cwd=REPOSITORY,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    signalled(process, lambda: started.exists() and started.read_text().endswith("\n"), signum)
    assert not runs(int(started.read_text()))


@pytest.mark.parametrize("signum", [slow(signal.SIGTERM), slow(signal.SIGINT), signal.SIGHUP])
def test_a_signal_while_files_and_weights_are_looked_at(manifest: Path, signum: signal.Signals) -> None:
    """One row has been refused, and weights are on their way for the other."""
    manifest.with_name("en.v").unlink()
    rows = stopped_there(manifest, LOOKING, signum)
    assert [row["error_code"] for row in rows] == ["E_INPUT_MISSING", "E_INTERRUPTED"]
    assert [row["status"] for row in rows] == ["failed", "skipped"]


def test_sigint_while_ray_starts(manifest: Path, running: Callable[..., subprocess.Popen[str]]) -> None:
    process = running("--cpus", "2")
    wait_for(lambda: len(descendants(process.pid)) >= 2, process)  # Ray's first processes
    rows = check_end(process, manifest, signal.SIGINT)
    assert [row["status"] for row in rows] == ["skipped"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_ray_works(
    manifest: Path, running: Callable[..., subprocess.Popen[str]], signum: signal.Signals
) -> None:
    process = running("--cpus", "2")
    wait_for(lambda: parts(manifest), process)
    rows = check_end(process, manifest, signum)
    assert {row["status"] for row in rows} <= {"skipped", "ok"}
    assert "skipped" in {row["status"] for row in rows}
