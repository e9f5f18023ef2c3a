"""Several worker processes on one machine: the same outcomes as one, work side by side, and any of them may die."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from raydub.errors import Code
from raydub.manifests.results import JobResult
from raydub.pipeline import local_workers as sizing
from raydub.pipeline.child import with_blob
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.driver import Driver
from raydub.pipeline.events import Item
from raydub.pipeline.limits import StepLimits
from raydub.pipeline.local_workers import local_workers
from raydub.pipeline.supervised import SupervisedExecutor
from raydub.pipeline.threads import usable_cores
from raydub.stages.types import Part
from tests.pipeline import test_driver
from tests.pipeline.test_driver import make_job

HAZARDS = "tests.pipeline.hazards:HAZARD_STAGES"


class Notes(test_driver.Notes):
    def pids(self, *stages: str) -> set[int]:
        return {note.pid for note in self.notes if note.stage in stages}


def run(
    tmp_path: Path,
    videos: Sequence[str],
    notes: Notes,
    *,
    workers: int = 2,
    limits: StepLimits | None = None,
    stages: str = HAZARDS,
) -> tuple[list[JobResult], SupervisedExecutor]:
    jobs = [make_job(tmp_path, video, f"j{i}", line=i + 1) for i, video in enumerate(videos)]
    jobs = [job.model_copy(update={"audio": f"{job.id}.wav"}) for job in jobs]
    settings = WorkSettings(str(tmp_path / "work"), "r1", limits=limits or StepLimits())
    executor = SupervisedExecutor(settings, stages, notes, workers=workers, stall=60.0)
    try:
        results, interrupted = Driver(executor).run(jobs)
    finally:
        executor.close()
    assert not interrupted
    assert not list(tmp_path.rglob("*.tmp*"))
    return results, executor


def test_chunks_of_one_job_side_by_side(tmp_path: Path) -> None:
    notes = Notes()
    [result], _ = run(tmp_path, ["ok:6"], notes, stages="tests.pipeline.hazards:MEETING_STAGES")
    assert result.status == "ok"
    assert Path(result.output or "").read_text() == "0 1 2 3 4 5 "
    assert len(notes.pids("render")) == 2


def test_outcomes_are_those_of_one_worker(tmp_path: Path) -> None:
    videos = ["ok:4", "bad-prepare", "bad-track:4", "segv-render:3:1", "bad-stitch:1", "ok:1"]
    results, _ = run(tmp_path, videos, Notes(), workers=3)
    assert [result.status for result in results] == ["ok", "failed", "failed", "quarantined", "failed", "ok"]
    assert Path(results[0].output or "").read_text() == "0 1 2 3 "
    assert "chunk 1 of 3" in (results[3].error_message or "")


def test_one_chunk_needs_one_process(tmp_path: Path) -> None:
    notes = Notes()
    results, _ = run(tmp_path, ["ok:1"], notes, workers=4)
    assert results[0].status == "ok"
    assert len(notes.pids("prepare", "track", "lipsync", "render", "stitch")) == 1


def test_workers_get_chunks_that_are_not_neighbours(tmp_path: Path) -> None:
    settings = WorkSettings(str(tmp_path / "work"), "r1")
    executor = SupervisedExecutor(settings, "tests.pipeline.fakes:FAKE_STAGES", workers=2)
    given: list[int] = []
    give = executor._give

    def noted(worker: Any, order: Any) -> None:
        if order.kind == "chunk":
            given.append(with_blob(order.message["chunk"]).index)
        give(worker, order)

    executor._give = noted  # type: ignore[method-assign]
    try:
        assert sum(isinstance(item, Part) for item in executor.items([make_job(tmp_path, "ok:5", "j0")])) == 5
    finally:
        executor.close()
    assert given == [0, 3, 1, 4, 2]


@pytest.mark.parametrize("harm", ["", "segv", "exit", "flaky", "hang"])
def test_workers_start_while_the_first_prepares(tmp_path: Path, harm: str) -> None:
    """Whatever happens to them then, the job is done."""
    notes, work = Notes(), tmp_path / "work"
    if harm:
        work.mkdir(parents=True)
        (work / "harm").write_text(harm)
    [result], _ = run(tmp_path, ["ok:6"], notes, workers=2, stages="tests.pipeline.hazards:WARM_STAGES")
    assert (result.status, Path(result.output or "").read_text()) == ("ok", "0 1 2 3 4 5 ")
    [spare] = {int(line) for line in (work / "warmed").read_text().split()}
    assert spare not in notes.pids("prepare")
    if harm in ("", "flaky"):
        assert spare in notes.pids("render")


def test_a_worker_killed_for_memory_is_done_without(tmp_path: Path) -> None:
    """By SIGKILL, which only the kernel or a person sends; a crash or an overrun costs no worker."""
    notes = Notes()
    results, executor = run(tmp_path / "killed", ["kill-render:6:2:1", "ok:2"], notes, workers=2)
    assert [result.status for result in results] == ["ok", "ok"]
    assert results[0].attempts == 2
    assert Path(results[0].output or "").read_text() == "0 1 2 3 4 5 "
    assert executor._most == 1
    results, executor = run(tmp_path / "crashed", ["segv-render:3:1:1"], Notes(), workers=2)
    assert (results[0].status, executor._most) == ("ok", 2)
    results, executor = run(
        tmp_path / "late", ["hang-track:2:1"], Notes(), workers=2, limits=StepLimits(flat=1.0, grace=0.3)
    )
    assert (results[0].error_code, executor._most) == (Code.TIMEOUT, 2)


def test_a_stopped_worker_is_noticed_while_others_work(tmp_path: Path) -> None:
    settings = WorkSettings(str(tmp_path / "work"), "r1", limits=StepLimits(flat=1.0, grace=0.3))
    executor = SupervisedExecutor(settings, HAZARDS, workers=2, stall=2.0)
    job = make_job(tmp_path, "slow:20", "j0")
    stopped: list[int] = []
    found: list[Item] = []
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT012  the first worker is stopped in the middle
            for item in executor.items([job]):
                found.append(item)
                working = [worker for worker in executor._workers if worker.order and worker.patience == 2.0]
                if isinstance(item, Part) and working and not stopped:
                    [worker] = working
                    stopped.append(worker.child.pid)
                    os.kill(worker.child.pid, signal.SIGSTOP)
        assert getattr(caught.value, "code", None) is Code.STALLED
        assert len(found) > 3, "the other worker went on"
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        executor.close()


def test_as_many_as_cores_and_memory_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, restored = make_job(tmp_path, "ok:1", "a"), make_job(tmp_path, "ok:1", "b")
    restored = restored.model_copy(update={"options": restored.options.model_copy(update={"restore": "gfpgan"})})
    monkeypatch.setattr(sizing, "usable_cores", lambda: 16)
    for memory, jobs, expected in (
        (None, [plain], 16),
        (64 << 30, [plain], 16),
        (9 << 30, [plain], 8),
        (13 << 30, [plain, restored], 4),
        (0, [plain], 1),
    ):
        monkeypatch.setattr(sizing, "available_memory", lambda memory=memory: memory)
        assert local_workers(jobs) == expected
    assert local_workers([plain], asked=3) == 3
    assert caplog.text == ""
    assert local_workers([plain], asked=17) == 17
    assert "17 workers share 16 cores" in caplog.text
    monkeypatch.undo()
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    assert (sizing.available_memory() or 1 << 30) > 1 << 20


def test_a_container_s_limits_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "_CGROUP", tmp_path)
    free = sizing.available_memory()
    for name, text in (("memory.max", "max"), ("memory.current", "5"), ("memory.stat", "")):
        (tmp_path / name).write_text(text)
    assert sizing.available_memory() is not None
    (tmp_path / "memory.max").write_text(f"{1 << 20}\n")
    (tmp_path / "memory.current").write_text(f"{1 << 19}\n")
    (tmp_path / "memory.stat").write_text(f"anon 7\ninactive_file {1 << 18}\n")
    assert sizing.available_memory() == (1 << 19) + (1 << 18)
    assert free is None or free > 1 << 20
