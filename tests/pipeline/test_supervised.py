"""The plain loop in a process of its own: whatever kills it costs the chunk that did, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from raydub.errors import Code, StageError
from raydub.manifests.results import JobResult
from raydub.pipeline.attempts import run_dir
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.driver import Driver
from raydub.pipeline.limits import StepLimits
from raydub.pipeline.supervised import SupervisedExecutor
from tests.conftest import REPOSITORY
from tests.examples import slow
from tests.pipeline.fakes import FAKE_STAGES, LocalExecutor
from tests.pipeline.hazards import gone
from tests.pipeline.test_driver import Notes, make_job

HAZARDS = "tests.pipeline.hazards:HAZARD_STAGES"


def run(
    tmp_path: Path,
    videos: Sequence[str],
    stages: str = HAZARDS,
    limits: StepLimits | None = None,
    notes: Notes | None = None,
    run_id: str = "r1",
) -> list[JobResult]:
    jobs = [make_job(tmp_path, video, f"j{i}", line=i + 1) for i, video in enumerate(videos)]
    jobs = [job.model_copy(update={"audio": f"{job.id}.wav"}) for job in jobs]
    settings = WorkSettings(str(tmp_path / "work"), run_id, limits=limits or StepLimits())
    executor = SupervisedExecutor(settings, stages, notes)
    try:
        results, interrupted = Driver(executor).run(jobs)
    finally:
        executor.close()
    assert not interrupted
    assert not list(tmp_path.rglob("*.tmp*"))
    return results


@pytest.mark.parametrize("verbose", [False, True])
def test_the_child_logs_as_the_run_was_asked_to(
    tmp_path: Path, verbose: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = WorkSettings(str(tmp_path / "work"), "r", verbose=verbose)
    executor = SupervisedExecutor(settings, "tests.pipeline.fakes:FAKE_STAGES", None)
    try:
        Driver(executor).run([make_job(tmp_path, "bad-track:2", "j0")])
    finally:
        executor.close()
    said = capfd.readouterr().err
    assert ("INFO raydub.pipeline.steps [run=r job=j0 chunk=1 stage=track]: job " in said) == verbose, said


def test_the_same_outcomes_as_the_loop_in_this_process(tmp_path: Path) -> None:
    videos = ["ok:4", "bad-prepare", "bad-track:4", "bug-render:2", "bad-stitch:1", "ok:1"]
    notes = Notes()
    found = run(tmp_path / "a", videos, "tests.pipeline.fakes:FAKE_STAGES", notes=notes)
    jobs = [make_job(tmp_path / "b", video, f"j{i}", line=i + 1) for i, video in enumerate(videos)]
    expected, _ = Driver(LocalExecutor(WorkSettings(str(tmp_path / "b" / "work"), "r"), FAKE_STAGES)).run(jobs)
    told = [[(r.id, r.status, r.error_code, r.error_message, r.frames, r.line) for r in rs] for rs in (found, expected)]
    assert told[0] == told[1]
    assert Path(found[0].output or "").read_text() == "0 1 2 3 "
    assert {note.stage for note in notes.notes} == {"prepare", "track", "lipsync", "render", "stitch"}
    assert {note.pid for note in notes.notes} != {os.getpid()}


@pytest.mark.parametrize("stage", [slow("prepare"), "render", slow("stitch")])
def test_what_ends_its_worker_twice_is_quarantined_and_nothing_else(tmp_path: Path, stage: str) -> None:
    results = run(tmp_path, ["ok:2", f"segv-{stage}:3:1", "ok:1"])
    assert [result.status for result in results] == ["ok", "quarantined", "ok"]
    bad = results[1]
    assert bad.error_code == Code.QUARANTINED
    assert stage in (bad.error_message or "")
    assert "2 times" in (bad.error_message or "")
    if stage == "render":
        assert "chunk 1 of 3 (frames 25 to 49 of the output)" in (bad.error_message or "")
    assert not Path(bad.output or "").exists()
    attempts = run_dir(tmp_path / "work", "r1") / "attempts"
    unended = [path.name for path in attempts.glob("*/*") if path.suffix != ".ended"]
    work = stage if stage in ("prepare", "stitch") else f"{stage}.000001"
    assert sorted(unended) == [f"{work}.1", f"{work}.2"]


def test_what_dies_once_is_done_the_second_time(tmp_path: Path) -> None:
    results = run(tmp_path, ["kill-render:3:1:1", "kill-prepare:1:0:1", "kill-stitch:2:0:1"])
    assert [result.status for result in results] == ["ok"] * 3
    assert [result.attempts for result in results] == [2, 2, 2]
    assert Path(results[0].output or "").read_text() == "0 1 2 "


def test_a_later_run_gives_everything_another_chance(tmp_path: Path) -> None:
    [first] = run(tmp_path, ["segv:2:1:2"])
    assert first.status == "quarantined"
    [second] = run(tmp_path, ["segv:2:1:2"], run_id="r2")
    assert (second.status, second.attempts) == ("ok", 1)


@pytest.mark.parametrize("hazard", ["hang-lipsync", slow("hold-lipsync"), slow("libav-stitch")])
def test_a_hang_is_ended_and_named(tmp_path: Path, hazard: str) -> None:
    start = time.monotonic()
    results = run(tmp_path, [f"{hazard}:2:1", "ok:1"], limits=StepLimits(flat=1.0, grace=0.3))
    assert [result.status for result in results] == ["failed", "ok"]
    assert results[0].error_code == Code.TIMEOUT
    assert "longer than 1 s" in (results[0].error_message or "")
    assert time.monotonic() - start < 60


def test_a_step_that_finds_no_memory_ends_with_its_code(tmp_path: Path) -> None:
    results = run(tmp_path, ["hog-render:2:1", "ok:1"])
    assert [(result.status, result.error_code) for result in results] == [("failed", Code.OUT_OF_MEMORY), ("ok", None)]
    assert results[0].attempts == 3


def test_a_constructor_that_fails_once_is_called_again(tmp_path: Path) -> None:
    [result] = run(tmp_path, ["ok:1"], "tests.pipeline.hazards:FLAKY_STAGES")
    assert result.status == "ok"


def test_a_child_that_cannot_live_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raydub.pipeline.supervised.BOOT", "import sys; sys.exit(9)")
    results = run(tmp_path, ["ok:1", "ok:2"])
    assert [(result.status, result.error_code) for result in results] == [("failed", Code.WORKER_LOST)] * 2
    assert "exit 9" in (results[0].error_message or "")


@pytest.mark.slow
def test_a_child_that_was_stopped_is_noticed(tmp_path: Path) -> None:
    limits = StepLimits(flat=4.0, grace=0.3)
    job = make_job(tmp_path, "hang-lipsync:2:1", "j0")
    executor = SupervisedExecutor(WorkSettings(str(tmp_path / "work"), "r1", limits=limits), HAZARDS, stall=2.0)
    stopped: list[int] = []

    def stop_it() -> None:
        attempt = run_dir(tmp_path / "work", "r1") / "attempts"
        end = time.monotonic() + 60
        while not list(attempt.glob("*/lipsync.000001.1")) and time.monotonic() < end:
            time.sleep(0.02)
        stopped.append(executor._workers[0].child.pid)
        os.kill(executor._workers[0].child.pid, signal.SIGSTOP)

    thread = threading.Thread(target=stop_it)
    thread.start()
    started = time.monotonic()
    try:
        [result], _ = Driver(executor).run([job])
    finally:
        thread.join()
        executor.close()
    # It was at work within its own limit for 4 s, and is given three steps of 0.3 s to end itself.
    assert time.monotonic() - started > 4.5
    assert (result.status, result.error_code) == ("failed", Code.STALLED)
    assert gone(stopped[0])


@pytest.mark.slow
def test_a_step_within_its_limit_is_progress(tmp_path: Path) -> None:
    # The step hangs for longer than the stall, until the watchdog ends it at 6 s; the stall would count from 14 s on.
    limits = StepLimits(flat=2.0, grace=4.0)
    job = make_job(tmp_path, "hang-lipsync:2:1", "j0")
    executor = SupervisedExecutor(WorkSettings(str(tmp_path / "work"), "r1", limits=limits), HAZARDS, stall=5.0)
    try:
        [result], _ = Driver(executor).run([job])
    finally:
        executor.close()
    assert result.error_code == Code.TIMEOUT, "the watchdog's own line comes first"


def test_a_child_that_was_stopped_between_steps_is_noticed(tmp_path: Path) -> None:
    # It may have begun the next step already: then that step's limit counts first.
    settings = WorkSettings(str(tmp_path / "work"), "r1", limits=StepLimits(flat=2.0, grace=0.3))
    executor = SupervisedExecutor(settings, HAZARDS, stall=1.0)
    jobs = [make_job(tmp_path, "ok:1", f"j{number}", line=number + 1) for number in range(2)]
    try:
        items = executor.items(jobs)
        next(items)
        [worker] = executor._workers
        os.kill(worker.child.pid, signal.SIGSTOP)
        with pytest.raises(StageError) as caught:
            for _ in items:
                pass
    finally:
        executor.close()
    assert caught.value.code is Code.STALLED


def test_what_a_child_prints_does_not_reach_stdout(tmp_path: Path) -> None:
    code = """
    import sys
    from raydub.child import ChildProcess
    child = ChildProcess("print('hello'); import os; os.write(1, b'there')", {})
    print(child.end(20))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=REPOSITORY, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.stdout == "exit 0\n"
    assert "hello" in done.stderr


DRIVER = """
    import sys
    from raydub.manifests.job import Job
    from raydub.pipeline.context import WorkSettings
    from raydub.pipeline.supervised import SupervisedExecutor
    work, video = sys.argv[1:]
    job = Job(id="j", video=video, audio="a.wav", output=work + "/out.mp4")
    executor = SupervisedExecutor(WorkSettings(work, "r"), "tests.pipeline.hazards:HAZARD_STAGES")
    for item in executor.items([job]):
        print(type(item).__name__, executor._workers[0].child.pid, flush=True)
"""


@pytest.mark.parametrize("hazard", ["hang", slow("hold"), slow("libav")])
def test_the_child_dies_with_the_driver(tmp_path: Path, hazard: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), str(tmp_path / "work"), f"{hazard}:1:0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        planned, child = driver.stdout.readline().split()
        assert planned == "Planned"
        attempt = run_dir(tmp_path / "work", "r") / "attempts"
        end = time.monotonic() + 30
        while not list(attempt.glob("*/track.000000.1")):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert not gone(int(child), 0.2)
        driver.send_signal(signal.SIGKILL)
    assert gone(int(child))
