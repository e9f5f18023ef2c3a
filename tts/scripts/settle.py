"""From the cues of a file to a Script: checked, in order, with a warning for each repair."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from raydub.errors import Code, InputError
from raydub.tts.scripts.cue import (
    MAX_CUES,
    MAX_NAME,
    MAX_RAW,
    MAX_SECONDS,
    MAX_TEXT,
    Cue,
    Notes,
    bad_cue,
    unreadable,
)
from raydub.tts.scripts.cue_text import say, speakable
from raydub.tts.scripts.markup import characters
from raydub.tts.types import Script, Segment

FASTEST = 40
"""Characters a second; fast speakers reach 25."""


def settle(cues: Iterable[Cue], notes: Notes) -> Script:
    """The script that `cues` make, with the remarks of their reader and of this function as its warnings.

    Refused (InputError SCRIPT_CUE): a cue that does not end after it begins, is before 0 or beyond MAX_SECONDS, or has
    more than MAX_TEXT characters. Left out: cues without spoken text, and duplicates. Sorted: by start, then number.
    Remarks: cues of one speaker that overlap, and those too fast to speak. SCRIPT_EMPTY: nothing is left.
    SCRIPT_UNREADABLE: more than MAX_CUES cues."""
    found: list[Segment] = []
    for cue in cues:
        if cue.number > MAX_CUES:
            raise unreadable(f"the script has more than {MAX_CUES:,} cues", "split it into several scripts")
        segment = _segment(cue, notes)
        if segment is not None:
            found.append(segment)
    if not found:
        raise InputError(
            Code.SCRIPT_EMPTY, "no cue of the script has text to speak", hint="write some text", field="script"
        )
    if found[0].start is not None:
        found = _in_order(found, notes)
        _remark_on_times(found, notes)
    return Script(tuple(found), notes.warnings())


def _segment(cue: Cue, notes: Notes) -> Segment | None:
    if not cue.spoken and len(cue.text) > MAX_RAW:
        raise _too_long(cue, len(cue.text))
    speaker, voice, language = (_name(cue, name) for name in ("speaker", "voice", "language"))
    text = characters(cue.text)
    if not cue.spoken:
        said = say(text, speaker)
        text, speaker = said.text, said.speaker
        for remark in said.remarks:
            notes.add(cue.number, remark)
        if said.guessed:
            notes.guess(cue.number, speaker)
    if not speakable(text):
        notes.add(cue.number, "no text to speak, left out")
        return None
    if len(text) > MAX_TEXT:
        raise _too_long(cue, len(text))
    if "\ufffd" in text:
        notes.add(cue.number, "it contains U+FFFD: letters were lost when the file was saved in another encoding")
        text = " ".join(text.replace("\ufffd", "").split())
    _check_times(cue)
    return Segment(cue.number, text, cue.start, cue.end, speaker, voice, language)


def _too_long(cue: Cue, length: int) -> InputError:
    hint = "split it into several cues"
    return bad_cue(cue.number, cue.line, f"{length:,} characters are more than {MAX_TEXT:,}", hint)


def _name(cue: Cue, field: str) -> str:
    text = str(getattr(cue, field))
    if len(text) > MAX_NAME:
        said = f"its {field} has {len(text):,} characters, more than {MAX_NAME}"
        raise bad_cue(cue.number, cue.line, said, "shorten it")
    return " ".join(characters(text).split())


def _check_times(cue: Cue) -> None:
    if cue.start is None or cue.end is None:
        return
    if cue.start < 0 or cue.end < 0:
        raise bad_cue(cue.number, cue.line, "a time before 0", "shift the script so that it starts at 0 or later")
    if cue.end <= cue.start:
        said = "it has no length" if cue.end == cue.start else "it ends before it starts"
        times = f"{_seconds(cue.start)} to {_seconds(cue.end)}"
        raise bad_cue(cue.number, cue.line, f"{said} ({times})", "give it an end after its start")
    if cue.end > MAX_SECONDS:
        said = f"it ends at {_seconds(cue.end)}, beyond {MAX_SECONDS // 3600} hours"
        raise bad_cue(cue.number, cue.line, said, "write times as seconds or hours:minutes:seconds")


def _seconds(time: Fraction) -> str:
    return f"{float(time):.3f} s"


def _in_order(found: list[Segment], notes: Notes) -> list[Segment]:
    """By start and number, each once."""
    latest = found[0]
    for segment in found[1:]:
        if _start(segment) < _start(latest):
            notes.add(segment.number, f"it starts before cue {latest.number} and was moved to its place")
        else:
            latest = segment
    kept: dict[tuple[Fraction | None, Fraction | None, str, str], Segment] = {}
    for segment in sorted(found, key=lambda segment: (_start(segment), segment.number)):
        first = kept.setdefault((segment.start, segment.end, segment.text, segment.speaker), segment)
        if first is not segment:
            notes.add(segment.number, f"the same as cue {first.number}, left out")
    return list(kept.values())


def _remark_on_times(found: list[Segment], notes: Notes) -> None:
    busy: dict[str, tuple[Fraction, int]] = {}
    for segment in found:
        start, end = _start(segment), segment.end or Fraction(0)
        until, number = busy.get(segment.speaker, (Fraction(0), 0))
        if start < until:
            notes.add(segment.number, f"it starts while cue {number} of the same speaker lasts, and cuts that short")
        if end > until:
            busy[segment.speaker] = end, segment.number
        if len(segment.text) > FASTEST * (end - start):
            rate = len(segment.text) / float(end - start)
            notes.add(segment.number, f"{rate:.0f} characters a second are too fast to speak")


def _start(segment: Segment) -> Fraction:
    return segment.start if segment.start is not None else Fraction(0)
