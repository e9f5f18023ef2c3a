"""Post-processors without a network, for tests of what surrounds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from raydub.arrays import F32
from raydub.media.frames import Frame, Transform, open_frames
from raydub.media.probe import probe_video
from raydub.media.writer import PartWriter
from raydub.stages.engine import WeightsRecord
from raydub.stages.post_processor import Shown, ShownFace
from tests.stages.fakes import DEMO


def portrait_with_gap(path: Path, frames: int, blank: range) -> str:
    """The demo's portrait, 320 pixels high, its frames in `blank` without a picture. Returns the path."""
    info = probe_video(str(DEMO / "clip.mp4"))
    with (
        open_frames(info, Transform(resize_height=320)) as reader,
        PartWriter(str(path), reader.size, info.rate, info.colour, crf=10) as writer,
    ):
        for frame in reader.frames(0, frames):
            if frame.index in blank:
                frame.y[:], frame.u[:], frame.v[:] = 90, 128, 128
            writer.write(frame)
        writer.close()
    return str(path)


class Blur:
    """Each frame becomes the mean of itself and `halo` frames on both sides, as far as there are any: what a chunk
    shows at its borders depends on what lies beyond them. Keeps the devices that it was loaded on."""

    def __init__(self, halo: int = 2, name: str = "blur", digest: str = "b" * 64) -> None:
        self.halo, self.name, self.every_face = halo, name, False
        self.devices: list[str] = []
        self._digest = digest

    def weights(self) -> tuple[WeightsRecord, ...]:
        return (WeightsRecord(self.name, self._digest, "test", "flag"),)

    def load(self, device: str) -> None:
        self.devices.append(device)

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return size

    def map(self, shown: Iterable[Shown]) -> Iterator[Shown]:
        assert self.devices, "map before load"
        source = [replace(one, frame=one.frame.copy()) for one in shown]
        for at, one in enumerate(source):
            near = source[max(0, at - self.halo) : at + self.halo + 1]
            mean = np.mean([other.frame.y.astype(np.float64) for other in near], axis=0)
            frame = one.frame.copy()
            frame.y[:] = np.round(mean).astype(np.uint8)
            yield Shown(frame, one.faces, True)


class Enlarge:
    """Frames become `scale` times as large, and the faces with them. Keeps the sizes that it was given."""

    name, halo, every_face = "enlarge", 0, False

    def __init__(self, scale: float = 2.0) -> None:
        self.scale = scale
        self.given: list[tuple[int, int]] = []

    def weights(self) -> tuple[WeightsRecord, ...]:
        return (WeightsRecord("enlarge", "e" * 64, "test"),)

    def load(self, device: str) -> None:
        assert device == "cpu"

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return round(size[0] * self.scale / 2) * 2, round(size[1] * self.scale / 2) * 2

    def map(self, shown: Iterable[Shown]) -> Iterator[Shown]:
        for one in shown:
            frame = one.frame
            self.given.append(frame.size)
            width, height = self.out_size(frame.size)
            planes = [
                np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.uint8)
                for plane, size in (
                    (frame.y, (width, height)),
                    (frame.u, (width // 2, height // 2)),
                    (frame.v, (width // 2, height // 2)),
                )
            ]
            faces = tuple(replace(face, landmarks=face.landmarks * np.float32(self.scale)) for face in one.faces)
            yield Shown(Frame(frame.index, planes[0], planes[1], planes[2], frame.colour), faces, True)


class Sign:
    """Draws a white square at the tip of the nose of each face that it may touch, and keeps what it saw."""

    name, halo = "sign", 0

    def __init__(self, every_face: bool = False) -> None:
        self.every_face = every_face
        self.seen: list[Shown] = []

    def weights(self) -> tuple[WeightsRecord, ...]:
        return ()

    def load(self, device: str) -> None:
        assert device == "cpu"

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return size

    def map(self, shown: Iterable[Shown]) -> Iterator[Shown]:
        for one in shown:
            self.seen.append(replace(one, frame=one.frame.copy()))
            for face in one.faces:
                if face.gate > 0 or self.every_face:
                    x, y = self.nose(face)
                    one.frame.y[y - 1 : y + 2, x - 1 : x + 2] = 255
            yield one

    @staticmethod
    def nose(face: ShownFace) -> tuple[int, int]:
        tip: F32 = face.landmarks[30]
        return int(tip[0]), int(tip[1])
