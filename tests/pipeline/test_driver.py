"""The driver over the plain loop, with stages that are text files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from raydub.errors import Code, StageError
from raydub.manifests.job import Job
from raydub.manifests.results import JobResult
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.driver import Driver
from raydub.pipeline.events import Assembled, Failed, Item, Note, Planned
from raydub.stages.types import Chunk, Part, Span
from tests.kept import blobs_below
from tests.pipeline.fakes import FAKE_STAGES, LocalExecutor, record_in


def make_job(tmp_path: Path, video: str, name: str = "", line: int | None = None) -> Job:
    name = name or video.replace(":", "-")
    return Job(id=name, video=video, audio="a.wav", output=str(tmp_path / "out" / f"{name}.mp4"), line=line)


class Notes:
    def __init__(self) -> None:
        self.notes: list[Note] = []

    def note(self, note: Note) -> None:
        if note.done:
            self.notes.append(note)


def run(tmp_path: Path, jobs: Sequence[Job], run_id: str = "r1", notes: Notes | None = None):  # type: ignore[no-untyped-def]
    executor = LocalExecutor(WorkSettings(str(tmp_path / "work"), run_id), FAKE_STAGES, notes)
    return Driver(executor, record=record_in(tmp_path / "work")).run(jobs)


def test_every_job_has_one_outcome_and_bad_ones_stop_nobody(tmp_path: Path) -> None:
    videos = ["ok:3", "bad-prepare", "bad-track:4", "bad-render:2", "bug-lipsync:2", "bad-stitch:1", "ok:1"]
    jobs = [make_job(tmp_path, video, f"j{i}", line=i + 1) for i, video in enumerate(videos)]
    results, interrupted = run(tmp_path, jobs)
    assert not interrupted
    assert [result.id for result in results] == [job.id for job in jobs]
    assert [result.error_code for result in results] == [
        None,
        Code.INPUT_MISSING,
        Code.INPUT_TRUNCATED,
        Code.INPUT_TRUNCATED,
        Code.INTERNAL,
        Code.STITCH_FAILED,
        None,
    ]
    assert [result.line for result in results] == [1, 2, 3, 4, 5, 6, 7]
    assert results[1].hint == "check the path"
    good = results[0]
    assert (good.status, good.frames, good.synthesised, good.untouched, good.faceless) == ("ok", 75, 39, 36, 3)
    assert good.frames == good.synthesised + good.untouched
    assert set(good.seconds) == {"prepare", "decode", "track", "lipsync", "render", "stitch"}
    assert good.seconds["decode"] == 0.75
    assert (good.engine, good.warnings, good.attempts) == ("fake", ("W_TEST",), 1)
    assert Path(jobs[0].output).read_text() == "0 1 2 "


def test_a_failed_job_costs_no_more_work(tmp_path: Path) -> None:
    job = make_job(tmp_path, "bad-track:9")
    run(tmp_path, [job])
    [log] = (tmp_path / "work" / "jobs").glob("*/track.log")
    assert log.read_text().split() == ["0", "1"]
    # another run tries again
    run(tmp_path, [job], "r2")
    assert log.read_text().split() == ["0", "1", "1"]


def test_finished_jobs_and_parts_are_not_done_again(tmp_path: Path) -> None:
    job = make_job(tmp_path, "ok:3")
    notes = Notes()
    first, _ = run(tmp_path, [job], notes=notes)
    assert [note.stage for note in notes.notes] == ["prepare", *["track", "lipsync", "render"] * 3, "stitch"]
    notes = Notes()
    again, _ = run(tmp_path, [job.model_copy(update={"line": 7})], notes=notes)
    assert [note.stage for note in notes.notes] == ["prepare"]
    assert again[0].status == "ok"
    assert again[0].attempts == 0
    assert (again[0].frames, again[0].line) == (first[0].frames, 7)
    # output lost: stitched from the parts that are there; one part lost: only that one is made
    Path(job.output).unlink()
    [part] = [path for path in blobs_below(tmp_path / "work", "parts") if path.read_text() == "1 "]
    part.unlink()
    notes = Notes()
    third, _ = run(tmp_path, [job], notes=notes)
    assert [note.stage for note in notes.notes] == ["prepare", "track", "lipsync", "render", "stitch"]
    assert third[0].frames == first[0].frames
    assert Path(job.output).read_text() == "0 1 2 "


def test_an_output_that_was_replaced_is_made_again(tmp_path: Path) -> None:
    job = make_job(tmp_path, "ok:1")
    run(tmp_path, [job])
    Path(job.output).write_text("something else")
    notes = Notes()
    run(tmp_path, [job], notes=notes)
    assert notes.notes[-1].stage == "stitch"
    assert Path(job.output).read_text() == "0 "


def test_two_jobs_that_share_their_work_both_get_an_output(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "ok:2", "one"), make_job(tmp_path, "ok:2", "two")]
    results, _ = run(tmp_path, jobs)
    assert [result.status for result in results] == ["ok", "ok"]
    assert Path(jobs[0].output).read_text() == Path(jobs[1].output).read_text() == "0 1 "


class Scripted:
    """An executor that says what it is told to say."""

    def __init__(self, items: list[Item], error: BaseException | None = None) -> None:
        self._items, self._error = items, error

    def items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        yield from self._items
        if self._error is not None:
            raise self._error

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> None: ...

    def assembled(self, wait: bool) -> Iterator[Item]:
        yield from ()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (None, "failed", Code.INTERNAL),
        (RuntimeError("cluster gone"), "failed", Code.INTERNAL),
        (KeyboardInterrupt(), "skipped", Code.INTERRUPTED),
    ],
)
def test_jobs_without_outcome_get_one(tmp_path: Path, error: BaseException | None, status: str, code: Code) -> None:
    jobs = [make_job(tmp_path, "ok:1", "a"), make_job(tmp_path, "ok:1", "b")]
    results, interrupted = Driver(Scripted([], error)).run(jobs)  # type: ignore[arg-type]
    assert [(result.status, result.error_code) for result in results] == [(status, code)] * 2
    assert interrupted == isinstance(error, KeyboardInterrupt)


def part_of(job: Job, index: int, n: int, **more: Any) -> Part:
    return Part(Chunk(job.id, "folder", index, n, Span(index * 5, index * 5 + 5)), "p", 5, 1, 0, **more)


def test_attempts_are_the_most_that_any_piece_took(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "ok:2", name) for name in "abc"]
    items: list[Item] = [
        Planned("a", str(tmp_path), 2, 10),
        part_of(jobs[0], 0, 2, attempt=2),
        part_of(jobs[0], 1, 2, attempt=7, reused=True),
        Assembled("a", str(tmp_path / "none.mp4"), 10, {"stitch": 1.0}),
        Planned("b", str(tmp_path), 2, 10, attempt=2),
        Failed("b", "track", "StageError", {"code": "E_QUARANTINED", "message": "m"}, attempt=3),
        Failed("c", "prepare", "StageError", {"code": "E_QUARANTINED", "message": "m"}, attempt=0),
    ]
    results, _ = Driver(Scripted(items)).run(jobs)  # type: ignore[arg-type]
    assert [(result.status, result.attempts) for result in results] == [
        ("ok", 2),
        ("quarantined", 3),
        ("quarantined", 0),
    ]


def test_a_plan_and_parts_may_come_twice(tmp_path: Path) -> None:
    job = make_job(tmp_path, "ok:1", "a")
    plan = Planned("a", str(tmp_path), 1, 5)
    twice: list[Item] = [plan, part_of(job, 0, 1), plan, part_of(job, 0, 1), Assembled("a", "o", 5, {"stitch": 1.0})]
    [result], _ = Driver(Scripted(twice)).run([job])  # type: ignore[arg-type]
    assert (result.status, result.frames) == ("ok", 5)


def test_a_plan_that_comes_again_may_be_finished(tmp_path: Path) -> None:
    """Another driver finished the job between a worker's death and the second preparation, which then has no chunks."""
    job = make_job(tmp_path, "ok:2", "a")
    finished = Planned("a", str(tmp_path), 2, 10, finished={"status": "ok", "frames": 10})
    items: list[Item] = [Planned("a", str(tmp_path), 2, 10), part_of(job, 0, 2), finished]
    [result], _ = Driver(Scripted(items)).run([job])  # type: ignore[arg-type]
    assert (result.status, result.frames) == ("ok", 10)


