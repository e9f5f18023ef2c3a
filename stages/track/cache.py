"""The track cache: one small Parquet table per block of BLOCK absolute source frames.

A block's table holds one row per face, and one row with slot −1 per frame with the shot score and the cut, so that a
frame without a face differs from a missing frame. A table that is damaged, or does not hold exactly its block, counts
as absent and is computed again.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raydub.stages.track.raw import RawTracks
from raydub.stages.types import Span
from raydub.store import Store

BLOCK = 60
"""Frames in a block, a multiple of `TrackConfig.every`."""

_OF_FACES = ("frame", "slot", "level", "score", "box", "landmarks", "embedding")
_OF_FRAMES = ("shot", "cut")
_log = logging.getLogger(__name__)


def blocks_of(span: Span, n_frames: int) -> list[Span]:
    """The blocks that cover `span`, the last one clipped to the source's length."""
    start, stop = max(0, span.start), min(n_frames, span.stop)
    numbers = range(start // BLOCK, -(-stop // BLOCK)) if start < stop else range(0)
    return [Span(number * BLOCK, min((number + 1) * BLOCK, n_frames)) for number in numbers]


@dataclass(frozen=True)
class TrackCache:
    """The tracks of one source, see TrackConfig.key()."""

    store: Store
    key: str

    def write(self, raw: RawTracks) -> None:
        """Keep one block. Two workers may write the same block; both write the same rows. Raises StageError STORAGE or
        DISK_FULL."""
        self.store.put(self._name(raw.span), _to_parquet(raw), ".parquet")

    def read(self, block: Span, embed: bool) -> RawTracks | None:
        """The kept block, or None where it is absent, damaged or not this block."""
        found = self.store.get(self._name(block))
        if found is None:
            return None
        try:
            return _from_table(pq.read_table(found.path), block, embed)
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            _log.warning("tracks in %s are damaged and are computed again: %s", found.path, error)
            return None

    def _name(self, block: Span) -> str:
        return f"tracks/{self.key}/{block.start // BLOCK:06d}"


def _to_parquet(raw: RawTracks) -> bytes:
    frames = np.arange(raw.span.start, raw.span.stop, dtype=np.int32)
    n, rows = len(frames), len(raw.frame)
    width = raw.embedding.shape[1]
    table = pa.table(
        {
            "frame": np.concatenate([frames, raw.frame]),
            "slot": np.concatenate([np.full(n, -1, np.int32), raw.slot]),
            "shot": np.concatenate([raw.shot, np.zeros(rows, np.float32)]),
            "cut": np.concatenate([raw.cut, np.zeros(rows, np.bool_)]),
            "level": np.concatenate([np.zeros(n, np.int8), raw.level]),
            "score": np.concatenate([np.zeros(n, np.float32), raw.score]),
            "box": _vectors(np.concatenate([np.zeros((n, 4), np.float32), raw.box])),
            "landmarks": _vectors(np.concatenate([np.zeros((n, 136), np.float32), raw.landmarks.reshape(rows, 136)])),
        }
    )
    if width:
        table = table.append_column(
            "embedding", _vectors(np.concatenate([np.zeros((n, width), np.float32), raw.embedding]))
        )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def join(parts: list[RawTracks]) -> RawTracks:
    """Consecutive raw tracks as one."""
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in (*_OF_FACES, *_OF_FRAMES)
    }
    span = Span(parts[0].span.start, parts[-1].span.stop)
    return RawTracks(span=span, **arrays, detected=sum(part.detected for part in parts))


def cut_out(raw: RawTracks, span: Span) -> RawTracks:
    """The rows of `span`, which must lie inside raw.span."""
    rows = slice(int(np.searchsorted(raw.frame, span.start)), int(np.searchsorted(raw.frame, span.stop)))
    frames = slice(span.start - raw.span.start, span.stop - raw.span.start)
    arrays: dict[str, Any] = {name: getattr(raw, name)[rows] for name in _OF_FACES}
    arrays |= {name: getattr(raw, name)[frames] for name in _OF_FRAMES}
    return RawTracks(span=span, **arrays, detected=raw.detected)


def _vectors(rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


def _from_table(table: pa.Table, block: Span, embed: bool) -> RawTracks:
    slot = table["slot"].to_numpy()
    frame = table["frame"].to_numpy()
    marks, faces = slot < 0, slot >= 0
    if not np.array_equal(frame[marks], np.arange(block.start, block.stop)):
        raise ValueError(f"it does not hold frames {block.start} to {block.stop - 1}")

    def rows(name: str, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        values = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        selected: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
        selected = np.asarray(values, np.float32).reshape(len(slot), width)[faces]
        return selected

    count = int(faces.sum())
    return RawTracks(
        span=block,
        frame=frame[faces].astype(np.int32),
        slot=slot[faces].astype(np.int32),
        level=table["level"].to_numpy()[faces].astype(np.int8),
        score=table["score"].to_numpy()[faces].astype(np.float32),
        box=rows("box", 4),
        landmarks=rows("landmarks", 136).reshape(count, 68, 2),
        embedding=rows("embedding", 128) if embed else np.zeros((count, 0), np.float32),
        shot=table["shot"].to_numpy()[marks].astype(np.float32),
        cut=table["cut"].to_numpy()[marks].astype(np.bool_),
    )
