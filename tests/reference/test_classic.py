"""Law 8: classic mode, from video and sound to drawn frames, equals the published Wav2Lip inference.

The weights are random ones of the published size. With torch's own initial values the network's answer is one grey for
whatever it sees; `lively` draws the statistics of every batch norm anew, variances of 0.05 to 0.2, so that each layer
makes its input two to four times louder and differences reach the output. The tests check that they do: a window of
sound or a box one step beside the right one is seen.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raydub.errors import RaydubError
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.media.audio import decode_speech
from raydub.media.frames import Frame, open_frames
from raydub.media.probe import probe_video
from raydub.models.backends import base
from raydub.models.wav2lip import Wav2Lip
from raydub.stages.chunk import TrackStage
from raydub.stages.job_plan import JobPlan, chunks_of, load_speech
from raydub.stages.lipsync.wav2lip import Wav2LipEngine, Wav2LipOptions
from raydub.stages.prepare import prepare_job
from raydub.stages.render import RenderStage
from raydub.stages.synthesise import LipsyncStage
from tests.examples import slow
from tests.models import reference
from tests.models.reference import State, lively
from tests.reference import published as statement
from tests.reference.published import Box, Dubbed, dub, faces, ycc_of
from tests.stages.fakes import DEMO, write_wav
from tests.test_laws import excerpt

BACKENDS = pytest.mark.parametrize("backend", ["torch", "openvino"])
OUTPUT, PICTURE, MEL = 1e-3, 1.0, 1e-4
"""Law 8's limits: network outputs (of 1), pasted pixels (of 255), mel (of 8)."""


@dataclass(frozen=True)
class Classic:
    """What raydub made. floats: the network's answers, one per frame; drawn: the frames before encoding; patches: BGR
    pictures and where they were drawn."""

    plan: JobPlan
    floats: np.ndarray
    drawn: list[Frame]
    patches: list[tuple[Box, np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save({"state_dict": lively(Wav2Lip(1.0), seed=8).state_dict()}, path)
    yield path
    path.unlink()


def state_of(checkpoint: Path) -> State:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Box]:
    """Six frames of the demo, 0.65 s of its speech, a box with odd sides around the face."""
    folder = tmp_path_factory.mktemp("sample")
    video = Path(excerpt(DEMO / "clip.mp4", folder, 6))
    speech = decode_speech(str(DEMO / "speech_en.flac"))[16000:26400]
    return video, Path(write_wav(folder / "speech.wav", speech)), (205, 145, 410, 392)


@pytest.fixture(scope="module")
def published(sample: tuple[Path, Path, Box], checkpoint: Path) -> Dubbed:
    video, sound, box = sample
    return dub(video, sound, box, state_of(checkpoint), probe_video(str(video)).rate)


class Recorded:
    """A backend that keeps what the network answered, without the rows that only fill a batch up."""

    def __init__(self, inner: base.Backend, kept: list[np.ndarray]) -> None:
        self.name, self.precision, self.conveyor = inner.name, inner.precision, None
        self._inner, self._kept = inner, kept

    def run(self, crops: np.ndarray, mel: np.ndarray) -> np.ndarray:
        made = self._inner.run(crops, mel)
        self._kept.append(made[crops.any(axis=(1, 2, 3))])
        return made


def classic(
    folder: Path, monkeypatch: pytest.MonkeyPatch, video: Path, sound: Path, box: Box, checkpoint: Path, backend: Any
) -> Classic:
    """The job through the stages, in chunks of half a second."""
    floats: list[np.ndarray] = []
    patches = []
    make = base.make_backend
    monkeypatch.setattr(base, "make_backend", lambda *args: Recorded(make(*args), floats))

    class Watched(Wav2LipEngine):
        def draw(self, *args: Any) -> Any:
            patch = super().draw(*args)
            patches.append((patch.box, patch.bgr.copy(), patch.alpha.copy()))
            return patch

    x0, y0, x1, y1 = box
    options = Options(
        engine="wav2lip",
        model=str(checkpoint),
        masking="always",
        paste="box",
        box=(y0, y1, x0, x1),
        smooth=False,
        precision="fp32",
        extend="loop",
        chunk_seconds=0.5,
    )
    engine = Watched(Wav2LipOptions(str(checkpoint), paste="box", precision="fp32", backend=backend))
    job = Job(id="classic", video=str(video), audio=str(sound), output=str(folder / "film.mp4"), options=options)
    plan = prepare_job(job, str(folder), engine)
    track, lips, render = TrackStage(), LipsyncStage(engine), RenderStage(engine)
    drawn = [frame for chunk in chunks_of(plan) for frame in render.frames(lips.run(track.run(chunk)))]
    return Classic(plan, np.concatenate(floats), drawn, patches)


def check_law_8(found: Classic, expected: Dubbed, box: Box) -> None:
    """raydub's frames are those of the published code, and a few more at the end, which that leaves out."""
    count = len(expected.floats)
    assert len(found.drawn) == len(found.patches) == len(found.floats) >= count
    mel = np.asarray(load_speech(found.plan).mel)[:, : expected.mel.shape[1]]
    assert np.abs(mel - expected.mel).max() < MEL
    assert np.abs(found.floats[:count] - expected.floats).max() < OUTPUT
    with open_frames(probe_video(found.plan.video.path)) as reader:
        sources = list(reader.frames(0, reader.info.n_frames))
    for number, image in enumerate(expected.images):
        check_patch(found.patches[number], image, box)
        check_planes(found.drawn[number], sources[number % len(sources)], image, box)


def check_patch(patch: tuple[Box, np.ndarray, np.ndarray], image: np.ndarray, box: Box) -> None:
    """What is drawn shows in the box, all of the box and nothing beside it, and equals the published pixels."""
    x0, y0, x1, y1 = box
    (left, top, right, bottom), bgr, alpha = patch
    shown = np.zeros(image.shape[:2])
    shown[top:bottom, left:right] = alpha
    inside = np.zeros(image.shape[:2])
    inside[y0:y1, x0:x1] = 1
    assert np.array_equal(shown, inside)
    away = np.abs(bgr.astype(int) - image[top:bottom, left:right].astype(int))[alpha == 1]
    assert away.max() <= PICTURE


def check_planes(frame: Frame, source: Frame, image: np.ndarray, box: Box) -> None:
    """The frame's planes are those of the published picture in the box, and the source's bit for bit beside it. Chroma
    samples on the box's edge stand for pixels on either side: those in the box are the published ones, the others keep
    the source's chroma, which 8 bits of BGR cannot always hold."""
    x0, y0, x1, y1 = box
    inside = np.zeros(frame.y.shape, bool)
    inside[y0:y1, x0:x1] = True
    luma, *chroma = ycc_of(image)
    assert np.abs(frame.y - np.rint(luma))[inside].max() <= PICTURE
    assert np.array_equal(frame.y[~inside], source.y[~inside])
    edge = _quarters(inside) > 0
    for plane, before, wanted in ((frame.u, source.u, chroma[0]), (frame.v, source.v, chroma[1])):
        pixels = np.where(inside, wanted, before.repeat(2, 0).repeat(2, 1))
        assert np.abs(plane - np.rint(_quarters(pixels)))[edge].max() <= PICTURE
        assert np.array_equal(plane[~edge], before[~edge])


def _quarters(pixels: np.ndarray) -> np.ndarray:
    """Means over 2x2."""
    height, width = pixels.shape
    return np.asarray(pixels.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)))


