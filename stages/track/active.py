"""Which faces speak: for each row of a raw track the log odds of a network that sees faces and hears the original sound
(models.light_asd), and how well the lips fit that sound (track.fits).

The source is cut into windows of WINDOW ticks (25 a second) on its own clock. Each face of a window is a clip, from
CONTEXT ticks before the window to as many after it, as far as the face is there; its scores inside the window are kept
in the store beside the raw tracks. So a score depends on the number of its window and on the source, never on chunks.
"""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile
from zlib import error as ZlibError

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict

from raydub.arrays import F32, F64, I64, U8, Bools
from raydub.beat import beat
from raydub.media.frames import Frame
from raydub.media.info import ExactRate
from raydub.models.active_speaker import require_active_speaker
from raydub.models.light_asd import CEPSTRA, CLIP, ROWS, SIDE, LightAsd, read_state
from raydub.present import present
from raydub.stages.kept_arrays import read_array
from raydub.stages.track.cache import cut_out
from raydub.stages.track.chains import GAP, face_boxes, strands_of
from raydub.stages.track.fits import fits, lips_of
from raydub.stages.track.raw import FrameSource, RawTracks
from raydub.stages.track.ticks import Ticks
from raydub.stages.types import Span
from raydub.store import Store

WINDOW = 100
"""Ticks of a window: 4 s."""
CONTEXT = (CLIP - WINDOW) // 2
"""Ticks before and after a window that its clips may reach."""
QUIET = -20.0
"""The log odds of all faces in windows in which nobody is heard: the network is not asked."""
_SHORTEST = 5
"""Ticks of the shortest clip that the network is asked about."""
_LINKS = GAP + 2
_HALF = 0.7
"""Half the side of a picture, over half the larger side of the face's box; it lies lower than the box by _LOWER. So the
network's training cut faces: a margin of 0.4 around the box, then the middle half."""
_LOWER = 0.4
_STEADY = 6
"""Pictures follow the median of the boxes of so many ticks before and after."""
_BEYOND = 110
"""Grey beyond the frame's edges, as in training."""
_log = logging.getLogger(__name__)


