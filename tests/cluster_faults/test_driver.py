"""The driver dies, is stopped, is started twice: what is finished stays finished, and the next run does the rest."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from raydub.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED, Code
from tests.cluster_faults.clips import decoded, real_jobs
from tests.cluster_faults.faults import expected_text, steps, write_script
from tests.cluster_faults.harness import Case, cluster_of, until, whole


def rendered(case: Case) -> list[tuple[str, int]]:
    """(job, chunk) of every render begun, in order."""
    return [(job, chunk) for stage, job, chunk, _ in steps(case.work) if stage == "render"]


def killed_twice(case: Case, n_parts: int, *address: str) -> None:
    """SIGKILL the driver at a third and at two thirds of the parts, run to the end, run once more."""
    before: dict[str, float] = {}
    for third in (1, 2):
        run = case.start(*address)
        until(lambda third=third: len(case.markers()) >= third * n_parts // 3, f"{third}/3 of the markers", run)
        run.kill()
        if not address:
            # Without Ray the work was the driver's own child, which must not go on alone.
            until(lambda run=run: not _others(run.process.pid), "the end of the driver's children")
        else:
            until(lambda: _still(case), "the end of the work of a dead driver")
        finished = {path.name: path.stat().st_mtime_ns for path in case.marker_files()}
        assert third * n_parts // 3 <= len(finished) < n_parts
        assert before.items() <= finished.items()
        before = finished
    begun = len(steps(case.work))
    assert case.run(*address).code == EXIT_OK
    whole(case)
    finished = {path.name: path.stat().st_mtime_ns for path in case.marker_files()}
    # Only what was missing was done: as many renders as missing parts, and no marker of before was written again.
    assert len([step for step in steps(case.work)[begun:] if step[0] == "render"]) == n_parts - len(before)
    assert before.items() <= finished.items()
    assert len(finished) == n_parts
    begun = len(steps(case.work))
    last = case.run(*address)
    assert last.code == EXIT_OK
    assert len(steps(case.work)) == begun
    assert {row.attempts for row in case.results().values()} == {0}


def _others(group: int) -> list[int]:
    """Live processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(its_group) == group and state != "Z":
                found.append(int(entry.name))
    return found


def _still(case: Case) -> bool:
    """No step was begun and no part published for a second."""
    before = len(steps(case.work)), len(case.markers())
    time.sleep(1.0)
    return before == (len(steps(case.work)), len(case.markers()))


def test_driver_killed_twice_then_run_to_the_end(case: Case) -> None:
    jobs = {"a": 8, "b": 7}
    case.fake_jobs(**jobs)
    write_script(case.work, render=0.25)
    killed_twice(case, 15)
    for name, n in jobs.items():
        assert (case.root / "out" / f"{name}.mp4").read_text() == expected_text(name, n)


@pytest.mark.slow
def test_driver_killed_twice_on_ray(case: Case) -> None:
    jobs = {"a": 8, "b": 7}
    case.fake_jobs(**jobs)
    write_script(case.work, render=0.4)
    with cluster_of() as cluster:
        killed_twice(case, 15, "--address", cluster.address)
    for name, n in jobs.items():
        assert (case.root / "out" / f"{name}.mp4").read_text() == expected_text(name, n)


