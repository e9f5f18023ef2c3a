"""The child process of a speech engine, see tts.engines.process.

Requests and answers are JSON messages over the socket of raydub.child; the samples that an answer announces (float32,
little-endian) follow it. Output of libraries goes to the parent's file, not into an answer.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from raydub.bound import end_with_parent
from raydub.errors import Code, RaydubError, StageError

if TYPE_CHECKING:
    from raydub.tts.engines.base import Engine


def main() -> None:
    """Answer requests until the parent closes the connection."""
    os.set_inheritable(int(sys.argv[1]), False)
    line = Connection(int(sys.argv[1]))
    hello = json.loads(line.recv_bytes())
    end_with_parent(hello["parent"])
    name = hello["engine"]
    try:
        from raydub.tts.engines.find import make_engine

        engine = make_engine(name)
        _send(line, {"name": engine.name, "max_speed": float(engine.max_speed)})
    except BaseException as error:
        _send(line, _told(name, error))
        return
    with suppress(EOFError, OSError):
        while True:
            request = json.loads(line.recv_bytes())
            try:
                answer, samples = _answer(engine, request)
            # SystemExit too: any exception of the engine is an answer and does not end the process.
            except BaseException as error:
                answer, samples = _told(name, error), b""
            _send(line, answer, samples)


def _send(line: Connection, answer: dict[str, Any], samples: bytes = b"") -> None:
    line.send_bytes(json.dumps(answer, separators=(",", ":")).encode())
    if samples:
        line.send_bytes(samples)


def _answer(engine: Engine, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from raydub.tts.types import Voice

    ask = request["ask"]
    if ask == "voices":
        return {"voices": [_voice(voice) for voice in engine.voices()]}, b""
    if ask == "named":
        found = engine.named(request["name"])
        return {"voice": None if found is None else _voice(found)}, b""
    said = request["voice"]
    voice = Voice(said["name"], tuple(said["languages"]), said["gender"], said["note"])
    if ask == "identity":
        return {"identity": str(engine.identity(voice))}, b""
    utterance = engine.synthesise(request["text"], voice, request["language"], request["speed"])
    return _utterance(utterance)


def _utterance(utterance: Any) -> tuple[dict[str, Any], bytes]:
    import numpy as np

    samples = np.asarray(utterance.samples)
    if samples.ndim != 1 or samples.dtype.kind != "f":
        # Integers would be too loud by full scale, and channels would follow each other.
        raise TypeError(f"samples of shape {samples.shape} and type {samples.dtype}, expected one row of floats")
    marks = [[str(mark.kind), float(mark.seconds), str(mark.text)] for mark in utterance.marks]
    body = np.ascontiguousarray(samples, dtype="<f4").tobytes()
    return {"samples": len(samples), "rate": int(utterance.rate), "marks": marks}, body


def _voice(voice: Any) -> dict[str, Any]:
    return {key: list(value) if key == "languages" else str(value) for key, value in asdict(voice).items()}


def _told(name: str, error: BaseException) -> dict[str, Any]:
    if not isinstance(error, RaydubError):
        reason = f"{type(error).__name__}: {error}".strip()[:500]
        error = StageError(Code.TTS_FAILED, f"the engine {name} failed: {reason}")
    return {"error": type(error).__name__, **error.to_dict()}
