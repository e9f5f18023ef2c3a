"""Which source frame is shown at which output frame: length, continuation, removed frames. Pure arithmetic.

`length` decides how many frames the output has: those of the new speech (audio), of the video (video), or of the
shorter of the two. The manifest's default is `audio` except for scripts with times: in dubbing, cutting the end of the
speech would lose words, while a remaining part of video without words is useless. A video that is too short is
extended: `pingpong` plays it backward, then forward again, so that there is no jump; `loop` starts it again; `hold`
keeps its last frame; `fail` refuses. A single image is always held.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from raydub.arrays import I64
from raydub.errors import Code, InputError
from raydub.media.frames import Frame, FrameReader
from raydub.stages.types import Span

Length = Literal["audio", "video", "shortest"]
Extend = Literal["loop", "pingpong", "hold", "none"]

BACKWARD_BYTES = 96 << 20
"""Frames that are shown backward are read forward in blocks of at most this many bytes."""
_BACKWARD_FRAMES = 64


class Run(NamedTuple):
    """`n` output frames from `frame` on show the source frames first, first + step, ..; step is 1, -1 or 0 (the
    same frame held)."""

    frame: int
    first: int
    n: int
    step: int


class Timeline(BaseModel):
    """n_out output frames over a source of n_src frames. kept: ascending spans of the source that may be shown (after
    no_face=drop), None for all of it. extend "none": the source is long enough."""

    model_config = ConfigDict(frozen=True)

    n_out: int
    n_src: int
    extend: Extend = "none"
    kept: tuple[Span, ...] | None = None

    @cached_property
    def n_shown(self) -> int:
        """How many source frames may be shown."""
        return self.n_src if self.kept is None else sum(len(span) for span in self.kept)

    @cached_property
    def _starts(self) -> list[int]:
        spans = self.kept or ()
        return [0, *accumulate(len(span) for span in spans)]

    def source(self, frame: int) -> int:
        """The source frame shown at output frame `frame`. Raises ValueError outside 0..n_out."""
        if not 0 <= frame < self.n_out:
            raise ValueError(f"frame {frame} of an output of {self.n_out}")
        shown = _extended(frame, self.n_shown, self.extend)
        if self.kept is None:
            return shown
        number = bisect_right(self._starts, shown) - 1
        return self.kept[number].start + shown - self._starts[number]

    def sources(self, start: int, stop: int) -> I64:
        """(stop - start,) int64: the source frames shown at the output frames start .. stop - 1."""
        return np.array([self.source(frame) for frame in range(start, stop)], np.int64)

    def runs(self, start: int, stop: int, longest_backward: int = _BACKWARD_FRAMES) -> Iterator[Run]:
        """The output frames start .. stop - 1 as runs, in order; backward runs have at most `longest_backward`
        frames."""
        frame = start
        while frame < stop:
            first = self.source(frame)
            step = self.source(frame + 1) - first if frame + 1 < stop else 1
            step = step if step in (-1, 0, 1) else 1
            limit = min(stop - frame, longest_backward) if step < 0 else stop - frame
            count = 1
            while count < limit and self.source(frame + count) == first + count * step:
                count += 1
            yield Run(frame, first, count, step)
            frame += count


def _extended(frame: int, n: int, extend: Extend) -> int:
    if frame < n:
        return frame
    if extend == "hold" or n == 1:
        return n - 1
    if extend == "loop":
        return frame % n
    if extend == "pingpong":
        at = frame % (2 * n - 2)
        return at if at < n else 2 * n - 2 - at
    raise ValueError(f"frame {frame} lies beyond a source of {n} frames that is not extended")


def frames_of(seconds: Fraction, rate: Fraction) -> int:
    """Number of frames at `rate` that cover `seconds`; the last one may be covered partly."""
    return math.ceil(seconds * rate)


def plan_timeline(
    speech_seconds: Fraction,
    rate: Fraction,
    n_src: int,
    *,
    length: Length,
    extend: Literal["loop", "pingpong", "hold", "fail"],
    still: bool = False,
    kept: Sequence[Span] | None = None,
) -> Timeline:
    """The timeline of a job. speech_seconds: exact length of the new speech; still: the source is one image, which has
    no length of its own, so the speech's counts.

    Raises InputError: VIDEO_TOO_SHORT (extend=fail), VIDEO_NO_FRAMES, FACE_NONE (nothing was kept).
    """
    shown = n_src if kept is None else sum(len(span) for span in kept)
    if shown < 1:
        if kept is not None:
            raise InputError(Code.FACE_NONE, "no frame of the video shows a face, so no_face=drop leaves nothing")
        raise InputError(Code.VIDEO_NO_FRAMES, "the video has no frames")
    spoken = max(1, frames_of(speech_seconds, rate))
    wanted = spoken if length == "audio" or still else shown if length == "video" else min(spoken, shown)
    how: Extend = "none"
    if wanted > shown:
        if still:
            how = "hold"
        elif extend == "fail":
            raise InputError(
                Code.VIDEO_TOO_SHORT,
                f"the video shows {shown} frames, the speech needs {wanted} (at {float(rate):g} a second)",
                hint="extend=pingpong, loop or hold extends the video; length=video cuts the speech",
                field="extend",
            )
        else:
            how = extend
    return Timeline(n_out=wanted, n_src=n_src, extend=how, kept=None if kept is None else tuple(kept))


def read_shown(reader: FrameReader, timeline: Timeline, start: int, stop: int) -> Iterator[tuple[int, Frame]]:
    """(output frame, its own copy of the source frame) for start .. stop - 1. Memory stays bounded: one frame, or one
    block of BACKWARD_BYTES where the source is shown backward. Raises InputError as FrameReader.frames does."""
    width, height = reader.size
    block = int(min(_BACKWARD_FRAMES, max(2, BACKWARD_BYTES // (width * height * 3 // 2))))
    for run in timeline.runs(start, stop, block):
        if run.step > 0:
            yield from enumerate(reader.frames(run.first, run.first + run.n), run.frame)
        elif run.step < 0:
            stored = list(reader.frames(run.first - run.n + 1, run.first + 1))
            for offset in range(run.n):
                yield run.frame + offset, stored.pop()
        else:
            (held,) = reader.frames(run.first, run.first + 1)
            for offset in range(run.n):
                yield run.frame + offset, held.copy()
