"""The protocol of speech engines, which other packages can implement without importing raydub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from raydub.tts.types import Utterance, Voice


class Engine(Protocol):
    """A speech engine. The class of an entry point of group "tts" is called without arguments and returns one.

    raydub runs it in a child process of its own (tts.engines.host), so it may crash, print and load anything; the calls
    below come one at a time. RaydubErrors that it raises are passed on, any other exception becomes StageError
    TTS_FAILED.
    """

    @property
    def name(self) -> str:
        """Its name, that of the entry point."""
        ...

    @property
    def max_speed(self) -> float:
        """The fastest speed that sounds natural, relative to normal; 1.0 if it cannot change its speed."""
        ...

    def voices(self) -> tuple[Voice, ...]:
        """All voices that can be listed. Best first where two speak the same language equally well."""
        ...

    def named(self, name: str) -> Voice | None:
        """A voice that voices() does not list: a variant, a file, or any name for an engine that does not know its
        voices (its Voice then has no languages, which means any). None if there is none of that name."""
        ...

    def identity(self, voice: Voice) -> str:
        """Everything but text, language and speed that decides how `voice` sounds: versions of engine and library,
        digests of model files. Part of cache keys, so it must be fast and the same on every machine."""
        ...

    def synthesise(self, text: str, voice: Voice, language: str, speed: float) -> Utterance:
        """Speak. language: one of the voice's tags, or any tag where it has none, "" where none is known; speed: 1.0
        is the voice's normal pace, 1.2 is a fifth faster. The same arguments give the same samples where the engine
        can do that."""
        ...


def time_limit(text: str) -> float:
    """Seconds that synthesis of this text may take before it counts as a hang: on a slow CPU a neural voice needs a few
    times the length of its sound, which is about 0.07 s a character."""
    return 30.0 + 0.75 * len(text)


def longest(text: str, speed: float = 1.0) -> float:
    """The longest plausible sound in seconds: an order of magnitude more than needed, since digits and abbreviations
    are read out."""
    return (5.0 + 1.5 * len(text)) / min(1.0, max(speed, 0.1))