def test_what_cannot_be_recorded_or_shown_fails_no_job(tmp_path: Path) -> None:
    """A full disk for the record, a closed terminal for the progress."""

    class Closed:
        def planned(self, *_: object) -> None:
            raise BrokenPipeError

        part = finished = planned

    def record(job: Job, plan: Planned, result: JobResult) -> None:
        raise StageError(Code.DISK_FULL, "no space")

    job = make_job(tmp_path, "ok:2")
    executor = LocalExecutor(WorkSettings(str(tmp_path / "work"), "r"), FAKE_STAGES)
    [result], _ = Driver(executor, Closed(), record=record).run([job])
    assert result.status == "ok"


def test_finished_jobs_are_recorded_with_their_results(tmp_path: Path) -> None:
    kept: list[tuple[str, str, int]] = []

    def record(job: Job, plan: Planned, result: JobResult) -> None:
        kept.append((job.id, result.status, result.attempts))
        record_in(tmp_path / "work")(job, plan, result)

    jobs = [make_job(tmp_path, "ok:1", "a"), make_job(tmp_path, "bad-track:2", "b")]
    for run_id in ("r1", "r2"):
        executor = LocalExecutor(WorkSettings(str(tmp_path / "work"), run_id), FAKE_STAGES)
        Driver(executor, record=record).run(jobs)
    assert kept == [("a", "ok", 1), ("a", "ok", 0)]


def test_a_record_of_another_version_fails_its_job_only(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "ok:1", "a"), make_job(tmp_path, "ok:1", "b")]
    plans: list[Item] = [
        Planned("a", "f", 1, 5, finished={"status": "ok", "strange": 1}),
        Planned("b", "f", 1, 5, finished={"status": "ok", "frames": 5}),
    ]
    results, _ = Driver(Scripted(plans)).run(jobs)  # type: ignore[arg-type]
    assert [(result.status, result.error_code) for result in results] == [("failed", Code.STORAGE), ("ok", None)]


def test_a_stop_whose_exception_got_lost_still_stops(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "ok:1", "a"), make_job(tmp_path, "ok:1", "b")]
    driver = Driver(Scripted([Planned("a", "f", 1, 5)]), stopping=lambda: True)  # type: ignore[arg-type]
    results, interrupted = driver.run(jobs)
    assert interrupted
    assert [result.status for result in results] == ["skipped", "skipped"]
    assert {name: result.status for name, result in driver.stopped_here().items()} == {"a": "skipped", "b": "skipped"}


def test_no_jobs_no_results(tmp_path: Path) -> None:
    assert run(tmp_path, []) == ([], False)
