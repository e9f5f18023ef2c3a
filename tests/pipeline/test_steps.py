"""Steps: attempts around every piece of work, tries again, verdicts, and what may not be swallowed."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from raydub.errors import Code, DependencyError, InterruptedRun, StageError
from raydub.manifests.job import Job
from raydub.pipeline.attempts import Attempts, run_dir, this_worker
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Assembled, Dropped, Failed, Item, Planned
from raydub.pipeline.ledger import Ledger, part_name
from raydub.pipeline.limits import StepLimits
from raydub.pipeline.rows import pack, unpack
from raydub.pipeline.steps import through_stages
from raydub.stages.engine import WeightsRecord
from raydub.stages.types import Chunk, Part, Span, TrackedChunk
from raydub.store import Store
from tests.pipeline.fakes import FakeToolbox, RealToolbox, ToolSteps
from tests.pipeline.hazards import FlakyConstructor, HazardToolbox
from tests.pipeline.test_driver import make_job

DEAD = {"host": "other", "pid": 1, "node": "n", "limit_s": 5.0}

A_PART = Part(Chunk("j", "", 0, 1, Span(0, 1)), "part.mkv", 1, 1, 0, {})


class Workshop:
    """Steps over a work folder, with a clock that does not run."""

    def __init__(
        self, folder: Path, tools: Any = HazardToolbox, run_id: str = "r", tries: int = 3, **more: Any
    ) -> None:
        self.settings = WorkSettings(str(folder / "work"), run_id, tries=tries)
        self.pauses: list[float] = []
        self.steps = ToolSteps(self.settings, tools, sleep=self.pauses.append, **more)
        self.attempts = Attempts(self.settings.work_dir, run_id)
        self.folder = folder

    def run(self, video: str) -> list[Item]:
        return list(through_stages(self.steps, make_job(self.folder, video, "j")))

    def attempt_files(self) -> list[str]:
        return sorted(path.name for path in (run_dir(self.settings.work_dir, "r") / "attempts").glob("*/*"))


def test_every_piece_of_work_is_begun_and_ended(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    planned, *parts = shop.run("ok:2")
    assert isinstance(planned, Planned)
    done = shop.steps.stitch(
        make_job(tmp_path, "ok:2", "j"), planned.job_dir, [p for p in parts if isinstance(p, Part)]
    )
    assert isinstance(done, Assembled)
    works = ["lipsync.000000", "lipsync.000001", "prepare", "render.000000", "render.000001", "stitch"]
    works += ["track.000000", "track.000001"]
    assert shop.attempt_files() == sorted(f"{work}.1.ended" for work in works)
    assert [item.attempt for item in (planned, *parts, done)] == [1, 1, 1, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize("stage", ["prepare", "track", "lipsync", "render"])
@pytest.mark.parametrize("hazard", ["flaky", "oom", "verify"])
def test_what_may_pass_is_tried_again_with_growing_pauses(tmp_path: Path, stage: str, hazard: str) -> None:
    shop = Workshop(tmp_path)
    planned, first, second = shop.run(f"{hazard}-{stage}:2:1:2")
    assert isinstance(second, Part)
    assert (planned if stage == "prepare" else second).attempt == 3  # type: ignore[union-attr]
    assert isinstance(first, Part)
    assert first.attempt == 1
    assert len(shop.pauses) == 2
    assert 1.0 <= shop.pauses[0] <= 1.25 < 2.0 <= shop.pauses[1] <= 2.5
    said = Store(tmp_path / "work").record(part_name(second.chunk))
    assert said is not None
    assert said["about"]["run"] == "r"


@pytest.mark.parametrize(
    ("hazard", "code", "tries"),
    [
        ("flaky", Code.STORAGE, 3),
        ("oom", Code.OUT_OF_MEMORY, 3),
        ("verify", Code.VERIFY_FAILED, 3),
        ("full", Code.DISK_FULL, 1),
        ("unpicklable", Code.INTERNAL, 1),
        ("exit", Code.INTERNAL, 1),
    ],
)
@pytest.mark.parametrize("stage", ["prepare", "lipsync", "render", "stitch"])
def test_what_does_not_pass_ends_with_its_code(tmp_path: Path, hazard: str, code: Code, tries: int, stage: str) -> None:
    shop = Workshop(tmp_path)
    items = shop.run(f"{hazard}-{stage}:2:0")
    if stage == "stitch":
        parts = [item for item in items if isinstance(item, Part)]
        items = [shop.steps.stitch(make_job(tmp_path, f"{hazard}-{stage}:2:0", "j"), parts[0].chunk.job_dir, parts)]
    [problem] = [item for item in items if isinstance(item, Failed)]
    assert (problem.error["code"], problem.attempt, problem.stage) == (code, tries, stage)
    assert len(shop.pauses) == tries - 1
    # however strange the exception was, the row travels
    assert unpack(pack(problem)) == problem
    assert isinstance(problem.exception(), Exception)
    if stage in ("lipsync", "render"):
        assert isinstance(items[-1], Dropped)
    assert all(name.endswith(".ended") for name in shop.attempt_files())


def test_a_constructor_that_fails_once_is_called_again(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, FlakyConstructor)
    planned, part = shop.run("ok:1")
    assert isinstance(part, Part)
    assert isinstance(planned, Planned)
    assert planned.attempt == 2


def test_a_model_that_fails_to_load_once_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real stage, with an engine whose device does not answer the first time."""
    from raydub.stages.synthesise import LipsyncStage

    loads: list[int] = []
    planned = FakeToolbox(WorkSettings(str(tmp_path / "work"), "r")).prepare(make_job(tmp_path, "ok:1", "j"))
    chunk = planned[1][0]
    tracked = FakeToolbox(WorkSettings(str(tmp_path / "work"), "r")).track(chunk)

    class Engine:
        name = "flaky"

        def weights(self) -> tuple[WeightsRecord, ...]:
            return (WeightsRecord("w", "0" * 64, "test"),)

        def load(self, device: str) -> None:
            loads.append(1)
            if len(loads) == 1:
                raise RuntimeError("CUDA driver initialization failed")

    plan = type("Plan", (), {"job": make_job(tmp_path, "ok:1", "j"), "weights": Engine().weights()})
    monkeypatch.setattr("raydub.stages.job_plan.load_plan", lambda folder: plan)
    monkeypatch.setattr("raydub.pipeline.context.make_job_engine", lambda options: Engine())
    fakes = FakeToolbox(WorkSettings(str(tmp_path / "work"), "r"))
    monkeypatch.setattr(LipsyncStage, "run", lambda self, chunk: FakeToolbox.lipsync(fakes, chunk))
    shop = Workshop(tmp_path, RealToolbox)
    done = shop.steps.step("lipsync", tracked)
    assert not isinstance(done, (Failed, TrackedChunk))
    assert (len(loads), len(shop.pauses)) == (2, 1)


