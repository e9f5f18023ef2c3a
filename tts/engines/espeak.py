"""espeak-ng: over a hundred languages, offline, with the moment of every word and phoneme.

Uses ctypes, with the library and data of the package espeakng-loader; functions, structures and numbers are those of
its public header (speak_lib.h of espeak-ng 1.52). The library is under the GPL and is loaded only in the process of
this engine.

Repeatable to the bit: espeak-ng keeps state from one utterance to the next and draws random numbers (breath, whisper),
so each text is spoken by a fork of a process that has spoken nothing yet, with fixed seeds.
"""

from __future__ import annotations

import ctypes
import difflib
import importlib.metadata
import json
import os
import signal
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from raydub.arrays import F32
from raydub.bound import end_with_parent
from raydub.errors import Code, DependencyError, InputError, StageError
from raydub.tts.types import Mark, Utterance, Voice

WORDS_A_MINUTE = 175
_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples come to the callback before espeak_Synth returns
_PHONEME_EVENTS, _IPA, _DONT_EXIT = 1, 2, 0x8000
_RATE = 1  # espeakRATE
_UTF8 = 1  # espeakCHARS_UTF8: plain text; neither SSML nor [[phonemes]] mean anything in it
_WORD, _PHONEME = 1, 7
_SEED = 1
_STOPS = frozenset("ptkbdɡɓɗcɟqʈɖ")
_CLOSED_SECONDS = 0.08
_SILENT = 1e-3
_GENDERS = {1: "male", 2: "female"}


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
# (type, position of its first character, length in characters, milliseconds, phoneme)
_Happening = tuple[int, int, int, int, bytes]


class Espeak:
    """The engine. Voices are named by their language tag ("es", "en-us", "cmn"); "es+f3" is the voice es spoken by
    the variant f3. DependencyError DEPENDENCY_MISSING if library or data cannot be loaded."""

    name = "espeak"
    max_speed = 1.25

    def __init__(self) -> None:
        import espeakng_loader

        try:
            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
            data = espeakng_loader.get_data_path().encode()
        except (OSError, RuntimeError) as error:
            raise _unusable(str(error)) from error
        _declare(self._library)
        options = _PHONEME_EVENTS | _IPA | _DONT_EXIT
        self._rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, options))
        if self._rate <= 0:
            raise _unusable(f"espeak_Initialize gave {self._rate}")
        version: bytes = self._library.espeak_Info(None)
        loader = importlib.metadata.version("espeakng-loader")
        self._identity = f"espeak-ng {version.decode('ascii', 'replace').split()[0]}, espeakng-loader {loader}"

    def voices(self) -> tuple[Voice, ...]:
        """One for each language and accent."""
        return tuple(voice for voice, _ in self._listed.values())

    def named(self, name: str) -> Voice | None:
        """Variants, such as "es+f3". InputError VOICE_UNKNOWN for a variant that does not exist."""
        base, plus, variant = name.partition("+")
        known = self._listed.get(base.strip().lower().replace("_", "-"))
        if not plus or known is None:
            return None
        voice = known[0]
        if variant not in self._variants:
            near = difflib.get_close_matches(variant, self._variants, n=1, cutoff=0.5)
            raise InputError(
                Code.VOICE_UNKNOWN,
                f"the engine espeak has no variant {variant[:40]!r} of the voice {voice.name!r}",
                field="voice",
                hint=(f"did you mean '{voice.name}+{near[0]}'? " if near else "")
                + "variants include f1 to f5 and m1 to m8",
            )
        return Voice(f"{voice.name}+{variant}", voice.languages, self._variants[variant], f"{voice.note}, {variant}")

    def identity(self, voice: Voice) -> str:
        """Versions: the voices are data of the same package."""
        return self._identity

    def synthesise(self, text: str, voice: Voice, language: str, speed: float) -> Utterance:
        """Marks of words and phonemes have a resolution of 1 ms; 175 words a minute at speed 1.0."""
        base, plus, variant = voice.name.partition("+")
        if base not in self._listed or (plus and variant not in self._variants):
            raise InputError(Code.VOICE_UNKNOWN, f"the engine espeak has no voice {voice.name!r}", field="voice")
        called = self._listed[base][1] + (plus + variant)
        pace = round(WORDS_A_MINUTE * speed)
        # A C string ends at its first NUL.
        samples, happenings = self._in_a_fork(called, text.replace("\0", " "), pace)
        return Utterance(samples, self._rate, _marks(text, happenings, samples, self._rate))

    @cached_property
    def _listed(self) -> dict[str, tuple[Voice, str]]:
        """Name → voice, and espeak's own name for it."""
        found: dict[str, tuple[Voice, str]] = {}
        for entry in self._list(None):
            identifier = entry.identifier.decode()
            tags = _languages(entry.languages)
            if not tags or identifier.startswith("mb/"):  # those need the program mbrola
                continue
            name = tags[0] if tags[0] not in found else identifier.rpartition("/")[2].lower()
            gender = _GENDERS.get(int(entry.gender), "")
            found[name] = (Voice(name, tags, gender, entry.name.decode().strip()), identifier)
        return found

    @cached_property
    def _variants(self) -> dict[str, str]:
        """Name → gender."""
        word = ctypes.create_string_buffer(b"variant")
        wanted = _Voice(languages=ctypes.cast(word, ctypes.c_void_p))
        return {
            entry.identifier.decode().removeprefix("!v/"): _GENDERS.get(int(entry.gender), "")
            for entry in self._list(ctypes.byref(wanted))
        }

    def _list(self, wanted: Any) -> list[Any]:
        entries = self._library.espeak_ListVoices(wanted)
        found: list[Any] = []
        while entries[len(found)]:
            found.append(entries[len(found)].contents)
        return found

    def _in_a_fork(self, called: str, text: str, pace: int) -> tuple[F32, list[_Happening]]:
        parent = os.getpid()
        read, write = os.pipe()
        fork = os.fork()
        if fork == 0:
            self._speak_and_exit(parent, write, called, text, pace)
        os.close(write)
        with os.fdopen(read, "rb") as stream:
            answer = stream.read()
        _, status = os.waitpid(fork, 0)
        if os.WIFSIGNALED(status):
            raise StageError(Code.TTS_FAILED, f"the engine espeak crashed (signal {os.WTERMSIG(status)})")
        if os.waitstatus_to_exitcode(status) != 0 or not answer:
            raise StageError(Code.TTS_FAILED, f"the engine espeak could not speak with the voice {called!r}")
        line, _, data = answer.partition(b"\n")
        told = [(*numbers, phoneme.encode("latin-1")) for *numbers, phoneme in json.loads(line)]
        return (np.frombuffer(data, np.int16) / np.float32(32768)).astype(np.float32), told

    def _speak_and_exit(self, parent: int, write: int, called: str, text: str, pace: int) -> NoReturn:
        # No exit handler of the parent may run here, so the process always ends by _exit.
        code = 1
        try:
            end_with_parent(parent)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            said = self._speak(called, text, pace)
            if said is not None:
                data, happenings = said
                told = [(*numbers, phoneme.decode("latin-1")) for *numbers, phoneme in happenings]
                with os.fdopen(write, "wb") as stream:
                    stream.write(json.dumps(told).encode() + b"\n" + data)
                code = 0
        finally:
            os._exit(code)

    def _speak(self, called: str, text: str, pace: int) -> tuple[bytes, list[_Happening]] | None:
        pieces: list[bytes] = []
        happenings: list[_Happening] = []

        def collect(samples: Any, count: int, events: Any) -> int:
            if samples and count > 0:
                pieces.append(ctypes.string_at(samples, 2 * count))
            at = 0
            while events and events[at].type != 0:
                event = events[at]
                happenings.append(
                    (event.type, event.text_position, event.length, event.audio_position, event.id.string)
                    if event.type == _PHONEME
                    else (event.type, event.text_position, event.length, event.audio_position, b"")
                )
                at += 1
            return 0

        callback = _Callback(collect)
        self._library.espeak_SetSynthCallback(callback)
        self._library.espeak_ng_SetRandSeed(_SEED)
        ctypes.CDLL(None).srand(_SEED)
        if self._library.espeak_SetVoiceByName(called.encode()) != 0:
            return None
        self._library.espeak_SetParameter(_RATE, pace, 0)
        data = text.encode("utf-8", "replace")
        if self._library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None) != 0:
            return None
        self._library.espeak_Synchronize()
        return b"".join(pieces), happenings


