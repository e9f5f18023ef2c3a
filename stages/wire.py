"""Convert chunks and their results to flat rows of arrays, text and numbers, for sending. No pickled objects.

A row has "kind" (the class), "meta" (JSON: everything but the arrays) and one entry per array, named "items.<field>" or
"mouths.<name>". Arrays keep dtype and shape; nothing is copied. Paths of copies of objects are translated
(raydub.present).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from raydub.present import from_text, to_text
from raydub.stages.types import Chunk, FaceItems, Gate, Part, Span, SynthesisedChunk, TrackedChunk

Array = npt.NDArray[np.generic]
Row = dict[str, Array | str]
Travels = Chunk | TrackedChunk | SynthesisedChunk | Part

_ITEMS, _MOUTHS = "items.", "mouths."


def to_row(thing: Travels) -> Row:
    """The row of a Chunk, TrackedChunk, SynthesisedChunk or Part."""
    if isinstance(thing, Chunk):
        return _row("chunk", asdict(thing))
    if isinstance(thing, Part):
        return _row("part", asdict(thing))
    meta = {"chunk": asdict(thing.chunk), "faceless": thing.faceless, "seconds": dict(thing.seconds)}
    arrays = {_ITEMS + item.name: getattr(thing.items, item.name) for item in fields(FaceItems)}
    if isinstance(thing, TrackedChunk):
        return _row("tracked", meta, arrays)
    arrays |= {_MOUTHS + name: array for name, array in thing.mouths.items()}
    return _row("synthesised", meta, arrays)


def from_row(row: Mapping[str, Any]) -> Travels:
    """The object of a row made by to_row. Raises ValueError for a row of another kind."""
    kind, meta = str(row["kind"]), from_text(str(row["meta"]))
    if kind == "chunk":
        return _as_chunk(meta)
    chunk = _as_chunk(meta.pop("chunk"))
    if kind == "part":
        gates = tuple(Gate(*gate) for gate in meta.pop("gates"))
        return Part(chunk=chunk, gates=gates, **meta)
    if kind not in ("tracked", "synthesised"):
        raise ValueError(f"a row of the unknown kind {kind!r}")
    items = FaceItems(**{item.name: row[_ITEMS + item.name] for item in fields(FaceItems)})
    if kind == "tracked":
        return TrackedChunk(chunk, items, **meta)
    mouths = {name.removeprefix(_MOUTHS): array for name, array in row.items() if name.startswith(_MOUTHS)}
    return SynthesisedChunk(chunk, items, mouths=mouths, **meta)


def _row(kind: str, meta: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> Row:
    return {"kind": kind, "meta": to_text(meta), **(arrays or {})}


def _as_chunk(meta: Mapping[str, Any]) -> Chunk:
    return Chunk(**{**meta, "span": Span(*meta["span"])})
