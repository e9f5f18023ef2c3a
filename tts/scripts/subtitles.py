"""SRT and WebVTT: cues under time lines.

Both are read by one walk over the lines, because both have the same kinds of damage: blank lines inside a cue, none
between two cues, numbers that are missing, repeated or wrong. So a cue is recognised by its time line, and its number
is its position in the file, whatever number is printed above it. Every line is spoken, known not to be speech (number,
name, comment, style), or refused with the number of the cue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from raydub.tts.scripts.clock import span
from raydub.tts.scripts.cue import Cue, Notes, bad_cue, shown
from raydub.tts.scripts.markup import breaks, from_html, from_vtt

ARROW = "-->"
_NUMBER = re.compile(r"[0-9]{1,9}")
_ALMOST = re.compile(r"[ \t]*-?\s*[0-9]+\s*:\s*[0-9]+.{0,20}?(?:[-–—=]+\s*>|→)")
_STATES_TIMES = re.compile(r"^[ \t]*-?[0-9]+[ \t]*:[0-9: \t.,-]{1,40}(?:[-–—=]+[ \t]*>|→)", re.MULTILINE)
_ASIDE = re.compile(r"(?:NOTE(?:[ \t].*)?|STYLE|REGION)\s*")
_HEADER = re.compile(r"WEBVTT(?:[ \t].*)?")
_HINT = "write the times as 00:00:01,000 --> 00:00:02,500 on a line of their own"


@dataclass
class _Open:
    """A cue whose lines are being collected. printed: the number above it, if any."""

    number: int
    line: int
    start: Fraction
    end: Fraction
    printed: int | None = None
    text: list[str] = field(default_factory=list)


def looks_timed(text: str) -> bool:
    """Is there a line in `text` that states times, in the right way or nearly so?"""
    return _STATES_TIMES.search(text) is not None


class _Walk:
    """Assigns lines to cues."""

    def __init__(self, notes: Notes, names: bool) -> None:
        self.current: _Open | None = None
        self._notes = notes
        self._names = names
        self._loose: list[tuple[int, str]] = []  # after a blank line, and no time line yet
        self._inside = False  # no blank line since the time line
        self._broken = False  # a number stands alone, with a blank line after it

    @property
    def _next(self) -> int:
        return self.current.number + 1 if self.current else 1

    @property
    def between(self) -> bool:
        """Does a new block begin?"""
        return not self._inside and not self._loose

    def blank(self) -> None:
        self._inside = False
        if len(self._loose) == 1 and _NUMBER.fullmatch(self._loose[0][1]):
            self._broken = True
        else:
            self._settle_loose()

    def words(self, line: int, text: str) -> None:
        if self._broken:
            self._settle_loose()
        if _ALMOST.match(text):
            raise bad_cue(self._next, line, f"{shown(text)} is not a time line", _HINT)
        if self._inside and self.current:
            self.current.text.append(text)
        else:
            self._loose.append((line, text))

    def times(self, line: int, text: str) -> _Open | None:
        """Open the next cue; returns the one that is complete now."""
        try:
            start, end = span(text)
        except ValueError as error:
            raise bad_cue(self._next, line, str(error), _HINT) from None
        printed = self._number_above()
        self._settle_loose()
        done, self.current = self.current, _Open(self._next, line, start, end, printed)
        self._inside = True
        return done

    def close(self) -> _Open | None:
        self._settle_loose()
        return self.current

    def _number_above(self) -> int | None:
        """Remove and return the number (or WebVTT's name) directly above a time line."""
        if self._loose:
            text = self._loose[-1][1]
            if _NUMBER.fullmatch(text):
                self._loose.pop()
                return int(text)
            if self._names and len(self._loose) == 1:
                self._loose.pop()
                if " " in text:
                    self._notes.add(
                        self._next, f"{shown(text)} above its times is its identifier in WebVTT, and not spoken"
                    )
        elif self._inside and self.current and self.current.text and _NUMBER.fullmatch(self.current.text[-1]):
            # No blank line between the two cues: the number is the next cue's only if it is the expected one.
            number = int(self.current.text[-1])
            if number in (self.current.number + 1, (self.current.printed or 0) + 1):
                self.current.text.pop()
                return number
            said = f"its last line, {number}, is taken as text, since a blank line is missing after it"
            self._notes.add(self.current.number, said)
        return None

    def _settle_loose(self) -> None:
        """Lines between blank lines, without times: the rest of the cue before, or a cue that lost its times."""
        self._broken = False
        if not self._loose:
            return
        line, text = self._loose[0]
        if _NUMBER.fullmatch(text):
            raise bad_cue(self._next, line, f"there is a number ({text}) without a time line after it", _HINT)
        if self.current is None:
            raise bad_cue(1, line, f"{shown(text)} stands before the first time line", _HINT)
        self.current.text += [words for _, words in self._loose]
        said = f"there is a blank line inside; what follows it (line {line}) is taken as its text"
        self._notes.add(self.current.number, said)
        self._loose = []


def srt_cues(lines: list[str], notes: Notes) -> Iterator[Cue]:
    """The cues of an SRT file. Raises InputError SCRIPT_CUE."""

    def finish(done: _Open) -> Cue:
        text = from_html(breaks("\n".join(done.text)), any_tag=True)
        return Cue(done.number, done.line, text, done.start, done.end)

    return _cues(enumerate(lines, 1), _Walk(notes, names=False), finish, asides=False)


def vtt_cues(lines: list[str], notes: Notes) -> Iterator[Cue]:
    """The cues of a WebVTT file without header, NOTE, STYLE and REGION blocks; <v Name> is the speaker.

    Raises InputError SCRIPT_CUE, also for a cue with several voices: the times of each are not
    given."""

    def finish(done: _Open) -> Cue:
        text, voices = from_vtt("\n".join(done.text))
        if len(voices) > 1:
            names = ", ".join(voices)
            hint = "split it into one cue for each speaker, each with its own times"
            raise bad_cue(done.number, done.line, f"several speakers in one cue ({names})", hint)
        return Cue(done.number, done.line, text, done.start, done.end, speaker="".join(voices))

    body = enumerate(lines, 1)
    for _, line in body:
        if _HEADER.fullmatch(line.strip()):
            break
    return _cues(_without_header(body), _Walk(notes, names=True), finish, asides=True)


def _without_header(body: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """What follows the header's block, which ends with a blank line or, if that was forgotten, at the first times."""
    last = (0, "")
    for number, line in body:
        if not line.strip():
            break
        if ARROW in line:
            if _NUMBER.fullmatch(last[1].strip()):
                yield last
            yield number, line
            break
        last = (number, line)
    yield from body


def _cues(lines: Iterator[tuple[int, str]], walk: _Walk, finish: Callable[[_Open], Cue], asides: bool) -> Iterator[Cue]:
    aside = False
    for number, line in lines:
        text = line.strip()
        if not text:
            aside = False
            walk.blank()
        elif aside:
            if ARROW in text:
                where = walk.current.number + 1 if walk.current else 1
                hint = "remove the block, or put a blank line before the cue"
                raise bad_cue(where, number, "a NOTE, STYLE or REGION block contains a time line", hint)
        elif ARROW in text:
            done = walk.times(number, text)
            if done:
                yield finish(done)
        elif asides and walk.between and _ASIDE.fullmatch(text):
            aside = True
        else:
            walk.words(number, text)
    last = walk.close()
    if last:
        yield finish(last)
