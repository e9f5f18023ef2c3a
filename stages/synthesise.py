"""The lipsync stage: run the lip engine's network over the faces of one chunk that get a new mouth."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from stages.engine import LipEngine
from stages.plan import load_plan, load_speech
from stages.types import Bools, SynthesisedChunk, TrackedChunk, without_crops


class LipsyncStage:
    """One engine on one device; loads at the first chunk that has a face."""

    def __init__(self, engine: LipEngine, device: str = "cpu") -> None:
        self._engine = engine
        self._device = device
        self._loaded = False
        self._load_seconds = 0.0  # told with the next chunk

    def load(self) -> None:
        """Load the network, unless that is done. After a failure the next call tries again. Raises DependencyError
        (WEIGHTS_*), and whatever the device's libraries raise."""
        if not self._loaded:
            start = time.perf_counter()
            self._engine.load(self._device)
            self._loaded, self._load_seconds = True, time.perf_counter() - start

    def run(self, chunk: TrackedChunk) -> SynthesisedChunk:
        """The chunk with what the engine made of its items; the crops are dropped, they are of no more use.

        Raises DependencyError (WEIGHTS_*) from loading, StageError (OUT_OF_MEMORY) from the network.
        """
        chosen = chunk.items.open
        if not chosen.any():
            return SynthesisedChunk(chunk.chunk, without_crops(chunk.items), chunk.faceless, {}, {})
        self.load()
        start = time.perf_counter()
        speech = load_speech(load_plan(chunk.chunk.job_dir))
        items = chunk.items if chosen.all() else chunk.items.rows(chosen)
        mouths = self._engine.infer(items, speech)
        for name, rows in mouths.items():
            if len(rows) != len(items):
                raise ValueError(f"engine {self._engine.name} made {len(rows)} {name} for {len(items)} faces")
        if items is not chunk.items:
            mouths = {name: _spread(rows, chosen) for name, rows in mouths.items()}
        seconds = {"lipsync.load": self._load_seconds, "lipsync.network": time.perf_counter() - start}
        self._load_seconds = 0.0
        return SynthesisedChunk(chunk.chunk, without_crops(chunk.items), chunk.faceless, mouths, seconds)


def _spread(rows: npt.NDArray[np.generic], chosen: Bools) -> npt.NDArray[np.generic]:
    """The rows at the places that were chosen, zeros at the others."""
    spread = np.zeros((len(chosen), *rows.shape[1:]), rows.dtype)
    spread[chosen] = rows
    return spread
