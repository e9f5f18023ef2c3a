"""Post-processors in the render stage: what they see, where their frames go, and what a job's key knows of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydub.errors import Code, InputError
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.media.frames import Frame
from raydub.media.mux import check_output
from raydub.media.probe import probe_video
from raydub.stages.chunk import TrackStage
from raydub.stages.job_plan import JobPlan, chunks_of, load_plan
from raydub.stages.post_processor import PostProcessor, Shown
from raydub.stages.prepare import prepare_job
from raydub.stages.render import RenderStage
from raydub.stages.stitch import stitch_job
from raydub.stages.synthesise import LipsyncStage
from raydub.stages.types import SynthesisedChunk
from raydub.store import Store
from tests.stages.fakes import PaintEngine, babble, digest, write_video, write_wav
from tests.stages.post_processor_fakes import Blur, Enlarge, Sign, portrait_with_gap


def plan_of(
    tmp: Path, video: str, audio: str, post_processors: Sequence[PostProcessor] = (), engine: Any = None, **options: Any
) -> JobPlan:
    (tmp / "work").mkdir(parents=True, exist_ok=True)
    job = Job(id="job", video=video, audio=audio, output=str(tmp / "out" / "film.mp4"), options=Options(**options))
    return prepare_job(job, str(tmp / "work"), engine or PaintEngine(), post_processors=post_processors)


def made_of(plan: JobPlan, engine: Any = None) -> list[SynthesisedChunk]:
    track, lips = TrackStage(), LipsyncStage(engine or PaintEngine())
    return [lips.run(track.run(chunk)) for chunk in chunks_of(plan)]


def frames_of(
    chunks: Iterable[SynthesisedChunk], post_processors: Sequence[PostProcessor] = (), engine: Any = None
) -> list[Frame]:
    render = RenderStage(engine or PaintEngine(), post_processors)
    render.load("cpu")
    return [frame for chunk in chunks for frame in render.frames(chunk)]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder to work in, a clip of the portrait that is blank from frame 14 to 18, and a speech with a pause."""
    folder = tmp_path_factory.mktemp("render")
    path = portrait_with_gap(folder / "clip.mp4", 32, range(14, 18))
    speech = np.concatenate([babble(0.24), np.zeros(12800), babble(0.24)])
    return folder, path, write_wav(folder / "a.wav", speech)