def _declare(library: Any) -> None:
    library.espeak_Info.restype = ctypes.c_char_p
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    library.espeak_SetVoiceByName.argtypes = (ctypes.c_char_p,)
    library.espeak_ng_SetRandSeed.argtypes = (ctypes.c_long,)
    library.espeak_Synth.argtypes = (
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    )


def _languages(address: int) -> tuple[str, ...]:
    """Tags, best first. In memory: a byte of priority (1 is best) and a C string for each, then a zero byte."""
    found: list[tuple[int, str]] = []
    while (priority := ctypes.c_ubyte.from_address(address).value) != 0:
        tag = ctypes.string_at(address + 1)
        found.append((priority, tag.decode().lower()))
        address += len(tag) + 2
    # The first one is the voice's own; only the others are ordered.
    return (*(tag for _, tag in found[:1]), *(tag for _, tag in sorted(found[1:], key=lambda entry: entry[0])))


def _marks(text: str, happenings: list[_Happening], samples: F32, rate: int) -> tuple[Mark, ...]:
    """Words as they stand in the text, phonemes and pauses. A word that is spoken in parts (a number, an unknown
    script) is marked where it begins; changes of language are not phonemes."""
    marks: list[Mark] = []
    end = 0
    for kind, position, length, milliseconds, phoneme in happenings:
        at = milliseconds / 1000
        if kind == _WORD and length > 0 and position > end:
            word = text[position - 1 : position - 1 + length].strip()
            end = position + length - 1
            if word:
                marks.append(Mark("word", at, word))
        elif kind == _PHONEME:
            sound = phoneme.decode("utf-8", "ignore")
            if sound and not sound.startswith("("):
                marks.append(Mark("phoneme", at - _silence_before(at, samples, rate, sound), sound))
            elif not sound and at * rate < len(samples):
                marks.append(Mark("pause", at, ""))
    return tuple(sorted(marks, key=lambda mark: mark.seconds))


def _silence_before(at: float, samples: F32, rate: int, phoneme: str) -> float:
    """Seconds of silence before a stop, which belong to it: espeak-ng marks stops where they burst, other engines
    where they close. 0 for other phonemes; after a pause at most as long as stops close between vowels."""
    if phoneme.lstrip("ˈˌ")[:1] not in _STOPS:
        return 0.0
    step = rate // 200
    burst = round(at * rate)
    frames = min(burst // step, round(_CLOSED_SECONDS * rate) // step)
    power = np.abs(samples[burst - frames * step : burst]).reshape(frames, step).max(axis=1, initial=0.0)
    loud = np.flatnonzero(power > _SILENT)
    return (frames - 1 - int(loud[-1]) if len(loud) else frames) * step / rate


def _unusable(reason: str) -> DependencyError:
    return DependencyError(
        Code.DEPENDENCY_MISSING,
        f"the library of espeak-ng cannot be used: {reason}",
        hint="pip install --force-reinstall 'raydub[espeak]'",
    )
