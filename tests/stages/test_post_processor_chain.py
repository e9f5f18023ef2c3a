"""The real post-processors on a real face, with small random networks: law 2, and what is left untouched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.media.frames import Frame, Transform, open_frames
from raydub.media.probe import probe_video
from raydub.media.writer import PartWriter
from raydub.stages.chunk import TrackStage
from raydub.stages.job_plan import JobPlan, chunks_of
from raydub.stages.post_processors import make_post_processors
from raydub.stages.prepare import prepare_job
from raydub.stages.render import RenderStage
from raydub.stages.synthesise import LipsyncStage
from tests.models.restore_states import save_restorer
from tests.stages.fakes import DEMO, PaintEngine, babble, digest, write_wav
from tests.stages.upscale_fakes import weights_file


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder, twelve small frames of the portrait with three blank ones among them, a speech, and two networks."""
    folder = tmp_path_factory.mktemp("chain")
    info, path = probe_video(str(DEMO / "clip.mp4")), folder / "clip.mp4"
    small = Transform(resize_height=320)
    with open_frames(info, small) as reader, PartWriter(str(path), reader.size, info.rate, info.colour) as writer:
        for frame in reader.frames(0, 12):
            if 7 <= frame.index < 10:
                frame.y[:], frame.u[:], frame.v[:] = 90, 128, 128
            writer.write(frame)
        writer.close()
    return {
        "folder": str(folder),
        "video": str(path),
        "audio": write_wav(folder / "a.wav", babble(0.48)),
        "upscale_model": weights_file(folder),
        "restore_model": str(save_restorer(folder / "restorer.pth")),
    }


def finished(material: dict[str, str], **options: Any) -> tuple[JobPlan, list[Frame], list[int]]:
    """(plan, finished frames, numbers of the frames with a new mouth)."""
    said = {name: material[name] for name in ("upscale_model", "restore_model")}
    chosen = Options(masking="always", **said, **options)
    folder = Path(material["folder"])
    job = Job(id="job", video=material["video"], audio=material["audio"], output=str(folder / "o.mp4"), options=chosen)
    post_processors = make_post_processors(chosen)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    plan = prepare_job(job, str(work), PaintEngine(), post_processors=post_processors)
    render = RenderStage(PaintEngine(), make_post_processors(chosen))
    render.load("cpu")
    frames: list[Frame] = []
    drawn: list[int] = []
    for chunk in chunks_of(plan):
        made = LipsyncStage(PaintEngine()).run(TrackStage().run(chunk))
        frames += list(render.frames(made))
        inside = (made.items.frame >= chunk.span.start) & (made.items.frame < chunk.span.stop)
        drawn += made.items.frame[inside & made.items.open].tolist()
    return plan, frames, drawn


@pytest.mark.slow
def test_restoring_what_was_enlarged_does_not_depend_on_chunks(material: dict[str, str]) -> None:
    """Faces of every frame, steadied over neighbours, at the size of the output."""
    options = {"upscale": "general", "outscale": 1.5, "restore": "gfpgan", "restore_steady": 0.6}
    found = []
    for seconds in (0.2, 120.0):
        plan, frames, _ = finished(material, **options, restore_frames="all", chunk_seconds=seconds)
        assert (plan.post_processors, plan.post_halo, plan.post_every_face) == (("upscale", "restore"), 2, True)
        assert {frame.size for frame in frames} == {plan.out_size} == {(480, 480)}
        assert [record.name for record in plan.weights] == ["paint", "net.pth", "restorer.pth"]
        found.append([digest(frame) for frame in frames])
    assert found[0] == found[1]
    assert [index for index, _ in found[0]] == list(range(12))


def test_restored_mouths_leave_the_rest_as_it_is(material: dict[str, str]) -> None:
    plain, before, _ = finished(material)
    restored, after, drawn = finished(material, restore="gfpgan")
    assert plain.job_dir != restored.job_dir
    assert drawn == [0, 1, 2, 3, 4, 5, 6, 10, 11]
    for one, other in zip(before, after, strict=True):
        changed = one.y != other.y
        assert changed.any() == (one.index in drawn)
        # the lower half of a face, not the picture's upper third
        assert not changed[: one.y.shape[0] // 3].any()
    assert np.mean([np.mean(one.y != other.y) for one, other in zip(before, after, strict=True)]) < 0.2
