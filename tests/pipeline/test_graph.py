"""The Ray Data graph with stages that are text files: same outcomes as the plain loop, streaming, errors that stay
rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import ray

from raydub.errors import Code
from raydub.manifests.job import Job
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.driver import Driver
from raydub.pipeline.events import Planned
from raydub.pipeline.graph import RayExecutor
from raydub.pipeline.pools import Node, plan_pools
from raydub.stages.types import Chunk, Part, TrackedChunk
from tests.pipeline.fakes import FAKE_STAGES, FakeToolbox, LocalExecutor, record_in, stages_of
from tests.pipeline.test_driver import make_job

pytestmark = pytest.mark.usefixtures("ray_here")

VIDEOS = ["ok:4", "bad-prepare", "bad-track:4", "bug-render:2", "bad-stitch:1", "ok:1", "bad-lipsync:3", "ok:2"]


@pytest.mark.slow
def test_ray_and_plain_loop_agree(tmp_path: Path) -> None:
    found = []
    pools = plan_pools([Node(2.0)], len(VIDEOS))
    for name in ("local", "ray"):
        folder = tmp_path / name
        jobs = [make_job(folder, video, f"j{i}", line=i + 1) for i, video in enumerate(VIDEOS)]
        settings = WorkSettings(str(folder / "work"), "r")
        executor = (
            LocalExecutor(settings, FAKE_STAGES) if name == "local" else RayExecutor(settings, FAKE_STAGES, pools)
        )
        results, interrupted = Driver(executor, record=record_in(folder / "work")).run(jobs)
        assert not interrupted
        if isinstance(executor, RayExecutor):
            notes = executor.notes()
            assert {note.stage for note in notes} == {"prepare", "track", "lipsync", "render", "stitch"}
            assert all(note.peak_mb > 10 for note in notes)
        found.append(
            [
                (r.id, r.status, r.error_code, r.error_message, r.frames, r.synthesised, r.faceless, r.line)
                for r in results
            ]
        )
        assert Path(jobs[0].output).read_text() == "0 1 2 3 "
        assert Path(jobs[7].output).read_text() == "0 1 "
    assert found[0] == found[1]
    assert [row[2] for row in found[1]] == [
        None,
        Code.INPUT_MISSING,
        Code.INPUT_TRUNCATED,
        Code.INTERNAL,
        Code.STITCH_FAILED,
        None,
        Code.INPUT_TRUNCATED,
        None,
    ]
    # a second run over the same folder does nothing and says ok
    jobs = [make_job(tmp_path / "ray", "ok:4", "j0", line=1)]
    executor = RayExecutor(WorkSettings(str(tmp_path / "ray" / "work"), "r2"), FAKE_STAGES, pools)
    results, _ = Driver(executor).run(jobs)
    assert [(result.status, result.attempts) for result in results] == [("ok", 0)]
    assert {note.stage for note in executor.notes()} == {"prepare"}


class PatientToolbox(FakeToolbox):
    """Prepares job j3 only when another job is finished: with a barrier the run would never end."""

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        sign = Path(self._settings.work_dir) / "finished"
        until = time.monotonic() + 200
        while job.id == "j3" and not sign.exists():
            assert time.monotonic() < until, "no job was finished while another was not done"
            time.sleep(0.05)
        return super().prepare(job)


@pytest.mark.slow
def test_the_first_job_is_assembled_before_the_last_is_done(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "ok:5", f"j{i}").model_copy(update={"audio": f"{i}.wav"}) for i in range(4)]
    executor = RayExecutor(
        WorkSettings(str(tmp_path / "work"), "r"), stages_of(PatientToolbox), plan_pools([Node(2.0)], 4)
    )

    class Watch:
        def planned(self, job_id: str, frames: int, chunks: int, work: object = None) -> None: ...

        def part(self, job_id: str, frames: int, reused: bool) -> None: ...

        def finished(self, result: object) -> None:
            (tmp_path / "work" / "finished").touch()

    results, _ = Driver(executor, Watch()).run(jobs)
    assert [result.status for result in results] == ["ok"] * 4


class SlowToolbox(FakeToolbox):
    """Half a second a chunk in track."""

    def track(self, chunk: Chunk) -> TrackedChunk:
        time.sleep(0.5)
        return super().track(chunk)


@pytest.mark.slow
def test_an_abandoned_dataset_gives_its_cpus_back(tmp_path: Path) -> None:
    # A run that plans anew after lost nodes needs them; the dataset would go on for half a minute.
    settings = WorkSettings(str(tmp_path / "work"), "r")
    executor = RayExecutor(settings, stages_of(SlowToolbox), plan_pools([Node(2.0)], 1))
    items = executor.items([make_job(tmp_path, "ok:60", "j0")])
    assert any(isinstance(item, Part) for item in items)
    executor.close()
    until = time.monotonic() + 15
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        assert time.monotonic() < until, "the actors of the abandoned dataset are still there"
        time.sleep(0.2)
    assert len((next(tmp_path.glob("work/jobs/*")) / "track.log").read_text().split()) < 55
