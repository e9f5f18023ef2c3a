"""The speak step: which jobs it touches, how it fails, what of it the results tell, and a long script on several
workers of a Ray."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from raydub.errors import Code, InputError, InterruptedRun, StageError
from raydub.manifests.job import Job, needs_sound
from raydub.manifests.options import Options
from raydub.manifests.results import JobResult
from raydub.manifests.speech import SpeechTracks, VoiceTrack
from raydub.pipeline.attempts import Attempts, run_dir, this_worker
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.dataset import _divide
from raydub.pipeline.driver import Driver
from raydub.pipeline.events import Assembled, Failed, Item, Part, Planned
from raydub.pipeline.graph import RayExecutor
from raydub.pipeline.pools import Node, Pool, Pools, plan_pools
from raydub.pipeline.rows import pack, unpack, unpack_ahead
from raydub.pipeline.stage_speak import CUES_AT_ONCE, SPEAK
from raydub.pipeline.steps import through_stages
from raydub.pipeline.supervised import SupervisedExecutor
from raydub.stages.types import Chunk
from tests.pipeline.fakes import FakeToolbox, LocalExecutor, ToolSteps, record_in, stages_of
from tests.pipeline.hazards import FOREVER, do_harm
from tests.pipeline.test_driver import Notes, make_job

DEAD = {"host": "other", "pid": 1, "node": "n", "limit_s": 5.0}
STAGES = ["lipsync", "prepare", "render", "speak", "stitch", "track"]


class SpeakingToolbox(FakeToolbox):
    """Speaks by writing names of files. What a job's `voice` says happens while it is spoken: "tts" fails as an engine
    does, "kill-1" kills the process the first time, and so on (see tests.pipeline.hazards); "ahead-" before it: while
    cues are rehearsed."""

    def speak(self, job: Job) -> Job:
        self._meet(job, "")
        count, done = self._said(job)
        new = set(range(count)) - done
        self._note(job, "speak", *sorted(new))
        text = Path(job.script).read_bytes() if job.script is not None else str(job.audio).encode()
        identity = hashlib.sha256(text).hexdigest()[:12]
        voice = VoiceTrack(speaker="", path="/speech.flac", identity=identity)
        speech = SpeechTracks(
            voices=(voice,),
            sound="/sound.flac",
            sound_identity=identity,
            rate=48000,
            samples=48000,
            segments=count,
            spoken=len(new | done),
            voiced={"es": "espeak-ng 1"},
            warnings=("W_TIMING: cue 1",),
        )
        return job.model_copy(update={"speech": speech})

    def prefetch(self, job: Job, first: int, stop: int) -> None:
        self._note(job, "rehearse", *range(first, stop))
        self._meet(job, "ahead-")
        folder = self._folder(job)
        if job.id == "long":
            # Until the other worker of the pool is at it too: on a busy machine it starts much later.
            (folder / f"worker.{os.getpid()}").touch()
            until = time.monotonic() + 60
            while len(list(folder.glob("worker.*"))) < 2 and time.monotonic() < until:
                time.sleep(0.05)
        time.sleep(0.2)
        for number in range(first, stop):
            with open(folder / f"cue.{number}", "x") as file:  # once only
                file.write(str(os.getpid()))

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        assert needs_sound(job) == (job.speech is not None)
        heard = job.audio if job.speech is None else job.speech.sound_identity
        return super().prepare(job.model_copy(update={"audio": heard}))

    def log(self, job: Job) -> list[tuple[str, list[int]]]:
        """What was done for the job: "rehearse" or "speak", and the cues that were spoken."""
        lines = map(json.loads, (self._folder(job) / "log").read_text().splitlines())
        return [(word, cues) for word, *cues in lines]

    def _said(self, job: Job) -> tuple[int, set[int]]:
        if job.script is None:
            return 0, set()
        from raydub.tts.scripts.read import read_script

        done = {int(path.suffix[1:]) for path in self._folder(job).glob("cue.*")}
        return len(read_script(job.script).segments), done

    def _meet(self, job: Job, when: str) -> None:
        said = job.options.voice or ""
        if not said.startswith(when) or said.startswith("ahead-") != bool(when):
            return
        hazard, _, times = said.removeprefix(when).partition("-")
        with open(self._folder(job) / f"{when}tries", "a") as file:
            file.write(".")
            file.flush()
            if file.tell() > (int(times) if times else FOREVER):
                return
        if hazard == "tts":
            raise StageError(Code.TTS_FAILED, "cue 1 ('hola'): the engine crashed (signal 11)")
        if hazard == "unknown":
            raise InputError(Code.VOICE_UNKNOWN, "no such voice", field="voice", hint="did you mean 'es'?")
        if hazard == "bug":
            raise ZeroDivisionError("a bug")
        if hazard:
            do_harm(hazard)

    def _note(self, job: Job, *said: object) -> None:
        with open(self._folder(job) / "log", "a") as file:
            file.write(f"{json.dumps(said)}\n")

    def _folder(self, job: Job) -> Path:
        folder = Path(self._settings.work_dir) / "said" / job.id
        folder.mkdir(parents=True, exist_ok=True)
        return folder


SPEAKING = stages_of(SpeakingToolbox)
AHEAD = SPEAK.prefetch
assert AHEAD is not None


def script_job(folder: Path, video: str, name: str, cues: int = 1, line: int | None = None, **options: Any) -> Job:
    script = folder / "scripts" / f"{name}.json"
    script.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"start": second, "end": second + 0.9, "text": f"{name} {second}"} for second in range(cues)]
    script.write_text(json.dumps(rows))
    job = make_job(folder, video, name, line)
    return job.model_copy(update={"audio": None, "script": str(script), "options": Options(**options)})


class Shop:
    """Steps over a work folder, with a clock that does not run."""

    def __init__(self, folder: Path, tools: Any = SpeakingToolbox, **more: Any) -> None:
        self.settings = WorkSettings(str(folder / "work"), "r")
        self.pauses: list[float] = []
        self.notes = Notes()
        self.tools = tools(self.settings)
        self.steps = ToolSteps(
            self.settings,
            self.tools,
            self.notes,
            sleep=self.pauses.append,
            **more,
        )
        self.attempts = Attempts(self.settings.work_dir, "r")

    def attempt_files(self) -> list[str]:
        return sorted(path.name for path in (run_dir(self.settings.work_dir, "r") / "attempts").glob("*/*"))


def test_jobs_that_need_no_sound_are_not_touched(tmp_path: Path) -> None:
    class Never(SpeakingToolbox):
        def speak(self, job: Job) -> Job:
            raise AssertionError("spoken")

    shop = Shop(tmp_path, Never)
    job = make_job(tmp_path, "ok:1", "j")
    assert shop.steps.speak(job) is job
    assert (shop.attempt_files(), shop.notes.notes) == ([], [])
    planned, _ = through_stages(shop.steps, job)
    assert isinstance(planned, Planned)
    assert "speak" not in planned.seconds
    assert "speak.1.ended" not in shop.attempt_files()


@pytest.mark.parametrize("options", [{"bed": "duck"}, {"bed": "mix"}, {"loudness": -20.0}])
def test_sound_files_are_mixed_when_they_are_asked_to_be(tmp_path: Path, options: dict[str, Any]) -> None:
    job = make_job(tmp_path, "ok:1", "j").model_copy(update={"options": Options(**options)})
    shop = Shop(tmp_path)
    made = shop.steps.speak(job)
    assert isinstance(made, Job)
    assert made.speech is not None
    assert made.model_copy(update={"speech": None}) == job
    assert shop.attempt_files() == ["speak.1.ended"]


def test_speaking_is_booked_timed_and_told(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    job = script_job(tmp_path, "ok:2", "j", cues=3)
    planned, *parts = through_stages(shop.steps, job)
    assert isinstance(planned, Planned)
    assert shop.attempt_files()[-3:] == ["speak.1.ended", "track.000000.1.ended", "track.000001.1.ended"]
    assert {"speak", "prepare"} == set(planned.seconds)
    assert (planned.segments, planned.spoken, planned.voiced) == (3, 3, {"es": "espeak-ng 1"})
    [note] = [note for note in shop.notes.notes if note.stage == "speak"]
    assert (note.job_id, note.frames, note.pid) == ("j", 0, os.getpid())
    assert note.seconds >= planned.seconds["speak"] > 0
    done = shop.steps.stitch(job, planned.job_dir, [part for part in parts if isinstance(part, Part)])
    assert isinstance(done, Assembled)


def local_run(folder: Path, jobs: Sequence[Job], run_id: str = "r") -> list[JobResult]:
    settings = WorkSettings(str(folder / "work"), run_id)
    executor = LocalExecutor(settings, SPEAKING)
    results, interrupted = Driver(executor, record=record_in(folder / "work")).run(jobs)
    assert not interrupted
    return results


def test_results_tell_what_was_spoken(tmp_path: Path) -> None:
    jobs = [
        script_job(tmp_path, "ok:2", "j", cues=3, voice="slow"),
        make_job(tmp_path, "ok:1", "plain"),
    ]
    said, plain = local_run(tmp_path, jobs)
    assert (said.status, said.script, said.audio) == ("ok", jobs[0].script, None)
    assert (said.segments, said.spoken) == (3, 3)
    assert said.job_dir is not None
    assert Path(said.job_dir).is_dir()
    assert said.seconds["speak"] >= 0.3
    assert said.wall_seconds >= 0.3, "the job was taken up when its speech was"
    assert (plain.script, plain.audio, plain.segments, plain.spoken) == (None, "a.wav", 0, 0)
    assert "speak" not in plain.seconds
    # Again: the output is there, and nothing is spoken for it in this run.
    again, _ = local_run(tmp_path, jobs, "r2")
    assert (again.status, again.segments, again.spoken, again.attempts, again.seconds) == ("ok", 3, 0, 0, {})


@pytest.mark.parametrize("hazard", ["flaky", "oom", "verify"])
def test_what_may_pass_is_tried_again(tmp_path: Path, hazard: str) -> None:
    shop = Shop(tmp_path)
    made = shop.steps.speak(script_job(tmp_path, "ok:1", "j", voice=f"{hazard}-2"))
    assert isinstance(made, Job)
    assert shop.attempt_files() == [f"speak.{attempt}.ended" for attempt in (1, 2, 3)]
    assert 1.0 <= shop.pauses[0] <= 1.25 < 2.0 <= shop.pauses[1] <= 2.5


@pytest.mark.parametrize(
    ("hazard", "code", "tries"),
    [
        ("tts", Code.TTS_FAILED, 1),
        ("unknown", Code.VOICE_UNKNOWN, 1),
        ("bug", Code.INTERNAL, 1),
        ("exit", Code.INTERNAL, 1),
        ("unpicklable", Code.INTERNAL, 1),
        ("full", Code.DISK_FULL, 1),
        ("flaky", Code.STORAGE, 3),
        ("oom", Code.OUT_OF_MEMORY, 3),
    ],
)
def test_what_does_not_pass_ends_its_job_and_no_other(tmp_path: Path, hazard: str, code: Code, tries: int) -> None:
    shop = Shop(tmp_path)
    bad = script_job(tmp_path, "ok:1", "bad", voice=hazard, line=1)
    [problem] = through_stages(shop.steps, bad)
    assert isinstance(problem, Failed)
    assert (problem.stage, problem.error["code"], problem.attempt, problem.error["line"]) == ("speak", code, tries, 1)
    assert len(shop.pauses) == tries - 1
    assert unpack(pack(problem)) == problem
    assert shop.attempt_files() == [f"speak.{attempt}.ended" for attempt in range(1, tries + 1)]
    assert isinstance(list(through_stages(shop.steps, script_job(tmp_path, "ok:1", "good")))[-1], Part)


def test_a_failed_speech_is_one_row_among_others(tmp_path: Path) -> None:
    jobs = [
        script_job(tmp_path, "ok:1", "before", line=1),
        script_job(tmp_path, "ok:1", "bad", voice="tts", line=2),
        make_job(tmp_path, "ok:2", "after", line=3),
    ]
    results = local_run(tmp_path, jobs)
    assert [result.status for result in results] == ["ok", "failed", "ok"]
    bad = results[1]
    assert (bad.error_code, bad.line, bad.attempts, bad.script) == (Code.TTS_FAILED, 2, 1, jobs[1].script)
    assert (bad.segments, bad.spoken, bad.job_dir) == (0, 0, None)
    assert "cue 1" in (bad.error_message or "")
    assert not Path(jobs[1].output).exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), InterruptedRun(Code.INTERRUPTED, "stop")])
@pytest.mark.parametrize("step", ["speak", "prefetch"])
def test_the_user_is_not_swallowed_and_nobody_died(tmp_path: Path, stop: BaseException, step: str) -> None:
    class Stopping(SpeakingToolbox):
        pass

    def raise_it(*_: Any) -> None:
        raise stop

    setattr(Stopping, step, raise_it)
    shop = Shop(tmp_path, Stopping)
    job = script_job(tmp_path, "ok:1", "j")
    with pytest.raises(type(stop)):
        shop.steps.speak(job) if step == "speak" else shop.steps.ahead(job, 0, 24)
    [name] = shop.attempt_files()
    assert name.endswith(".1.ended")


@pytest.mark.parametrize(("work", "code"), [("speak", Code.QUARANTINED), ("speak.000000", None)])
def test_two_deaths_and_it_is_not_touched(tmp_path: Path, work: str, code: Code | None) -> None:
    shop = Shop(tmp_path)
    job = script_job(tmp_path, "ok:1", "j", cues=2)
    for _ in range(2):
        shop.attempts.begin("j", work, worker=DEAD)
    shop.steps.ahead(job, 0, 1)
    made = shop.steps.speak(job)
    log = shop.tools.log(job)
    if code is None:
        # What was not rehearsed is spoken when it is needed.
        assert isinstance(made, Job)
        assert log == [("speak", [0, 1])]
    else:
        assert isinstance(made, Failed)
        assert (made.error["code"], made.stage) == (code, "speak")
        assert "2 times (on other)" in made.error["message"]
        assert log == [("rehearse", [0])]


def test_one_death_is_counted_and_lost_nodes_are_not(tmp_path: Path) -> None:
    shop = Shop(tmp_path, alive=lambda record: record["node"] != "gone")
    shop.attempts.begin("j", "speak", worker=DEAD)
    for _ in range(4):
        shop.attempts.begin("j", "speak", worker={**DEAD, "node": "gone"})
    assert isinstance(shop.steps.speak(script_job(tmp_path, "ok:1", "j")), Job)
    assert "speak.6.ended" in shop.attempt_files()


@pytest.mark.parametrize("hazard", ["tts", "unknown", "bug", "exit", "unpicklable", "full", "flaky", "oom"])
def test_rehearsals_fail_without_a_word(tmp_path: Path, hazard: str) -> None:
    shop = Shop(tmp_path)
    job = script_job(tmp_path, "ok:1", "j", cues=3, voice=f"ahead-{hazard}")
    shop.steps.ahead(job, 0, 2)
    assert all(name.startswith("speak.000000.") and name.endswith(".ended") for name in shop.attempt_files())
    made = shop.steps.speak(job)
    assert isinstance(made, Job)
    assert made.speech is not None
    assert (made.speech.segments, made.speech.spoken) == (3, 3)


def test_an_attempt_says_how_long_speaking_may_take(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    class Looking(SpeakingToolbox):
        def speak(self, job: Job) -> Job:
            for path in run_dir(self._settings.work_dir, "r").glob("attempts/*/speak.1"):
                seen.append(json.loads(path.read_text()))
            return super().speak(job)

    shop = Shop(tmp_path, Looking, worker=this_worker("node-1"))
    job = script_job(tmp_path, "ok:1", "j")
    assert isinstance(shop.steps.speak(job), Job)
    assert seen[0]["limit_s"] == shop.settings.limits.for_speak(job) > 1800
    assert (seen[0]["node"], seen[0]["job"]) == ("node-1", "j")


@pytest.mark.slow
def test_whatever_kills_it_costs_its_own_job_only(tmp_path: Path) -> None:
    """In processes of their own: a speech engine's wrapper that takes its process along."""
    jobs = [
        script_job(tmp_path, "ok:1", "deadly", voice="kill", line=1),
        script_job(tmp_path, "ok:2", "once", cues=2, voice="kill-1", line=2),
        make_job(tmp_path, "ok:1", "plain", line=3),
    ]
    executor = SupervisedExecutor(WorkSettings(str(tmp_path / "work"), "r"), "tests.pipeline.test_speak:SPEAKING")
    try:
        results, _ = Driver(executor).run(jobs)
    finally:
        executor.close()
    assert [result.status for result in results] == ["quarantined", "ok", "ok"]
    assert results[0].error_code == Code.QUARANTINED
    assert "the step speak" in (results[0].error_message or "")
    assert (results[1].segments, results[1].spoken) == (2, 2)
    assert Path(jobs[1].output).read_text() == "0 1 "