@pytest.mark.parametrize("backend", ["torch", slow("openvino")])
def test_law_8_on_the_demo(
    backend: str,
    sample: tuple[Path, Path, Box],
    published: Dubbed,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twelve frames of a clip of six, which starts again."""
    need(backend)
    video, sound, box = sample
    assert len(published.floats) == 12
    check_law_8(classic(tmp_path, monkeypatch, video, sound, box, checkpoint, backend), published, box)


def test_the_reference_is_independent() -> None:
    """It shares no code with what it checks."""
    own = {"models", "media", "stages", "pipeline", "manifests", "cluster"}
    for module in (reference, statement):
        tree = ast.parse(Path(module.__file__ or "").read_text())
        names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert own.isdisjoint(name.split(".")[0] for name in names)


def need(backend: str) -> None:
    try:
        base.resolve("cpu", backend, "fp32")
    except RaydubError as error:
        pytest.skip(str(error))


def test_the_comparison_is_worth_something(sample: tuple[Path, Path, Box], published: Dubbed, checkpoint: Path) -> None:
    """With these weights the published answer moves with the sound, the picture and the box, by far more than the
    limit: sound one frame late, or a box one pixel aside, would not pass."""
    x0, y0, x1, y1 = sample[2]
    some = slice(1, 5)
    state, sources, right = state_of(checkpoint), published.sources[some], published.floats[some]
    late = faces(state, sources, (x0, y0, x1, y1), published.windows[0:4])
    aside = faces(state, sources, (x0 + 1, y0, x1 + 1, y1), published.windows[some])
    still = faces(state, [published.sources[0]] * 4, (x0, y0, x1, y1), published.windows[some])
    assert published.floats.std() > 0.1
    for row, other in itertools.product(range(4), (late, aside, still)):
        assert np.abs(other[row] - right[row]).max() > 10 * OUTPUT


@pytest.mark.slow
@pytest.mark.media
@BACKENDS
def test_law_8_on_a_webcam(
    backend: str, media_dir: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of a second of a person before a webcam at 30 frames a second, with real speech."""
    need(backend)
    video = Path(excerpt(media_dir / "video" / "webcam_en_720p30.mp4", tmp_path, 8))
    speech = decode_speech(str(media_dir / "audio" / "spanish1.wav"))[8000 : 8000 + 6400]
    sound, box = Path(write_wav(tmp_path / "speech.wav", speech)), (505, 177, 841, 655)
    expected = dub(video, sound, box, state_of(checkpoint), probe_video(str(video)).rate)
    assert len(expected.floats) >= 6
    check_law_8(classic(tmp_path, monkeypatch, video, sound, box, checkpoint, backend), expected, box)