class Voices(BaseModel):
    """What tells who speaks in a source. cepstra, mouth, sounding: blobs (see stages.heard); work_dir, key: where
    scores are cached; sha256: of the network."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    rate: ExactRate
    cepstra: str = ""
    mouth: str = ""
    sounding: str = ""
    work_dir: str = ""
    key: str = ""


class ActiveFaces:
    """Scores for the raw tracks of one source. Cheap to build; the network is loaded at first use."""

    def __init__(self, voices: Voices) -> None:
        self._voices = voices
        self._network: LightAsd | None = None

    def reach(self, span: Span, n_frames: int) -> Span:
        """The frames of raw track, within the source, that the scores of `span` are made of."""
        ticks = Ticks(self._voices.rate, n_frames)
        windows = _windows(ticks.covering(span))
        return _around(ticks, Span(windows[0] * WINDOW, (windows[-1] + 1) * WINDOW))

    def scored(self, source: FrameSource, raw: RawTracks, span: Span, n_frames: int) -> RawTracks:
        """The raw tracks with `speaking`, known for the rows of `span`, and `sounding`. raw must cover reach(span)."""
        ticks = Ticks(self._voices.rate, n_frames)
        scores = np.full((len(raw.frame), 2), np.nan, np.float32)
        sounding: Bools = read_array(self._voices.sounding)
        for window in _windows(ticks.covering(span)):
            inner = ticks.inner(Span(window * WINDOW, (window + 1) * WINDOW))
            rows = slice(*(int(np.searchsorted(raw.frame, edge)) for edge in inner))
            known = self._kept(window, raw, rows)
            if known is None:
                known = self._judged(source, raw, ticks, window, rows, sounding)
                self._keep(window, raw, rows, known)
            scores[rows] = known
        return replace(raw, speaking=scores, sounding=np.asarray(sounding[raw.span.start : raw.span.stop], np.bool_))

    def _judged(
        self, source: FrameSource, raw: RawTracks, ticks: Ticks, window: int, rows: slice, sounding: Bools
    ) -> F32:
        """The scores of the rows inside a window."""
        wide = Span(max(0, window * WINDOW - CONTEXT), min((window + 1) * WINDOW + CONTEXT, ticks.count))
        frames = ticks.frames(wide)
        part = cut_out(raw, _around(ticks, Span(window * WINDOW, (window + 1) * WINDOW)))
        offset = int(np.searchsorted(raw.frame, part.span.start))
        found = np.full((len(part.frame), 2), np.nan, np.float32)
        if not sounding[frames[0] : frames[-1] + 1].any():
            found[:] = QUIET, 0.0
            return found[rows.start - offset : rows.stop - offset]
        clips = [clip for strand in strands_of(part) if (clip := _Clip.of(part, strand, frames)) is not None]
        inner = ticks.inner(Span(window * WINDOW, (window + 1) * WINDOW))
        clips = [clip for clip in clips if clip.last >= inner.start and clip.first < inner.stop]
        if clips:
            cepstra: F32 = read_array(self._voices.cepstra)
            mouth: F32 = read_array(self._voices.mouth)
            _fill(source, clips, frames)
            for clip in clips:
                beat("track")
                first = wide.start + clip.start
                heard = np.zeros((ROWS * len(clip.pictures), CEPSTRA), np.float32)
                there = cepstra[ROWS * first : ROWS * (first + len(clip.pictures))]
                heard[: len(there)] = there
                odds = self._loaded().scores(clip.pictures, heard)
                places = ticks.places(Span(clip.first, clip.last + 1)) - first
                fitting = fits(clip.lips, mouth[first : first + len(clip.pictures)])
                spread = [np.interp(places, np.arange(len(odds)), values) for values in (odds, fitting)]
                found[clip.rows] = np.stack(spread, axis=1)[part.frame[clip.rows] - clip.first]
        return found[rows.start - offset : rows.stop - offset]

    def _loaded(self) -> LightAsd:
        if self._network is None:
            self._network = LightAsd(read_state(require_active_speaker()))
        return self._network

    def _name(self, window: int) -> str:
        return f"speaking/{self._voices.key}/{window:06d}"

    def _keep(self, window: int, raw: RawTracks, rows: slice, scores: F32) -> None:
        if not self._voices.work_dir:
            return
        stream = io.BytesIO()
        np.savez_compressed(stream, allow_pickle=False, frame=raw.frame[rows], slot=raw.slot[rows], scores=scores)
        Store(self._voices.work_dir).put(self._name(window), stream.getvalue(), ".npz")

    def _kept(self, window: int, raw: RawTracks, rows: slice) -> F32 | None:
        """The kept scores, or None where they are absent, damaged or not those of these rows."""
        found = Store(self._voices.work_dir).get(self._name(window)) if self._voices.work_dir else None
        if found is None:
            return None
        try:
            with np.load(Path(present(found.path)), allow_pickle=False) as stored:
                same = all(np.array_equal(stored[name], getattr(raw, name)[rows]) for name in ("frame", "slot"))
                return np.asarray(stored["scores"], np.float32) if same else None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, ZlibError) as error:
            _log.warning("scores in %s are damaged and are computed again: %s", found.path, error)
            return None


class _Clip:
    """A face in a window. rows: of the raw track; first, last: its first and last frame; start: its first tick, from
    the window's; squares (n, 3): centre and half side of its pictures; lips (n, 2): see track.fits."""

    def __init__(self, rows: I64, first: int, last: int, start: int, squares: F64, lips: F64) -> None:
        self.rows, self.first, self.last, self.start = rows, first, last, start
        self.squares, self.lips = squares, lips
        self.pictures: U8 = np.zeros((len(squares), SIDE, SIDE), np.uint8)

    @classmethod
    def of(cls, raw: RawTracks, strand: I64, frames: I64) -> _Clip | None:
        """The clip of a face at the ticks that show `frames`, None where it is too short."""
        at = raw.frame[strand]
        start, stop = (int(edge) for edge in np.searchsorted(frames, [at[0], at[-1] + 1]))
        if stop - start < _SHORTEST:
            return None
        boxes = face_boxes(raw.landmarks[strand]).astype(np.float64)
        sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / 2
        seen = ((boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2, sides)
        here = np.stack([np.interp(frames[start:stop], at, values) for values in seen], axis=1)
        padded = np.pad(here, ((_STEADY, _STEADY), (0, 0)), mode="edge")
        steady = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _STEADY + 1, axis=0), axis=-1)
        x, y, half = steady.T
        squares = np.stack([x, y + _LOWER * half, _HALF * half], axis=1)
        moved = lips_of(raw.landmarks[strand]).T
        lips = np.stack([np.interp(frames[start:stop], at, values) for values in moved], axis=1)
        return cls(strand, int(at[0]), int(at[-1]), start, squares, lips)


def _windows(ticks: Span) -> range:
    return range(ticks.start // WINDOW, (ticks.stop - 1) // WINDOW + 1)


def _around(ticks: Ticks, window: Span) -> Span:
    """The frames that decide the clips of a window, or of several."""
    wide = Span(max(0, window.start - CONTEXT), min(window.stop + CONTEXT, ticks.count))
    frames = ticks.frames(wide)
    inner = ticks.inner(window)
    first, stop = min(int(frames[0]), inner.start), max(int(frames[-1]) + 1, inner.stop)
    return Span(max(0, first - _LINKS), min(ticks.n_frames, stop + _LINKS))


def _fill(source: FrameSource, clips: list[_Clip], frames: I64) -> None:
    """Cut the pictures of all clips out of the frames, in one pass."""
    first = min(int(frames[clip.start]) for clip in clips)
    stop = max(int(frames[clip.start + len(clip.pictures) - 1]) for clip in clips) + 1
    for frame in source.frames(first, stop):
        beat("track")
        for tick in np.flatnonzero(frames == frame.index).tolist():
            for clip in clips:
                at = tick - clip.start
                if 0 <= at < len(clip.pictures):
                    clip.pictures[at] = picture(frame, clip.squares[at])
    source.check()


def picture(frame: Frame, square: F64) -> U8:
    """(112, 112) grey from black 0 to white 255. square: x, y of the centre and half the side, in pixels."""
    x, y, half = (float(value) for value in square)
    width, height = frame.size
    side = max(2, round(2 * half))
    left, top = round(x - half), round(y - half)
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    whole = np.full((side, side), _BEYOND, np.uint8)
    if x0 < x1 and y0 < y1:
        luma = frame.y[y0:y1, x0:x1]
        if not frame.colour.full_range:
            luma = cv2.LUT(luma, _FULL)  # type: ignore[assignment]
        whole[y0 - top : y1 - top, x0 - left : x1 - left] = luma
    how = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(whole, (SIDE, SIDE), interpolation=how), np.uint8)


_FULL = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)
"""From video levels to all of them."""
