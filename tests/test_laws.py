"""The laws that hold whatever the engine: frame-exact (1), chunk-invariant (2), untouched is untouched (3).
Law 8, reference-true, is tried in tests/reference."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydub.media.audio import decode_speech
from raydub.media.frames import open_frames
from raydub.media.mux import check_output
from raydub.media.probe import probe_video
from raydub.media.writer import PartWriter
from raydub.stages.chunk import TrackStage
from raydub.stages.engine import LipEngine
from raydub.stages.job_plan import JobPlan, chunks_of
from raydub.stages.mouths.stored import load_library
from raydub.stages.render import RenderStage
from raydub.stages.stitch import stitch_job
from raydub.stages.synthesise import LipsyncStage
from tests.examples import slow
from tests.stages.fakes import DEMO, PaintEngine, all_frames, babble, digest, make_plan, write_video, write_wav

RATES = ["24000/1001", "24", "25", "30000/1001", "30", "50", "60"]
QUICK = ("30000/1001",)
LENGTHS = (1.0, 2.5, 120.0)


@pytest.mark.parametrize("rate", [rate if rate in QUICK else slow(rate) for rate in RATES])
def test_law_1_frame_exact(rate: str, tmp_path: Path) -> None:
    """Planned frames at the exact rate, sound and picture ending together, whichever of the two is longer."""
    engine = PaintEngine()
    video = write_video(tmp_path / "v.mp4", 61, Fraction(rate))
    for seconds, length in ((1.7, "audio"), (3.3, "audio"), (1.3, "video")):
        audio = write_wav(tmp_path / f"{seconds}.wav", babble(seconds, 44100), 44100)
        plan = make_plan(tmp_path, engine, video, audio, length=length, chunk_seconds=0.7)
        assert plan.rate == Fraction(rate)
        wanted = 61 if length == "video" else -(-round(seconds * 16000) * plan.rate // 16000)
        assert abs(plan.n_frames - wanted) <= (0 if length == "video" else 1)
        assert plan.n_frames / plan.rate >= Fraction(round(seconds * 1000), 1000) or length == "video"
        track, lips, render = TrackStage(), LipsyncStage(engine), RenderStage(engine)
        parts = [
            render.run(lips.run(track.run(chunk)), f"{plan.job_dir}/{chunk.index}.mp4") for chunk in chunks_of(plan)
        ]
        done = stitch_job(plan, parts)
        assert done.frames == plan.n_frames
        check_output(done.output, plan.n_frames, plan.rate)
        assert probe_video(done.output).rate == plan.rate


def wav2lip(folder: Path) -> LipEngine:
    """A narrow Wav2Lip with random weights."""
    import torch

    from raydub.models.wav2lip import Wav2Lip
    from raydub.stages.lipsync.wav2lip import Wav2LipEngine, Wav2LipOptions

    torch.manual_seed(5)
    path = folder / "narrow.pth"
    torch.save({"state_dict": Wav2Lip(1 / 16).state_dict()}, path)
    return Wav2LipEngine(Wav2LipOptions(checkpoint=str(path), backend="torch"))


def warp(folder: Path) -> LipEngine:
    """The embedded engine that moves the frame's own mouth."""
    from raydub.stages.lipsync.warp import WarpEngine

    return WarpEngine()


def own(folder: Path) -> LipEngine:
    """The embedded engine that draws with the video's own mouths."""
    from raydub.stages.lipsync.own import OwnEngine

    return OwnEngine()


def paint(folder: Path) -> LipEngine:
    """The tests' own engine, with crops."""
    return PaintEngine(needs_crops=True)


ENGINES = (paint, own, warp, wav2lip)


QUICK_ENGINES = [slow(paint), own, slow(warp), slow(wav2lip)]


def excerpt(clip: Path, folder: Path, n: int | None) -> str:
    """The first n frames of a clip as a clip of their own."""
    if n is None:
        return str(clip)
    info, path = probe_video(str(clip)), folder / "excerpt.mp4"
    with open_frames(info) as reader, PartWriter(str(path), reader.size, info.rate, info.colour) as writer:
        for frame in reader.frames(0, n):
            writer.write(frame)
        writer.close()
    return str(path)


