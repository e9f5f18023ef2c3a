"""LSE of a film and of its source, over a few of the measured windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from raydub.arrays import F64
from raydub.media.frames import Frame
from raydub.stages.evaluate import lse
from raydub.stages.evaluate.figures import Figures
from raydub.stages.evaluate.film import NONE, Film
from raydub.stages.evaluate.identity import spread
from raydub.stages.evaluate.seen import Seen
from raydub.stages.evaluate.sound import Piece
from raydub.stages.types import Span

NAMES = ("lse_c", "lse_d", "lse_offset_ms")


def lse_windows(windows: Sequence[Span]) -> list[Span]:
    """The windows whose LSE is measured; none without weights."""
    if not windows or lse.network() is None:
        return []
    return [windows[int(at)] for at in spread(len(windows), lse.WINDOWS)]


def output_lse(film: Film, seen: Mapping[Span, Seen], pieces: Mapping[Span, Piece]) -> Figures:
    """lse_c, lse_d, lse_offset_ms of the output; None without weights, sound or faces."""
    rate = film.output.rate
    found: list[F64] = []
    for span, one in seen.items():
        if span in pieces:
            with film.open_output() as reader:
                found += _window(reader.frames(*span), one, float(rate), float(span.start / rate), pieces[span])
    return _figures(found)


def source_lse(film: Film, seen: Mapping[Span, Seen], pieces: Mapping[Span, Piece]) -> Figures:
    """The same of the source and its own sound, in the same windows where they show it forward."""
    reader = film.open_source()
    if reader is None or film.source is None:
        return dict.fromkeys(NAMES)
    found: list[F64] = []
    rate = film.source.info.rate
    with reader:
        for span, one in seen.items():
            numbers = film.shown(*span)
            if span not in pieces or (numbers == NONE).any() or (np.diff(numbers) < 0).any():
                continue
            shown = (frame for frame in film.source_frames(reader, *span) if frame is not None)
            found += _window(shown, one, float(film.output.rate), float(numbers[0] / rate), pieces[span])
    return _figures(found)


def _window(frames: Iterable[Frame], seen: Seen, rate: float, start: float, piece: Piece) -> list[F64]:
    net = lse.network()
    assert net is not None
    found = []
    for seconds, faces in lse.crops(iter(frames), seen.points, seen.present, rate):
        first = round((start + seconds) * 16000) - piece.first
        samples = piece.samples[max(first, 0) : first + len(faces) * 16000 // lse.RATE]
        found.append(lse.distances(faces, samples, net))
    return found


def _figures(found: Sequence[F64]) -> Figures:
    made = lse.lse_of(np.concatenate(found)) if found else None
    if made is None:
        return dict.fromkeys(NAMES)
    return dict(zip(NAMES, (made.confidence, made.distance, 1000 * made.offset / lse.RATE), strict=True))
