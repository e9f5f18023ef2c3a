"""Disks that are full, storage that fails, codecs that hang, errors that cannot travel."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, Code
from tests.cluster_faults.clips import decoded, real_jobs
from tests.cluster_faults.faults import FRAMES, expected_text, steps, write_script
from tests.cluster_faults.harness import Case, cluster_of, until, whole


def test_disk_full(case: Case) -> None:
    jobs = {"at-part": 3, "at-marker": 3, "at-output": 2, "fine": 2}
    case.fake_jobs(**jobs)
    # The second part of one job, and the record of the third one of another: no other job has three.
    third = rf'"span": \[ {2 * FRAMES}, {3 * FRAMES} \].*/tmp/\S*\.json$'
    full = [rf"^at-part {FRAMES} .*/tmp/\S*\.mp4$", third, r"/out/\.at-output\."]
    write_script(case.work, *({"do": "full", "match": match} for match in full))
    (case.work / "full").touch()
    run = case.run()
    assert run.code == EXIT_SOME_FAILED, run.said
    whole(case)
    rows = case.results()
    assert {name: row.error_code for name, row in rows.items()} == {
        "at-part": Code.DISK_FULL,
        "at-marker": Code.DISK_FULL,
        "at-output": Code.DISK_FULL,
        "fine": None,
    }
    assert [path.name for path in (case.root / "out").iterdir()] == ["fine.mp4"]
    # Waiting makes no space: nothing was tried twice.
    assert len(steps(case.work)) == len(set(steps(case.work)))
    before = case.markers()
    (case.work / "full").unlink()
    assert case.run().code == EXIT_OK
    whole(case)
    assert before.items() <= case.markers().items()
    for name, n in jobs.items():
        assert (case.root / "out" / f"{name}.mp4").read_text() == expected_text(name, n)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, int], None]]:
    """Mounts a file system of so many KiB on a folder; only root can, so the test skips elsewhere."""
    mounted: list[Path] = []

    def mount(folder: Path, kib: int) -> None:
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=20)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting a small file system needs root")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


@pytest.mark.slow
def test_the_work_disk_fills_up(
    case: Case, small_disk: Callable[[Path, int], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Case(tmp_path_factory.mktemp("undisturbed"))
    small_disk(case.work, 16 << 10)
    for one in (case, other):
        real_jobs(one)
        write_script(one.work, stages="real", render=0.3)
    assert other.run().code == EXIT_OK
    run = case.start()
    until(lambda: len(case.markers()) >= 2, "2 parts", run)
    filler = case.work / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
    assert run.wait() == EXIT_SOME_FAILED, run.said
    before = case.markers()
    rows = case.results()
    assert {row.error_code for row in rows.values() if row.status != "ok"} == {Code.DISK_FULL}
    filler.unlink()
    assert case.run().code == EXIT_OK
    whole(case)
    assert before.items() <= case.markers().items()
    for name, row in case.results().items():
        assert decoded(row.output) == decoded(other.results()[name].output)


@pytest.mark.slow
def test_the_output_does_not_fit(case: Case, small_disk: Callable[[Path, int], None]) -> None:
    real_jobs(case)
    write_script(case.work, stages="real")
    rows = [{"id": "en", "video": "clip.mp4", "audio": "en.wav", "output": "small/en.mp4"}]
    rows.append({"id": "es", "video": "clip.mp4", "audio": "es.wav", "output": "es.mp4"})
    case.rows(rows)
    small_disk(case.root / "small", 16)
    run = case.run()
    assert run.code == EXIT_SOME_FAILED, run.said
    whole(case)
    found = case.results()
    assert (found["en"].error_code, found["es"].status) == (Code.DISK_FULL, "ok")
    assert list((case.root / "small").iterdir()) == []


@pytest.mark.slow
def test_a_hang_in_libav_costs_its_job_only(case: Case) -> None:
    case.fake_jobs(a=2, stuck=2)
    write_script(case.work, {"do": "libav", "stage": "stitch", "job": "stuck"})
    run = case.run("--step-timeout", "20")
    assert run.code == EXIT_SOME_FAILED, run.said
    whole(case)
    assert {name: row.error_code for name, row in case.results().items()} == {"a": None, "stuck": Code.TIMEOUT}
    assert len([step for step in steps(case.work) if step[:2] == ("stitch", "stuck")]) == 2


@pytest.mark.slow
def test_a_hang_in_libav_costs_only_the_stitch(case: Case) -> None:
    real_jobs(case)
    write_script(case.work, {"do": "libav", "stage": "stitch"}, stages="real")
    run = case.run("--step-timeout", "60")
    assert run.code == EXIT_SOME_FAILED, run.said
    whole(case)
    assert {row.error_code for row in case.results().values()} == {Code.TIMEOUT}
    # Without the hang the films are put together from the parts that are there.
    write_script(case.work, stages="real")
    begun = len(steps(case.work))
    assert case.run().code == EXIT_OK
    assert {stage for stage, *_ in steps(case.work)[begun:]} <= {"prepare", "stitch"}


@pytest.mark.slow
@pytest.mark.parametrize("ray", [False, True], ids=["plain", "ray"])
def test_a_step_that_hangs_is_ended(case: Case, ray: bool) -> None:
    case.fake_jobs(a=2, stuck=3, c=2)
    write_script(case.work, {"do": "hang", "seconds": 3600, "stage": "lipsync", "job": "stuck", "chunk": 1})
    if ray:
        with cluster_of() as cluster:
            run = case.run("--step-timeout", "20", "--address", cluster.address)
    else:
        run = case.run("--step-timeout", "20")
    assert run.code == EXIT_SOME_FAILED, run.said
    whole(case)
    rows = case.results()
    assert {name: row.error_code for name, row in rows.items()} == {"a": None, "stuck": Code.TIMEOUT, "c": None}
    assert len([step for step in steps(case.work) if step[:3] == ("lipsync", "stuck", 1)]) == 2


ROWS = (
    {"do": "storage", "stage": "render", "job": "flaky", "chunk": 1, "times": 2},
    {"do": "storage", "stage": "render", "job": "broken", "chunk": 0},
    {"do": "unpicklable", "stage": "track", "job": "odd", "chunk": 1},
)


@pytest.mark.parametrize("ray", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["plain", "ray"])
def test_flaky_storage_and_errors_that_cannot_travel(case: Case, ray: bool) -> None:
    case.fake_jobs(flaky=3, broken=2, odd=3, fine=2)
    write_script(case.work, *ROWS)
    run = case.run_on(ray)
    assert run.code == EXIT_SOME_FAILED, run.said
    whole(case)
    rows = case.results()
    assert {name: row.error_code for name, row in rows.items()} == {
        "flaky": None,
        "broken": Code.STORAGE,
        "odd": Code.INTERNAL,
        "fine": None,
    }
    assert (rows["flaky"].attempts, rows["broken"].attempts, rows["fine"].attempts) == (3, 3, 1)
    assert "CannotTravel" in (rows["odd"].error_message or "")
    for name, n in {"flaky": 3, "fine": 2}.items():
        assert (case.root / "out" / f"{name}.mp4").read_text() == expected_text(name, n)
