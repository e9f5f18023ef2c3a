"""Post-processors in a run: keys and digests of a job, its stages in a worker, admission, estimates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raydub.cluster.admission import admit
from raydub.errors import Code, DependencyError
from raydub.identity import identify
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.results import WeightsUse
from raydub.media.probe import probe_video
from raydub.pipeline import context, engines, stage_prepare, stage_render
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.engines import engine_key, finish_key, finishes, make_post_processors, weights_digests
from raydub.pipeline.events import Planned
from raydub.pipeline.finished import Finished
from raydub.pipeline.ledger import Ledger
from raydub.pipeline.locks import RunLock
from raydub.pipeline.plan import estimate
from raydub.stages import post_processors
from raydub.stages.types import Part
from tests.pipeline.fakes import RealToolbox
from tests.stages.fakes import PaintEngine, babble, write_video, write_wav
from tests.stages.post_processor_fakes import Blur, Enlarge


def job_of(folder: Path, **options: Any) -> Job:
    video = write_video(folder / "v.mp4", 10)
    audio = write_wav(folder / "a.wav", babble(0.4))
    return Job(id="j", video=video, audio=audio, output=str(folder / "o.mp4"), options=Options(**options))


def test_keys_of_engine_and_post_processors_are_apart() -> None:
    plain, restored = Options(), Options(restore="gfpgan")
    assert (finishes(plain), finishes(restored)) == (False, True)
    assert finish_key(plain) == finish_key(Options(restore_strength=0.5, crf=20)) == ""
    assert make_post_processors(plain) == ()
    assert engine_key(plain) == engine_key(restored)
    others = [
        Options(restore="gfpgan", restore_strength=0.5),
        Options(restore="codeformer"),
        Options(upscale="x2"),
        Options(upscale="x2", outscale=3.0),
        Options(upscale="x2", outscale=3.0, precision="bf16"),
    ]
    assert len({finish_key(one) for one in (restored, *others)}) == 6
    assert finish_key(restored) == finish_key(Options(restore="gfpgan", crf=30, masking="always"))


def test_digests_name_all_weights_and_fetch_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def digest(model: str) -> str:
        asked.append(model)
        return f"digest of {model}"

    monkeypatch.setattr("raydub.models.store.locate.known_digest", digest)
    monkeypatch.setattr(engines, "_embedded_digest", lambda: "embedded")
    assert weights_digests(Options()) == ("embedded",)
    assert asked == []
    everything = Options(model="wav2lip", upscale="general", upscale_denoise=0.5, restore="gfpgan")
    assert weights_digests(everything) == tuple(f"digest of {name}" for name in asked)
    assert asked == ["wav2lip", "realesr-general-x4v3", "realesr-general-wdn-x4v3", "GFPGANv1.4"]
    own = Options(restore="codeformer", restore_model=str(tmp_path / "own.pth"))
    assert weights_digests(own)[1:] == (f"digest of {tmp_path / 'own.pth'}",)


def test_a_worker_finishes_what_the_job_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real stages: weights in the plan, the networks loaded once on the run's device, the size in the output."""
    built: list[Blur] = []

    def make(options: Options) -> tuple[Any, ...]:
        if not finishes(options):
            return ()
        built.append(Blur())
        return Enlarge(2.0), built[-1]

    for stage in (stage_prepare, stage_render):
        monkeypatch.setattr(stage, "make_post_processors", make)
    monkeypatch.setattr(context, "make_job_engine", lambda _: PaintEngine())
    job = job_of(tmp_path, restore="gfpgan", upscale="x2", chunk_seconds=0.2)
    tools = RealToolbox(WorkSettings(str(tmp_path / "work"), "r", device="cpu"))
    planned, chunks = tools.prepare(job)
    assert [record["name"] for record in planned.weights] == ["paint", "enlarge", "blur"]
    uses = [WeightsUse.model_validate(dict(record)) for record in planned.weights]
    assert [use.consent for use in uses] == ["", "", "flag"]
    assert chunks[0].post_seconds > 1.0
    parts: list[Part] = []
    ledger = Ledger(str(tmp_path / "work"))
    for chunk in chunks:
        part = tools.render(tools.lipsync(tools.track(chunk)), str(ledger.store.temp(".mp4")))
        parts.append(ledger.publish_part(part))
    assert len(parts) == 2
    assert len(built) == 2, "one for the plan, one for rendering"
    assert set(built[1].devices) == {"cpu"}
    assert tools.stitch(job, planned.job_dir, parts) == (job.output, 10)
    found = probe_video(job.output)
    assert (found.width, found.height) == (192, 128)


