"""A finished film and the source it was made of, frame by frame beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from raydub.arrays import I64
from raydub.media.frames import Frame, FrameReader, Transform, open_frames
from raydub.media.info import VideoInfo
from raydub.stages.faces import FacePlan
from raydub.stages.source_timeline import Timeline, read_shown

NONE = -1


@dataclass(frozen=True)
class Source:
    """The source as the job read it. timeline: which source frame each output frame shows; None: by time alone; label:
    see outside.outside."""

    info: VideoInfo
    transform: Transform = field(default_factory=Transform)
    timeline: Timeline | None = None
    label: tuple[int, ...] = ()


@dataclass(frozen=True)
class Film:
    """output: as probed; source: None where there is none; faces: how faces are found in the working frame of the
    source, which is the output's unless it was upscaled."""

    output: VideoInfo
    source: Source | None
    faces: FacePlan

    def __len__(self) -> int:
        return self.output.n_frames

    @property
    def source_size(self) -> tuple[int, int]:
        """(width, height) of the source's working frame; of the output without a source."""
        if self.source is None:
            return self.output.width, self.output.height
        return self.source.transform.size(self.source.info.width, self.source.info.height)

    @property
    def alike(self) -> bool:
        """Has the output the picture of the source, in any size? Not where it was cropped or stretched."""
        width, height = self.source_size
        return abs(self.output.width * height - self.output.height * width) <= 2 * max(width, height) * 4

    @property
    def scale(self) -> float:
        """Output pixels for one of the source."""
        return self.output.width / self.source_size[0]

    def shown(self, start: int, stop: int) -> I64:
        """(stop - start,) the source frame that each output frame shows, NONE where there is none."""
        numbers = np.arange(start, stop)
        if self.source is None:
            return np.full(len(numbers), NONE, np.int64)
        line, n = self.source.timeline, self.source.info.n_frames
        if line is not None:
            found = np.full(len(numbers), NONE, np.int64)
            known = max(0, min(stop, line.n_out) - start)
            found[:known] = line.sources(start, start + known)
            return found
        rate, own = self.output.rate, self.source.info.rate
        moved = numbers * (own.numerator * rate.denominator) // (own.denominator * rate.numerator)
        return np.where(moved < n, moved, NONE).astype(np.int64)

    def open_output(self) -> FrameReader:
        """A reader of the output."""
        return open_frames(self.output)

    def open_source(self) -> FrameReader | None:
        """A reader of the source's working frames."""
        return None if self.source is None else open_frames(self.source.info, self.source.transform)

    def source_frames(self, reader: FrameReader, start: int, stop: int) -> Iterator[Frame | None]:
        """What each output frame start .. stop - 1 shows of the source; one or a few frames are in memory. The same
        object may come again: do not write to it."""
        assert self.source is not None
        numbers = self.shown(start, stop)
        known = int((numbers != NONE).sum())
        if self.source.timeline is not None:
            for _, frame in read_shown(reader, self.source.timeline, start, start + known):
                yield frame
        elif known:
            frames = reader.frames(int(numbers[0]), int(numbers[known - 1]) + 1)
            held = next(frames)
            for number in numbers[:known]:
                while held.index < number:
                    held = next(frames)
                yield held
        for _ in range(len(numbers) - known):
            yield None
