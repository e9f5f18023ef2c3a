"""The galleries of one voice of a job: one for each part of the source, loaded when they are needed.

A source is cut into parts of about a minute, at most PARTS of them, so that a film's mouths come from the scene around
them, and memory and what is read stay bounded. Each part's gallery is kept beside the tracks, by the source, how its
faces are found and which of them is meant: not by the speech, so that all languages of a video share it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from raydub.arrays import I32
from raydub.stages.engine import Arrays
from raydub.stages.mouths.gallery import Gallery, Picture
from raydub.stages.track.cache import BLOCK, blocks_of
from raydub.stages.types import Span

PARTS = 40
_PART_BLOCKS = 25
"""Blocks of a part, about: a minute at 25 frames a second."""
_KEPT_GALLERIES, _KEPT_PICTURES = 2, 24

Name = TypeVar("Name")
Kept = TypeVar("Kept")


def n_parts(n_frames: int) -> int:
    """How many parts a source of so many frames has."""
    blocks = -(-n_frames // BLOCK)
    return min(PARTS, max(1, round(blocks / _PART_BLOCKS)))


def part_of(sources: npt.NDArray[np.integer], n_frames: int) -> I32:
    """The part of each source frame."""
    blocks, parts = -(-n_frames // BLOCK), n_parts(n_frames)
    starts = np.arange(parts) * blocks // parts
    return (np.searchsorted(starts, np.asarray(sources) // BLOCK, side="right") - 1).astype(np.int32)


def blocks_of_part(part: int, n_frames: int) -> list[Span]:
    """The blocks that a part consists of."""
    blocks, parts = -(-n_frames // BLOCK), n_parts(n_frames)
    first, stop = (number * blocks // parts for number in (part, part + 1))
    return blocks_of(Span(first * BLOCK, stop * BLOCK), n_frames)


class Library:
    """n_frames: of the source; load: the gallery of a part. Keeps the last few galleries and decoded pictures."""

    def __init__(self, n_frames: int, load: Callable[[int], Gallery]) -> None:
        self.n_frames = n_frames
        self._load = load
        self._galleries: OrderedDict[int, Gallery] = OrderedDict()
        self._pictures: OrderedDict[tuple[int, int], Picture] = OrderedDict()

    def gallery(self, part: int) -> Gallery:
        """Raises what load raises."""
        return _kept(self._galleries, part, lambda: self._load(part), _KEPT_GALLERIES)

    def picture(self, part: int, mouth: int) -> Picture:
        """See Gallery.picture."""
        return _kept(self._pictures, (part, mouth), lambda: self.gallery(part).picture(mouth), _KEPT_PICTURES)


class Learnt(Mapping[str, npt.NDArray[np.generic]]):
    """What an engine's prepare returned, with the library of the same voice."""

    def __init__(self, arrays: Arrays, library: Library) -> None:
        self._arrays = arrays
        self.library = library

    def __getitem__(self, name: str) -> npt.NDArray[np.generic]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def library_of(galleries: Sequence[Gallery], n_frames: int) -> Library:
    """Of galleries in memory, one for each part."""
    return Library(n_frames, lambda part: galleries[part])


def _kept(known: OrderedDict[Name, Kept], name: Name, make: Callable[[], Kept], most: int) -> Kept:
    if name not in known:
        known[name] = make()
        while len(known) > most:
            known.popitem(last=False)
    known.move_to_end(name)
    return known[name]
