"""The process that speaks to Ray may die, hang or be stopped: the run hears of it, says why, and leaves nothing. The
process is a stand-in here, which loads no Ray."""

from __future__ import annotations

import os
import signal
import textwrap
import time
from pathlib import Path

import pytest

from raydub.cluster.request import RunRequest
from raydub.cluster.session import ray_process
from raydub.cluster.session.ray_process import RayProcess
from raydub.errors import Code, DependencyError
from raydub.manifests.results import JobResult
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.driver import Driver
from raydub.process import born
from tests.pipeline.test_driver import make_job

HEAD = """
import json, os, signal, subprocess, sys, time
sys.path[:] = json.loads(sys.argv[2])
from multiprocessing.connection import Connection
from raydub.pipeline.child import Line, without_blob
from raydub.pipeline.events import Assembled, Planned
from raydub.pipeline.rows import pack
connection = Connection(int(sys.argv[1]))
hello = json.loads(connection.recv_bytes())
line = Line(connection)
folder = hello["folder"]
here = hello["settings"]["work_dir"]
os.makedirs(here, exist_ok=True)
def note(name, pid): open(os.path.join(here, name), "w").write(str(pid))
def daemon(**more): return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], **more)
note("child", os.getpid())
"""
RUNS = """
gcs = daemon(); stray = daemon()
# re-parented, as what a dead raylet started
subprocess.run([sys.executable, "-c", "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], stdout=2).pid)"], stdout=open(os.path.join(here, "orphan"), "w"))
note("gcs", gcs.pid); note("stray", stray.pid)
line.send(joined={"gcs_server": gcs.pid}); line.send(ready=True)
while not os.path.exists(os.path.join(here, "started")): time.sleep(0.01)
"""  # noqa: E501


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_process, "_START_SECONDS", 60.0)
    monkeypatch.setattr(ray_process, "_MARGIN", 0.5)
    monkeypatch.setattr(ray_process, "LEAVE_SECONDS", 0.5)


def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, stall: float = 60.0, **more: object
) -> tuple[list[JobResult], RayProcess, float]:
    """Results of a run of two jobs, and the seconds that they took after Ray had started."""
    monkeypatch.setattr(ray_process, "BOOT", HEAD + textwrap.dedent(body))
    jobs = [make_job(tmp_path, "ok:1", f"j{number}", line=number + 1) for number in range(2)]
    request = RunRequest(
        jobs=tuple(jobs), bad=(), work_dir=tmp_path, results=None, stall_timeout=stall, **more,  # type: ignore[arg-type]
    )  # fmt: skip
    executor = RayProcess(request, WorkSettings(str(tmp_path / "work"), "r"), jobs, "no:tools", Nobody())
    try:
        executor.start()
        folder = executor._folder
        assert folder is not None
        assert folder.path.is_dir()
        (tmp_path / "work" / "started").touch()
        started = time.monotonic()
        results, _ = Driver(executor).run(jobs)
        took = time.monotonic() - started
    finally:
        executor.close()
    assert not folder.path.exists()
    for name in ("child", "gcs", "stray", "orphan"):
        path = tmp_path / "work" / name
        assert not path.exists() or not born(int(path.read_text())), name
    return results, executor, took


class Nobody:
    def note(self, note: object) -> None: ...


def check(results: list[JobResult], code: Code, words: str) -> None:
    assert [(result.status, result.error_code) for result in results] == [("failed", code)] * 2
    assert words in (results[0].error_message or "")
    assert "\n" not in (results[0].error_message or "")


