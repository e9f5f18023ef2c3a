"""Restoring a whole job: from a manifest's options and a file in the published layout to the frames before encoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.media.frames import Frame
from raydub.models.load import sha256_of
from raydub.stages.chunk import TrackStage
from raydub.stages.job_plan import JobPlan, chunks_of
from raydub.stages.post_processors import make_post_processors
from raydub.stages.prepare import prepare_job
from raydub.stages.render import RenderStage
from raydub.stages.synthesise import LipsyncStage
from tests.examples import slow
from tests.models.restore_states import save_restorer
from tests.stages.fakes import PaintEngine, babble, digest, write_wav
from tests.stages.post_processor_fakes import portrait_with_gap


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str, Path]:
    """A folder to work in, a clip of the portrait that is blank from frame 8 to 11, a speech, a small checkpoint."""
    folder = tmp_path_factory.mktemp("restore")
    path = portrait_with_gap(folder / "clip.mp4", 20, range(8, 11))
    return folder, path, write_wav(folder / "a.wav", babble(0.8)), save_restorer(folder / "own.pth")


def finished(material: tuple[Path, str, str, Path], **options: object) -> tuple[JobPlan, list[Frame]]:
    folder, video, audio, _ = material
    (folder / "work").mkdir(exist_ok=True)
    wanted = Options(masking="always", length="video", **options)  # type: ignore[arg-type]
    job = Job(id="job", video=video, audio=audio, output=str(folder / "film.mp4"), options=wanted)
    post_processors = make_post_processors(wanted)
    plan = prepare_job(job, str(folder / "work"), PaintEngine(), post_processors=post_processors)
    render = RenderStage(PaintEngine(), post_processors)
    render.load("cpu")
    made = [LipsyncStage(PaintEngine()).run(TrackStage().run(chunk)) for chunk in chunks_of(plan)]
    return plan, [frame for chunk in made for frame in render.frames(chunk)]


@pytest.fixture(scope="module")
def plain(material: tuple[Path, str, str, Path]) -> list[Frame]:
    """The job's frames without restoring."""
    return finished(material)[1]


@pytest.mark.slow
@pytest.mark.parametrize("steady", [slow(0.0), 0.8])
def test_restored_frames_do_not_depend_on_the_chunks(
    material: tuple[Path, str, str, Path], plain: list[Frame], steady: float
) -> None:
    own = {"restore": "gfpgan", "restore_model": str(material[3]), "restore_steady": steady, "restore_area": "face"}
    found = []
    for seconds in (0.28, 120.0):
        plan, frames = finished(material, chunk_seconds=seconds, **own)
        assert plan.weights[-1].sha256 == sha256_of(material[3])
        assert plan.post_halo == (2 if steady else 0)
        found.append([digest(frame) for frame in frames])
    assert found[0] == found[1]
    assert [frame.index for frame in frames] == list(range(plan.n_frames))
    same = [digest(frame) == digest(before) for frame, before in zip(frames, plain, strict=True)]
    assert [number for number, equal in enumerate(same) if equal] == [8, 9, 10], "nobody is there to be restored"


def test_strength_0_gives_the_frames_of_a_job_without(
    material: tuple[Path, str, str, Path], plain: list[Frame]
) -> None:
    frames = finished(material, restore="gfpgan", restore_model=str(material[3]), restore_strength=0.0)[1]
    assert all(np.array_equal(a.y, b.y) and np.array_equal(a.u, b.u) for a, b in zip(frames, plain, strict=True))
