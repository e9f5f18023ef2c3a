"""Piper: neural voices, each a small network of its own, through the package piper-tts (GPL).

A voice is named by the weights catalogue ("es_ES-davefx-medium"), by the name under which `raydub models import` has
imported it, or by the path of its .onnx, with its .onnx.json beside it. "NAME#SPEAKER" is one speaker of a network that
has several.

Not bit-identical when repeated: the networks draw noise (for melody and for the length of sounds, scaled by the voice's
configuration) from a generator inside ONNX Runtime that continues from sentence to sentence. Its seed is fixed when a
network is loaded, so only the same texts in the same order after a start give the same samples. Synthesised cues are
kept, not made again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from raydub.arrays import F32
from raydub.errors import Code, DependencyError, InputError, StageError
from raydub.manifests.fields import split_voice
from raydub.models.catalogue import ENTRIES, Entry, custom_entries
from raydub.models.store.locate import is_path, present
from raydub.tts.engines.files import VoiceFiles, by_path, from_catalogue, is_piper, known_digest, piper_entry
from raydub.tts.engines.find import release
from raydub.tts.types import Mark, Utterance, Voice

_SEED = 1
_SPOKEN = ("espeak", "text", "hebrew")
"""Front ends that work without downloads at first use."""


class Piper:
    """The engine."""

    name = "piper"
    max_speed = 1.3

    def __init__(self) -> None:
        self._identity = release("piper")
        # The last network, by digest: cues of one speaker follow each other.
        self._loaded: tuple[str, Any] = ("", None)

    def voices(self) -> tuple[Voice, ...]:
        """Published voices and those that were imported on this machine."""
        entries = [entry for entry in (*ENTRIES, *custom_entries()) if is_piper(entry)]
        return tuple(voice for entry in entries for voice in _speakers(entry.name, _config_here(entry), entry))

    def named(self, name: str) -> Voice | None:
        """Voices by path. Raises what by_path raises, WEIGHTS_LAYOUT for an invalid configuration."""
        model, _ = split_voice(name)
        if is_path(model):
            files = by_path(model, f"{model}.json")
            return next((voice for voice in _speakers(model, _read(files.companion), None) if voice.name == name), None)
        entry = piper_entry(model)
        found = _speakers(entry.name, _config_here(entry), entry) if entry is not None else []
        # Names ignore case; speakers are known only if the file is on this machine.
        return next((voice for voice in found if voice.name.casefold() == name.casefold()), None)

    def identity(self, voice: Voice) -> str:
        """Versions of the packages, digests of both files, and the speaker."""
        model, speaker = split_voice(voice.name)
        entry = None if is_path(model) else piper_entry(model)
        digest = known_digest(entry) if entry is not None else by_path(model, f"{model}.json").digest
        return f"{self._identity}, {digest}, speaker {speaker or 'default'}"

    def synthesise(self, text: str, voice: Voice, language: str, speed: float) -> Utterance:
        """Sentence by sentence, without pauses but those of the network. Phonemes are marked if the network returns
        their durations."""
        from piper import SynthesisConfig

        model, speaker = split_voice(voice.name)
        entry = None if is_path(model) else piper_entry(model)
        files = from_catalogue(entry) if entry is not None else by_path(model, f"{model}.json")
        network = self._load(files)
        how = SynthesisConfig(
            speaker_id=_speaker_number(network, voice.name, speaker), length_scale=network.config.length_scale / speed
        )
        pieces: list[F32] = []
        marks: list[Mark] = []
        at, rate = 0, int(network.config.sample_rate)
        for chunk in network.synthesize(text, how, include_alignments=True):
            # For punctuation alone a network makes arbitrary sound.
            if not any(phoneme.isalpha() for phoneme in chunk.phonemes):
                continue
            marks += _marks(chunk, at / rate, rate)
            piece = np.asarray(chunk.audio_float_array, np.float32).reshape(-1)
            pieces.append(piece)
            at += len(piece)
        return Utterance(np.concatenate(pieces) if pieces else np.zeros(0, np.float32), rate, tuple(marks))

    def _load(self, files: VoiceFiles) -> Any:
        if self._loaded[0] == files.digest:
            return self._loaded[1]
        import onnxruntime
        from piper import PiperVoice

        kind = str(_read(files.companion).get("phoneme_type", "espeak"))
        if kind not in _SPOKEN:
            raise DependencyError(
                Code.DEPENDENCY_MISSING,
                f"the voice {files.model.name} needs the front end {kind!r}, which piper-tts downloads by itself",
                hint=f"choose a voice with another front end ({', '.join(_SPOKEN)}), or the engine espeak",
            )
        onnxruntime.set_seed(_SEED)
        try:
            network = PiperVoice.load(files.model, files.companion)
        except Exception as error:  # onnxruntime's own exceptions have no common base
            raise _no_voice(files.model, f"{type(error).__name__}: {error}") from error
        self._loaded = (files.digest, network)
        return network


def _config_here(entry: Entry) -> dict[str, Any]:
    """The configuration, {} where it is not on this machine."""
    path = present(entry.companions[0])
    return _read(path) if path is not None else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_voice(path, str(error)) from error
    if not isinstance(found, dict) or not isinstance(found.get("audio"), dict):
        raise _no_voice(path, "it is not the configuration of a voice")
    return found


def _speakers(name: str, config: dict[str, Any], entry: Entry | None) -> list[Voice]:
    """The voice, and each of its speakers. The name of a published file has its language ("es_ES-davefx-medium")."""
    said = config.get("language")
    code = said.get("code") if isinstance(said, dict) else None
    espeak = config.get("espeak")
    code = code or (espeak.get("voice") if isinstance(espeak, dict) else None)
    if not isinstance(code, str) or not code:
        code = Path(name).name.partition("-")[0] if entry is not None and not entry.custom else ""
    languages = (code.replace("_", "-").lower(),) if code else ()
    note = entry.purpose.partition(": ")[2] if entry is not None and not entry.custom else "your own"
    gender = next((kind for word, kind in (("a woman", "female"), ("a man", "male")) if note.endswith(word)), "")
    speakers = config.get("speaker_id_map")
    names = list(speakers) if isinstance(speakers, dict) else []
    return [Voice(name, languages, gender, note), *(Voice(f"{name}#{one}", languages, "", note) for one in names)]


def _speaker_number(network: Any, name: str, speaker: str) -> int | None:
    if not speaker:
        return None
    number = network.config.speaker_id_map.get(speaker)
    if number is None:
        known = ", ".join(list(network.config.speaker_id_map)[:10]) or "none"
        raise InputError(
            Code.VOICE_UNKNOWN,
            f"the voice {name!r} does not have this speaker",
            field="voice",
            hint=f"speakers: {known}",
        )
    return int(number)


def _marks(chunk: Any, start: float, rate: int) -> list[Mark]:
    """Of one sentence. Piper's signs for begin, end and padding are not phonemes."""
    marks: list[Mark] = []
    at = 0
    for aligned in chunk.phoneme_alignments or ():
        if aligned.phoneme.strip() and aligned.phoneme not in "^$_":
            marks.append(Mark("phoneme", start + at / rate, aligned.phoneme))
        at += int(aligned.num_samples)
    return marks


def _no_voice(path: Path, reason: str) -> StageError:
    return StageError(
        Code.WEIGHTS_LAYOUT, f"{path} is not a voice of Piper: {reason[:300]}", hint="`raydub voices` lists voices"
    )
