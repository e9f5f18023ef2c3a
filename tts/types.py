"""Types of tts: cues of a script, voices, utterances.

Times in scripts are exact seconds (Fraction) on the output's timeline. Samples are float32 in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from raydub.arrays import F32


@dataclass(frozen=True)
class Segment:
    """One cue of a script. number: its place in the file, from 1, by which errors and reports name it; text: plain, on
    one line, never empty; start, end: seconds, end > start, both None in a script without times; speaker, voice,
    language: "" if the script does not state them."""

    number: int
    text: str
    start: Fraction | None = None
    end: Fraction | None = None
    speaker: str = ""
    voice: str = ""
    language: str = ""


@dataclass(frozen=True)
class Script:
    """A script that can be spoken: at least one segment, in order of (start, number); all of them have times or none
    has. warnings: "W_SCRIPT: sentence" about cues that were repaired or left out, each with the cue's number."""

    segments: tuple[Segment, ...]
    warnings: tuple[str, ...] = ()

    @property
    def timed(self) -> bool:
        """Do the cues have times?"""
        return self.segments[0].start is not None


@dataclass(frozen=True)
class Mark:
    """A word (as written), a phoneme (IPA) or a pause ("") that begins `seconds` after the first sample. A stop begins
    where it closes. Pauses need not be marked."""

    kind: Literal["word", "phoneme", "pause"]
    seconds: float
    text: str


@dataclass(frozen=True)
class Utterance:
    """An engine's sound for a text. samples: (n,) float32 mono in [-1, 1] at `rate` Hz; marks: in order of time, () if
    the engine returns none."""

    samples: F32
    rate: int
    marks: tuple[Mark, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return len(self.samples) / self.rate


@dataclass(frozen=True)
class Voice:
    """One voice of an engine. name: by which it is asked for, unique in the engine; languages: BCP 47 tags such as "es"
    or "en-us", lower case, best first; gender: "male", "female" or ""; note: for people."""

    name: str
    languages: tuple[str, ...]
    gender: str = ""
    note: str = ""
