"""One job through all its stages, with a made-up engine: on clips without a face, and on the demo's portrait."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from raydub.errors import Code, InputError, StageError
from raydub.media.frames import open_frames
from raydub.media.mux import check_output
from raydub.media.probe import probe_video
from raydub.stages.chunk import TrackStage
from raydub.stages.clean import clean_frames, extract_frames
from raydub.stages.job_plan import chunks_of, load_plan, load_source, load_speech, load_voiced
from raydub.stages.render import RenderStage
from raydub.stages.stitch import stitch_job
from raydub.stages.synthesise import LipsyncStage
from raydub.stages.types import Part
from tests.examples import slow
from tests.stages.fakes import DEMO, PaintEngine, all_frames, babble, make_plan, write_video, write_wav

CLIP = str(DEMO / "clip.mp4")


def parts_of(plan: Any, engine: PaintEngine) -> list[Part]:
    track, lips, render = TrackStage(), LipsyncStage(engine), RenderStage(engine)
    return [
        render.run(lips.run(track.run(chunk)), f"{plan.job_dir}/parts/{chunk.index}.mp4") for chunk in chunks_of(plan)
    ]


def test_a_clip_without_a_face_passes_through(tmp_path: Path) -> None:
    engine = PaintEngine()
    video = write_video(tmp_path / "v.mp4", 20)
    plan = make_plan(tmp_path, engine, video, write_wav(tmp_path / "a.wav", babble(1.1)), chunk_seconds=0.4)
    assert (plan.n_frames, plan.timeline.extend, plan.n_chunks) == (28, "pingpong", 3)
    assert plan.warnings[0].startswith("W_EXTENDED")
    frames, items = all_frames(plan, engine)
    assert sum(map(len, items)) == 0
    with open_frames(plan.video) as reader:
        source = list(reader.frames(0, 20))
    assert [frame.index for frame in frames] == list(range(28))
    assert all(np.array_equal(frame.y, source[plan.timeline.source(i)].y) for i, frame in enumerate(frames))

    parts = parts_of(plan, engine)
    assert [(part.frames, part.synthesised, part.faceless) for part in parts] == [(10, 0, 10), (10, 0, 10), (8, 0, 8)]
    done = stitch_job(plan, parts[::-1])
    check_output(done.output, 28, Fraction(25))
    with av.open(done.output) as film:
        assert "Synthetic media" in film.metadata["comment"]
    assert [path.name for path in Path(done.output).parent.iterdir()] == ["film.mp4"]
    assert not list((tmp_path / "work" / "tmp").iterdir())


def test_the_mark_can_be_left_off(tmp_path: Path) -> None:
    engine = PaintEngine()
    audio = write_wav(tmp_path / "a.wav", babble(0.5))
    plan = make_plan(tmp_path, engine, write_video(tmp_path / "v.mp4", 13), audio, mark_synthetic=False)
    with av.open(stitch_job(plan, parts_of(plan, engine)).output) as film:
        assert "comment" not in film.metadata


def test_an_incomplete_job_is_not_stitched(tmp_path: Path) -> None:
    engine = PaintEngine()
    audio = write_wav(tmp_path / "a.wav", babble(0.8))
    plan = make_plan(tmp_path, engine, write_video(tmp_path / "v.mp4", 20), audio, chunk_seconds=0.4)
    first, second = parts_of(plan, engine)
    for parts in ([first], [first, first], [first, replace(second, frames=9)], [first, second, second]):
        with pytest.raises(StageError) as refused:
            stitch_job(plan, parts)
        assert (refused.value.code, refused.value.job) == (Code.STITCH_FAILED, "job")
    assert not Path(plan.job.output).exists()


def test_a_job_prepared_twice_is_the_same_job(tmp_path: Path) -> None:
    engine = PaintEngine()
    audio = write_wav(tmp_path / "a.wav", babble(0.8))
    video = write_video(tmp_path / "v.mp4", 20)
    plan = make_plan(tmp_path, engine, video, audio)
    assert sorted(plan.arrays) == ["mel.npy", "source.npz", "voiced.npy"]
    before = {path: Path(path).stat().st_mtime_ns for path in plan.arrays.values()}
    assert make_plan(tmp_path, engine, video, audio).arrays == plan.arrays
    assert {path: Path(path).stat().st_mtime_ns for path in plan.arrays.values()} == before
    moved = tmp_path / "moved.mp4"
    moved.write_bytes(Path(video).read_bytes())
    again = make_plan(tmp_path, engine, str(moved), audio)
    assert (again.content_key, again.chunk_keys) == (plan.content_key, plan.chunk_keys)
    # A plan of its own: each job reads its own files, whatever becomes of the other's.
    assert again.job_dir != plan.job_dir
    assert load_plan(plan.job_dir).video.path == video
    assert load_speech(plan).mel.shape[0] == 80
    others = [
        make_plan(tmp_path, engine, video, audio, chunk_seconds=0.4),
        make_plan(tmp_path, engine, write_video(tmp_path / "w.mp4", 21), audio),
        make_plan(tmp_path, engine, video, write_wav(tmp_path / "b.wav", babble(0.8, seed=1))),
        make_plan(tmp_path, PaintEngine(), video, audio, masking="always"),
    ]
    assert len({plan.job_dir, *(other.job_dir for other in others)}) == 5
    assert {other.faces.track_key for other in others} == {plan.faces.track_key, others[1].faces.track_key}


@pytest.mark.parametrize("name", ["mel.npy", slow("voiced.npy"), slow("source.npz")])
@pytest.mark.parametrize("damage", ["cut", "zeroed", "gone"])
def test_damaged_arrays_are_noticed_and_made_anew(tmp_path: Path, name: str, damage: str) -> None:
    """Cut short they can still be read; with zeros in them they give other frames without a word."""
    engine = PaintEngine()
    plan = make_plan(tmp_path, engine, CLIP, write_wav(tmp_path / "a.wav", babble(0.8)))
    path = Path(plan.arrays[name])
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        half = len(whole) // 2
        path.write_bytes(whole[:-5] if damage == "cut" else whole[:half] + bytes(len(whole) - half))
    reader = {"mel.npy": load_speech, "voiced.npy": load_voiced, "source.npz": load_source}[name]
    with pytest.raises(StageError) as lost:
        reader(plan)
    assert lost.value.code is Code.STORAGE
    again = make_plan(tmp_path, engine, CLIP, str(tmp_path / "a.wav"))
    assert (again.arrays, again.chunk_keys, again.key) == (plan.arrays, plan.chunk_keys, plan.key)
    assert path.read_bytes() == whole
    reader(again)


def test_what_lies_in_the_folder(tmp_path: Path) -> None:
    engine = PaintEngine()
    plan = make_plan(tmp_path, engine, CLIP, write_wav(tmp_path / "a.wav", babble(1.2)))
    assert load_plan(plan.job_dir) == plan
    speech = load_speech(plan)
    assert (speech.rate, speech.n_frames) == (plan.rate, plan.n_frames)
    assert speech.mel.shape[1] >= 80 * plan.n_frames / plan.rate + 16
    assert speech.mel.dtype == np.float32
    sounds = load_voiced(plan)
    assert len(sounds) == plan.n_frames
    assert sounds.any()
    assert not sounds.all()
    seen = load_source(plan)["seen"]
    assert len(seen) == 4
    assert (np.diff(seen) > 0).all()


def test_a_damaged_work_folder_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(StageError) as lost:
        load_plan(str(tmp_path))
    assert lost.value.code == Code.STORAGE
    assert lost.value.retryable


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The demo's portrait, 30 frames of it, with a made-up speech: plan, frames, items."""
    folder = tmp_path_factory.mktemp("portrait")
    engine = PaintEngine(needs_crops=True)
    plan = make_plan(folder, engine, CLIP, write_wav(folder / "a.wav", babble(1.2)), masking="always")
    frames, items = all_frames(plan, engine)
    return plan, frames, items


