"""The table of measured frames: one row per frame of each window, from which all figures are made."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np

from raydub.arrays import F32, F64, I64, Bools
from raydub.beat import beat
from raydub.errors import InputError
from raydub.media.frames import Frame
from raydub.stages.evaluate import outside, pixels
from raydub.stages.evaluate.aligned import Place, place_of, still_face
from raydub.stages.evaluate.film import NONE, Film
from raydub.stages.evaluate.seen import Seen, joined_of, smoothed
from raydub.stages.faces import FaceFinder, FacePlan
from raydub.stages.faces import Seen as Faces
from raydub.stages.track.embed import embedding
from raydub.stages.types import FaceTrack, Span

APART = 40
"""Empty rows between windows that do not touch: no correlation reaches over them."""


@dataclass(frozen=True)
class Rows:
    """m rows, (m,) each, in order of the film; between windows that do not touch APART empty ones. frame: its number in
    the output, NONE in empty rows; present, present_source: a face is there; drawn, width, source: openness and width
    of the mouth in the output, openness in the source, in distances of the outer eye corners; error, ssim: outside the
    faces; pixels: (m, len(pixels.COLUMNS)). NaN where nothing was measured."""

    frame: I64
    present: Bools
    present_source: Bools
    drawn: F64
    width: F64
    source: F64
    error: F64
    ssim: F64
    pixels: F64

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def known(self) -> Bools:
        """(m,): rows that stand for a frame."""
        return np.asarray(self.frame != NONE, np.bool_)

    def between(self, start: int, stop: int) -> Rows:
        """The rows of the output frames start .. stop - 1."""
        chosen = (self.frame >= start) & (self.frame < stop)
        return Rows(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})

    @staticmethod
    def empty(n: int) -> Rows:
        """n empty rows."""
        nan = np.full(n, np.nan)
        no = np.zeros(n, np.bool_)
        table = np.full((n, len(pixels.COLUMNS)), np.nan)
        return Rows(np.full(n, NONE, np.int64), no, no, nan, nan, nan, nan, nan, table)

    @staticmethod
    def joined(parts: Sequence[Rows]) -> Rows:
        """Windows one after the other."""
        ready: list[Rows] = []
        for part in parts:
            if ready and ready[-1].frame[-1] + 1 != part.frame[0]:
                ready.append(Rows.empty(APART))
            ready.append(part)
        ready = ready or [Rows.empty(0)]
        return Rows(**{one.name: np.concatenate([getattr(part, one.name) for part in ready]) for one in fields(Rows)})


@dataclass(frozen=True)
class Who:
    """Embeddings (k, 128) of the same frames in source and output."""

    source: F32
    output: F32


class Measuring:
    """Measures windows of one film, one after the other. Keeps the face models. speaker: (n,) the face that speaks in
    each output frame, by its number among those that are found; None: the first; who_at: frames whose faces are
    compared; kept: windows whose landmarks stay in `seen` and `seen_source`."""

    def __init__(
        self, film: Film, speaker: I64 | None = None, who_at: Sequence[int] = (), kept: Sequence[Span] = ()
    ) -> None:
        self._film = film
        self._speaker = speaker
        self._in_output = FaceFinder(_of_output(film))
        self._in_source = FaceFinder(film.faces.model_copy(update={"smooth": False}))
        self._who_at = frozenset(who_at)
        self._kept = frozenset(kept)
        self._who: list[tuple[F32, F32]] = []
        self.seen: dict[Span, Seen] = {}
        self.seen_source: dict[Span, Seen] = {}
        self.notes: list[str] = []

    @property
    def who(self) -> Who:
        """The embeddings so far."""
        none = np.zeros((0, 128), np.float32)
        if not self._who:
            return Who(none, none)
        return Who(*(np.stack([pair[film] for pair in self._who]) for film in (0, 1)))

    def window(self, span: Span) -> Rows:
        """The rows of a window. Raises InputError for an output that cannot be read; a source that cannot is noted,
        and its figures are NaN."""
        film = self._film
        with film.open_output() as reader:
            seen, _ = self._seen(self._in_output.see_apart(reader, span, len(film)), span, None)
        source, others = self._source(span)
        if span in self._kept:
            self.seen[span] = seen
            if source is not None:
                self.seen_source[span] = source
        rows = replace(
            Rows.empty(len(span)),
            frame=np.arange(*span),
            present=seen.present,
            drawn=seen.openness,
            width=seen.width,
        )
        if source is None:
            return rows
        rows = replace(rows, present_source=source.present, source=source.openness)
        if not film.alike:
            return rows
        try:
            return self._pictures(rows, span, seen, source, others)
        except InputError as error:
            self._note(f"the source cannot be read: {error.message}")
            return rows

    def _source(self, span: Span) -> tuple[Seen | None, list[list[F32]]]:
        film = self._film
        numbers = film.shown(*span)
        known = numbers[numbers != NONE]
        reader = film.open_source()
        if reader is None or not len(known):
            return None, []
        assert film.source is not None
        there = Span(int(known.min()), int(known.max()) + 1)
        if len(there) > 4 * len(span):  # a timeline that jumps: both ends of the source in one window
            return None, []
        try:
            with reader:
                found = self._in_source.see_apart(reader, there, film.source.info.n_frames)
        except InputError as error:
            self._note(f"the source cannot be read: {error.message}")
            return None, []
        return self._seen(found, span, np.where(numbers == NONE, NONE, numbers - there.start))

    def _seen(self, faces: Faces, span: Span, at: I64 | None) -> tuple[Seen, list[list[F32]]]:
        """The speaking face in each output frame, and the landmarks of all faces. at: the rows of `faces` that the
        output frames show; None: one after the other."""
        film, n = self._film, len(span)
        at = np.arange(n) if at is None else at
        there = at != NONE
        speaker = np.zeros(n, np.int64) if self._speaker is None else self._speaker[span.start : span.stop]
        present, points = np.zeros(n, np.bool_), np.zeros((n, 68, 2), np.float32)
        cut = np.ones(n, np.bool_)
        cut[there] = faces.cut[at[there]]
        every: list[list[F32]] = [[] for _ in range(n)]
        for row in np.flatnonzero(there).tolist():
            track: FaceTrack = faces.tracks[min(int(speaker[row]), len(faces.tracks) - 1)]
            present[row], points[row] = track.present[at[row]], track.landmarks[at[row]]
            every[row] = [one.landmarks[at[row]] for one in faces.tracks if one.present[at[row]]]
        joined = joined_of(present, cut)
        joined[1:] &= (speaker[1:] == speaker[:-1]) & (np.abs(np.diff(at)) <= 1)
        points = smoothed(points, present, joined)
        return Seen(Path(film.output.path), film.output.rate, film.source_size, present, points, joined), every

    def _pictures(self, rows: Rows, span: Span, seen: Seen, source: Seen, others: list[list[F32]]) -> Rows:
        film = self._film
        reader = film.open_source()
        assert reader is not None
        label = film.source.label if film.source is not None else ()
        error, ssim = np.full(len(span), np.nan), np.full(len(span), np.nan)
        with reader, film.open_output() as output:
            pairs = zip(film.source_frames(reader, *span), output.frames(*span), strict=True)

            def both() -> Iterator[tuple[int, Frame | None, Frame]]:
                for row, (own, new) in enumerate(pairs):
                    beat("evaluate")
                    if own is not None and own.size == new.size:
                        tiles = outside.outside(new.y.shape, others[row], label)
                        error[row] = outside.squared_error(own.y, new.y, tiles)
                        if (span.start + row) % outside.SSIM_EVERY == 0:
                            ssim[row] = outside.similarity(own.y, new.y, tiles)
                    if own is not None and span.start + row in self._who_at:
                        self._compare(row, own, new, source, seen)
                    yield row, own, new

            if not source.present.any():
                for _ in both():
                    pass
                return replace(rows, error=error, ssim=ssim)
            place = place_of(source)
            box = pixels.mouth_box(place.to_still(source.points), place)
            stills = (_stills(place, film.scale, *one) for one in both())
            table = pixels.rows_of(stills, box, place)
        return replace(rows, error=error, ssim=ssim, pixels=table)

    def _compare(self, row: int, own: Frame, new: Frame, source: Seen, seen: Seen) -> None:
        if source.present[row] and seen.present[row]:
            self._who.append((embedding(own, source.points[row]), embedding(new, seen.points[row])))

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


Pair = tuple[pixels.Still | None, pixels.Still | None]


def _stills(place: Place, scale: float, row: int, own: Frame | None, new: Frame) -> Pair:
    if own is None or not place.present[row]:
        return None, None
    matrix = place.matrix[row]
    grown = matrix.copy()
    grown[:, :2] /= np.float32(scale)
    return _still(own, matrix, place.size), _still(new, grown, place.size)


def _still(frame: Frame, matrix: F32, size: tuple[int, int]) -> pixels.Still:
    coded = cv2.cvtColor(still_face(frame, matrix, size), cv2.COLOR_BGR2YCrCb).astype(np.float32)
    return pixels.Still(np.ascontiguousarray(coded[..., 0]), np.ascontiguousarray(coded[..., 1:]))


def _of_output(film: Film) -> FacePlan:
    """How the faces of the output are found: as those of the source, but nothing is kept, smoothed or held."""
    plan = film.faces.model_copy(update={"work_dir": "", "track_key": "", "smooth": False, "no_face": "keep"})
    if plan.box is not None and film.scale != 1:
        x0, y0, x1, y1 = (round(side * film.scale) for side in plan.box)
        plan = plan.model_copy(update={"box": (x0, y0, x1, y1)})
    return plan


@functools.cache
def columns() -> dict[str, int]:
    """The numbers of pixels.COLUMNS."""
    return {name: number for number, name in enumerate(pixels.COLUMNS)}
