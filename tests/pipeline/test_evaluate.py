"""The stage evaluate and its ledger: what is evaluated again, and that a failure costs no job."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from raydub.errors import Code, StageError
from raydub.manifests.evaluation import Evaluation, Reason
from raydub.manifests.job import Job
from raydub.pipeline import evaluations
from raydub.pipeline.attempts import Attempts
from raydub.pipeline.context import WorkerContext, WorkSettings
from raydub.pipeline.driver import Driver
from raydub.pipeline.evaluations import Evaluations
from raydub.pipeline.events import Assembled, Failed, Item, Note, Output, Planned
from raydub.pipeline.finished import Finished
from raydub.pipeline.left import Left
from raydub.pipeline.progress import QuietProgress
from raydub.pipeline.registry import STAGES
from raydub.pipeline.rows import pack, unpack
from raydub.pipeline.stage_evaluate import EVALUATE
from raydub.pipeline.steps import Steps
from raydub.pipeline.strict import unasked
from raydub.pipeline.tally import Tally
from raydub.stages.evaluate.thresholds import load_thresholds
from raydub.stages.types import Part
from raydub.store import Store
from tests.pipeline.fakes import FAKE_STAGES
from tests.pipeline.test_driver import Scripted, make_job
from tests.pipeline.test_steps import A_PART

REASON = Reason(figure="delay_ms", value=200.0, limit=85.0, verdict="look", message="late", start=1.0, stop=2.0)


def judged(sha256: str = "a" * 64) -> Evaluation:
    return Evaluation(
        id="j", output="o.mp4", output_sha256=sha256, frames=10, duration=0.4, verdict="look", reasons=(REASON,)
    )


def asking(tmp_path: Path, job_id: str = "j") -> Job:
    job = make_job(tmp_path, "ok:1", job_id)
    return job.model_copy(update={"options": job.options.model_copy(update={"evaluate": True})})


def test_it_is_the_last_stage_and_only_for_jobs_that_ask(tmp_path: Path) -> None:
    assert STAGES[-1] is EVALUATE
    plain, asked = make_job(tmp_path, "ok:1", "a"), asking(tmp_path)
    assert not EVALUATE.wanted(Output(plain, "", []))
    assert EVALUATE.wanted(Output(asked, "", []))
    assert not EVALUATE.asked([plain])
    assert EVALUATE.asked([plain, asked])


def test_an_evaluation_stands_for_its_output_thresholds_and_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "work")
    kept = Evaluations(store)
    assert kept.columns("job", "a" * 64) is None
    columns = kept.keep("job", judged())
    assert columns["verdict"] == "look"
    assert columns["reasons"] == ("1.0 to 2.0 s: late",)
    assert Evaluation.from_json(Path(columns["evaluation"]).read_bytes()) == judged()
    assert kept.columns("job", "a" * 64) == columns
    assert kept.columns("job", "b" * 64) is None
    assert kept.columns("other", "a" * 64) is None
    own = load_thresholds().text
    assert Evaluations(store, own).columns("job", "a" * 64) == columns
    assert Evaluations(store, own + "# mine\n").columns("job", "a" * 64) is None
    assert Evaluations(store, "no toml").columns("job", "a" * 64) is None
    monkeypatch.setattr(evaluations, "running", lambda places: "other code")
    assert kept.columns("job", "a" * 64) is None
    monkeypatch.undo()
    monkeypatch.setattr(evaluations, "lse_digest", lambda: "weights that came")
    assert kept.columns("job", "a" * 64) is None
    monkeypatch.undo()
    Path(columns["evaluation"]).write_bytes(b"{}")
    assert kept.columns("job", "a" * 64) is None, "a damaged document counts as absent"


def part(folder: Path) -> Part:
    (folder / "part.mkv").write_text("0 ")
    return dataclasses.replace(A_PART, path=str(folder / "part.mkv"))


def broken(context: WorkerContext, output: Output) -> Output:
    raise StageError(Code.OUT_OF_MEMORY, "no memory is left")


def exiting(context: WorkerContext, output: Output) -> Output:
    raise SystemExit(3)


def fine(context: WorkerContext, output: Output) -> Output:
    path = output.path or output.job.output
    return dataclasses.replace(output, path=path, evaluated={"verdict": "good", "reasons": (), "evaluation": "e.json"})


@pytest.mark.parametrize(("run", "said"), [(broken, "no memory is left"), (exiting, "sys.exit(3)")])
def test_its_failure_is_a_warning(tmp_path: Path, run: Any, said: str) -> None:
    stages = (*FAKE_STAGES, dataclasses.replace(EVALUATE, run=run))
    steps = Steps(WorkSettings(str(tmp_path / "work"), "r", tries=1), stages)
    done = steps.finish(Output(asking(tmp_path), str(tmp_path), [part(tmp_path)]))
    assert isinstance(done, Assembled)
    assert done.evaluated == {}
    [warning] = done.warnings
    assert warning.startswith("W_NOT_EVALUATED: ")
    assert said in warning
    assert Path(done.output).exists()
    assert unasked(1, 1, done.warnings) is None, "--strict is about what was made"


def test_two_deaths_of_workers_are_a_warning_too(tmp_path: Path) -> None:
    stages = (*FAKE_STAGES, dataclasses.replace(EVALUATE, run=fine))
    settings = WorkSettings(str(tmp_path / "work"), "r", tries=1)
    for _ in range(2):
        dead = {"host": "here", "pid": 1, "node": "", "born": "", "what": "the step evaluate", "limit_s": 1.0}
        Attempts(settings.work_dir, "r").begin("j", "evaluate", worker=dead)
    done = Steps(settings, stages).finish(Output(asking(tmp_path), str(tmp_path), [part(tmp_path)]))
    assert isinstance(done, Assembled)
    assert done.evaluated == {}
    assert done.warnings[0].startswith("W_NOT_EVALUATED: ")
    assert "stitch" in done.seconds


def test_a_stitch_that_fails_still_fails_the_job(tmp_path: Path) -> None:
    stages = (*FAKE_STAGES, dataclasses.replace(EVALUATE, run=fine))
    steps = Steps(WorkSettings(str(tmp_path / "work"), "r", tries=1), stages)
    job = asking(tmp_path).model_copy(update={"video": make_job(tmp_path, "bad-stitch:1").video})
    done = steps.finish(Output(job, str(tmp_path), [part(tmp_path)]))
    assert isinstance(done, Failed)
    assert (done.stage, done.error["code"]) == ("stitch", Code.STITCH_FAILED)


def test_an_output_that_is_published_is_only_evaluated(tmp_path: Path) -> None:
    stages = (*FAKE_STAGES, dataclasses.replace(EVALUATE, run=fine))
    steps = Steps(WorkSettings(str(tmp_path / "work"), "r"), stages)
    job = asking(tmp_path)
    done = steps.finish(Output(job, str(tmp_path), []))
    assert isinstance(done, Assembled)
    assert set(done.seconds) == {"evaluate"}
    assert done.evaluated["verdict"] == "good"
    assert not Path(job.output).exists(), "nothing was stitched"
    assert unpack(pack(done)) == done


class Ends(Scripted):
    """An executor whose stitches end as they are told, and which keeps what was asked."""

    def __init__(self, items: list[Item], ends: list[Item], told: Callable[[], None] = lambda: None) -> None:
        super().__init__(items)
        self.ends, self.asked, self.told = ends, list[int](), told
        self.error: BaseException | None = None

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Any]) -> None:
        self.asked.append(len(parts))
        self.told()

    def assembled(self, wait: bool) -> Iterator[Item]:
        while self.asked and self.ends:
            yield self.ends.pop(0)
        if wait and self.error is not None:
            raise self.error


COLUMNS = {"verdict": "look", "reasons": ("late",), "evaluation": "/e.json"}


def test_what_an_earlier_run_finished_is_evaluated_without_being_made_again(tmp_path: Path) -> None:
    job = asking(tmp_path, "a")
    stored = {"status": "ok", "frames": 10, "synthesised": 4, "warnings": ("W_TIMING: said",)}
    end = Assembled("a", job.output, 0, {"evaluate": 1.5}, evaluated=COLUMNS)
    executor = Ends([Planned("a", str(tmp_path), 2, 10, finished=stored)], [end])
    kept: list[Any] = []
    driver = Driver(executor, record=lambda job, plan, result: kept.append(result))  # type: ignore[arg-type]
    [result], _ = driver.run([job])
    assert executor.asked == [0]
    assert (result.status, result.frames, result.synthesised) == ("ok", 10, 4)
    assert (result.verdict, result.reasons, result.evaluation) == ("look", ("late",), "/e.json")
    assert result.seconds == {"evaluate": 1.5}
    assert result.warnings == ("W_TIMING: said",)
    assert kept == [result]


def test_an_evaluation_alone_is_all_the_work_that_is_left(tmp_path: Path) -> None:
    job = asking(tmp_path, "a")
    stored = {"status": "ok", "frames": 100, "synthesised": 4}
    extent = {"width": 640, "height": 360, "rate": "25", "source": 100, "untracked": 1.0}
    plan = Planned("a", str(tmp_path), 2, 100, finished=stored, extent=extent)
    now, progress = 0.0, QuietProgress(1)
    progress.tally = tally = Tally(1, lambda: now)
    seen: list[Left] = []
    tally.expect(["a"], 1)
    tally.foresee("a", 100, 2, {"prepare": 1.0, "render": 500.0, "evaluate": 5.0})

    def stitched() -> None:
        nonlocal now
        tally.note(Note("evaluate", "a", 0, 0.0, 1, "here", 0.0, done=False))
        now += 1.0
        seen.append(tally.left())
        assert (tally.done_frames, tally.planned_frames, tally.unplanned) == (100, 100, 0)

    executor = Ends([plan], [Assembled("a", job.output, 0, {"evaluate": 1.5}, evaluated=COLUMNS)], stitched)
    Driver(executor, watcher=progress).run([job])
    assert set(seen[0].stages) == {"evaluate"}
    assert seen[0].seconds is not None
    assert seen[0].seconds < 20
    assert tally.planned_frames == 100


def test_strict_holds_for_what_is_only_evaluated(tmp_path: Path) -> None:
    job = asking(tmp_path, "a")
    stored = {"status": "ok", "frames": 10, "synthesised": 0}
    end = Assembled("a", job.output, 0, {"evaluate": 1.5}, evaluated=COLUMNS)
    executor = Ends([Planned("a", str(tmp_path), 2, 10, finished=stored)], [end])
    [result], _ = Driver(executor, strict=True).run([job])
    assert (result.status, result.error_code) == ("failed", Code.STRICT)


def test_what_is_evaluated_already_is_left_alone(tmp_path: Path) -> None:
    job = asking(tmp_path, "a")
    executor = Ends([Planned("a", str(tmp_path), 2, 10, finished={"status": "ok", "frames": 10, **COLUMNS})], [])
    [result], _ = Driver(executor).run([job])  # type: ignore[arg-type]
    assert executor.asked == []
    assert result.verdict == "look"


def test_a_failed_evaluation_of_a_finished_output_keeps_the_result(tmp_path: Path) -> None:
    job = asking(tmp_path, "a")
    end = Assembled("a", job.output, 0, {}, warnings=("W_NOT_EVALUATED: no memory",))
    executor = Ends([Planned("a", str(tmp_path), 2, 10, finished={"status": "ok", "frames": 10})], [end])
    [result], _ = Driver(executor).run([job])  # type: ignore[arg-type]
    assert (result.status, result.verdict, result.warnings) == ("ok", None, ("W_NOT_EVALUATED: no memory",))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("cluster gone"), None])
def test_a_run_that_ends_while_it_evaluates_keeps_the_result(
    tmp_path: Path, error: BaseException | None, strict: bool
) -> None:
    stored = {"status": "ok", "frames": 10, "synthesised": 4, "warnings": ("W_NOT_EVALUATED: before", "W_TIMING: x")}
    executor = Ends([Planned("a", str(tmp_path), 2, 10, finished=stored)], [])
    executor.error = error
    [result], interrupted = Driver(executor, strict=strict).run([asking(tmp_path, "a")])  # type: ignore[arg-type]
    assert (result.status, result.frames, result.error_code) == ("ok", 10, None)
    assert [warning.partition(":")[0] for warning in result.warnings] == ["W_TIMING", "W_NOT_EVALUATED"]
    assert "before" not in result.warnings[-1]
    assert interrupted is isinstance(error, KeyboardInterrupt)


def test_the_ledger_knows_whether_a_finished_job_is_evaluated(tmp_path: Path) -> None:
    job = asking(tmp_path, "a")
    plain = job.model_copy(update={"options": job.options.model_copy(update={"evaluate": False})})
    Path(job.output).parent.mkdir(parents=True, exist_ok=True)
    Path(job.output).write_text("film")
    plan = Planned("a", str(tmp_path), 1, 5, key="content")
    work = tmp_path / "work"
    Finished(work).write(plain, None, plan, {"status": "ok", "frames": 5, "verdict": "good"})
    asked = Finished(work).of(job, "content")
    assert asked is not None
    assert asked["verdict"] is None, "no evaluation of this output is there"
    from raydub.identity import identify

    Evaluations(Store(work)).keep("content", judged(identify(job.output, Store(work).identities).sha256))
    known = Finished(work).of(job, "content")
    assert known is not None
    assert known["verdict"] == "look"
    assert Finished(work).of(plain, "content") == {"status": "ok", "frames": 5, "verdict": "good"}