@pytest.mark.slow
def test_driver_killed_twice_with_real_stages(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Case(tmp_path_factory.mktemp("undisturbed"))
    for one in (case, other):
        n_parts = real_jobs(one)
        write_script(one.work, stages="real", render=0.3)
    assert other.run().code == EXIT_OK
    killed_twice(case, n_parts)
    for name, row in case.results().items():
        assert decoded(row.output) == decoded(other.results()[name].output)


@pytest.mark.slow
def test_two_drivers_on_the_same_outputs(case: Case) -> None:
    case.fake_jobs(a=5, b=5)
    write_script(case.work, {"do": "wait", "seconds": 120, "stage": "render", "job": "b", "chunk": 3, "times": 1})
    first = case.start()
    until(lambda: len(case.markers()) >= 8, "8 parts", first)
    second = case.run("--results", str(case.root / "second"))
    # The second one says who is in the way, and leaves everything to the first.
    assert second.code == EXIT_SOME_FAILED, second.said
    assert {row["id"]: row["error_code"] for row in second.report["results"]}["b"] == Code.OUTPUT_BUSY
    (case.work / "go").touch()
    assert first.wait() == EXIT_OK, first.said
    whole(case)
    for name in "ab":
        assert (case.root / "out" / f"{name}.mp4").read_text() == expected_text(name, 5)
    assert len(rendered(case)) == len(set(rendered(case))) == 10
    # Now nobody is in the way: there is nothing to do.
    assert case.run("--results", str(case.root / "second")).code == EXIT_OK
    assert len(rendered(case)) == 10


@pytest.mark.slow
def test_two_drivers_on_one_cluster(case: Case) -> None:
    case.fake_jobs(a=6, b=6)
    write_script(case.work, render=0.4)
    with cluster_of() as cluster:
        runs = [case.start("--address", cluster.address, "--results", str(case.root / name)) for name in ("x", "y")]
        codes = [run.wait() for run in runs]
    assert EXIT_OK in codes
    assert set(codes) <= {EXIT_OK, EXIT_SOME_FAILED}
    for run in runs:
        assert all(row["status"] == "ok" or row["error_code"] == Code.OUTPUT_BUSY for row in run.report["results"])
    for name in "ab":
        assert (case.root / "out" / f"{name}.mp4").read_text() == expected_text(name, 6)
    assert not [path for path in case.root.rglob("*") if ".tmp" in path.name]


@pytest.mark.parametrize(
    ("number", "code", "ray"),
    [
        pytest.param(signal.SIGINT, EXIT_INTERRUPTED, False, marks=pytest.mark.slow),
        (signal.SIGTERM, 143, False),
        pytest.param(signal.SIGINT, EXIT_INTERRUPTED, True, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, True, marks=pytest.mark.slow),
    ],
    ids=["sigint-plain", "sigterm-plain", "sigint-ray", "sigterm-ray"],
)
def test_stopped_and_run_again(case: Case, number: int, code: int, ray: bool) -> None:
    case.fake_jobs(a=3, b=6, c=6)
    write_script(case.work, render=0.4)
    if ray:
        with cluster_of() as cluster:
            stopped_and_again(case, number, code, "--address", cluster.address)
    else:
        stopped_and_again(case, number, code)


def stopped_and_again(case: Case, number: int, code: int, *address: str) -> None:
    """One run is stopped in its middle by a signal, the next one goes on."""
    run = case.start(*address)
    until(lambda: len(case.markers()) >= 4, "4 parts", run)
    run.process.send_signal(number)
    assert run.wait(90) == code, run.said
    whole(case, abandoned=True)
    rows = case.results()
    assert set(rows) == {"a", "b", "c"}
    assert {row.status for row in rows.values()} <= {"ok", "skipped"}
    assert all(row.error_code == Code.INTERRUPTED for row in rows.values() if row.status == "skipped")
    assert [row.status for row in rows.values()].count("skipped") >= 1
    until(lambda: _still(case), "the end of all work")
    assert not _others(run.process.pid)
    before = {path.name: path.stat().st_mtime_ns for path in case.marker_files()}
    # The list of what was not done is a manifest, too; the whole one does the same.
    assert case.run(*address).code == EXIT_OK
    whole(case)
    after = {path.name: path.stat().st_mtime_ns for path in case.marker_files()}
    assert before.items() <= after.items()
    assert len(after) == 15
    for name, n in {"a": 3, "b": 6, "c": 6}.items():
        assert (case.root / "out" / f"{name}.mp4").read_text() == expected_text(name, n)
