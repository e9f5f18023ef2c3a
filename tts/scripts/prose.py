"""Plain text: split paragraphs and sentences into pieces of speakable length.

A blank line ends a paragraph. The end of a line ends a sentence, unless the next line continues in lower case
(hard-wrapped text). Sentences of one or two words join their neighbours, long ones are cut at commas, then at spaces.
In doubt, two sentences are joined, which is hardly heard, rather than one cut in two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from raydub.tts.scripts.cue import Cue, Notes
from raydub.tts.scripts.cue_text import is_turn, say, words
from raydub.tts.scripts.markup import from_html

ABBREVIATIONS = words(
    "dr mr mrs ms mx prof st sr sra srta jr vs etc e.g i.e z.b bzw u.a d.h usw ca cf al inc ltd co corp dept est gen"
    " col lt capt sgt rev hon gov sen rep pres jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri"
    " hr fr mme mlle ud uds vd vds ed eds avda dña dn ing lic arq dott sig sigg av bd approx a.m p.m u.s u.k"
)
"""Without the final dot, after which a sentence usually continues. The most common ones of several languages: one that
is missing adds a pause, but loses no words of the speech."""

BEFORE_NUMBERS = words("no nr nº núm num n p pp s vol fig abb art kap ch sec pág pag ver v")
"""Abbreviations only where a number follows; "No." alone is an answer."""

LONGEST = 300
"""Longest piece in characters, if there are commas or spaces to cut at."""
_SHORT_WORDS, _SHORT_SIGNS = 3, 15
_EARLIEST = 100

_STOP = re.compile(r"(?:[.!?…؟।۔։።။]+|[。！？｡]+)[\"'”’»)\]」』）】]*")
_WIDE = set("。！？｡")
_TERMINAL = set(".!?…؟।۔։።။。！？｡:")
_CLOSERS = "\"'”’»)]」』）】"
_CLAUSE = re.compile(r"[,;:،؛—–](?=\s)|[、，；：]")


@dataclass
class _Piece:
    """Text of one speaker. line: of the file; whole: does it end like a sentence?"""

    line: int
    speaker: str
    text: str
    guessed: bool = False
    remarks: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return self.text.rstrip(_CLOSERS)[-1:] in _TERMINAL

    @property
    def short(self) -> bool:
        return len(self.text) < _SHORT_SIGNS and len(self.text.split()) < _SHORT_WORDS


def prose_cues(lines: Iterable[str], notes: Notes) -> Iterator[Cue]:
    """Untimed cues of plain text, numbered in the order in which they are spoken; "Name: text" and "[Name] text" at the
    beginning of a line name the speaker up to the paragraph's end."""
    number = 0
    for paragraph in _paragraphs(lines):
        for piece in _joined(_sentences(_runs(paragraph))):
            number += 1
            for remark in piece.remarks:
                notes.add(number, remark)
            if piece.guessed:
                notes.guess(number, piece.speaker)
            yield Cue(number, piece.line, piece.text, speaker=piece.speaker, spoken=True)


def _paragraphs(lines: Iterable[str]) -> Iterator[list[tuple[int, str]]]:
    paragraph: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            paragraph.append((number, line))
        elif paragraph:
            yield paragraph
            paragraph = []
    if paragraph:
        yield paragraph


def _runs(paragraph: list[tuple[int, str]]) -> Iterator[_Piece]:
    """Lines of one speaker, hard-wrapped ones joined; a line without spoken text is a run without text."""
    speaker = ""
    run: list[_Piece] = []
    for number, line in paragraph:
        said = say(from_html(line, any_tag=False), prose=True)
        speaker = said.speaker or speaker
        piece = _Piece(number, speaker, said.text, said.guessed, said.remarks)
        continues = said.text[:1].islower() and not said.speaker and not is_turn(line)
        if run and (not continues or run[-1].whole or not run[-1].text):
            yield _together(run)
            run = []
        run.append(piece)
    if run:
        yield _together(run)


def _together(pieces: list[_Piece]) -> _Piece:
    """One piece out of several, in order."""
    remarks = [remark for piece in pieces for remark in piece.remarks]
    guessed = any(piece.guessed for piece in pieces)
    text = ""
    for piece in pieces:
        text += piece.text if not text or text[-1] in _WIDE else f" {piece.text}"
    return _Piece(pieces[0].line, pieces[0].speaker, text, guessed, remarks)


def _sentences(runs: Iterable[_Piece]) -> Iterator[_Piece]:
    """Runs, cut after sentences and, where those are long, inside them. The first piece gets the run's remarks."""
    for run in runs:
        first = True
        for start, stop in _spans(run.text):
            for text in _cut(run.text[start:stop].strip()):
                whole = _Piece(run.line, run.speaker, text, run.guessed and first, run.remarks if first else [])
                first = False
                yield whole
        if first:
            yield run


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for stop in _STOP.finditer(text):
        if _ends(text, stop):
            yield start, stop.end()
            start = stop.end()
    if text[start:].strip():
        yield start, len(text)


def _ends(text: str, stop: re.Match[str]) -> bool:
    """Does a sentence end here?"""
    signs, after = stop.group(), text[stop.end() : stop.end() + 2]
    if signs[0] in _WIDE or not after:
        return True
    follows = after.strip()[:1]
    if not after[0].isspace() or follows.islower():
        return False
    if signs[0] != "." or len(signs.rstrip(_CLOSERS)) > 1:
        return True
    before = text[max(0, stop.start() - 20) : stop.start()].split()
    word = before[-1].lstrip("([{\"'“«¿¡").casefold() if before else ""
    initial = (len(word) == 1 and word.isalpha()) or (len(word) > 1 and word[-2] == "." and word[-1].isalpha())
    numbered = word in BEFORE_NUMBERS and follows.isdigit()
    return not (initial or numbered or word in ABBREVIATIONS or (word.isdigit() and len(word) < 3))


def _joined(pieces: Iterable[_Piece]) -> Iterator[_Piece]:
    """Join very short sentences with the adjacent ones of the same speaker."""
    held: _Piece | None = None
    for piece in pieces:
        if held is None:
            held = piece
            continue
        fits = held.speaker == piece.speaker and len(held.text) + len(piece.text) < LONGEST
        if fits and held.text and piece.text and held.whole and (held.short or piece.short):
            held = _together([held, piece])
        else:
            yield held
            held = piece
    if held is not None:
        yield held


def _cut(text: str) -> Iterator[str]:
    """Pieces of up to LONGEST characters, as far as there are places to cut at."""
    start = 0
    while len(text) - start > LONGEST:
        window = text[start : start + LONGEST]
        clauses = [mark.end() for mark in _CLAUSE.finditer(window) if mark.end() >= _EARLIEST]
        place = clauses[-1] if clauses else window.rfind(" ")
        if place <= 0:
            beyond = text.find(" ", start + LONGEST)
            if beyond < 0:
                break
            place = beyond - start
        yield text[start : start + place].strip()
        start += place
        while text[start : start + 1] == " ":
            start += 1
    if text[start:].strip():
        yield text[start:].strip()