# -- rehearsals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cues", [1, CUES_AT_ONCE, CUES_AT_ONCE + 1, 2 * CUES_AT_ONCE, 2 * CUES_AT_ONCE + 7])
def test_long_scripts_come_in_batches_and_then_themselves(tmp_path: Path, cues: int) -> None:
    job = script_job(tmp_path, "ok:1", "j", cues=cues)
    *ahead, last = _divide(pack(job), AHEAD)
    assert unpack(last) == job
    batches = [unpack_ahead(row) for row in ahead]
    assert all(batch is not None and batch[0] == job for batch in batches)
    numbers = [number for _, first, stop in filter(None, batches) for number in range(first, stop)]
    assert numbers == (list(range(cues)) if cues > CUES_AT_ONCE else [])
    assert all(0 < stop - first <= CUES_AT_ONCE for _, first, stop in filter(None, batches))


@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xfe\x00", b"1\n00:00:01,000 --> nonsense\nHola\n", b"\x00" * 100, b"[" * 100_000]
)
def test_scripts_that_cannot_be_read_are_left_to_the_step(tmp_path: Path, content: bytes | None) -> None:
    job = script_job(tmp_path, "ok:1", "j")
    assert job.script is not None
    if content is None:
        Path(job.script).unlink()
    else:
        Path(job.script).write_bytes(content)
    assert list(_divide(pack(job), dataclasses.replace(AHEAD, batch=1))) == [pack(job)]
    plain = make_job(tmp_path, "ok:1", "j")
    assert list(_divide(pack(plain), dataclasses.replace(AHEAD, batch=1))) == [pack(plain)]