@pytest.mark.usefixtures("stand_in")
class TestDeaths:
    def test_one_of_rays_own_processes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        results, _, took = run(tmp_path, monkeypatch, RUNS + "time.sleep(1); gcs.kill(); time.sleep(300)")
        check(results, Code.WORKER_LOST, "Ray's gcs_server")
        assert took < 10

    def test_one_that_nobody_has_waited_for_and_messages_go_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = RUNS + "gcs.kill()\nwhile True:\n    line.send(alive=True, store_mb=3.0); time.sleep(0.01)"
        results, _, _ = run(tmp_path, monkeypatch, body)
        check(results, Code.WORKER_LOST, "Ray's gcs_server")

    def test_one_that_was_dead_before_it_was_told_of(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        body = """
        gcs = daemon(); gcs.kill(); gcs.wait()
        line.send(joined={"gcs_server": gcs.pid}); line.send(ready=True)
        while True: line.send(alive=True); time.sleep(0.01)
        """
        with pytest.raises(DependencyError) as caught:
            run(tmp_path, monkeypatch, body)
        assert caught.value.code is Code.CLUSTER_UNREACHABLE
        assert "Ray's gcs_server" in caught.value.message

    @pytest.mark.parametrize(
        ("end", "how"),
        [
            ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
            ("os.abort()", "SIGABRT"),
            ("os._exit(1)", "exit 1"),
            ("sys.exit(0)", "exit 0"),
        ],
    )
    def test_the_process_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, how: str) -> None:
        results, _, _ = run(tmp_path, monkeypatch, RUNS + end)
        check(results, Code.WORKER_LOST, how)

    def test_it_is_stopped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        results, _, took = run(tmp_path, monkeypatch, RUNS + "os.kill(os.getpid(), signal.SIGSTOP)", stall=1.0)
        check(results, Code.STALLED, "no progress for 1 s")
        assert 1.0 < took < 10

    def test_half_a_message(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        body = RUNS + "os.write(connection.fileno(), b'\\0\\0\\1\\0{'); os._exit(3)"
        results, _, _ = run(tmp_path, monkeypatch, body)
        check(results, Code.WORKER_LOST, "exit 3")

    def test_after_all_parts_while_stitching(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        body = """
        for job in hello["jobs"]:
            line.item(Planned(job["id"], here, 0, 0))
        line.send(alive=True, store_mb=3.0)
        line.send(through=True)
        order = json.loads(connection.recv_bytes())
        line.item(Assembled(order["job"]["id"], order["job"]["output"], 0, {"stitch": 0.1}))
        time.sleep(0.5)
        gcs.kill()
        time.sleep(300)
        """
        results, executor, _ = run(tmp_path, monkeypatch, RUNS + textwrap.dedent(body))
        assert executor.store_peak_mb == 3.0
        assert [result.status for result in results] == ["ok", "failed"]
        assert results[1].error_code == Code.WORKER_LOST

    def test_a_named_error_keeps_its_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        said = "{'code': 'E_NO_GPU', 'message': 'none', 'hint': 'h', 'retryable': False}"
        with pytest.raises(DependencyError) as caught:
            run(tmp_path, monkeypatch, f"line.send(error={said}, kind='DependencyError'); time.sleep(300)")
        assert (caught.value.code, caught.value.message) == (Code.NO_GPU, "none")


@pytest.mark.usefixtures("stand_in")
class TestStart:
    def refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> DependencyError:
        with pytest.raises(DependencyError) as caught:
            run(tmp_path, monkeypatch, body)
        assert caught.value.code is Code.CLUSTER_UNREACHABLE
        return caught.value

    def test_it_never_starts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ray_process, "_START_SECONDS", 1.0)
        error = self.refused(tmp_path, monkeypatch, "time.sleep(300)")
        assert "within 1 s" in error.message
        path = tmp_path / "work" / "child"  # it may not even have come so far
        assert not path.exists() or not born(int(path.read_text() or 1))

    def test_it_dies_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "exit 9" in self.refused(tmp_path, monkeypatch, "sys.exit(9)").message

    def test_it_dies_while_it_joins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ray_process, "reachable", lambda where: where)
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:7000")
        error = self.refused(tmp_path, monkeypatch, "line.send(found=True); os.kill(os.getpid(), signal.SIGTERM)")
        assert "'127.0.0.1:7000'" in error.message
        assert "SIGTERM" in error.message


def test_the_run_is_not_ended_by_a_signal_to_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    body = RUNS + "os.killpg(os.getpgid(0), signal.SIGHUP); time.sleep(300)"
    results, _, _ = run(tmp_path, monkeypatch, body)
    check(results, Code.WORKER_LOST, signal.SIGHUP.name)
    assert os.getpgid(0)
