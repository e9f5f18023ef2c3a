"""The track cache: one small .npz file per block of BLOCK absolute source frames, with the arrays of RawTracks.

A file that is damaged, or does not hold exactly its block, counts as absent and is computed again.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np

from raydub.present import present
from raydub.stages.track.raw import RawTracks
from raydub.stages.types import Span
from raydub.store import Store

BLOCK = 60
"""Frames in a block, a multiple of `TrackConfig.step`."""

_OF_FACES = ("frame", "slot", "level", "score", "box", "landmarks", "embedding", "look")
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
        """Keep one block. Two workers may write the same block; both write the same bytes. Raises StageError STORAGE or
        DISK_FULL."""
        stream = io.BytesIO()
        arrays: dict[str, Any] = {name: getattr(raw, name) for name in (*_OF_FACES, *_OF_FRAMES)}
        np.savez_compressed(stream, allow_pickle=False, span=[raw.span.start, raw.span.stop], **arrays)
        self.store.put(self._name(raw.span), stream.getvalue(), ".npz")

    def read(self, block: Span, embed: bool) -> RawTracks | None:
        """The kept block, or None where it is absent, damaged or not this block."""
        found = self.store.get(self._name(block))
        if found is None:
            return None
        try:
            return _read(Path(present(found.path)), block, embed)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, ZlibError) as error:
            _log.warning("tracks in %s are damaged and are computed again: %s", found.path, error)
            return None

    def _name(self, block: Span) -> str:
        return f"tracks/{self.key}/{block.start // BLOCK:06d}"


def _read(path: Path, block: Span, embed: bool) -> RawTracks:
    """Raises ValueError or KeyError where the file holds something else."""
    with np.load(path, allow_pickle=False) as stored:
        if stored["span"].tolist() != [block.start, block.stop]:
            raise ValueError(f"it does not hold frames {block.start} to {block.stop - 1}")
        arrays = {name: stored[name] for name in (*_OF_FACES, *_OF_FRAMES)}
    if not embed:
        arrays["embedding"] = np.zeros((len(arrays["frame"]), 0), np.float32)
    elif arrays["embedding"].shape[1] == 0:
        raise ValueError("it holds no embeddings")
    return RawTracks(span=block, **arrays)


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
    arrays: dict[str, Any] = {name: getattr(raw, name)[rows] for name in _OF_FACES}  # a slice of none is none
    arrays |= {name: getattr(raw, name)[frames] for name in _OF_FRAMES}
    # speaking and sounding are there after track.active only; a slice of none is none
    return replace(raw, span=span, **arrays, speaking=raw.speaking[rows], sounding=raw.sounding[frames])
