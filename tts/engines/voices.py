"""Choose the voice of an engine for the voice and language of a script or job."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from raydub.errors import Code, InputError
from raydub.tts.engines.base import Engine
from raydub.tts.engines.languages import Tag, distance, parse
from raydub.tts.types import Voice

_SHOW = "`raydub voices` lists all voices"


def find_voice(engine: Engine, voice: str, language: str) -> tuple[Voice, str]:
    """choose_voice with all voices of the engine, including those that it does not list."""
    named = engine.named(voice.strip()) if voice.strip() else None
    listed = engine.voices()
    if not listed and named is None:
        named = engine.named("")  # an engine without a list of voices may have one without a name
    if named is not None and all(one.name != named.name for one in listed):
        listed = (*listed, named)
    return choose_voice(engine.name, listed, voice, language)


def choose_voice(engine_name: str, voices: Sequence[Voice], voice: str, language: str) -> tuple[Voice, str]:
    """The voice, and the tag of the language that it is to speak: the voice's own tag that is nearest to the language
    asked for; where the voice has no tags, that language itself, lower case ("" where none was named).

    voice: a name, or ""; language: a BCP 47 tag in any spelling, or "". By language alone it is the first voice with
    that tag, then one of another region, never one of another language. Raises InputError: VOICE_UNKNOWN (field
    "voice" or "language") with the nearest that there is; FIELD_CONFLICT (field "language") for a voice that does not
    speak the language; FIELD_MISSING (field "language") where neither is named and the engine has more than one voice.
    """
    asked = _parsed(engine_name, voices, language) if language.strip() else None
    if voice.strip():
        return _named(engine_name, voices, voice.strip(), asked)
    if asked is None:
        if len(voices) == 1:
            return voices[0], _first(voices[0])
        raise InputError(
            Code.FIELD_MISSING,
            f"the engine {engine_name} needs a language or a voice",
            field="language",
            hint=f'for example language "es"; {_SHOW}',
        )
    found = _nearest(voices, asked)
    if found is None:
        raise _unknown_language(engine_name, voices, language)
    return found


def speaks(languages: Sequence[str], language: str) -> bool:
    """Is one of these tags the requested language, or an accent of it? "es" includes es-419, "pt-br" excludes pt;
    without tags it is never true."""
    asked = parse(language)
    tags = [tag for tag in map(parse, languages) if tag is not None]
    return asked is not None and any(
        tag.language == asked.language and tag.rest[: len(asked.rest)] == asked.rest for tag in tags
    )


def _named(engine_name: str, voices: Sequence[Voice], name: str, asked: Tag | None) -> tuple[Voice, str]:
    found = _by_name(voices, name)
    if found is None:
        near = _near(name, {voice.name: voice.name for voice in voices} | _english(voices, whole=True))
        raise InputError(
            Code.VOICE_UNKNOWN,
            f"the engine {engine_name} has no voice {name[:80]!r}",
            field="voice",
            hint=f"{near}{_SHOW}",
        )
    if asked is None:
        return found, _first(found)
    spoken = _nearest([found], asked)
    if spoken is None:
        raise InputError(
            Code.FIELD_CONFLICT,
            f"the voice {found.name!r} of the engine {engine_name} speaks {', '.join(found.languages)}, "
            f"not {asked.spelt}",
            field="language",
            hint=f"omit one of the two; {_SHOW}",
        )
    return spoken


def _by_name(voices: Sequence[Voice], name: str) -> Voice | None:
    exact = next((voice for voice in voices if voice.name == name), None)
    if exact is not None:
        return exact
    same = [voice for voice in voices if _plain(voice.name) == _plain(name)]
    return same[0] if len(same) == 1 else None


def _nearest(voices: Sequence[Voice], asked: Tag) -> tuple[Voice, str] | None:
    best: tuple[tuple[int, int], Voice, str] | None = None
    for voice in voices:
        if not voice.languages:
            candidate = ((9, 0), voice, asked.spelt)
            best = candidate if best is None else best
        for place, tag in enumerate(voice.languages):
            parsed = parse(tag)
            far = distance(asked, parsed, place) if parsed is not None else None
            if far is not None and (best is None or far < best[0]):
                best = (far, voice, tag)
    return None if best is None else (best[1], best[2])


def _parsed(engine_name: str, voices: Sequence[Voice], language: str) -> Tag:
    tag = parse(language)
    if tag is None:
        raise _unknown_language(engine_name, voices, language)
    return tag


def _unknown_language(engine_name: str, voices: Sequence[Voice], language: str) -> InputError:
    """Suggests tags, also by the English names in the voices' notes: "spanish" suggests es."""
    known = {tag: tag for voice in voices for tag in voice.languages} | _english(voices)
    return InputError(
        Code.VOICE_UNKNOWN,
        f"the engine {engine_name} does not speak the language {language.strip()[:80]!r}",
        field="language",
        hint=f"{_near(language, known)}{_SHOW}",
    )


def _english(voices: Sequence[Voice], whole: bool = False) -> dict[str, str]:
    """English name of a voice in its note ("Spanish (Spain)", "Spanish") → its language, or (whole) its name."""
    known: dict[str, str] = {}
    for voice in voices:
        name = voice.note.partition(" (")[0].strip().lower()
        if name and voice.languages:
            known.setdefault(name, voice.name if whole else voice.languages[0].partition("-")[0])
            known.setdefault(voice.note.lower(), voice.name if whole else voice.languages[0])
    return known


def _near(word: str, known: Mapping[str, str]) -> str:
    words = {_plain(name): meant for name, meant in reversed(list(known.items()))}
    found = difflib.get_close_matches(_plain(word), words, n=1)
    return f"did you mean {words[found[0]]!r}? " if found else ""


def _first(voice: Voice) -> str:
    return voice.languages[0] if voice.languages else ""


def _plain(name: str) -> str:
    return name.strip().casefold().replace("_", "-")