def test_finished_frames_do_not_depend_on_the_chunks(
    material: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two post-processors that look 2 and 1 frames beyond the chunk, over the work of a third."""

    def chain() -> list[PostProcessor]:
        return [Enlarge(0.5), Blur(2), Blur(1)]

    found = []
    for seconds in (0.28, 120.0):
        plan = plan_of(*material, chain(), masking="always", extend="pingpong", chunk_seconds=seconds)
        assert (plan.post_halo, plan.post_processors) == (3, ("enlarge", "blur", "blur"))
        frames = frames_of(made_of(plan), chain())
        assert [frame.index for frame in frames] == list(range(plan.n_frames))
        found.append([digest(frame) for frame in frames])
    assert found[0] == found[1]
    # without what lies beyond the chunks it would be another film
    short = plan_of(*material, chain(), masking="always", chunk_seconds=0.28)
    monkeypatch.setattr(JobPlan, "around", lambda self, span: span)
    assert [digest(frame) for frame in frames_of(made_of(short), chain())] != found[0]


@pytest.fixture
def closed_lips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The portrait shows its teeth; for these tests its lips are closed, so that gates open and close."""
    see = TrackStage._see

    def closed(self: TrackStage, *asked: Any) -> Any:
        return [
            replace(one, tracks=[replace(track, lips_open=np.zeros_like(track.lips_open)) for track in one.tracks])
            for one in see(self, *asked)
        ]

    monkeypatch.setattr(TrackStage, "_see", closed)


@pytest.mark.usefixtures("closed_lips")
@pytest.mark.parametrize("every", [False, True])
def test_what_lies_beyond_a_chunk_is_as_the_next_chunk_has_it(material: tuple[Path, str, str], every: bool) -> None:
    engine = PaintEngine(needs_crops=True)
    post_processors = [Blur(4), Sign(every)]
    plan = plan_of(*material, post_processors, engine, masking="dynamic", chunk_seconds=0.32)
    rows: dict[tuple[int, int], list[str]] = {}
    spans = []
    for made in made_of(plan, engine):
        items = made.items
        spans.append((int(items.frame.min()), int(items.frame.max()) + 1) if len(items) else (0, 0))
        around = plan.around(made.chunk.span)
        assert all(around.start <= number < around.stop for number in items.frame)
        for row in range(len(items)):
            said = [items.source[row], items.gate[row], *items.box[row], *items.landmarks[row].ravel()]
            said.append(made.mouths["level"][row] if made.mouths else 0)
            known = rows.setdefault((int(items.frame[row]), int(items.face[row])), [])
            known.append(str([float(value) for value in said]))
    assert max(map(len, rows.values())) >= 2, "no frame was seen by two chunks"
    assert all(len(set(found)) == 1 for found in rows.values())
    assert any(stop - start > plan.chunk_frames for start, stop in spans)


@pytest.mark.usefixtures("closed_lips")
def test_every_face_is_shown_where_that_is_wanted(material: tuple[Path, str, str]) -> None:
    engine = PaintEngine(needs_crops=True)
    sign, all_signs = Sign(), Sign(every_face=True)
    plan = plan_of(*material, [sign], engine)
    whole = plan_of(*material, [all_signs], engine)
    few, many = made_of(plan, engine), made_of(whole, engine)
    frames, signed = frames_of(few, [sign], engine), frames_of(many, [all_signs], engine)
    plain = frames_of(made_of(plan_of(*material, (), engine), engine), (), engine)

    gates = np.concatenate([made.items.gate for made in many])
    assert (gates == 0).any()
    assert (gates > 0).any()
    assert all(made.items.open.all() for made in few)
    for some, every in zip(few, many, strict=True):
        rows = every.items.open
        assert np.array_equal(every.items.rows(rows).landmarks, some.items.landmarks)
        assert not every.items.crops.size
        if rows.any():
            assert np.array_equal(every.mouths["level"][rows], some.mouths["level"])
            assert not every.mouths["level"][~rows].any()
    # every frame with a face has its face, with the gate; only drawn ones are changed before the post-processor
    assert [one.frame.index for one in all_signs.seen if not one.faces] == list(range(14, 18))
    drawn = {one.frame.index for one in sign.seen if one.changed}
    assert drawn == {one.frame.index for one in all_signs.seen if one.changed}
    assert {one.frame.index for one in sign.seen if one.faces} == drawn < set(range(plan.n_frames))
    # finishing drawn frames only leaves all others as they are
    same = [digest(a) == digest(b) for a, b in zip(frames, plain, strict=True)]
    assert [number for number, equal in enumerate(same) if not equal] == sorted(drawn)
    at = next(one for one in all_signs.seen if one.faces and not one.changed)
    x, y = Sign.nose(at.faces[0])
    assert signed[at.frame.index].y[y, x] == 255 != plain[at.frame.index].y[y, x]


@pytest.mark.usefixtures("closed_lips")
def test_crops_are_cut_only_for_new_mouths(material: tuple[Path, str, str]) -> None:
    engine = PaintEngine(needs_crops=True)
    plan = plan_of(*material, [Sign(every_face=True)], engine)
    (tracked,) = [TrackStage().run(chunk) for chunk in chunks_of(plan)]
    assert len(tracked.items.crops) == len(tracked.items)
    assert [bool(crop.any()) for crop in tracked.items.crops] == tracked.items.open.tolist()
    assert tracked.faceless == 4


def test_counts_are_of_the_chunks_own_frames(material: tuple[Path, str, str], tmp_path: Path) -> None:
    """Whatever post-processors look at and change, a part counts its new mouths."""
    plain = plan_of(*material, masking="always", chunk_seconds=0.32)
    wide = plan_of(*material, [Blur(3)], masking="always", chunk_seconds=0.32)
    blur = Blur(3)
    counts = []
    for plan, post_processors in ((plain, ()), (wide, (blur,))):
        render = RenderStage(PaintEngine(), post_processors)
        render.load("cpu")
        parts = [render.run(made, str(tmp_path / f"{made.chunk.index}.mp4")) for made in made_of(plan)]
        counts.append([(part.frames, part.synthesised, part.faceless) for part in parts])
        assert ("render.blur" in parts[0].seconds) == ("render.load" in parts[0].seconds) == bool(post_processors)
        assert all(value >= 0 for value in parts[-1].seconds.values())
    assert counts[0] == counts[1]
    assert sum(synthesised for _, synthesised, _ in counts[0]) == plain.n_frames - sum(one[2] for one in counts[0])


def test_the_finished_size_reaches_the_file(material: tuple[Path, str, str]) -> None:
    chain = [Enlarge(1.5), Sign()]
    plan = plan_of(*material, chain, masking="always", chunk_seconds=0.6)
    width, height = plan.size
    assert plan.out_size == (round(width * 1.5 / 2) * 2, round(height * 1.5 / 2) * 2)
    render = RenderStage(PaintEngine(), chain)
    render.load("cpu")
    parts = [render.run(made, f"{plan.job_dir}/{made.chunk.index}.mp4") for made in made_of(plan)]
    for path in (parts[0].path, stitch_job(plan, parts).output):
        found = probe_video(path)
        assert (found.width, found.height) == plan.out_size
    check_output(plan.job.output, plan.n_frames, plan.rate)
    # the second post-processor works on what the first one made, landmarks and all
    assert chain[0].given[0] == plan.size
    first = next(one for one in chain[1].seen if one.faces)
    assert first.frame.size == plan.out_size
    assert first.faces[0].landmarks.max() > 1.2 * made_of(plan)[0].items.landmarks[0].max()


def test_without_post_processors_nothing_is_different(tmp_path: Path) -> None:
    audio = write_wav(tmp_path / "a.wav", babble(0.4))
    plan = plan_of(tmp_path, write_video(tmp_path / "v.mp4", 10), audio)
    assert (plan.out_size, plan.post_halo, plan.post_processors) == (plan.size, 0, ())
    assert chunks_of(plan)[0].post_seconds == 0.0
    part = RenderStage(PaintEngine()).run(made_of(plan)[0], str(tmp_path / "p.mp4"))
    assert [name for name in part.seconds if name.startswith("render")] == ["render.draw_encode", "render.verify"]


def test_keys_know_the_post_processors_by_content(tmp_path: Path) -> None:
    audio = write_wav(tmp_path / "a.wav", babble(0.4))
    video = write_video(tmp_path / "v.mp4", 10)

    def folder(post_processors: Sequence[PostProcessor], **options: Any) -> str:
        return plan_of(tmp_path, video, audio, post_processors, **options).job_dir

    plain = folder(())
    one = folder([Blur()], restore="gfpgan")
    assert folder([Blur()], restore="gfpgan", restore_model=str(tmp_path / "elsewhere.pth")) == one
    others = [
        folder([Blur(digest="c" * 64)], restore="gfpgan"),
        folder([Blur(name="other")], restore="gfpgan"),
        folder([Blur()], restore="gfpgan", restore_strength=0.5),
        folder([Blur(), Enlarge()], restore="gfpgan"),
        folder([Enlarge(), Blur()], restore="gfpgan"),
    ]
    assert len({plain, one, *others}) == 7
    plan = plan_of(tmp_path, video, audio, [Enlarge(), Blur()])
    assert [record.name for record in plan.weights] == ["paint", "enlarge", "blur"]
    assert plan.weights[2].consent == "flag"
    assert load_plan(plan.job_dir) == plan
    # what the lip engine learnt of the source is nobody else's
    assert len(Store(tmp_path / "work").names("sources")) == 1


def test_what_a_post_processor_refuses_ends_the_job_before_its_work(tmp_path: Path) -> None:
    class Huge(Enlarge):
        def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
            raise InputError(Code.FIELD_VALUE, "80000 pixels", field="outscale")

    with pytest.raises(InputError) as refused:
        plan_of(tmp_path, write_video(tmp_path / "v.mp4", 10), write_wav(tmp_path / "a.wav", babble(0.4)), [Huge()])
    assert (refused.value.job, refused.value.field) == ("job", "outscale")


def test_a_post_processor_that_loses_its_place_is_noticed(tmp_path: Path) -> None:
    class Broken(Sign):
        order: tuple[int, ...] = ()

        def map(self, shown: Iterable[Shown]) -> Iterator[Shown]:
            found = list(shown)
            return iter([found[at] for at in self.order])

    broken = Broken()
    plan = plan_of(tmp_path, write_video(tmp_path / "v.mp4", 10), write_wav(tmp_path / "a.wav", babble(0.4)), [broken])
    (made,) = made_of(plan)
    render = RenderStage(PaintEngine(), [broken])
    render.load("cpu")
    rest = tuple(range(3, 10))
    for order in ((0, 2, 1, *rest), (0, 1), (1, 2, *rest), (0, 0, 1, 2, *rest), ()):
        broken.order = order
        with pytest.raises(ValueError, match=r"instead of frame [01]|ended before frame [02]"):
            render.run(made, str(tmp_path / "p.mp4"))
        assert not (tmp_path / "p.mp4").exists()


def test_plans_are_plain_json(tmp_path: Path) -> None:
    audio = write_wav(tmp_path / "a.wav", babble(0.4))
    plan = plan_of(tmp_path, write_video(tmp_path / "v.mp4", 10), audio, [Enlarge()])
    said = json.loads((Path(plan.job_dir) / "plan.json").read_text())
    assert (said["out_size"], said["post_processors"]) == (list(plan.out_size), ["enlarge"])
