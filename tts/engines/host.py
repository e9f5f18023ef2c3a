"""Runs an engine in a process of its own, behind the same protocol, and checks its answers.

Crashes, hangs, output of libraries, memory leaks and libraries under the GPL stay in that process. Its answers are not
trusted: they must be sound that is neither silent nor too long.
"""

from __future__ import annotations

import threading
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self, cast

import numpy as np

from raydub.arrays import F32
from raydub.errors import Code, StageError
from raydub.tts.engines.base import longest, time_limit
from raydub.tts.engines.find import check_engine
from raydub.tts.engines.process import Child
from raydub.tts.types import Mark, Utterance, Voice

SILENCE = 1e-3
"""Peak below which a sound counts as silent: -60 dBFS."""
_SHORTEST = 0.02
_RATES = (4000, 192_000)
_EXCESS = 1.01
"""Samples up to this value are clipped to full scale: rounding, and ringing of resamplers."""
_SHORT_LIMIT = 60.0  # seconds for requests without synthesis; identities hash files
_MARGIN = 10.0  # seconds by which an engine's own limits come first: their errors are more specific
_KINDS = ("word", "phoneme", "pause")


class HostedEngine:
    """The engine of that name, run by a child process that is started with the first request and again after it has
    died. Threads may share it and take turns.

    Raises what find.check_engine raises, and from then on StageError TTS_FAILED for a crash, a hang, exceptions of the
    engine, and unusable sound; RaydubErrors of the engine are passed on.
    """

    def __init__(self, name: str) -> None:
        check_engine(name)
        self._name = name
        self._child: Child | None = None
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """Name of the engine."""
        return self._name

    @property
    def max_speed(self) -> float:
        """See Engine."""
        with self._lock:
            return float(self._alive().hello["max_speed"])

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is none."""
        with self._lock:
            return self._child.pid if self._child is not None and self._child.alive else None

    def voices(self) -> tuple[Voice, ...]:
        """See Engine. StageError TTS_FAILED for voices of another shape, or two of the same name."""
        answer, _ = self._ask({"ask": "voices"}, _SHORT_LIMIT)
        voices = tuple(self._voice(said) for said in answer["voices"])
        if len({voice.name for voice in voices}) != len(voices):
            raise self._failed("has two voices of the same name")
        return voices

    def named(self, name: str) -> Voice | None:
        """See Engine."""
        answer, _ = self._ask({"ask": "named", "name": name}, _SHORT_LIMIT)
        return self._voice(answer["voice"]) if answer["voice"] is not None else None

    def identity(self, voice: Voice) -> str:
        """See Engine."""
        answer, _ = self._ask({"ask": "identity", "voice": asdict(voice)}, _SHORT_LIMIT)
        return str(answer["identity"])

    def synthesise(self, text: str, voice: Voice, language: str, speed: float) -> Utterance:
        """Checked speech: finite samples in [-1, 1], 4 to 192 kHz, neither silent nor shorter than 20 ms nor longer
        than plausible for this text, marks in order and within it."""
        from raydub.tts.engines.files import weights_of

        entry = weights_of(self._name, voice.name)
        if entry is not None:
            from raydub.models.store.locate import locate

            # Here, because a download has its own, longer time limits.
            locate(entry.name)
        request = {"ask": "synthesise", "text": text, "voice": asdict(voice), "language": language, "speed": speed}
        limit = time_limit(text) + _MARGIN
        most = int(longest(text, speed) * _RATES[1])
        answer, body = self._ask(request, limit, most)
        try:
            marks = tuple(_mark(said) for said in answer["marks"])
            samples = np.frombuffer(body, "<f4").astype(np.float32)
            return checked(samples, int(answer["rate"]), marks, text, speed)
        except _Unusable as error:
            raise self._failed(str(error)) from None

    def close(self) -> None:
        """End the child. The next request starts another one."""
        with self._lock:
            if self._child is not None:
                self._child.end()
                self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        child = self.__dict__.get("_child")
        if child is not None:
            child.end()

    def _alive(self) -> Child:
        if self._child is not None and not self._child.alive:
            self.close()
        if self._child is None:
            self._child = Child(self._name)
        return self._child

    def _ask(self, request: dict[str, Any], limit: float, most: int = 0) -> tuple[dict[str, Any], bytes]:
        with self._lock:
            return self._alive().ask(request, limit, most)

    def _voice(self, said: Any) -> Voice:
        try:
            tags = tuple(str(tag).lower() for tag in said["languages"])
            return Voice(str(said["name"]), tags, str(said["gender"]), str(said["note"]))
        except (KeyError, TypeError) as error:
            raise self._failed("returned voices of an invalid form") from error

    def _failed(self, how: str) -> StageError:
        return StageError(Code.TTS_FAILED, f"the engine {self._name} {how}", hint="try another voice or engine")


class _Unusable(Exception):
    """The engine's answer cannot be used."""


def checked(samples: F32, rate: int, marks: tuple[Mark, ...], text: str, speed: float = 1.0) -> Utterance:
    """The utterance, if it is usable sound for this text; samples slightly beyond full scale are clipped, and marks are
    sorted. samples: (n,) float32. Raises _Unusable with the reason."""
    if not _RATES[0] <= rate <= _RATES[1]:
        raise _Unusable(f"answered at a sample rate of {rate} Hz")
    nothing = not any(sign.isalnum() for sign in text)
    if len(samples) == 0 or (nothing and float(np.abs(samples).max()) < SILENCE):
        raise _Unusable(f"answered with no sound for {text[:60]!r}")
    if not np.isfinite(samples).all():
        raise _Unusable("answered with samples that are NaN or infinite")
    peak = float(np.abs(samples).max())
    if peak > _EXCESS:
        raise _Unusable(f"answered with samples up to {peak:.3g}, beyond full scale")
    if peak < SILENCE:
        raise _Unusable(f"answered with silence for {text[:60]!r}")
    seconds = len(samples) / rate
    if seconds < _SHORTEST:
        raise _Unusable(f"answered with {1000 * seconds:.0f} ms of sound for {text[:60]!r}")
    if seconds > longest(text, speed):
        raise _Unusable(f"answered with {seconds:.0f} s of sound for {len(text)} characters")
    if not all(mark.kind in _KINDS and 0 <= mark.seconds <= seconds + 0.05 for mark in marks):
        raise _Unusable("answered with marks that lie outside its sound")
    ordered = sorted(marks, key=lambda mark: mark.seconds)
    inside = tuple(Mark(mark.kind, min(mark.seconds, seconds), mark.text) for mark in ordered)
    return Utterance(np.clip(samples, -1.0, 1.0), rate, inside)


def _mark(said: Any) -> Mark:
    try:
        kind, seconds, text = said
        return Mark(cast(Any, str(kind)), float(seconds), str(text))
    except (TypeError, ValueError) as error:
        raise _Unusable("answered with marks of an invalid form") from error
