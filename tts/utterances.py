"""Spoken cues, each made once: what an engine has said to a text is kept by what was asked of it, so that a script in
which one line has changed has one line spoken anew.

Kept in `<work_dir>/utterances/`, as the engine gave it: its own sample rate, silence included. The key is a hash of the
engine's identity (release, model digests), voice, language, speed and text. A file is the SHA-256 of all that follows
it, a line of JSON and the samples (float32, little-endian).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from manifests.speech import SPEECH_VERSION
from media.publish import write_atomic
from media.sound import resample
from raydub.errors import Code, RaydubError, StageError
from tts.engines.base import Engine
from tts.level import levelled
from tts.trim import trimmed
from tts.types import F32, Mark, Segment, Utterance, Voice

_SPEED_STEPS = 100
"""Speeds are asked for in hundredths: engines are no more exact, and a cache of every last bit would never be hit."""
_SAID = 40
_DIGEST = hashlib.sha256().digest_size


class Speaker:
    """Speaks segments with one engine, through the cache. `spoken` holds the numbers of those that had to be
    synthesised in the run `run_id`, at whatever speed and by whichever of its workers."""

    def __init__(self, engine: Engine, work_dir: str, rate: int, run_id: str = "") -> None:
        self._engine = engine
        self._folder = utterances_folder(work_dir)
        self._rate = rate
        self._run = run_id
        self.spoken: set[int] = set()

    def say(self, segment: Segment, voice: Voice, language: str, speed: float) -> F32:
        """(n,) float32 mono at the rate of the mix: the segment's speech without silence around it, at one level.

        speed: 1 is the engine's own pace; it is rounded up to hundredths. Raises StageError TTS_FAILED with the
        segment's number, and what the engine raises.
        """
        utterance = self.utterance(segment, voice, language, speed)
        start, stop = trimmed(utterance.samples, utterance.rate)
        return levelled(resample(utterance.samples[start:stop], utterance.rate, self._rate), self._rate)

    def utterance(self, segment: Segment, voice: Voice, language: str, speed: float) -> Utterance:
        """As say(), as the engine gave it."""
        speed = -(-round(speed * _SPEED_STEPS, 6) // 1) / _SPEED_STEPS
        path = self._folder / f"{self._key(segment.text, voice, language, speed)}.speech"
        known = _read(path)
        if known is not None:
            utterance, run = known
            if run and run == self._run:
                self.spoken.add(segment.number)
            return utterance
        try:
            made = _usable(self._engine.synthesise(segment.text, voice, language, speed))
        except RaydubError as error:
            raise at_segment(error, segment) from error.__cause__
        self.spoken.add(segment.number)
        other = _read(path)
        if other is not None:
            # Somebody was quicker. Not every engine says the same twice, so what is kept counts.
            return other[0]
        _write(path, made, self._run)
        return made

    def _key(self, text: str, voice: Voice, language: str, speed: float) -> str:
        said = [SPEECH_VERSION, self._engine.name, self._engine.identity(voice), voice.name, language, speed, text]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:40]


def utterances_folder(work_dir: str) -> Path:
    """Where a work folder keeps what was spoken."""
    return Path(work_dir) / "utterances"


def at_segment(error: RaydubError, segment: Segment) -> RaydubError:
    """The error with the cue's number and the beginning of its text in front."""
    text = segment.text if len(segment.text) <= _SAID else f"{segment.text[:_SAID]}.."
    error.message = f"cue {segment.number} ({text!r}): {error.message}"
    return error.at(field="script")


def _read(path: Path) -> tuple[Utterance, str] | None:
    """A kept utterance and the run that made it; None where there is none, or a damaged one, which is then made
    anew."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    # Before anything of it is believed: formats with checksums inside are parsed first and checked afterwards.
    if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
        return None
    line, _, samples = data[_DIGEST:].partition(b"\n")
    said = json.loads(line)
    marks = tuple(Mark(*mark) for mark in said["marks"])
    return Utterance(np.frombuffer(samples, "<f4").astype(np.float32), said["rate"], marks), said["run"]


def _write(path: Path, made: Utterance, run: str) -> None:
    marks = [[mark.kind, mark.seconds, mark.text] for mark in made.marks]
    said = json.dumps({"rate": made.rate, "run": run, "marks": marks}).encode()
    body = said + b"\n" + made.samples.astype("<f4").tobytes()
    # Proves itself on reading, and can be made again.
    write_atomic(path, hashlib.sha256(body).digest() + body, durable=False)


def _usable(made: Utterance) -> Utterance:
    if made.samples.dtype != np.float32 or made.samples.ndim != 1 or not len(made.samples):
        raise StageError(Code.TTS_FAILED, f"the engine gave {made.samples.dtype} of shape {made.samples.shape}")
    return made
