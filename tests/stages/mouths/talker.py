"""A painted face that talks, as a source of mouths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from raydub.arrays import F32, Bools
from raydub.media.frames import Frame
from raydub.stages.mouths.collect import collect
from raydub.stages.mouths.gallery import Gallery
from raydub.stages.track.cache import blocks_of
from raydub.stages.track.look import look_of
from raydub.stages.types import FaceItems, FaceTrack, Span
from tests.stages.lipsync.test_warp import face, marks_of

SIZE = (192, 192)


def opening_at(index: int) -> float:
    """Face units; two rhythms, so that shapes differ."""
    return float(0.08 + 0.05 * np.sin(index / 2.3) + 0.03 * np.sin(index / 5.1))


def marks_at(index: int) -> F32:
    """The head sways a little."""
    return marks_of((96 + 3 * np.sin(index / 17), 100.0), 64.0, opening_at(index), turn=0.03 * np.sin(index / 23))


class Talker:
    """See mouths.collect.MouthSource. n frames; read counts the frames asked for."""

    def __init__(self, n: int = 150) -> None:
        self.n, self.read = n, 0
        self._painted: dict[int, Frame] = {}
        self.marks = np.stack([marks_at(index) for index in range(n)])
        self.looks = np.stack([look_of(self.frame(index), self.marks[index]) for index in range(n)])
        self.cut, self.who = np.zeros(n, np.bool_), np.ones((n, 128), np.float32)

    def frame(self, index: int) -> Frame:
        """A copy of the picture."""
        if index not in self._painted:
            self._painted[index] = replace(face(SIZE, self.marks[index], seed=index), index=index)
        return self._painted[index].copy()

    def faces(self, block: Span) -> tuple[list[FaceTrack], Bools]:
        rows, n = slice(block.start, block.stop), len(block)
        yes, no = np.ones(n, np.bool_), np.zeros(n, np.bool_)
        box = np.zeros((n, 4), np.float32)
        return [FaceTrack(block, yes, box, self.marks[rows], no, no, self.looks[rows], self.who[rows])], self.cut[rows]

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        for index in range(start, stop):
            self.read += 1
            yield self.frame(index)

    def gallery(self) -> Gallery:
        """Of all frames."""
        return collect(self, blocks_of(Span(0, self.n), self.n), "dlib")

    def items(self, first: int = 0) -> FaceItems:
        """All frames as output frames from `first` on."""
        n, at = self.n, np.arange(self.n, dtype=np.int32)
        return FaceItems(
            at + np.int32(first),
            at,
            at * 0,
            np.zeros((n, 4), np.float32),
            self.marks,
            np.ones(n, np.float32),
            np.zeros((0, 96, 96, 3), np.uint8),
            self.looks,
            self.who,
            self.cut,
        )
