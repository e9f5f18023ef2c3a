"""The process in which an engine lives: `python -m raydub.tts.engines.child NAME PARENT`, see tts.engines.process.

Requests are lines of JSON on standard input, answers lines of JSON on standard output, each followed by the samples
that it announces (float32, little-endian). Both are taken away from whoever else would use them before an engine is
loaded: what a library prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

from raydub.bound import end_with_parent
from raydub.errors import Code, RaydubError, StageError

if TYPE_CHECKING:
    from raydub.tts.engines.base import Engine


def main(name: str, parent: int) -> None:
    """Answer until the other end is closed."""
    end_with_parent(parent)
    requests, answers = _own_streams()
    try:
        from raydub.tts.engines.find import make_engine

        engine = make_engine(name)
        _send(answers, {"name": engine.name, "max_speed": float(engine.max_speed)})
    except BaseException as error:
        _send(answers, _told(name, error))
        return
    for line in requests:
        request = json.loads(line)
        try:
            answer, samples = _answer(engine, request)
        # SystemExit and the like too: whatever the engine raises is an answer, not the end of the conversation.
        except BaseException as error:
            answer, samples = _told(name, error), b""
        _send(answers, answer, samples)


def _own_streams() -> tuple[IO[bytes], IO[bytes]]:
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _send(answers: IO[bytes], answer: dict[str, Any], samples: bytes = b"") -> None:
    answers.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n" + samples)
    answers.flush()


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
        # Whole numbers would be full scale times too loud, and two channels one after the other.
        raise TypeError(f"samples of shape {samples.shape} and type {samples.dtype}, not one row of floats")
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


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
