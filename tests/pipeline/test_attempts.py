"""Attempts: who works on what, and whose worker died."""

from __future__ import annotations

import errno
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from raydub.errors import Code, StageError
from raydub.pipeline.attempts import (
    DEAD_RUN_DAYS,
    Attempts,
    end_run,
    new_run_id,
    process_lives,
    run_dir,
    start_run,
    sweep_runs,
    this_worker,
)

WORK = "render.000003"
GONE = {"host": "elsewhere", "pid": 1, "node": "n1"}


def always(_: Mapping[str, Any]) -> bool:
    return True


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(str(tmp_path), "run")


def test_attempts_count_on_and_only_unended_ones_are_deaths(attempts: Attempts) -> None:
    assert attempts.deaths("a", WORK, always) == []
    first = attempts.begin("a", WORK, worker=GONE)
    first.end()
    second = attempts.begin("a", WORK, worker=GONE)
    third = attempts.begin("a", WORK, worker={**GONE, "host": "other"})
    assert [first.number, second.number, third.number] == [1, 2, 3]
    assert [(death["attempt"], death["host"]) for death in attempts.deaths("a", WORK, always)] == [
        (2, "elsewhere"),
        (3, "other"),
    ]
    assert attempts.count("a", WORK) == 3
    for other in [attempts.deaths("b", WORK, always), attempts.deaths("a", "render.000004", always)]:
        assert other == []
    assert Attempts(attempts.work_dir, "later run").deaths("a", WORK, always) == []


def test_a_lost_node_is_not_charged(attempts: Attempts) -> None:
    attempts.begin("a", WORK, worker={**GONE, "node": "lost"})
    attempts.begin("a", WORK, worker={**GONE, "node": "here"})
    assert [death["node"] for death in attempts.deaths("a", WORK, lambda record: record["node"] == "here")] == ["here"]


def test_an_overrun_is_known(attempts: Attempts) -> None:
    attempt = attempts.begin("a", WORK, worker=GONE)
    attempt.overran(12.5)
    attempts.begin("a", WORK, worker=GONE)
    deaths = attempts.deaths("a", WORK, always)
    assert [death.get("overran") for death in deaths] == [12.5, None]


def test_a_worker_killed_before_its_record_was_whole_had_not_begun(attempts: Attempts, tmp_path: Path) -> None:
    attempts.begin("a", WORK, worker=GONE)
    [path] = run_dir(tmp_path, "run").glob(f"attempts/*/{WORK}.1")
    whole = path.read_bytes()
    for kept in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        assert attempts.deaths("a", WORK, always) == []
    assert attempts.begin("a", WORK, worker=GONE).number == 2
    assert len(attempts.deaths("a", WORK, always)) == 1


def test_a_number_that_was_taken_and_ended_meanwhile_is_not_given_again(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def slow(path: Any, flags: int, *more: Any) -> int:
        if str(path).endswith(f"{WORK}.1") and not Path(f"{path}.ended").exists():
            monkeypatch.setattr(os, "open", real)
            attempts.begin("a", WORK, worker=GONE).end()
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", slow)
    assert attempts.begin("a", WORK, worker=GONE).number == 2
    assert [death["attempt"] for death in attempts.deaths("a", WORK, always)] == [2]


def test_release_and_overrun_never_raise_once_the_run_is_gone(attempts: Attempts, tmp_path: Path) -> None:
    attempt = attempts.begin("a", WORK, worker=GONE)
    for path in sorted(run_dir(tmp_path, "run").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    attempt.end()
    attempt.overran(1.0)


def test_give_up_is_by_job(attempts: Attempts) -> None:
    attempts.give_up("../../a\n\ud800")
    assert attempts.given_up("../../a\n\ud800")
    assert not attempts.given_up("a")
    assert not Attempts(attempts.work_dir, "other").given_up("../../a\n\ud800")
    names = [path.name for path in run_dir(attempts.work_dir, "run").rglob("*")]
    assert len(names) == 2
    assert all(name.isalnum() for name in names)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, Code.DISK_FULL), (errno.EIO, Code.STORAGE)])
@pytest.mark.parametrize("call", ["open", "write", "mkdir"])
def test_storage_trouble_is_an_error_with_a_code(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch, number: int, code: Code, call: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StageError) as caught:
            attempts.begin("a", WORK, worker=GONE)
    assert caught.value.code == code
    assert attempts.deaths("a", WORK, always) == []


def _claim_many(work_dir: str, queue: Any) -> None:
    attempts = Attempts(work_dir, "run")
    queue.put([attempts.begin("a", WORK, worker=this_worker()).number for _ in range(20)])