def outcome(results: Sequence[JobResult]) -> list[tuple[Any, ...]]:
    fields = ("id", "status", "error_code", "error_message", "frames", "synthesised", "segments", "spoken", "warnings")
    return [tuple(getattr(result, name) for name in fields) for result in results]


def mixed_jobs(folder: Path) -> list[Job]:
    return [
        script_job(folder, "ok:3", "script", cues=4, line=1),
        make_job(folder, "ok:2", "plain", line=2),
        script_job(folder, "ok:1", "unspoken", voice="tts", line=3),
        script_job(folder, "ok:1", "leaving", voice="exit", line=4),
        make_job(folder, "ok:1", "bed", line=5).model_copy(update={"options": Options(bed="duck"), "audio": "b.wav"}),
        script_job(folder, "bad-track:3", "untracked", line=6),
        script_job(folder, "bad-prepare", "unprepared", line=7),
    ]


def two_speakers(jobs: int) -> Pools:
    """Two workers of the speak stage on two CPUs, with room for one of each other."""
    pools = plan_pools([Node(2.0)], jobs)
    thin = {
        name: dataclasses.replace(pools[name], cpus=round(pools[name].cpus * 0.8, 3))
        for name in ("track", "lipsync", "render")
    }
    return {**pools, **thin, "speak": Pool(2, 0.2, 0.0, 1, 0.02)}


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_ray_and_plain_loop_agree(tmp_path: Path) -> None:
    found = []
    for name in ("local", "ray"):
        folder = tmp_path / name
        jobs = mixed_jobs(folder)
        settings = WorkSettings(str(folder / "work"), "r")
        pools = plan_pools([Node(2.0)], len(jobs))
        executor: Any = LocalExecutor(settings, SPEAKING) if name == "local" else RayExecutor(settings, SPEAKING, pools)
        results, interrupted = Driver(executor).run(jobs)
        assert not interrupted
        found.append(outcome(results))
        assert {result.id for result in results if "speak" in result.seconds} == {"script", "bed", "untracked"}
        assert [Path(job.output).is_file() for job in jobs] == [True, True, False, False, True, False, False]
        if isinstance(executor, RayExecutor):
            assert {note.stage for note in executor.notes()} == set(STAGES)
    assert found[0] == found[1]
    codes = [row[2] for row in found[1]]
    assert codes == [
        None,
        None,
        Code.TTS_FAILED,
        Code.INTERNAL,
        None,
        Code.INPUT_TRUNCATED,
        Code.INPUT_MISSING,
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_a_long_script_is_spoken_by_several(tmp_path: Path) -> None:
    cues = 5 * CUES_AT_ONCE + 3
    jobs = [
        script_job(tmp_path, "ok:2", "long", cues=cues),
        script_job(tmp_path, "ok:1", "stumbling", cues=CUES_AT_ONCE + 1, voice="ahead-bug"),
        script_job(tmp_path, "ok:1", "short", cues=2),
        make_job(tmp_path, "ok:1", "plain"),
    ]
    settings = WorkSettings(str(tmp_path / "work"), "r")
    executor = RayExecutor(settings, SPEAKING, two_speakers(len(jobs)))
    seen: list[Item] = []
    items: Callable[..., Any] = executor.items

    def watched(jobs: Sequence[Job]) -> Any:
        for item in items(jobs):
            seen.append(item)
            yield item

    executor.items = watched  # type: ignore[method-assign]
    results, _ = Driver(executor).run(jobs)
    assert [(result.status, result.segments, result.spoken) for result in results] == [
        ("ok", cues, cues),
        ("ok", CUES_AT_ONCE + 1, CUES_AT_ONCE + 1),
        ("ok", 2, 2),
        ("ok", 0, 0),
    ]
    # Requests to rehearse never come to the driver, and each job comes once.
    assert all(isinstance(item, (Planned, Part, Assembled)) for item in seen)
    assert sorted(item.job_id for item in seen if isinstance(item, Planned)) == ["long", "plain", "short", "stumbling"]
    log = SpeakingToolbox(settings).log(jobs[0])
    batches = sorted(cues for word, cues in log if word == "rehearse")
    assert [number for batch in batches for number in batch] == list(range(cues)), "every cue is rehearsed once"
    assert max(map(len, batches)) == CUES_AT_ONCE
    [left] = [numbers for word, numbers in log if word == "speak"]
    assert set(left) < set(range(cues)), "some were spoken ahead"
    said = tmp_path / "work" / "said"
    by = {path.read_text() for path in (said / "long").glob("cue.*")}
    assert len(by) == 2, "two workers share the script"
    assert not list((said / "stumbling").glob("cue.*"))
    assert not list((said / "short").glob("cue.*"))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_storage_that_is_gone_for_a_moment(tmp_path: Path) -> None:
    jobs = [script_job(tmp_path, "ok:1", "j", voice="flaky-1"), script_job(tmp_path, "ok:1", "k", voice="kill-1")]
    executor = RayExecutor(WorkSettings(str(tmp_path / "work"), "r"), SPEAKING, plan_pools([Node(2.0)], 2))
    results, _ = Driver(executor).run(jobs)
    assert [result.status for result in results] == ["ok", "ok"]
    assert len(list(run_dir(tmp_path / "work", "r").glob("attempts/*/speak.2.ended"))) == 2
