"""Requests to the speak step and where their results are kept: the base class, and sound files with a bed or a
loudness."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raydub.arrays import Bools
from raydub.blobs import verified
from raydub.errors import StageError
from raydub.files import discard
from raydub.identity import identify
from raydub.manifests.job import Job
from raydub.manifests.speech import SPEECH_VERSION, SpeechTracks, VoiceTrack
from raydub.media.activity import HOP, RATE, Loudness
from raydub.media.audio import speech_blocks
from raydub.media.watch import Input, Watch
from raydub.sealed import key_of
from raydub.store import Artefact, Store
from raydub.tts.mix.duck import Duck, Ducking
from raydub.tts.mix.format import MixFormat
from raydub.tts.mix.programme import TARGET_LUFS, MixReport, mix
from raydub.tts.mix.sources import FileSpeech, SpeechSource


class Request(ABC):
    """Base class. Subclasses state what decides the result, and make it."""

    def __init__(self, job: Job, format: MixFormat, store: Store, run_id: str, inputs: Sequence[Input]) -> None:
        self.job, self.format, self.store, self.run_id = job, format, store, run_id
        self.inputs = {one.what: one.identity for one in inputs}
        self.watch = Watch(inputs)
        self.voiced: dict[str, str] = {}
        bed, of_bed = format.bed, "video" if format.own else "bed_audio"
        self.asked: dict[str, Any] = {
            "version": SPEECH_VERSION,
            "shape": [format.rate, format.channels, format.end],
            "length": job.options.length,
            "loudness": job.options.loudness,
            "warnings": format.warnings,
            "bed": None if bed is None else [self.inputs[of_bed], str(bed.origin), bed.mode],
        }

    def tracks(self) -> SpeechTracks:
        """The tracks, from the store or made."""
        self.key = key_of({**self.asked, **self.deciding()})
        known = self._known()
        if known is not None:
            told = {"inputs": self.inputs, "voiced": self.voiced} | (
                {} if self.run_id and known.run == self.run_id else {"spoken": 0}
            )
            return known.model_copy(update=told)
        made = self.make().model_copy(update={"inputs": self.inputs, "voiced": self.voiced})
        self.check()
        self.store.put_record(f"speech/{self.key}/tracks", made.model_dump(mode="json"))
        return made

    def check(self) -> None:
        """Raise InputError INPUT_CHANGED, retryable, unless all inputs have been the same the whole time."""
        self.watch.check()

    @abstractmethod
    def deciding(self) -> Mapping[str, Any]:
        """Everything else that decides the tracks, as JSON values."""

    @abstractmethod
    def make(self) -> SpeechTracks:
        """Make them, under self.key."""

    def mixed(self, voices: Mapping[str, SpeechSource], total: int) -> tuple[MixReport, Artefact, dict[str, Artefact]]:
        """The report of the mix, its sound, and the file of each voice alone."""
        sound = str(self.store.temp(".flac"))
        heard = {name: str(self.store.temp(".flac")) for name in voices}
        target = self.job.options.loudness
        try:
            made = mix(
                voices,
                heard,
                sound,
                total=total,
                rate=self.format.rate,
                channels=self.format.channels,
                bed=self.format.bed,
                target=TARGET_LUFS if target is None else target,
            )
            self.check()
            kept = {name: self._put(f"voice-{number}", heard[name]) for number, name in enumerate(voices)}
            return made, self._put("sound", sound), kept
        finally:
            for path in (sound, *heard.values()):
                discard(path)

    def put_report(self, said: Mapping[str, Any]) -> str:
        """Store the timing report; returns its path."""
        content = json.dumps(said, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
        return self.store.put(f"speech/{self.key}/timing", content, ".json").path

    def sounding(self, total: int, sound: Artefact) -> dict[str, Any]:
        """Fields of SpeechTracks that follow from what mixed() made."""
        return {
            "sound": sound.path,
            "sound_identity": sound.sha256,
            "rate": self.format.rate,
            "samples": total,
            "run": self.run_id,
        }

    def _put(self, name: str, path: str) -> Artefact:
        return self.store.put_file(f"speech/{self.key}/{name}", path, durable=False)

    def _known(self) -> SpeechTracks | None:
        """The tracks of an earlier run, None if they are incomplete."""
        said = self.store.record(f"speech/{self.key}/tracks")
        try:
            known = SpeechTracks.model_validate(said)
            named = {known.sound: known.sound_identity, **{voice.path: voice.identity for voice in known.voices}}
            ours = {path: identity for path, identity in named.items() if Path(path).is_relative_to(self.store.root)}
            whole = all(identify(path).sha256 == identity for path, identity in ours.items())
            blobs = (known.report, *(voice.sounds for voice in known.voices))
            reported = all(path is None or verified(path).is_file() for path in blobs)
        except (OSError, ValueError, StageError):
            return None
        return known if whole and reported else None


def merged(spans: Sequence[tuple[int, int]], rate: int, hold: float = 0.5) -> tuple[tuple[int, int], ...]:
    """Spans in order, joined across gaps of less than `hold` seconds, like those of the ducking."""
    return Duck(spans, rate, Ducking(hold=hold)).merged


class FileRequest(Request):
    """See the module docstring."""

    def deciding(self) -> Mapping[str, Any]:
        return {"audio": self.inputs["audio"]}

    def tracks(self) -> SpeechTracks:
        made = super().tracks()
        # Perhaps made for another job with the same sound at another path, which may have changed since.
        voices = tuple(voice.model_copy(update={"path": self.job.audio}) for voice in made.voices)
        return made.model_copy(update={"voices": voices})

    def make(self) -> SpeechTracks:
        assert self.job.audio is not None
        samples, loudness = 0, Loudness()
        for block in speech_blocks(self.job.audio, RATE):
            samples += len(block)
            loudness.push(block)
        rate, active = self.format.rate, loudness.activity()
        spans = _runs(active, HOP * rate, RATE)
        total = self.format.total(self.job.options.length, False, samples * rate // RATE)
        assert total is not None
        inside = [(start, min(stop, total)) for start, stop in spans if start < total]
        # The lips read the file itself, at its own level, as without a bed.
        report, sound, _ = self.mixed({"speech": FileSpeech(self.job.audio, rate, inside)}, total)
        own = merged(inside, rate) if self.format.own else None
        voice = VoiceTrack(speaker="", path=self.job.audio, identity=self.inputs["audio"], spans=own)
        warnings = (*self.format.warnings, *report.warnings)
        return SpeechTracks(voices=(voice,), warnings=warnings, **self.sounding(total, sound))


def _runs(active: Bools, step: int, per: int) -> list[tuple[int, int]]:
    """Runs of True as spans of samples: entry i begins at sample i * step // per."""
    edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0)) * step // per
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
