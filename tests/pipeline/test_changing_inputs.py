"""Inputs that change before, between and during the steps: what is published is made of exactly the inputs that are
there, and nothing made of a mixture is kept under either's key. With the real stages, without faces."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from raydub.cluster.request import RunReport, RunRequest
from raydub.cluster.runner import run_jobs
from raydub.errors import Code
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.media.audio import decode_speech
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Failed, Item
from raydub.pipeline.ledger import Ledger
from raydub.pipeline.steps import through_stages
from raydub.stages.job_plan import chunks_of, load_plan
from raydub.stages.types import Part, SynthesisedChunk, TrackedChunk
from raydub.store import Store
from tests.examples import slow
from tests.pipeline.fakes import RealToolbox, ToolSteps
from tests.stages.fakes import babble, write_video, write_wav

N = 30  # frames, in three chunks


def job_in(folder: Path, **options: object) -> Job:
    video = write_video(folder / "v.mp4", N)
    audio = write_wav(folder / "a.wav", babble(N / 25))
    said = Options(chunk_seconds=0.4, **options)
    return Job(id="j", video=video, audio=audio, output=str(folder / "out" / "o.mp4"), options=said)


def run(folder: Path, job: Job, work: str = "work", results: str = "results") -> RunReport:
    request = RunRequest((job,), (), folder / work, folder / results, use_ray=False, show="quiet")
    return run_jobs(request)


def pictures(path: str) -> list[int]:
    """The mean of each frame's luma: what write_video() painted."""
    with av.open(path) as film:
        return [round(float(frame.to_ndarray(format="gray")[:, -8:].mean())) for frame in film.decode(video=0)]


class Meddling(RealToolbox):
    """Calls `meddle` with the stage and the chunk's number before each stage of a chunk, and before the stitch."""

    meddle: Callable[[str, int], None]

    def track(self, chunk):  # type: ignore[no-untyped-def]
        self.meddle("track", chunk.index)
        return super().track(chunk)

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk:
        self.meddle("lipsync", chunk.chunk.index)
        return super().lipsync(chunk)

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        self.meddle("render", chunk.chunk.index)
        return super().render(chunk, out_path)


def through(folder: Path, job: Job, meddle: Callable[[str, int], None], run_id: str = "r") -> list[Item]:
    settings = WorkSettings(str(folder / "work"), run_id, device="cpu")
    tools = Meddling(settings)
    tools.meddle = meddle  # type: ignore[method-assign]
    steps = ToolSteps(settings, tools, sleep=lambda seconds: None)
    items = list(through_stages(steps, job))
    parts = [item for item in items if isinstance(item, Part)]
    if len(parts) == 3:
        items.append(steps.stitch(job, parts[0].chunk.job_dir, parts))
    return items


def codes(items: list[Item]) -> list[str]:
    return [item.error["code"] for item in items if isinstance(item, Failed)]


def swapped(path: str, other: Path) -> None:
    """Another file under the name, by rename, as editors and copying tools do it."""
    time.sleep(0.02)
    aside = Path(f"{path}.new")
    aside.write_bytes(other.read_bytes())
    os.replace(aside, path)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [slow("track"), slow("lipsync"), "render"])
def test_a_film_that_is_exchanged_in_the_middle(tmp_path: Path, stage: str) -> None:
    """The same timing, other pictures: half and half was "ok", and was found again under the first one's key."""
    job = job_in(tmp_path)
    first = Path(job.video).read_bytes()
    (tmp_path / "first").write_bytes(first)
    other = Path(write_video(tmp_path / "w.mp4", N, paint=lambda i: 200 - i))

    def meddle(at: str, chunk: int) -> None:
        if (at, chunk) == (stage, 1):
            swapped(job.video, other)

    items = through(tmp_path, job, meddle)
    assert codes(items) == [Code.INPUT_CHANGED]
    assert job.video in next(item for item in items if isinstance(item, Failed)).error["message"]
    assert not Path(job.output).exists()

    # The first one is back: what it is made of is all its own.
    swapped(job.video, tmp_path / "first")
    again = through(tmp_path, job, lambda stage, chunk: None, "r2")
    assert codes(again) == []
    alone = job_in(tmp_path / "alone") if (tmp_path / "alone").mkdir() is None else job
    through(tmp_path / "alone", alone, lambda stage, chunk: None)
    assert pictures(job.output) == pictures(alone.output)
    # And so is the other one's.
    swapped(job.video, other)
    assert codes(through(tmp_path, job, lambda stage, chunk: None, "r3")) == []
    assert pictures(job.output) != pictures(alone.output)


