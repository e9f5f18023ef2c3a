"""Rows carry chunks unchanged."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.stages.types import Chunk, FaceItems, Part, Span, SynthesisedChunk, TrackedChunk
from raydub.stages.wire import from_row, to_row

CHUNK = Chunk("job é", "/jobs/k", 2, 5, Span(50, 75), 2.5)


def items(m: int, crops: bool) -> FaceItems:
    rng = np.random.default_rng(m)
    return FaceItems(
        frame=np.arange(m, dtype=np.int32),
        source=np.arange(m, dtype=np.int32)[::-1].copy(),
        face=np.zeros(m, np.int32),
        box=rng.random((m, 4), np.float32),
        landmarks=rng.random((m, 68, 2), np.float32),
        gate=rng.random(m, np.float32),
        crops=rng.integers(0, 255, (m if crops else 0, 96, 96, 3), np.uint8),
    )


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(
            same(getattr(a, one.name), getattr(b, one.name)) for one in dataclasses.fields(a)
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


@given(st.integers(0, 5), st.booleans())
def test_round_trip(m: int, crops: bool) -> None:
    seconds = {"decode": 0.25}
    things = [
        CHUNK,
        TrackedChunk(CHUNK, items(m, crops), 3, seconds),
        SynthesisedChunk(CHUNK, items(m, False), 3, {"shapes": np.ones((m, 2), np.float32)}, seconds),
        Part(CHUNK, "/p.mp4", 25, 7, 3, seconds, reused=True),
    ]
    for thing in things:
        row = to_row(thing)
        assert all(isinstance(value, (str, np.ndarray)) for value in row.values())
        json.loads(str(row["meta"]))
        again = from_row(row)
        assert same(again, thing)
        chunk = again if isinstance(again, Chunk) else again.chunk
        assert isinstance(chunk.span, Span)
        assert len(chunk.span) == 25


def test_unknown_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        from_row({"kind": "other", "meta": json.dumps({"chunk": to_row(CHUNK) and dataclasses.asdict(CHUNK)})})