def check_laws(
    folder: Path,
    make: Callable[[Path], LipEngine],
    video: str,
    audio: str,
    *,
    spares: bool = True,
    lengths: tuple[float, ...] = LENGTHS,
    **options: Any,
) -> JobPlan:
    """Laws 2 and 3 over chunks of these seconds. Every length gets a work folder and stages of its own: nothing is
    shared. spares: some frames must have stayed untouched."""
    first: list[tuple[int, int]] | None = None
    engine = make(folder)
    for seconds in lengths:
        plan = make_plan(folder / f"{seconds}", engine, video, audio, chunk_seconds=seconds, **options)
        frames, items = all_frames(plan, engine)
        found = [digest(frame) for frame in frames]
        assert [index for index, _ in found] == list(range(plan.n_frames))
        if first is None:
            first = found
            assert not spares or sum(map(len, items)) < plan.n_frames
            # own leaves faces alone that are covered or seen from the side
            least = 0.6 if engine.name == "own" else 0.9
            check_untouched(plan, frames, np.concatenate([one.frame for one in items]), least)
        else:
            different = [index for (index, a), (_, b) in zip(first, found, strict=True) if a != b]
            assert different == [], f"chunks of {seconds} s change {len(different)} frames"
    return plan


def check_untouched(plan: JobPlan, frames: list[Any], synthesised: np.ndarray[Any, Any], least: float) -> None:
    touched = set(synthesised.tolist())
    assert touched
    with plan.open() as reader:
        source = {frame.index: digest(frame)[1] for frame in reader.frames(0, plan.timeline.n_src)}
    wanted = {i: source[plan.timeline.source(i)] for i in range(plan.n_frames) if i not in touched}
    assert {i: digest(frames[i])[1] for i in wanted} == wanted
    changed = [i for i in touched if digest(frames[i])[1] != source[plan.timeline.source(i)]]
    assert len(changed) > least * len(touched)


@pytest.mark.parametrize("make", QUICK_ENGINES)
def test_laws_2_and_3_on_the_demo(make: Callable[[Path], LipEngine], tmp_path: Path) -> None:
    """A face that is there, a cut to nothing and back, a speech with pauses, a picture that turns back at its end."""
    info, path = probe_video(str(DEMO / "clip.mp4")), tmp_path / "clip.mp4"
    with open_frames(info) as reader, PartWriter(str(path), reader.size, info.rate, info.colour, crf=12) as writer:
        for frame in reader.frames(0, 90):
            if 40 <= frame.index < 55:
                frame.y[:], frame.u[:], frame.v[:] = 90, 128, 128
            writer.write(frame)
        writer.close()
    audio = write_wav(tmp_path / "a.wav", np.concatenate([babble(2.0), np.zeros(16000), babble(1.6)]))
    plan = check_laws(tmp_path, make, str(path), audio)
    assert plan.timeline.extend == "pingpong"


