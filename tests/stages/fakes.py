"""A lip engine without a network, and small made-up media, for tests of the stages."""

from __future__ import annotations

import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.media.writer import PartWriter
from raydub.media.yuv import to_bgr
from raydub.models.mel import WINDOW, mel_windows
from raydub.stages.chunk import TrackStage
from raydub.stages.engine import Arrays, DrawItem, LipEngine, Patch, SourceSampler, Speech, WeightsRecord
from raydub.stages.job_plan import JobPlan, chunks_of
from raydub.stages.mask import mouth_alpha
from raydub.stages.prepare import prepare_job
from raydub.stages.render import RenderStage
from raydub.stages.synthesise import LipsyncStage
from raydub.stages.types import FaceItems

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"


class PaintEngine:
    """Tints the mouth: a function of the mel window, of the crop's mean (with crops) and of what prepare saw."""

    name = "paint"

    def __init__(self, needs_crops: bool = False) -> None:
        self.needs_crops = needs_crops

    def weights(self) -> tuple[WeightsRecord, ...]:
        return (WeightsRecord("paint", "0" * 64, "test"),)

    def load(self, device: str) -> None:
        assert device == "cpu"

    def prepare(self, video: SourceSampler) -> dict[str, np.ndarray[Any, Any]]:
        seen = video.sample(4)
        assert len(seen) <= 4
        return {"seen": np.array([frame.index for frame, _, _ in seen], np.int32)}

    def hears(self, rate: Fraction) -> tuple[int, int]:
        return 0, WINDOW

    def infer(self, items: FaceItems, speech: Speech) -> dict[str, np.ndarray[Any, Any]]:
        level = mel_windows(speech.mel, items.frame, speech.rate).mean(axis=(1, 2))
        if self.needs_crops:
            level = level + items.crops.reshape(len(items), -1).mean(axis=1) / 64
        return {"level": level.astype(np.float32)}

    def draw(self, frame: Frame, item: DrawItem, mouth: Arrays, source: Arrays) -> Patch | None:
        width, height = frame.size
        x0, y0 = np.floor(item.landmarks.min(axis=0)).astype(int) // 2 * 2
        x1, y1 = np.ceil(item.landmarks.max(axis=0)).astype(int) // 2 * 2 + 2
        region = (max(0, int(x0)), max(0, int(y0)), min(width, int(x1)), min(height, int(y1)))
        if region[0] >= region[2] or region[1] >= region[3]:
            return None
        bgr = to_bgr(frame, region)
        shade = np.clip(bgr.astype(np.float32) + 20 * (4 + float(mouth["level"])), 0, 255).astype(np.uint8)
        return Patch(region, shade, mouth_alpha(item.landmarks, region))


def write_wav(path: Path, samples: np.ndarray[Any, Any], rate: int = 16000) -> str:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return str(path)


def babble(seconds: float, rate: int = 16000, seed: int = 0) -> np.ndarray[Any, Any]:
    """Bursts of a buzzing tone of 0.4 s with pauses of 0.4 s between."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(t))
    buzz = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 9))
    return np.where((t % 0.8) < 0.4, 0.3 * buzz, 0.0) + 0.01 * noise


def write_video(
    path: Path,
    n: int,
    rate: Fraction = Fraction(25),
    size: tuple[int, int] = (96, 64),
    paint: Callable[[int], int] = lambda i: 40 + i * 7 % 150,
) -> str:
    """A clip of plain grey frames with a moving gradient, no face in it."""
    width, height = size
    with PartWriter(str(path), size, rate, Colour(matrix="bt601"), crf=8) as writer:
        for i in range(n):
            y = np.full((height, width), paint(i), np.uint8)
            y[:, : width // 2] += (np.arange(width // 2) // 4).astype(np.uint8)
            half = np.full((height // 2, width // 2), 128, np.uint8)
            writer.write(Frame(i, y, half, half.copy(), Colour(matrix="bt601")))
        writer.close()
    return str(path)


def make_plan(tmp: Path, engine: LipEngine, video: str, audio: str, **options: Any) -> JobPlan:
    work = tmp / "work"
    work.mkdir(parents=True, exist_ok=True)
    job = Job(id="job", video=video, audio=audio, output=str(tmp / "out" / "film.mp4"), options=Options(**options))
    return prepare_job(job, str(work), engine)


def all_frames(plan: JobPlan, engine: LipEngine) -> tuple[list[Frame], list[FaceItems]]:
    """Every frame of a job as it is before encoding, with fresh stages per chunk, and the items of each chunk."""
    frames, items = [], []
    for chunk in chunks_of(plan):
        tracked = TrackStage().run(chunk)
        made = LipsyncStage(engine).run(tracked)
        items.append(made.items)
        frames += list(RenderStage(engine).frames(made))
    return frames, items


def digest(frame: Frame) -> tuple[int, int]:
    return frame.index, hash((frame.y.tobytes(), frame.u.tobytes(), frame.v.tobytes()))
