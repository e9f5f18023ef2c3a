"""The lipsync stage: run the lip engine's network over the faces of one chunk that get a new mouth."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from raydub.arrays import Bools
from raydub.stages.engine import Arrays, ChoosesMouths, LipEngine, Speech, WeightsRecord
from raydub.stages.job_plan import JobPlan, load_plan, load_speech
from raydub.stages.mouths.library import Library
from raydub.stages.mouths.stored import load_library
from raydub.stages.types import FaceItems, SynthesisedChunk, TrackedChunk, without_crops


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
            items, _ = _drawn(load_plan(chunk.chunk.job_dir), chunk, {})
            return SynthesisedChunk(chunk.chunk, without_crops(items), chunk.faceless, {}, {})
        self.load()
        start = time.perf_counter()
        plan = load_plan(chunk.chunk.job_dir)
        mouths: dict[str, npt.NDArray[np.generic]] = {}
        voice = np.array([plan.voice_of(int(face)) for face in chunk.items.face])
        for number in np.unique(voice[chosen]).tolist():
            rows = chosen & (voice == number)
            library = self._library(plan, number)
            for name, made in self._infer(chunk, rows, load_speech(plan, number), library).items():
                if rows.all():
                    mouths[name] = made
                    continue
                # Zeros in the rows of other voices, and of closed gates.
                whole = mouths.setdefault(name, np.zeros((len(rows), *made.shape[1:]), made.dtype))
                whole[rows] = made
        items, mouths = _drawn(plan, chunk, mouths)
        seconds = {"lipsync.load": self._load_seconds, "lipsync.network": time.perf_counter() - start}
        self._load_seconds = 0.0
        return SynthesisedChunk(chunk.chunk, without_crops(items), chunk.faceless, mouths, seconds)

    def _library(self, plan: JobPlan, voice: int) -> Library | None:
        return load_library(plan, voice) if isinstance(self._engine, ChoosesMouths) else None

    def _infer(self, chunk: TrackedChunk, rows: Bools, speech: Speech, library: Library | None) -> Arrays:
        """The engine's arrays for the chosen items, ((M,) bool)."""
        items = chunk.items if rows.all() else chunk.items.rows(rows)
        if library is not None and isinstance(self._engine, ChoosesMouths):
            mouths: Arrays = self._engine.infer_from(items, speech, library)
        else:
            mouths = self._engine.infer(items, speech)
        for name, made in mouths.items():
            if len(made) != len(items):
                raise ValueError(f"engine {self._engine.name} made {len(made)} {name} for {len(items)} faces")
        return mouths


def _drawn(plan: JobPlan, chunk: TrackedChunk, mouths: Arrays) -> tuple[FaceItems, dict[str, npt.NDArray[np.generic]]]:
    """The items and rows of the frames that are drawn, without those on which only the choice of mouths depends."""
    shown = plan.around(chunk.chunk.span)
    kept = (chunk.items.frame >= shown.start) & (chunk.items.frame < shown.stop)
    return chunk.items.rows(kept), {name: rows[kept] for name, rows in mouths.items()}