@pytest.mark.parametrize("when", ["before", "while"])
def test_weights_that_are_others_than_the_plan_s_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The file was replaced after the plan was made, or while it was loaded."""
    from raydub.stages.synthesise import LipsyncStage

    fakes = FakeToolbox(WorkSettings(str(tmp_path / "work"), "r"))
    chunk = fakes.prepare(make_job(tmp_path, "ok:1", "j"))[1][0]
    loads: list[str] = []

    class Engine:
        name = "replaced"

        def weights(self) -> tuple[WeightsRecord, ...]:
            there = "b" if when == "before" or loads else "a"
            return (WeightsRecord("w.pth", there * 64, "test"),)

        def load(self, device: str) -> None:
            loads.append(device)

    planned = (WeightsRecord("w.pth", "a" * 64, "test"),)
    plan = type("Plan", (), {"job": make_job(tmp_path, "ok:1", "j"), "weights": planned})
    monkeypatch.setattr("raydub.stages.job_plan.load_plan", lambda folder: plan)
    monkeypatch.setattr("raydub.pipeline.context.make_job_engine", lambda options: Engine())
    monkeypatch.setattr(LipsyncStage, "run", lambda self, chunk: FakeToolbox.lipsync(fakes, chunk))
    shop = Workshop(tmp_path, RealToolbox)
    failed = shop.steps.step("lipsync", fakes.track(chunk))
    assert isinstance(failed, Failed)
    assert failed.error["code"] == Code.INPUT_CHANGED
    assert "w.pth" in failed.error["message"]
    assert len(loads) == (0 if when == "before" else 1)


def test_refused_weights_are_not_tried_again(tmp_path: Path) -> None:
    class Refusing(FakeToolbox):
        def __init__(self, settings: WorkSettings) -> None:
            raise DependencyError(Code.WEIGHTS_REFUSED, "a web page")

    shop = Workshop(tmp_path, Refusing)
    [problem] = shop.run("ok:1")
    assert isinstance(problem, Failed)
    assert (problem.error["code"], problem.attempt, shop.pauses) == (Code.WEIGHTS_REFUSED, 1, [])


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), InterruptedRun(Code.INTERRUPTED, "stop")])
@pytest.mark.parametrize("stage", ["prepare", "track", "stitch"])
def test_the_user_is_not_swallowed_and_nobody_died(tmp_path: Path, stop: BaseException, stage: str) -> None:
    class Stopping(FakeToolbox):
        pass

    def raise_it(*_: Any) -> None:
        raise stop

    setattr(Stopping, stage, raise_it)
    shop = Workshop(tmp_path, Stopping)

    def all_of_it() -> None:
        shop.run("ok:1")
        shop.steps.stitch(make_job(tmp_path, "ok:1", "j"), str(tmp_path), [A_PART])

    with pytest.raises(type(stop)):
        all_of_it()
    work = {"track": "track.000000"}.get(stage, stage)
    assert f"{work}.1.ended" in shop.attempt_files()
    assert all(name.endswith(".ended") for name in shop.attempt_files())


def dead_in(shop: Workshop, work: str, times: int, **more: Any) -> None:
    for _ in range(times):
        shop.attempts.begin("j", work, worker={**DEAD, **more})


@pytest.mark.parametrize("work", ["prepare", "track.000001", "render.000001", "stitch"])
def test_two_deaths_and_it_is_not_touched(tmp_path: Path, work: str) -> None:
    touched: list[str] = []

    class Watching(FakeToolbox):
        def __getattribute__(self, name: str) -> Any:
            if name in ("prepare", "track", "lipsync", "render", "stitch"):
                touched.append(name)
            return super().__getattribute__(name)

    shop = Workshop(tmp_path, Watching)
    dead_in(shop, work, 1)
    stage = work.partition(".")[0]
    if stage == "stitch":
        dead_in(shop, work, 1)
        item: Item = shop.steps.stitch(make_job(tmp_path, "ok:2", "j"), str(tmp_path), [A_PART])
        assert touched == []
    else:
        # once dead is done the second time, and counted
        items = Workshop(tmp_path, FakeToolbox).run("ok:2")
        assert not any(isinstance(item, Failed) for item in items)
        assert max(item.attempt for item in items if isinstance(item, (Planned, Part))) == 2
        for part in items[1:]:
            assert isinstance(part, Part)
            Path(part.path).unlink()
        dead_in(shop, work, 1)
        items = shop.run("ok:2")
        [item] = [item for item in items if isinstance(item, Failed)]
        assert touched.count(stage) == (0 if stage == "prepare" else 1), "the other chunk is worked on"
    assert isinstance(item, Failed)
    assert item.error["code"] == Code.QUARANTINED
    assert "2 times (on other)" in item.error["message"]


@pytest.mark.parametrize(
    ("overruns", "code"), [((True, True), Code.TIMEOUT), ((True, False), Code.QUARANTINED)], ids=["both", "one"]
)
def test_overruns_are_named_as_such(tmp_path: Path, overruns: tuple[bool, ...], code: Code) -> None:
    shop = Workshop(tmp_path)
    for late in overruns:
        attempt = shop.attempts.begin("j", "render.000000", worker=DEAD)
        if late:
            attempt.overran(5.0)
    [_, problem] = shop.run("ok:1")
    assert isinstance(problem, Failed)
    assert problem.error["code"] == code
    assert ("longer than 5 s" in problem.error["message"]) == (code == Code.TIMEOUT)


def test_lost_nodes_are_not_charged(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, alive=lambda record: record["node"] != "n")
    dead_in(shop, "track.000000", 5)
    [_, part] = shop.run("ok:1")
    assert isinstance(part, Part)
    assert part.attempt == 6


def test_a_part_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    """Ray repeats lost rows from the start; a finished part answers for its chunk at every stage."""
    shop = Workshop(tmp_path)
    planned, part = shop.run("ok:1")
    assert isinstance(planned, Planned)
    assert isinstance(part, Part)
    files = shop.attempt_files()
    for stage, item in (("track", part.chunk), ("lipsync", FakeToolbox(shop.settings).track(part.chunk))):
        again = shop.steps.step(stage, item)
        assert isinstance(again, Part)
        assert again.reused
    assert shop.attempt_files() == files


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    [_, part] = shop.run("ok:1")
    assert isinstance(part, Part)
    Path(part.path).write_text("x ")
    again = shop.run("ok:1")[1]
    assert isinstance(again, Part)
    assert not again.reused
    assert Ledger(str(tmp_path / "work")).finished_part(part.chunk) is not None


def test_marks_of_failure_that_cannot_be_written_do_not_kill_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from raydub.files import storage_error

    def fail(*_: Any) -> None:
        raise storage_error(OSError(28, "full"), "x")

    monkeypatch.setattr(Attempts, "give_up", fail)
    items = Workshop(tmp_path).run("bad-track:3")
    assert [type(item) for item in items] == [Planned, Part, Failed, Part]


@pytest.mark.parametrize("asked", ["given_up", "deaths", "count"])
def test_a_work_folder_that_does_not_answer_costs_a_try_and_never_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """A bucket may be out of reach for a while. An error that leaves a stage would end the whole run on Ray."""
    shop, real = Workshop(tmp_path), getattr(Attempts, asked)
    refusals = [1] * 2

    def refuse(*args: Any, **more: Any) -> Any:
        if refusals and refusals.pop():
            raise StageError(Code.STORAGE, "the store does not answer", retryable=True)
        return real(*args, **more)

    planned, *_ = shop.run("ok:2")
    assert isinstance(planned, Planned)
    chunk = dataclasses.replace(next(item for item in shop.run("ok:2")[1:] if isinstance(item, Part)).chunk, key="new")
    monkeypatch.setattr(Attempts, asked, refuse)
    assert not isinstance(shop.steps.step("track", chunk), Failed)
    assert len(shop.pauses) == (0 if asked == "count" else 2)
    refusals.extend([1] * 100)
    if asked == "count":
        monkeypatch.setattr(Attempts, "given_up", refuse)
    problem = shop.steps.step("track", chunk)
    assert isinstance(problem, Failed)
    assert problem.error["code"] == Code.STORAGE


def test_rendering_has_the_time_that_finishing_takes(tmp_path: Path) -> None:
    limits: dict[str, float] = {}

    class Slow(FakeToolbox):
        def prepare(self, job: Job) -> tuple[Planned, list[Chunk]]:
            planned, chunks = super().prepare(job)
            return planned, [dataclasses.replace(chunk, post_seconds=3.0) for chunk in chunks]

    settings = WorkSettings(str(tmp_path / "work"), "r")
    steps = ToolSteps(settings, Slow, worker=this_worker("node-1"))
    once = steps._once

    def noting(piece: Any, seconds: float, *rest: Any) -> Any:
        limits[piece.stage] = seconds
        return once(piece, seconds, *rest)

    steps._once = noting  # type: ignore[method-assign]
    items = list(through_stages(steps, make_job(tmp_path, "ok:1", "j")))
    assert isinstance(items[-1], Part)
    assert (limits["track"], limits["lipsync"], limits["render"]) == (350.0, 350.0, 350.0 + 25 * 8 * 3)


@pytest.mark.parametrize(("seconds", "expected"), [(None, 350.0), (7.0, 7.0)])
def test_attempts_tell_who_works_on_what_for_how_long(tmp_path: Path, seconds: float | None, expected: float) -> None:
    seen: list[dict[str, Any]] = []

    class Looking(FakeToolbox):
        def track(self, chunk: Chunk) -> TrackedChunk:
            seen.extend(
                json.loads(path.read_text())
                for path in run_dir(self._settings.work_dir, "r").glob("attempts/*/track.000000.1")
            )
            return super().track(chunk)

    settings = WorkSettings(str(tmp_path / "work"), "r", limits=StepLimits(flat=seconds))
    steps = ToolSteps(settings, Looking, worker=this_worker("node-1"))
    list(through_stages(steps, make_job(tmp_path, "ok:1", "j")))
    [record] = seen
    assert record["limit_s"] == expected
    assert (record["pid"], record["node"], record["job"]) == (os.getpid(), "node-1", "j")
    assert "frames 0 to 24" in record["what"]
