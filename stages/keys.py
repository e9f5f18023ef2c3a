"""The key of one chunk: a hash of everything that decides its frames, so that other jobs, languages and edited scripts
find the same frames again.

A chunk depends on its source frames and a little of the speech around it: the columns of mel and known sounds that the
lip engine uses for its first and last frame, and the frames that ramp its gates. If one line of a script changes, the
other chunks keep their keys and parts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raydub.models.mel import COLUMNS_PER_SECOND, SILENCE
from raydub.stages.engine import LipEngine
from raydub.stages.gate import RAMP
from raydub.stages.job_plan import (
    SOURCE_FILE,
    JobPlan,
    load_scope,
    load_speech,
    load_voiced,
    mouth_file,
    span_of,
    voice_file,
)
from raydub.stages.mouths.library import part_of
from raydub.stages.types import Span

_ROOM = 16
"""Mel columns added on both sides: convolutions may be tiled, and then last bits depend on neighbours."""


def part_keys(plan: JobPlan, engine: LipEngine, deciding: Mapping[str, Any]) -> tuple[str, ...]:
    """One key for each chunk of a plan with stored arrays. deciding: everything else that the frames depend on, as JSON
    values: source, options, faces, weights, post-processors."""
    said = json.dumps(deciding, sort_keys=True).encode()
    learnt = [
        Path(plan.arrays[voice_file(SOURCE_FILE, voice)]).stem.encode()  # a blob's name is its content
        for voice in range(len(plan.voices))
    ]
    heard = [_Heard(plan, engine, voice) for voice in range(len(plan.voices))]
    return tuple(_key(plan, span_of(plan, index), said, learnt, heard) for index in range(plan.n_chunks))


def _key(plan: JobPlan, span: Span, said: bytes, learnt: list[bytes], heard: list[_Heard]) -> str:
    digest = hashlib.sha256(said)
    around = plan.chosen(span)
    wide = Span(max(0, around.start - RAMP), min(plan.n_frames, around.stop + RAMP))
    digest.update(json.dumps([list(span), list(around), list(wide)]).encode())
    digest.update(plan.timeline.sources(*wide).tobytes())
    for one in learnt:
        digest.update(one)
    if plan.lip_halo:
        digest.update(json.dumps(_galleries(plan, wide)).encode())
    for voice in heard:
        voice.add_to(digest, around, wide)
    return digest.hexdigest()


def _galleries(plan: JobPlan, span: Span) -> list[str]:
    """The content of the galleries from which mouths of the span may come."""
    parts = np.unique(part_of(plan.timeline.sources(*span), plan.video.n_frames)).tolist()
    names = [mouth_file(voice, part) for voice in range(len(plan.voices)) for part in parts]
    return [Path(plan.arrays[name]).stem for name in names]


class _Heard:
    """What the frames of a span depend on of one voice."""

    def __init__(self, plan: JobPlan, engine: LipEngine, voice: int) -> None:
        speech = load_speech(plan, voice)
        self._mel, self._sounds = speech.mel, speech.sounds
        self._voiced = load_voiced(plan, voice)
        self._scope = load_scope(plan, voice)
        self._rate = plan.rate
        self._before, self._after = engine.hears(plan.rate)

    def add_to(self, digest: Any, around: Span, wide: Span) -> None:
        first = int(COLUMNS_PER_SECOND * around.start / self._rate) - self._before - _ROOM
        stop = int(COLUMNS_PER_SECOND * around.stop / self._rate) + 1 + self._after + _ROOM
        digest.update(_columns(self._mel, first, stop, SILENCE).tobytes())
        if self._sounds is not None and (sounds := _columns(self._sounds, first, stop, 0)).any():
            digest.update(sounds.tobytes())
        digest.update(np.ascontiguousarray(self._voiced[wide.start : wide.stop]).tobytes())
        digest.update(b"-" if self._scope is None else self._scope[wide.start : wide.stop].tobytes())


def _columns(columns: npt.NDArray[Any], start: int, stop: int, beyond: np.generic | int) -> npt.NDArray[Any]:
    """(stop - start, n) of (n, T): columns in order of time; beyond their ends there is nothing but `beyond`."""
    found = np.full((stop - start, len(columns)), beyond, columns.dtype)
    low, high = max(start, 0), min(stop, columns.shape[1])
    if low < high:
        found[low - start : high - start] = columns[:, low:high].T
    return found
