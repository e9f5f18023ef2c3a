"""The ffmpeg program: ended with all that it started, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import ffmpeg
import pytest

from media.ffmpeg import end_running, run_ffmpeg
from raydub.errors import Code, StageError
from tests.conftest import REPOSITORY
from tests.pipeline.hazards import gone, sleeping_ffmpeg

GRAPH = ffmpeg.output(ffmpeg.input("file:in.mp4"), "file:out.mp4")


@pytest.fixture
def pids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ffmpeg that hangs, and the file of its process ids."""
    program, pids = sleeping_ffmpeg(tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return pids


def started(pids: Path, count: int) -> list[int]:
    end = time.monotonic() + 30
    while not pids.exists() or len(pids.read_text().split()) < count:
        assert time.monotonic() < end, "the program did not start"
        time.sleep(0.02)
    return [int(pid) for pid in pids.read_text().split()]


def test_a_hung_program_is_ended_with_its_children(pids: Path) -> None:
    with pytest.raises(StageError, match=r"after 1 s and was ended") as error:
        run_ffmpeg(GRAPH, 1.0)
    assert (error.value.code, error.value.retryable) == (Code.TIMEOUT, False)
    found = started(pids, 2)
    assert all(gone(pid) for pid in found)


def test_another_thread_can_end_it(pids: Path) -> None:
    assert end_running() == 0
    found: list[int] = []

    def end() -> None:
        found.extend(started(pids, 2))
        end_running()

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(StageError, match="step's time was over") as error:
        run_ffmpeg(GRAPH, 60.0)
    thread.join()
    assert error.value.code == Code.TIMEOUT
    assert all(gone(pid) for pid in found)
    assert end_running() == 0, "it is not known any more"


def test_an_interrupt_ends_it_too(pids: Path) -> None:
    main = threading.get_ident()

    def interrupt() -> None:
        started(pids, 2)
        signal.pthread_kill(main, signal.SIGINT)  # Ctrl-C interrupts the thread that waits

    thread = threading.Thread(target=interrupt)
    start = time.monotonic()
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_ffmpeg(GRAPH, 60.0)
    thread.join()
    assert time.monotonic() - start < 45
    assert all(gone(pid) for pid in started(pids, 2))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a promise of Linux alone")
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_killed_worker_leaves_no_program_behind(tmp_path: Path, in_thread: bool) -> None:
    program, pids = sleeping_ffmpeg(tmp_path, children=False)
    script = """
        import sys, threading
        from tests.media.test_ffmpeg import GRAPH
        from media.ffmpeg import run_ffmpeg
        if sys.argv[1] == "True":
            thread = threading.Thread(target=run_ffmpeg, args=(GRAPH, 60.0))
            thread.start()
            thread.join()
        run_ffmpeg(GRAPH, 60.0)
    """
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PATH": f"{program.parent}:{os.environ['PATH']}"}
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), str(in_thread)], env=environment) as worker:
        [pid] = started(pids, 1)
        assert not gone(pid, 0.3)
        worker.kill()
    assert gone(pid)


def test_a_program_that_is_fine_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in (
        ("good", "exit 0"),
        ("bad", "echo 'no such codec' >&2; exit 1"),
        ("full", "echo 'No space left on device' >&2"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "ffmpeg").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "ffmpeg").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        if name == "good":
            run_ffmpeg(GRAPH, 30.0)
            continue
        with pytest.raises(StageError) as error:
            run_ffmpeg(GRAPH, 30.0)
        assert error.value.code == (Code.DISK_FULL if name == "full" else Code.STITCH_FAILED)