def test_a_face_gets_a_mouth_and_the_rest_stays(portrait: Any) -> None:
    plan, frames, (items,) = portrait
    assert items.frame.tolist() == list(range(plan.n_frames))
    with plan.open() as reader:
        for frame, source, points in zip(frames, reader.frames(0, plan.n_frames), items.landmarks, strict=True):
            changed = frame.y != source.y
            assert changed.any()
            rows, columns = np.nonzero(changed)
            assert rows.min() > points[30, 1] - 2
            assert points[0, 0] - 2 < columns.min() <= columns.max() < points[16, 0] + 2


def test_crops_are_the_box_resized(portrait: Any) -> None:
    plan = portrait[0]
    tracked = TrackStage().run(chunks_of(plan)[0])
    assert tracked.items.crops.shape == (plan.n_frames, 96, 96, 3)
    from raydub.media.yuv import to_bgr

    with plan.open() as reader:
        frame = next(reader.frames(7, 8))
    x0, y0, x1, y1 = tracked.items.box[7].astype(int)
    wanted = cv2.resize(to_bgr(frame)[y0:y1, x0:x1], (96, 96), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(tracked.items.crops[7], wanted)


def test_a_constant_box_needs_no_detection(tmp_path: Path) -> None:
    engine = PaintEngine(needs_crops=True)
    audio = write_wav(tmp_path / "a.wav", babble(0.4))
    found = TrackStage().run(chunks_of(make_plan(tmp_path, engine, CLIP, audio, masking="always"))[0]).items
    x0, y0, x1, y1 = (int(side) for side in np.median(found.box, axis=0))
    box = (y0, y1, x0, x1)
    plan = make_plan(tmp_path, engine, CLIP, audio, masking="always", box=box)
    items = TrackStage().run(chunks_of(plan)[0]).items
    assert plan.faces.track_key == ""
    assert len(items) == plan.n_frames
    assert set(map(tuple, items.box.tolist())) == {(x0, y0, x1, y1)}
    assert np.abs(items.landmarks[:, 48:] - found.landmarks[:, 48:]).mean() < 0.05 * (x1 - x0)


@pytest.fixture(scope="module")
def half_faceless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """24 frames of the portrait, then 24 of nothing, then 12 of the portrait."""
    from raydub.media.writer import PartWriter

    path = tmp_path_factory.mktemp("clip") / "half.mp4"
    info = probe_video(CLIP)
    with open_frames(info) as reader, PartWriter(str(path), reader.size, info.rate, info.colour, crf=10) as writer:
        for frame in reader.frames(0, 60):
            if 24 <= frame.index < 48:
                frame.y[:], frame.u[:], frame.v[:] = 90, 128, 128
            writer.write(frame)
        writer.close()
    return str(path)


def test_policies_for_frames_without_a_face(half_faceless: str, tmp_path: Path) -> None:
    engine = PaintEngine()
    audio = write_wav(tmp_path / "a.wav", babble(2.4))

    def tracked(no_face: str) -> Any:
        plan = make_plan(tmp_path, engine, half_faceless, audio, masking="always", no_face=no_face)
        return plan, TrackStage().run(chunks_of(plan)[0])

    plan, kept = tracked("keep")
    assert kept.faceless == 24
    assert sorted(set(range(60)) - set(kept.items.frame.tolist())) == list(range(24, 48))
    plan, dropped = tracked("drop")
    assert [tuple(span) for span in plan.timeline.kept] == [(0, 24), (48, 60)]
    assert (plan.n_frames, dropped.faceless) == (60, 0)
    assert plan.timeline.extend == "pingpong"
    with pytest.raises(InputError) as missing:
        tracked("fail")
    assert missing.value.code == Code.FACE_MISSING
    assert "frame 24" in missing.value.message
    assert missing.value.job == "job"


def test_drop_of_everything_is_refused(tmp_path: Path) -> None:
    video, audio = write_video(tmp_path / "v.mp4", 20), write_wav(tmp_path / "a.wav", babble(0.8))
    with pytest.raises(InputError) as nobody:
        make_plan(tmp_path, PaintEngine(), video, audio, no_face="drop")
    assert (nobody.value.code, nobody.value.job) == (Code.FACE_NONE, "job")


@pytest.mark.slow
def test_cleaning_removes_the_faceless_frames(half_faceless: str, tmp_path: Path) -> None:
    wanted = {"frames": 60, "kept": 36, "removed": 24}
    for name in ("clean.mp4", "clean.mkv"):
        assert clean_frames(half_faceless, str(tmp_path / name)) == wanted
        assert probe_video(str(tmp_path / name)).n_frames == 36
    assert clean_frames(half_faceless, str(tmp_path / "folder")) == wanted
    assert len(list((tmp_path / "folder").glob("*.png"))) == 36
    with pytest.raises(InputError) as nobody:
        clean_frames(write_video(tmp_path / "v.mp4", 5), str(tmp_path / "none.mp4"))
    assert nobody.value.code == Code.FACE_NONE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean.mkv", "clean.mp4", "folder", "v.mp4"]


def test_extracting_frames(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 20)
    assert extract_frames(video, str(tmp_path / "a"), start=3, stop=12, every=4, form="jpg") == 3
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["000003.jpg", "000007.jpg", "000011.jpg"]
    assert extract_frames(video, str(tmp_path / "b")) == 20
    with open_frames(probe_video(video)) as reader:
        frame = next(reader.frames(5, 6))
    from raydub.media.yuv import to_bgr

    assert np.array_equal(cv2.imread(str(tmp_path / "b" / "000005.png")), to_bgr(frame))


def test_crop_rotate_and_resize_reach_the_output(tmp_path: Path) -> None:
    engine = PaintEngine()
    video, audio = write_video(tmp_path / "v.mp4", 10, size=(192, 128)), write_wav(tmp_path / "a.wav", babble(0.4))
    plan = make_plan(tmp_path, engine, video, audio, rotate=90, resize_height=64, crop=(0, 40, 0, -1))
    done = stitch_job(plan, parts_of(plan, engine))
    found = probe_video(done.output)
    assert plan.size == (found.width, found.height) == (64, 40)


def test_an_image_speaks(tmp_path: Path) -> None:
    audio, engine = write_wav(tmp_path / "a.wav", babble(0.5)), PaintEngine()
    plan = make_plan(tmp_path, engine, str(DEMO / "portrait.png"), audio, fps="25", masking="always")
    assert (plan.n_frames, plan.timeline.extend) == (13, "hold")
    frames, items = all_frames(plan, engine)
    assert len(items[0]) == 13
    assert len({frame.y.tobytes() for frame in frames}) > 1
