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

from raydub.errors import Code
from raydub.pipeline.locks import FOLDER, RunLock, place_of

HOLDER = """
import sys
from raydub.pipeline.locks import RunLock
with RunLock() as lock:
    print(sorted(lock.lock(sys.argv[1:])), flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(*outputs: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another driver that holds the outputs, and what it was told."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, *outputs],
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


def test_an_output_has_one_writer_whatever_its_work_folder(tmp_path: Path) -> None:
    a, b, c = (str(tmp_path / name) for name in "abc")
    with RunLock() as lock:
        assert lock.lock([a, b]) == {}
        assert lock.lock([a]) == {}
        with holder(b, c) as (_, told):
            assert told == str([b])
            assert lock.lock([a, b, c]) == {c: None}
        assert lock.lock([c]) == {}
    with holder(a, b, c) as (_, told):
        assert told == "[]"
        assert {path.stat().st_size for path in (tmp_path / FOLDER).iterdir()} == {0}


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    outputs = [str(tmp_path / name / f"{number}.mp4") for name in ("x", "y") for number in range(100)]
    with RunLock() as lock:
        assert lock.lock(outputs) == {}
        assert (tmp_path / "x" / FOLDER).is_dir()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["x", "y"]


def test_who_ends_first_leaves_the_files_to_the_others(tmp_path: Path) -> None:
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    with holder(b), RunLock() as lock:
        assert lock.lock([a]) == {}
        lock.close()
        assert lock.lock([b]) == {b: None}


def test_a_file_that_is_removed_in_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening a lock's file and locking it, whoever ended last removed it: a lock in it means nothing."""
    real, removed = fcntl.lockf, []

    def late(handle: int, *rest: int) -> None:
        if not removed and len(rest) > 1:
            [file] = (tmp_path / FOLDER).iterdir()
            file.unlink()
            (tmp_path / FOLDER).rmdir()
            removed.append(file)
        real(handle, *rest)

    monkeypatch.setattr(fcntl, "lockf", late)
    with RunLock() as lock:
        assert lock.lock([str(tmp_path / "a")]) == {}
        assert removed
        assert removed[0].exists(), "the lock is in the file that others find"


def test_a_killed_driver_holds_nothing(tmp_path: Path) -> None:
    output = str(tmp_path / "a.mp4")
    with holder(output) as (process, _), RunLock() as lock:
        assert lock.lock([output]) == {output: None}
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert lock.lock([output]) == {}


def test_children_do_not_hold_their_parent_s_locks(tmp_path: Path) -> None:
    output = str(tmp_path / "a")
    with RunLock() as lock:
        lock.lock([output])
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with holder(output) as (_, told):
            assert told == "[]"
    finally:
        child.kill()
        child.communicate()


def test_one_file_by_two_names_is_one_output(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert place_of(str(tmp_path / "link" / "a.mp4")) == place_of(str(tmp_path / "real" / ".." / "real" / "a.mp4"))
    assert place_of(str(tmp_path / "A.mp4")) == place_of(str(tmp_path / "a.MP4"))
    assert place_of(str(tmp_path / "a.mp4")) != place_of(str(tmp_path / "b.mp4"))
    assert len(place_of("odd \udcff name")) == 2


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with caplog.at_level(logging.WARNING), RunLock() as lock:
        assert lock.lock([str(tmp_path / name) for name in "ab"]) == {}
    assert len(caplog.records) == 1
    assert str(tmp_path) in caplog.text


def test_a_folder_that_cannot_be_written_to_costs_its_own_outputs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with RunLock() as lock:
        refused = lock.lock([str(tmp_path / "file" / "a.mp4"), str(tmp_path / "b.mp4")])
    assert [error.code for error in refused.values() if error is not None] == [Code.STORAGE]
    assert list(refused) == [str(tmp_path / "file" / "a.mp4")]


def test_a_folder_that_somebody_else_has_prepared_leads_nowhere(tmp_path: Path) -> None:
    """Behind a symlink lie files of the user's, with names like ours."""
    outside = tmp_path / "outside"
    outside.mkdir()
    output = str(tmp_path / "out" / "a.mp4")
    path, _ = place_of(output)
    (outside / path.name).write_bytes(b"mine")
    (tmp_path / "out").mkdir()
    path.parent.symlink_to(outside)
    with RunLock() as lock:
        [error] = lock.lock([output]).values()
    assert error is not None
    assert error.code is Code.STORAGE
    assert [(file.name, file.read_bytes()) for file in outside.iterdir()] == [(path.name, b"mine")]
    # A file that holds something in the place of ours stays as well, and one that is a link is not followed.
    path.parent.unlink()
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with RunLock() as lock:
        assert lock.lock([output]) == {}
    assert path.read_bytes() == b"mine"
    path.unlink()
    path.symlink_to(outside / path.name)
    with RunLock() as lock:
        [error] = lock.lock([output]).values()
    assert error is not None
    assert (outside / path.name).read_bytes() == b"mine"