def test_no_number_is_given_twice(attempts: Attempts) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_claim_many, args=(attempts.work_dir, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    given = [number for _ in workers for number in queue.get(timeout=60)]
    for worker in workers:
        worker.join()
    assert sorted(given) == list(range(1, 41))


DIES = """
import json, os, sys, time
from raydub.pipeline.attempts import Attempts, this_worker
attempt = Attempts(sys.argv[1], "run").begin("a", "render.000003", worker=this_worker("n"))
print(attempt.number, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_who_is_still_at_work_is_not_dead(attempts: Attempts) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DIES, attempts.work_dir], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as worker:
        assert worker.stdout is not None
        try:
            assert worker.stdout.readline() == b"1\n"
            assert attempts.deaths("a", WORK, always) == []
            os.kill(worker.pid, signal.SIGKILL)
            # A zombie until it is waited for, and dead all the same.
            deadline = time.monotonic() + 20
            while not attempts.deaths("a", WORK, always) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert [death["pid"] for death in attempts.deaths("a", WORK, always)] == [worker.pid]
        finally:
            worker.kill()
    assert len(attempts.deaths("a", WORK, always)) == 1


def test_a_later_process_with_the_same_pid_is_another_one() -> None:
    me = this_worker()
    assert process_lives(me) == bool(me["born"])
    assert not process_lives({**me, "born": "another boot"})
    assert not process_lives({**me, "host": "elsewhere"})
    assert not process_lives({"host": me["host"], "pid": me["pid"]})
    assert json.loads(json.dumps(me)) == me


def test_a_run_s_folder_comes_and_goes(attempts: Attempts, tmp_path: Path) -> None:
    start_run(tmp_path, "run", {"rows": 3})
    info = json.loads((run_dir(tmp_path, "run") / "info.json").read_text())
    assert (info["rows"], info["pid"]) == (3, os.getpid())
    attempts.begin("a", WORK, worker=GONE)
    end_run(tmp_path, "run")
    end_run(tmp_path, "run")
    assert not run_dir(tmp_path, "run").exists()


def test_a_worker_that_outlives_its_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, left, remove = new_run_id(), new_run_id(), shutil.rmtree
    start_run(tmp_path, run, {})
    late = iter(("render.000001", "render.000002"))

    def removed_while_it_works(folder: Path, **how: Any) -> None:
        remove(folder, **how)
        for work in itertools.islice(late, 1):
            Attempts(str(tmp_path), run).begin("a", work, worker=GONE)

    monkeypatch.setattr(shutil, "rmtree", removed_while_it_works)
    end_run(tmp_path, run)
    assert list(run_dir(tmp_path, "").iterdir()) == []

    Attempts(str(tmp_path), left).begin("a", WORK, worker=GONE)
    assert sweep_runs(tmp_path) == []
    for path in run_dir(tmp_path, left).rglob("*"):
        os.utime(path, (time.time() - 4000,) * 2)
    os.utime(run_dir(tmp_path, left), (time.time() - 4000,) * 2)
    assert sweep_runs(tmp_path) == [left]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_dead_runs_are_swept_and_others_are_not(tmp_path: Path) -> None:
    def made(name: str, **info: Any) -> Path:
        name = named[name]
        start_run(tmp_path, name, info)
        Attempts(str(tmp_path), name).begin("a", WORK, worker=GONE)
        return run_dir(tmp_path, name)

    named = {name: new_run_id() for name in ("dead here", "rebooted", "mine", "elsewhere", "old", "silent")}
    here = this_worker()["born"].rpartition(":")[0]
    made("dead here", born=f"{here}:12")
    rebooted = made("rebooted", born="other:1:12")
    mine, elsewhere = made("mine"), made("elsewhere", host="elsewhere", pid=1)
    old, silent = made("old", host="elsewhere"), made("silent")
    (silent / "info.json").write_bytes(b"{")
    long_ago = time.time() - (DEAD_RUN_DAYS + 1) * 86400
    for path in [old, *old.rglob("*")]:
        os.utime(path, (long_ago, long_ago))
    assert set(sweep_runs(tmp_path)) == {named["old"]}  # "dead here" went when the next run began
    assert {path.name for path in run_dir(tmp_path, "").iterdir()} == {
        path.name for path in (mine, elsewhere, silent, rebooted)
    }
    assert sweep_runs(tmp_path / "nowhere") == []


def test_folders_of_others_are_not_swept(tmp_path: Path) -> None:
    """`runs` is a common name: a project of the user, or a link to one, may lie in a work folder."""
    link_work, victim = tmp_path / "linked", tmp_path / "victim"
    theirs = [tmp_path / "work" / "runs" / "exp1", victim / new_run_id(), victim / "thesis"]
    for folder in theirs:
        folder.mkdir(parents=True)
        (folder / "weights.pt").write_bytes(b"precious")
    link_work.mkdir()
    (link_work / "runs").symlink_to(victim)
    (tmp_path / "work" / "runs" / new_run_id()).symlink_to(victim / "thesis")
    long_ago = time.time() - (DEAD_RUN_DAYS + 1) * 86400
    for path in tmp_path.rglob("*"):
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)
    for work in (tmp_path / "work", link_work):
        assert sweep_runs(work) == []
    assert all((folder / "weights.pt").exists() for folder in theirs)


LEAVES = """
import sys
from raydub.files import temp_beside
for path in sys.argv[1:]:
    open(temp_beside(path), "w").close()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_run_begins_by_sweeping_what_dead_ones_left(tmp_path: Path) -> None:
    work, output = tmp_path / "work", tmp_path / "out" / "a.mp4"
    places = [work / "tmp" / "x.npz", work / "tmp" / "y.json", output]
    subprocess.run([sys.executable, "-c", LEAVES, *map(str, places)], cwd=Path(__file__).parents[2], check=True)
    assert len([path for path in tmp_path.rglob(".*") if path.is_file()]) == 3
    start_run(work, "run", {}, [str(output)])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [run_dir(work, "run") / "info.json"]
