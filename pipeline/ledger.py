"""Finished parts of chunks, kept in the store by a key of everything that determines their frames.

The key of a part covers the source, options, weights, frames and speech around it (stages.keys), so jobs that need the
same frames share parts. Any number of workers and runs may publish the same part: the last record counts. Nothing here
depends on a clock.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raydub.sealed import key_of
from raydub.stages.types import Chunk, Gate, Part
from raydub.store import Store

PART_FORMAT = 5
"""Increased when the format of parts or their records changes, so that old ones are not read."""


@dataclass(frozen=True)
class Ledger:
    """The parts of a work folder."""

    work_dir: str

    @property
    def store(self) -> Store:
        """The store of the parts."""
        return Store(self.work_dir)

    def finished_parts(self, chunks: Iterable[Chunk]) -> dict[int, Part]:
        """The finished parts, by chunk index."""
        found = ((chunk.index, self.finished_part(chunk)) for chunk in chunks)
        return {index: part for index, part in found if part is not None}

    def finished_part(self, chunk: Chunk) -> Part | None:
        """The published part of `chunk`; None if it is absent or damaged. Reads the whole file, because a part may be
        damaged after it was published."""
        kept = self.store.get(part_name(chunk))
        if kept is None or kept.about.get("frames") != len(chunk.span):
            return None
        try:
            synthesised, faceless, attempt = (int(kept.about[name]) for name in ("synthesised", "faceless", "attempt"))
            gates = tuple(Gate(*gate) for gate in kept.about["gates"])
            drawn = {str(name): int(count) for name, count in kept.about["drawn"].items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        frames = len(chunk.span)
        return Part(
            chunk, kept.path, frames, synthesised, faceless, {}, reused=True, attempt=attempt, gates=gates, drawn=drawn
        )

    def publish_part(self, part: Part, run_id: str = "") -> Part:
        """Move a new part's file from store.temp() into the store; returns the part with its new path. Raises
        StageError STORAGE or DISK_FULL."""
        about = {
            "frames": part.frames,
            "synthesised": part.synthesised,
            "faceless": part.faceless,
            "attempt": part.attempt,
            "gates": part.gates,
            "drawn": dict(part.drawn),
            "run": run_id,
            "host": socket.gethostname(),
            "seconds": dict(part.seconds),
            "span": list(part.chunk.span),
        }
        kept = self.store.put_file(part_name(part.chunk), part.path, about)
        return dataclasses.replace(part, path=kept.path)


def part_name(chunk: Chunk) -> str:
    """The store name of a chunk's part."""
    start, stop = chunk.span
    said: list[Any] = [PART_FORMAT, chunk.key]
    if not chunk.key:
        said += [Path(chunk.job_dir).name, chunk.index, chunk.n_chunks, start, stop]
    key = key_of(said)
    return f"parts/{key[:2]}/{key}"
