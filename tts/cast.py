"""The cast of a script: the voice and the face of each line, from the script's speakers and the job's options."""

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
"""All speakers that are not named."""


@dataclass(frozen=True)
class Line:
    """A segment with its voice, the language tag that it is spoken in, and its face: a value of the field `face`, ""
    for the job's own, manifests.fields.NOBODY for a voice that is only heard. named: was the voice asked for by name,
    not chosen by its language?"""

    segment: Segment
    voice: Voice
    language: str
    face: str
    named: bool = True


def cast_of(segments: Sequence[Segment], options: Options, engine: Engine) -> tuple[Line, ...]:
    """The lines of a script. Voice and language of a segment take precedence over those of the job.

    Raises InputError SPEAKER_UNKNOWN for speakers of the job who have no line, and for speakers of the script without a
    face if the job gives some of them one; FIELD_CONFLICT for a speaker whom the job names twice; what find_voice
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
                # The error names the first segment that asks for the voice, unless it is the job's own.
                raise at_segment(error, segment) if segment.voice or segment.language else error from error.__cause__
        lines.append(Line(segment, *found[asked], _for(faces, segment.speaker), bool(asked[0].strip())))
    return tuple(lines)


def folded(name: str) -> str:
    """A speaker's name in its normal form."""
    return " ".join(name.split()).casefold()


def _for(said: Mapping[str, str], speaker: str) -> str:
    """The value for a speaker: by name, else that for all others, else that for all."""
    return said.get(folded(speaker)) or said.get(EVERYBODY) or said.get("", "")


def _by_speaker(said: Mapping[str, str], field: str, spoken: Mapping[str, str]) -> dict[str, str]:
    known: dict[str, str] = {}
    written: dict[str, str] = {}
    for name, value in said.items():
        other = written.setdefault(folded(name), name)
        if other != name:
            raise InputError(
                Code.FIELD_CONFLICT,
                f"{field} has {other!r} and {name!r}, which are the same speaker",
                hint="name each speaker once; case and spaces do not count",
                field=field,
            )
        known[folded(name)] = value
        if folded(name) not in ("", EVERYBODY, *spoken):
            there = ", ".join(sorted(filter(None, spoken.values()))) or "not named"
            near = difflib.get_close_matches(folded(name), [one for one in spoken if one], n=1)
            hint = f"did you mean {spoken[near[0]]!r}? " if near else ""
            raise InputError(
                Code.SPEAKER_UNKNOWN,
                f"{field} names {name!r}, who has no line in the script; its speakers are {there}",
                hint=f"{hint}write speakers as the script does",
                field=field,
            )
    return known


def _refuse_faceless(faces: Mapping[str, str], spoken: Mapping[str, str]) -> None:
    """If some speakers have a face, all must have one or `none`: else a mouth would move to the wrong lines."""
    if not faces or EVERYBODY in faces:
        return
    left = [name or "a speaker without a name" for key, name in spoken.items() if key not in faces]
    if left:
        raise InputError(
            Code.SPEAKER_UNKNOWN,
            f"the script has {', '.join(sorted(left))}, for whom speakers gives no face",
            hint=f"add them, or {EVERYBODY}={NOBODY} for voices that are only heard, {EVERYBODY}=largest for a face",
            field="speakers",
        )
