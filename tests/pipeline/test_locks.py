"""Locks of outputs, between processes."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.locks import FOLDER, RunLock, place_of
from raydub.errors import Code, StageError

HOLDER = """
import sys
from pipeline.locks import RunLock
with RunLock(sys.argv[1]) as lock:
    print(sorted(lock.lock(sys.argv[2:])), flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(work: Path, *outputs: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another driver that holds the outputs, and what it was told."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(work), *outputs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_an_output_has_one_writer(tmp_path: Path) -> None:
    a, b, c = (str(tmp_path / name) for name in "abc")
    with RunLock(tmp_path / "work") as lock:
        assert lock.lock([a, b]) == set()
        assert lock.lock([a]) == set()
        with holder(tmp_path / "work", b, c) as (_, told):
            assert told == str([b])
            assert lock.lock([a, b, c]) == {c}
        assert lock.lock([c]) == set()
        with holder(tmp_path / "other work", a) as (_, told):
            assert told == "[]"
    with holder(tmp_path / "work", a, b, c) as (_, told):
        assert told == "[]"
    assert {path.stat().st_size for path in (tmp_path / "work" / FOLDER).iterdir()} == {0}


def test_a_killed_driver_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path, "/out/a.mp4") as (process, _), RunLock(tmp_path) as lock:
        assert lock.lock(["/out/a.mp4"]) == {"/out/a.mp4"}
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert lock.lock(["/out/a.mp4"]) == set()


def test_children_do_not_hold_their_parent_s_locks(tmp_path: Path) -> None:
    with RunLock(tmp_path) as lock:
        lock.lock(["a"])
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with holder(tmp_path, "a") as (_, told):
            assert told == "[]"
    finally:
        child.kill()
        child.communicate()


def test_one_file_by_two_names_is_one_output(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert place_of(str(tmp_path / "link" / "a.mp4")) == place_of(str(tmp_path / "real" / ".." / "real" / "a.mp4"))
    assert place_of(str(tmp_path / "a.mp4")) != place_of(str(tmp_path / "b.mp4"))
    assert len(place_of("odd \udcff name")) == 2


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with caplog.at_level(logging.WARNING), RunLock(tmp_path) as lock:
        assert lock.lock(["a", "b"]) == set()
    assert len(caplog.records) == 1
    assert FOLDER in caplog.text


def test_other_trouble_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StageError) as caught:
        RunLock(tmp_path / "file" / "work").lock(["a"])
    assert caught.value.code == Code.STORAGE