def test_a_network_that_does_not_load_is_an_error_of_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(Blur):
        def load(self, device: str) -> None:
            raise RuntimeError("CUDA driver initialization failed")

    for stage in (stage_prepare, stage_render):
        monkeypatch.setattr(stage, "make_post_processors", lambda options: (Refusing(),))
    monkeypatch.setattr(context, "make_job_engine", lambda _: PaintEngine())
    job = job_of(tmp_path, restore="gfpgan")
    tools = RealToolbox(WorkSettings(str(tmp_path / "work"), "r", device="cpu"))
    _, chunks = tools.prepare(job)
    made = tools.lipsync(tools.track(chunks[0]))
    with pytest.raises(Exception, match="restoring and upscaling") as found:
        tools.render(made, str(tmp_path / "p.mp4"))
    assert getattr(found.value, "retryable", False)


def test_absent_post_processors_weights_end_their_jobs_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Absent(Blur):
        def weights(self) -> Any:
            raise DependencyError(Code.WEIGHTS_MISSING, "no GFPGAN here")

    asked: list[str] = []

    def make(options: Options, accepted: tuple[str, ...] = ()) -> tuple[Any, ...]:
        asked.append(options.restore)
        return (Absent(),) if options.restore == "gfpgan" else (Blur(),)

    monkeypatch.setattr(post_processors, "make_post_processors", make)
    monkeypatch.setattr("raydub.cluster.admission.fetch_absent", lambda models, **_: None)
    wanted = (("plain", "none"), ("bad", "gfpgan"), ("worse", "gfpgan"), ("good", "codeformer"))
    jobs = [
        Job(id=name, video="v", audio="a", output=str(tmp_path / f"{name}.mp4"), options=Options(restore=restore))
        for name, restore in wanted
    ]
    with RunLock() as lock:
        admitted = admit(jobs, Finished(tmp_path), lock, tmp_path)
    assert [job.id for job in admitted.open] == ["plain", "good"]
    closed = [(result.id, result.error_code) for result in admitted.closed]
    assert closed == [("bad", Code.WEIGHTS_MISSING), ("worse", Code.WEIGHTS_MISSING)]
    assert admitted.unable
    assert asked == ["gfpgan", "codeformer"], "each kind is looked at once"


def test_other_weights_of_a_post_processor_are_another_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record holds as long as all weights are the same."""
    job = job_of(tmp_path, restore="gfpgan")
    Path(job.output).write_bytes(b"film")
    finished = Finished(tmp_path / "work")
    seen = {name: identify(path).sha256 for name, path in job.inputs().items()}
    plan = Planned("j", "/w/j", 1, 10, inputs=seen, key="k")
    finished.write(job, ["a", "b"], plan, {"id": "j", "status": "ok"})
    assert finished.finished(job, ["a", "b"]) is not None
    assert finished.finished(job, ["a", "c"]) is None


def test_estimates_know_what_finishing_costs(tmp_path: Path) -> None:
    plain, sharp = estimate(job_of(tmp_path)), estimate(job_of(tmp_path, restore="gfpgan", upscale="x4"))
    assert (plain.out_width, plain.out_height) == (plain.width, plain.height) == (96, 64)
    assert (sharp.out_width, sharp.out_height) == (384, 256)
    assert set(sharp.seconds) - set(plain.seconds) == {"upscale", "restore"}
    assert sharp.seconds["render"] > plain.seconds["render"]
    assert sharp.seconds["track"] == plain.seconds["track"]
    turned = estimate(job_of(tmp_path, rotate=90, upscale="x2", outscale=1.5))
    assert (turned.out_width, turned.out_height) == (96, 144)
