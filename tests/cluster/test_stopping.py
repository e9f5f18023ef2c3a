"""Signals: the main thread is told at once, a stuck one is overtaken, and nothing that was started is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from raydub.cluster.session.stopping import Stopped, StopWatch

REPOSITORY = Path(__file__).resolve().parents[2]


def script(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    """A Python process that runs `body`, which says "ready" when it may be sent a signal."""
    head = """
    import ctypes, os, signal, subprocess, sys, time
    from pathlib import Path
    from raydub.cluster.session.stopping import Stopped, StopWatch
    here = Path(sys.argv[1])
    def last_words():
        (here / "words").write_text("said")
    """
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(head) + textwrap.dedent(body))
    return subprocess.Popen(
        [sys.executable, str(path), str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip


def wait_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"


@pytest.mark.parametrize(
    ("signum", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)],
)
def test_the_main_thread_is_told_and_ends_in_order(tmp_path: Path, signum: signal.Signals, code: int) -> None:
    body = """
    watch = StopWatch(last_words, grace=20)
    try:
        with watch:
            print("ready", flush=True)
            for _ in range(600):
                time.sleep(0.1)  # a signal just before a sleep is heard after it
    except Stopped:
        (here / "told").write_text(str(watch.asked))
        sys.exit(watch.exit_code)
    """
    with script(tmp_path, body) as process:
        wait_ready(process)
        process.send_signal(signum)
        assert process.wait(20) == code
    assert (tmp_path / "told").read_text() == "True"
    assert not (tmp_path / "words").exists()


def test_a_main_thread_that_does_not_come_to_its_end_is_overtaken(tmp_path: Path) -> None:
    body = """
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    (here / "child").write_text(str(child.pid))
    libc = ctypes.CDLL(None)
    with StopWatch(last_words, grace=0.5):
        while True:
            try:
                print("ready", flush=True)  # inside: the signal may come before the next line has begun
                libc.sleep(60)  # native code: no Python handler runs before it returns
            except Stopped: pass
    """
    with script(tmp_path, body) as process:
        wait_ready(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert (tmp_path / "words").read_text() == "said"
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def test_a_stop_that_a_finaliser_swallowed_comes_again(tmp_path: Path) -> None:
    body = """
    class Slow:
        def __del__(self):
            print("ready", flush=True)
            time.sleep(1)
    watch = StopWatch(last_words, grace=30)
    try:
        with watch:
            slow = Slow()
            del slow
            time.sleep(60)
    except Stopped:
        (here / "told").touch()
        sys.exit(watch.exit_code)
    """
    with script(tmp_path, body) as process:
        wait_ready(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert (tmp_path / "told").exists()
    assert not (tmp_path / "words").exists()


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    body = """
    with StopWatch(last_words, grace=60):
        while True:
            try:
                print("ready", flush=True)
                time.sleep(60)
            except Stopped:
                print("told", flush=True)
                time.sleep(60)
    """
    with script(tmp_path, body) as process:
        wait_ready(process)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "told"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert not (tmp_path / "words").exists()


def test_a_handler_that_somebody_else_put_in_place_is_replaced_again() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopWatch(lambda: None, leave=lambda code: None) as stop:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
        stop.arm()
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)
        assert stop.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGQUIT])
def test_what_was_ignored_at_the_start_stays_ignored(signum: signal.Signals) -> None:
    before = signal.signal(signum, signal.SIG_IGN)
    try:
        with StopWatch(lambda: None, leave=lambda code: None) as stop:
            stop.arm()
            signal.raise_signal(signum)
            assert not stop.asked
            assert signal.getsignal(signum) is signal.SIG_IGN
        assert signal.getsignal(signum) is signal.SIG_IGN
    finally:
        signal.signal(signum, before)


def test_a_process_without_its_terminal_goes_on(tmp_path: Path) -> None:
    body = """
    watch = StopWatch(last_words, grace=20)
    try:
        with watch:
            print("ready", flush=True)
            time.sleep(60)
    except Stopped:
        sys.exit(watch.exit_code)
    """
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; a new process inherits it
    try:
        process = script(tmp_path, body)
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        wait_ready(process)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] not in "ZX"
