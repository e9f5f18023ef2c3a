"""Who says what in which voice, and whose mouth moves to it: a script's speakers against what the job says of them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raydub.errors import Code, InputError, RaydubError
from raydub.manifests.fields import NOBODY
from raydub.manifests.options import Options
from raydub.tts.engines.base import Engine
from raydub.tts.engines.utterances import at_segment
from raydub.tts.engines.voices import find_voice
from raydub.tts.types import Segment, Voice

EVERYBODY = "*"
"""Stands for all speakers that are not named."""


@dataclass(frozen=True)
class Line:
    """A segment with its voice, the language tag that it is spoken in, and the face that moves: in the words of the
    field `face`, "" for the job's own, manifests.fields.NOBODY for a voice that is only heard. named: was the voice
    asked for by name, not chosen by its language?"""

    segment: Segment
    voice: Voice
    language: str
    face: str
    named: bool = True


def cast_of(segments: Sequence[Segment], options: Options, engine: Engine) -> tuple[Line, ...]:
    """The lines of a script. What a segment says of voice and language goes before what the job says of its speaker.

    Raises InputError SPEAKER_UNKNOWN for speakers of the job who have no line, and for speakers of the script without a
    face where the job gives some of them one; FIELD_CONFLICT for a speaker whom the job names twice; what find_voice
    raises, with the segment's number.
    """
    spoken = {folded(segment.speaker): segment.speaker for segment in segments}
    faces, voices, languages = (
        _by_speaker(said, field, spoken)
        for said, field in (
            (options.faces_of(), "speakers"),
            (options.voices_of(), "voice"),
            (options.languages_of(), "language"),
        )
    )
    _refuse_faceless(faces, spoken)
    found: dict[tuple[str, str], tuple[Voice, str]] = {}
    lines = []
    for segment in segments:
        asked = (
            segment.voice or _for(voices, segment.speaker),
            segment.language or _for(languages, segment.speaker),
        )
        if asked not in found:
            try:
                found[asked] = find_voice(engine, *asked)
            except RaydubError as error:
                # Told of the first segment that asks for it; a job's own voice is nobody's cue's fault.
                raise at_segment(error, segment) if segment.voice or segment.language else error from error.__cause__
        lines.append(Line(segment, *found[asked], _for(faces, segment.speaker), bool(asked[0].strip())))
    return tuple(lines)


def folded(name: str) -> str:
    """One form for all ways to write a speaker's name."""
    return " ".join(name.split()).casefold()


def _for(said: Mapping[str, str], speaker: str) -> str:
    """What is said of a speaker: by name, of everybody else, of everybody."""
    return said.get(folded(speaker)) or said.get(EVERYBODY) or said.get("", "")


def _by_speaker(said: Mapping[str, str], field: str, spoken: Mapping[str, str]) -> dict[str, str]:
    known: dict[str, str] = {}
    written: dict[str, str] = {}
    for name, value in said.items():
        other = written.setdefault(folded(name), name)
        if other != name:
            raise InputError(
                Code.FIELD_CONFLICT,
                f"{field} names {other!r} and {name!r}, who are the same speaker",
                hint="name each speaker once; case and spaces do not count",
                field=field,
            )
        known[folded(name)] = value
        if folded(name) not in ("", EVERYBODY, *spoken):
            there = ", ".join(sorted(filter(None, spoken.values()))) or "nobody by name"
            near = difflib.get_close_matches(folded(name), [one for one in spoken if one], n=1)
            hint = f"did you mean {spoken[near[0]]!r}? " if near else ""
            raise InputError(
                Code.SPEAKER_UNKNOWN,
                f"{field} names {name!r}, who says nothing in the script; it has {there}",
                hint=f"{hint}write speakers as the script does",
                field=field,
            )
    return known


def _refuse_faceless(faces: Mapping[str, str], spoken: Mapping[str, str]) -> None:
    """Where some speakers have a face, all must have one, if only none: else a mouth would move to the wrong lines."""
    if not faces or EVERYBODY in faces:
        return
    left = [name or "somebody without a name" for key, name in spoken.items() if key not in faces]
    if left:
        raise InputError(
            Code.SPEAKER_UNKNOWN,
            f"the script has {', '.join(sorted(left))}, and speakers does not say whose mouth moves",
            hint=f"add them, or {EVERYBODY}={NOBODY} for voices that are only heard, {EVERYBODY}=largest for a face",
            field="speakers",
        )
