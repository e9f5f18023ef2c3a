"""ASS and SSA: the events of a SubStation Alpha script.

Only Dialogue lines are spoken, of all layers and styles. Comment lines count for the numbering, as in subtitle editors.
Any other line among the events is refused: it may be a damaged event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from raydub.tts.scripts.clock import clock
from raydub.tts.scripts.cue import Cue, Notes, bad_cue, shown
from raydub.tts.scripts.markup import from_ass

_SECTION = re.compile(r"\[([^\[\]]+)\]")
_EVENT = re.compile(r"(dialogue|comment)\s*:(.*)", re.IGNORECASE)
_FORMAT = re.compile(r"format\s*:(.*)", re.IGNORECASE)
_OTHER = re.compile(r"(?:;|!:|(?:picture|sound|movie|command)\s*:).*", re.IGNORECASE)
_FIELDS: tuple[str, ...] = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
_SUNG = {"karaoke", "fx"}
_HINT = "write it as Dialogue: 0,0:00:01.00,0:00:02.50,Default,Name,0,0,0,,Text"


def ass_cues(lines: list[str], notes: Notes) -> Iterator[Cue]:
    """The spoken events; Name (or Actor) is the speaker. Karaoke is left out with a remark.

    Raises InputError SCRIPT_CUE."""
    fields, section, number = _FIELDS, "", 0
    for place, raw in enumerate(lines, 1):
        line = raw.strip()
        heading = _SECTION.fullmatch(line)
        event = _EVENT.fullmatch(line)
        columns = _FORMAT.fullmatch(line)
        if heading:
            section = heading.group(1).strip().casefold()
        elif event:
            number += 1
            if event.group(1).casefold() == "dialogue":
                cue = _cue(number, place, event.group(2), fields, notes)
                if cue:
                    yield cue
        elif section == "events" and columns:
            fields = _fields(columns.group(1), number + 1, place)
        elif section == "events" and line and not _OTHER.fullmatch(line):
            raise bad_cue(number + 1, place, f"{shown(line)} is not an event", _HINT)


def _fields(text: str, number: int, place: int) -> tuple[str, ...]:
    fields = tuple(
        "name" if name == "actor" else name for name in (part.strip().casefold() for part in text.split(","))
    )
    if not {"start", "end", "text"} <= set(fields) or fields[-1] != "text" or len(set(fields)) != len(fields):
        hint = "name the columns Start and End once each, and Text last"
        raise bad_cue(number, place, "the Format line above it does not name the columns of times and text", hint)
    return fields


def _cue(number: int, place: int, rest: str, fields: tuple[str, ...], notes: Notes) -> Cue | None:
    values = rest.split(",", len(fields) - 1)
    if len(values) != len(fields):
        raise bad_cue(number, place, f"{len(values)} fields instead of {len(fields)}", _HINT)
    value = dict(zip(fields, values, strict=True))
    try:
        start, end = clock(value["start"]), clock(value["end"])
    except ValueError as error:
        raise bad_cue(number, place, str(error), _HINT) from None
    text, karaoke = from_ass(value["text"])
    if karaoke or value.get("effect", "").strip().split(";")[0].casefold() in _SUNG:
        notes.add(number, "karaoke, left out")
        return None
    return Cue(number, place, text, start, end, speaker=value.get("name", ""))
