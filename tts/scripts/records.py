"""JSON and JSON lines: segments as objects, as transcription programs write them.

Numbers are read as decimals, so that 0.1 is exactly a tenth of a second.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from raydub.tts.scripts.clock import seconds
from raydub.tts.scripts.cue import Cue, bad_cue, shown, unreadable
from raydub.tts.scripts.markup import from_html

FIELDS = ("start", "end", "duration", "text", "speaker", "voice", "language")
_HINT = 'write {"start": 1.0, "end": 2.5, "text": "words"}; speaker, voice and language are optional'
_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*")


class _Object(dict[str, Any]):
    """A JSON object that records repeated keys."""

    twice: tuple[str, ...] = ()


def json_cues(text: str) -> Iterator[Cue] | None:
    """The cues of a JSON text: a list of segments, or an object with such a list as "segments", whose own "language"
    holds for segments without one if it is a tag such as "es". None where `text` is no JSON value or another object.

    Raises InputError SCRIPT_CUE, for a single segment, and SCRIPT_UNREADABLE, for other JSON."""
    try:
        value = _parse(text)
    except ValueError:
        return None
    if isinstance(value, list):
        return _listed(value, "")
    if not isinstance(value, dict) or "segments" not in value:
        return None
    segments, language = value["segments"], value.get("language")
    if not isinstance(segments, list):
        raise unreadable('"segments" is not a list', _HINT)
    return _listed(segments, language if isinstance(language, str) and _TAG.fullmatch(language) else "")


def jsonl_cues(lines: list[str]) -> Iterator[Cue]:
    """The cues of JSON lines; blank lines are skipped and not counted. Raises InputError SCRIPT_CUE."""
    number, timed = 0, None
    for place, line in enumerate(lines, 1):
        if line.strip():
            number += 1
            try:
                value = _parse(line)
            except ValueError as error:
                raise bad_cue(number, place, f"not a JSON object: {error}", _HINT) from None
            cue = _cue(value, number, place)
            timed = _same_kind(cue, timed)
            yield cue


def is_jsonl(text: str) -> bool:
    """Is `text`, which is no JSON of segments, JSON lines? Decided by the first line, so that errors can name a later
    one."""
    first, _, rest = text.strip().partition("\n")
    try:
        value = _parse(first)
    except ValueError:
        return False
    return isinstance(value, dict) and ("text" in value or bool(rest))


def why_not_json(text: str) -> str:
    """Why json_cues cannot read `text`, as a phrase."""
    try:
        value = _parse(text)
    except ValueError as error:
        return f"not JSON: {error}"
    if not isinstance(value, dict):
        return "JSON, but neither a list of segments nor an object"
    near = difflib.get_close_matches("segments", [key.casefold() for key in value], n=1)
    return 'a JSON object without "segments"' + (f', though with "{near[0]}"' if near else "")


def _parse(text: str) -> Any:
    """A JSON value. Raises ValueError with a sentence."""
    try:
        return json.loads(text, strict=False, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except InvalidOperation:
        raise ValueError("a number in it is too large") from None
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise ValueError(f"{error.msg} at {line}column {error.colno}") from None


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        made.twice = tuple(key for key in made if counts[key] > 1)
    return made


def _listed(values: list[Any], language: str) -> Iterator[Cue]:
    timed = None
    for number, value in enumerate(values, 1):
        cue = _cue(value, number, None)
        timed = _same_kind(cue, timed)
        yield replace(cue, language=cue.language or language)


def _same_kind(cue: Cue, timed: bool | None) -> bool:
    """Refuse times in some segments only."""
    has = cue.start is not None
    if timed is not None and has != timed:
        said = "it has times, but those before it have none" if has else "it has no times, but those before it have"
        raise bad_cue(cue.number, cue.line, said, "give times to all segments, or to none")
    return has


def _cue(value: Any, number: int, line: int | None) -> Cue:
    if not isinstance(value, _Object):
        raise bad_cue(number, line, f"{shown(str(value)[:80])} is not an object", _HINT)
    given = {key: item for key, item in value.items() if item is not None}
    twice = [key for key in value.twice if key in FIELDS]
    if twice:
        raise bad_cue(number, line, f"{twice[0]!r} occurs twice", "keep one of the two")
    _check_spelling(given, number, line)
    text = given["text"]
    if not isinstance(text, str):
        raise bad_cue(number, line, f"text {shown(str(text)[:80])} is not text", _HINT)
    start, end = _times(given, number, line)
    speaker, voice, language = (
        _word(given.get(name, ""), name, number, line) for name in ("speaker", "voice", "language")
    )
    return Cue(number, line, from_html(text, any_tag=False), start, end, speaker, voice, language)


def _check_spelling(given: Mapping[str, Any], number: int, line: int | None) -> None:
    """Refuse a missing field, and an unknown field whose name is so similar that it must be a typing error."""
    timed = any(name in given for name in ("start", "end", "duration"))
    ends = "end" in given or "duration" in given
    missing = [name for name in FIELDS if name not in given and not (name in ("end", "duration") and ends)]
    needed = {"text", "start", "end"} if timed else {"text"}
    unknown = {key.casefold(): key for key in given if key not in FIELDS}
    for name in missing:
        cutoff = 0.6 if name in needed or (name == "duration" and timed) else 0.75
        near = difflib.get_close_matches(name, unknown, n=1, cutoff=cutoff)
        if near:
            raise bad_cue(number, line, f"unknown field {shown(unknown[near[0]])}", f"did you mean {name!r}?")
    for name in missing:
        if name in needed:
            raise bad_cue(number, line, f"{name!r} is missing", _HINT)


def _times(given: Mapping[str, Any], number: int, line: int | None) -> tuple[Fraction | None, Fraction | None]:
    """Start and end; `end` counts where `duration` is there too."""
    found: dict[str, Fraction] = {}
    for name in ("start", "end", "duration"):
        if name in given:
            try:
                found[name] = seconds(given[name])
            except ValueError as error:
                hint = "write seconds, such as 62.5, or a time, such as 00:01:02.500"
                raise bad_cue(number, line, f"{name} {error}", hint) from None
    if not found:
        return None, None
    return found["start"], found["end"] if "end" in found else found["start"] + found["duration"]


def _word(value: Any, name: str, number: int, line: int | None) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise bad_cue(number, line, f"{name} {shown(str(value)[:80])} is not text", _HINT)
