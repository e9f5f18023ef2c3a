"""The lipsync stage: run the lip engine's network over the faces of one chunk that get a new mouth."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from raydub.arrays import Bools
from raydub.stages.engine import Arrays, LipEngine, Speech, WeightsRecord
from raydub.stages.job_plan import load_plan, load_speech
from raydub.stages.types import SynthesisedChunk, TrackedChunk, without_crops


class LipsyncStage:
    """One engine on one device; loads at the first chunk that has a face."""

    def __init__(self, engine: LipEngine, device: str = "cpu") -> None:
        self._engine = engine
        self._device = device
        self._loaded = False
        self._load_seconds = 0.0  # reported with the next chunk

    def load(self) -> None:
        """Load the network, unless that is done. After a failure the next call tries again. Raises DependencyError
        (WEIGHTS_*), and whatever the device's libraries raise."""
        if not self._loaded:
            start = time.perf_counter()
            self._engine.load(self._device)
            self._loaded, self._load_seconds = True, time.perf_counter() - start

    def weights(self) -> tuple[WeightsRecord, ...]:
        """Of the engine, as its files are now. Raises DependencyError WEIGHTS_*."""
        return self._engine.weights()

    def run(self, chunk: TrackedChunk) -> SynthesisedChunk:
        """The chunk with the engine's result for its items, without the crops, which are no longer needed.

        Raises DependencyError (WEIGHTS_*) from loading, StageError (OUT_OF_MEMORY) from the network.
        """
        chosen = chunk.items.open
        if not chosen.any():
            return SynthesisedChunk(chunk.chunk, without_crops(chunk.items), chunk.faceless, {}, {})
        self.load()
        start = time.perf_counter()
        plan = load_plan(chunk.chunk.job_dir)
        mouths: dict[str, npt.NDArray[np.generic]] = {}
        voice = np.array([plan.voice_of(int(face)) for face in chunk.items.face])
        for number in np.unique(voice[chosen]).tolist():
            rows = chosen & (voice == number)
            for name, made in self._infer(chunk, rows, load_speech(plan, number)).items():
                if rows.all():
                    mouths[name] = made
                    continue
                # Zeros in the rows of other voices, and of closed gates.
                whole = mouths.setdefault(name, np.zeros((len(rows), *made.shape[1:]), made.dtype))
                whole[rows] = made
        seconds = {"lipsync.load": self._load_seconds, "lipsync.network": time.perf_counter() - start}
        self._load_seconds = 0.0
        return SynthesisedChunk(chunk.chunk, without_crops(chunk.items), chunk.faceless, mouths, seconds)

    def _infer(self, chunk: TrackedChunk, rows: Bools, speech: Speech) -> Arrays:
        """The engine's arrays for the chosen items, ((M,) bool)."""
        items = chunk.items if rows.all() else chunk.items.rows(rows)
        mouths = self._engine.infer(items, speech)
        for name, made in mouths.items():
            if len(made) != len(items):
                raise ValueError(f"engine {self._engine.name} made {len(made)} {name} for {len(items)} faces")
        return mouths