def spoken(media_dir: Path, folder: Path, seconds: float) -> str:
    """Real speech with pauses between its repetitions."""
    one = np.concatenate([decode_speech(str(media_dir / "audio" / "spanish1.wav")), np.zeros(24000, np.float32)])
    count = round(seconds * 16000)
    return write_wav(folder / "speech.wav", np.tile(one, -(-count // len(one)))[:count])


@pytest.mark.slow
@pytest.mark.media
@pytest.mark.parametrize("make", ENGINES)
def test_laws_2_and_3_on_cuts(make: Callable[[Path], LipEngine], media_dir: Path, tmp_path: Path) -> None:
    """A talk with cuts and faceless frames: the first seven seconds."""
    clip = media_dir / "video" / "stage_talk_cuts_480p30.mp4"
    video = excerpt(clip, tmp_path, 200)
    check_laws(tmp_path, make, video, spoken(media_dir, tmp_path, 7.0), length="video")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.media
@pytest.mark.parametrize("make", ENGINES)
@pytest.mark.parametrize("face", ["largest", "all"])
def test_laws_2_and_3_on_the_whole_talk(
    make: Callable[[Path], LipEngine], face: str, media_dir: Path, tmp_path: Path
) -> None:
    """The whole talk of 50 seconds."""
    clip = media_dir / "video" / "stage_talk_cuts_480p30.mp4"
    check_laws(tmp_path, make, str(clip), spoken(media_dir, tmp_path, 50.0), length="video", face=face)


@pytest.mark.slow
@pytest.mark.media
def test_laws_2_and_3_on_two_faces_held(media_dir: Path, tmp_path: Path) -> None:
    """Both faces of a frame, boxes held where a face is lost, the picture looped."""
    clip = media_dir / "video" / "two_speakers_side_by_side_1024x512_25.mp4"
    video = excerpt(clip, tmp_path, 60)
    audio = spoken(media_dir, tmp_path, 4.0)
    check_laws(
        tmp_path, paint, video, audio, spares=False, face="all", no_face="hold", extend="loop", masking="lips-open"
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.media
def test_laws_2_and_3_of_who_speaks(media_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dialogue in chunks of 7, 17 and 50 frames: first the left face is dubbed, then the right one, never both."""
    pytest.importorskip("openvino")
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(media_dir / "weights"))
    video = str(media_dir / "video" / "two_speakers_side_by_side_1024x512_25.mp4")
    audio, lengths = spoken(media_dir, tmp_path, 8.0), (0.28, 0.68, 2.0)
    plan = check_laws(
        tmp_path, paint, video, audio, spares=False, lengths=lengths, length="video", face="active", masking="always"
    )
    items = [TrackStage().run(chunk).items for chunk in chunks_of(plan)]
    frame, right = (
        np.concatenate(part) for part in zip(*((one.frame, one.box[:, 0] > 512) for one in items), strict=True)
    )
    assert len(np.unique(frame)) == len(frame) > 190
    assert (right == (frame >= 100)).mean() >= 0.95


def two_people(media_dir: Path, folder: Path, counts: tuple[int, int, int, int] = (100, 12, 80, 70)) -> str:
    """A speaker, a dark picture, another speaker, the first one again, so many frames of each."""
    path = folder / "two_people.mp4"
    first, dark, second, again = counts
    one, other = (probe_video(str(media_dir / "video" / f"address_{k}_512_25.mp4")) for k in (2, 3))
    with open_frames(one) as a, open_frames(other) as b, PartWriter(str(path), a.size, one.rate, one.colour) as writer:
        for frame in a.frames(0, first):
            writer.write(frame)
        for _ in range(dark):
            frame.y[:], frame.u[:], frame.v[:] = 16, 128, 128
            writer.write(frame)
        for frame in itertools.chain(b.frames(0, second), a.frames(first, first + again)):
            writer.write(frame)
        writer.close()
    return str(path)


@pytest.mark.slow
@pytest.mark.media
def test_laws_2_and_3_of_real_mouths(media_dir: Path, tmp_path: Path) -> None:
    """Cuts, faceless frames and two people, in chunks of 7, 17, 50 and 97 frames; most frames show real mouths, none
    the other person's."""
    video, audio = two_people(media_dir, tmp_path), spoken(media_dir, tmp_path, 11.0)
    plan = check_laws(
        tmp_path, own, video, audio, lengths=(0.28, 0.68, 2.0, 3.88), length="video", no_face="keep", face="largest"
    )
    gallery = load_library(plan, 0).gallery(0)
    assert len(gallery.people) == 2
    stage, real = LipsyncStage(own(tmp_path)), 0
    for chunk in chunks_of(plan):
        made = stage.run(TrackStage().run(chunk))
        drawn = made.mouths["own"] > 0
        real += int(drawn.sum())
        seen, shown = (np.isin(frames, np.arange(112, 192)) for frames in (made.items.source, gallery.frame))
        assert (shown[made.mouths["donors"]] == seen[:, None])[drawn].all()
    assert real > 0.8 * (plan.n_frames - 12)