def test_a_film_that_is_exchanged_and_put_back_while_it_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the part is published the first film is there again; what was read is not."""
    from raydub.stages.render import RenderStage

    job = job_in(tmp_path)
    (tmp_path / "first").write_bytes(Path(job.video).read_bytes())
    other = Path(write_video(tmp_path / "w.mp4", N, paint=lambda i: 200 - i))
    real, meddled = RenderStage._drawn, []

    def drawn(self, *given):  # type: ignore[no-untyped-def]
        for number, shown in enumerate(real(self, *given)):
            if number == 2 and not meddled:
                meddled.append(1)
                swapped(job.video, other)
                swapped(job.video, tmp_path / "first")
            yield shown

    monkeypatch.setattr(RenderStage, "_drawn", drawn)
    items = through(tmp_path, job, lambda stage, chunk: None)
    # The chunk was drawn once more, of the film that is there.
    assert codes(items) == [], items
    assert [item.attempt for item in items if isinstance(item, Part)] == [2, 1, 1]


@pytest.mark.parametrize("what", [slow("video"), "audio"])
def test_an_input_that_changes_before_the_stitch(tmp_path: Path, what: str) -> None:
    job = job_in(tmp_path)
    path = Path(getattr(job, what))

    settings = WorkSettings(str(tmp_path / "work"), "r", device="cpu")
    steps = ToolSteps(settings, RealToolbox, sleep=lambda seconds: None)
    parts = [item for item in through_stages(steps, job) if isinstance(item, Part)]
    assert len(parts) == 3
    time.sleep(0.02)
    with path.open("r+b") as stream:
        stream.seek(-20, os.SEEK_END)
        stream.write(b"\x01\x02\x03\x04")
    done = steps.stitch(job, parts[0].chunk.job_dir, parts)
    assert isinstance(done, Failed)
    assert done.error["code"] == Code.INPUT_CHANGED
    assert str(path) in done.error["message"]
    assert not Path(job.output).exists()


@pytest.mark.slow
def test_a_second_that_was_recorded_anew(tmp_path: Path) -> None:
    """23 MB of speech in which a second changes, at the same length: everything is made anew of it."""
    job = job_in(tmp_path, length="video")
    write_video(Path(job.video), 150)
    rng = np.random.default_rng(1)
    sound = rng.normal(0, 0.05, 12_000_000)
    write_wav(Path(job.audio or ""), sound)
    assert run(tmp_path, job).exit_code() == 0
    assert run(tmp_path, job).earlier == 1
    before = decode_speech(job.output)
    # Samples of such a file, every 750 KiB say, would not meet it.
    sound[72000:88000] = 0.3 * np.sin(np.arange(16000) * 0.3)
    write_wav(Path(job.audio or ""), sound)
    report = run(tmp_path, job)
    assert (report.exit_code(), report.earlier) == (0, 0)
    after = decode_speech(job.output)
    assert len(after) == len(before)
    changed = np.abs(after - before)
    assert changed[74000:86000].mean() > 10 * changed[:70000].mean()


@pytest.mark.slow
def test_damaged_arrays_are_made_anew_by_the_next_run(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    [first] = run(tmp_path, job).results
    frames = pictures(job.output)
    assert first.job_dir is not None
    for name, path in load_plan(first.job_dir).arrays.items():
        content = Path(path).read_bytes()
        for damaged in (content[:-3], content[: len(content) // 2] + bytes(len(content) - len(content) // 2)):
            Path(path).write_bytes(damaged)
            Path(job.output).unlink()
            [again] = run(tmp_path, job).results
            assert again.status == "ok", (name, again)
            assert Path(path).read_bytes() == content
            assert pictures(job.output) == frames


@pytest.mark.slow
def test_a_damaged_part_is_not_stitched(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    [first] = run(tmp_path, job).results
    assert first.job_dir is not None
    frames, plan = pictures(job.output), load_plan(first.job_dir)
    part = Ledger(plan.work_dir).finished_parts(chunks_of(plan))[1]
    content = bytearray(Path(part.path).read_bytes())
    content[len(content) // 2] ^= 1
    Path(part.path).write_bytes(content)
    Path(job.output).unlink()
    assert run(tmp_path, job).exit_code() == 0
    assert pictures(job.output) == frames


@pytest.mark.slow
def test_a_file_that_raydub_did_not_make_stays(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    mine = Path(job.output)
    mine.parent.mkdir()
    mine.write_bytes(b"holiday")
    [refused] = run(tmp_path, job).results
    assert (refused.status, refused.error_code) == ("failed", Code.OUTPUT_EXISTS)
    assert mine.read_bytes() == b"holiday"
    told = job.model_copy(update={"options": job.options.model_copy(update={"overwrite": True})})
    assert run(tmp_path, told).exit_code() == 0
    # From now on it is raydub's own: the same job may replace it, with another speech too.
    write_wav(Path(job.audio or ""), babble(N / 25, seed=9))
    assert run(tmp_path, job).exit_code() == 0
    # Another job may not, and neither may this one once somebody has changed the file.
    options = job.options.model_copy(update={"crf": 30})
    [another] = run(tmp_path, job.model_copy(update={"id": "k", "options": options})).results
    assert another.error_code == Code.OUTPUT_EXISTS
    mine.write_bytes(b"cut by hand")
    [changed] = run(tmp_path, job).results
    assert changed.error_code == Code.OUTPUT_EXISTS
    assert mine.read_bytes() == b"cut by hand"


def test_a_file_that_appears_while_the_job_runs_stays(tmp_path: Path) -> None:
    job = job_in(tmp_path)

    def meddle(stage: str, chunk: int) -> None:
        if (stage, chunk) == ("render", 2):
            Path(job.output).parent.mkdir(exist_ok=True)
            Path(job.output).write_bytes(b"holiday")

    items = through(tmp_path, job, meddle)
    assert codes(items) == [Code.OUTPUT_EXISTS]
    assert Path(job.output).read_bytes() == b"holiday"
    assert [path.name for path in Path(job.output).parent.iterdir()] == ["o.mp4"]


@pytest.mark.slow
def test_a_run_that_was_killed_before_it_could_say_so_knows_its_own_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between publishing and the record of the job a driver may die: the next run replaces the film that it made."""
    job = job_in(tmp_path)
    assert codes(through(tmp_path, job, lambda stage, chunk: None)) == []
    assert Path(job.output).exists()
    assert Store(tmp_path / "work").names("done") == []
    report = run(tmp_path, job)
    assert (report.exit_code(), report.earlier) == (0, 0)
