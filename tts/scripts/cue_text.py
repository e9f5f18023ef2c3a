"""From a cue's lines to its spoken text and speaker: names, dashes, sound descriptions, music.

How a speaker is told from text, if the format has no field for it:
- "[Anna] text" and "[Anna]: text" name a speaker if the brackets hold up to three words that begin with capital letters
  (or with letters of a writing without capitals); "[laughter] text", "[Music] text" and the like are sounds.
- "Anna: text" and "ANNA: text" name a speaker if the name is such a name and without digits, "Speaker 1" excepted; the
  name stands at the beginning of the cue, or of a later line if the first one has a name or a dash too.
- "(ANNA) text" does not: what stands in parentheses is a sound or a manner of speaking.
- Lines that begin with dashes (or ">>") are turns of a dialogue without names; they are spoken one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from unicodedata import category

from raydub.tts.scripts.cue import shown


def words(text: str) -> frozenset[str]:
    """A set of lower-case words, written as a sentence is."""
    return frozenset(text.split())


PARTICLES = words("de da do dos das del della di du la le el al von van der den zu bin ibn y e")
"""Lower-case words inside a name."""

SOUNDS = words(
    "laughter laughs laughing laugh music applause cheering cheers sigh sighs sighing gasp gasps silence noise crying"
    " cries sobs sobbing cough coughs coughing whispers whispering whisper shouts shouting screams screaming groans"
    " groaning grunts grunting chuckle chuckles chuckling giggles giggling clapping inaudible indistinct"
    " unintelligible crosstalk beep beeping static pause bell ringing rings thunder footsteps knock knocking knocks"
    " slams singing sings humming snoring sniffles yells panting blank_audio risas risa ríe ríen música aplausos"
    " suspira silencio llora tos rires rire musique applaudissements soupir soupire silence lachen lacht musik applaus"
    " seufzt gelächter stille hustet risate musica applausi sospira risos riso palmas"
)
"""Sound descriptions in brackets: not a name, although they may have a capital letter. The most common ones of several
languages: one that is missing costs a speaker's name, but no words of the speech."""

_PAIRS = {"[": "]", "(": ")", "（": "）", "［": "］", "【": "】"}
_ROUND = "(（"
_ENDS = '.!?…♪:;—–-。！？؟।"”»'
_NOTES = re.compile("[♩♪♫♬♭♯🎵🎶🎼]")
_DASH = re.compile(r"(?:[-–—‐‑―•]+|>{2,3})(?:\s+|(?=[^\W\d]|[\[(\"'“«¿¡…]))")
_BRACKETED = re.compile(r"[\[［【]\s*([^\[\]［］【】]{1,40}?)\s*[\]］】]\s*([:：])?\s*(.*)")
_BEFORE_COLON = re.compile(
    r"([^:：\[\]()（）.!?,;]{1,30}?|[A-Z][a-z]{1,3}\. [^:：\[\]()（）.!?,;]{1,26}?)\s?"
    r"(?:[(（][^()（）]{1,20}[)）]\s?)?(?::(?:\s+|$)|：\s*)(.*)"
)
_LEADING_ASIDE = re.compile(r"(?:[\[［【][^\[\]［］【】]*[\]］】]|[(（][^()（）]*[)）])\s*")
_NUMBERED = re.compile(r"(?:speaker|spk|sprecher|locutor|interlocuteur|voice)[ _-]?[0-9]{1,3}", re.IGNORECASE)
_NAME_SIGNS = set("'’.-_&·")
_SHORT_ASIDE, _LONG_ASIDE = 4, 8
_NEAR = 40
_MAX_WORDS = 3


@dataclass
class Said:
    """The spoken content of a cue. text: on one line, "" if nothing is left to say; speaker: "" if none is named;
    guessed: was the name read from "Name: text", which might be words too? remarks: sentences for the script's
    warnings."""

    text: str
    speaker: str = ""
    guessed: bool = False
    remarks: list[str] = field(default_factory=list)


def say(text: str, speaker: str = "", prose: bool = False) -> Said:
    """The spoken content of a cue without markup. speaker: known from a field of the format. prose: running text, in
    which parentheses belong to the sentence unless they are short and stand between sentences, like stage
    directions."""
    lines = [" ".join(line.split()) for line in _NOTES.sub(" ", text).split("\n")]
    lines = [line for line in lines if line]
    said = Said("", speaker)
    dashed = [_DASH.match(line) is not None for line in lines]
    names: list[str] = []
    spoken: list[str] = []
    for place, line in enumerate(lines):
        line = _DASH.sub("", line, count=1) if dashed[place] else line
        more = not prose and place + 1 < len(lines)
        found = _name(line, more, at_start=place == 0 or dashed[place] or bool(names))
        if found and (not speaker or found[0].casefold() == speaker.casefold()):
            name, line, guessed = found
            if name not in names:
                names.append(name)
            if place == 0 and not speaker:
                said.speaker, said.guessed = name, guessed
        spoken.append(line)
    if len(names) > 1 or (names and not said.speaker):
        who = said.speaker or "one speaker without a name"
        said.remarks.append(f"several speakers in one cue ({', '.join(names)}): all of it is spoken as {who}")
    elif sum(dashed) > 1 and not names and not speaker:
        said.remarks.append("a dialogue without names in one cue: all of it is spoken by one voice")
    said.text = " ".join(_without_asides("\n".join(spoken), prose, said.remarks).split()).lstrip(" ,;:")
    if not speakable(said.text):
        said.text = ""
    return said


def is_turn(line: str) -> bool:
    """Does a line begin with a dash, as a turn of a dialogue or an item of a list does?"""
    return _DASH.match(line.lstrip()) is not None


def speakable(text: str) -> bool:
    """Is there a letter or a digit in it?"""
    return any(sign.isalnum() for sign in text)


def _name(line: str, more: bool, at_start: bool) -> tuple[str, str, bool] | None:
    """The name at the line's beginning, the rest of the line, and whether it is a guess. more: do lines follow?"""
    found = _BRACKETED.match(line)
    if found:
        name, colon, rest = " ".join(found.group(1).split()), found.group(2), found.group(3)
        known = _is_name(name, digits=True, any_case=colon is not None)
        if known and (rest or more):
            return name, rest, False
    aside = _LEADING_ASIDE.match(line)
    if aside:
        line = line[aside.end() :]
    found = _BEFORE_COLON.match(line) if at_start else None
    if found:
        name, rest = found.group(1).strip(), found.group(2)
        known = _NUMBERED.fullmatch(name) is not None or _is_name(name, digits=False, any_case=False)
        return (name, rest, True) if known and (rest or (more and name.isupper())) else None
    return None


def _is_name(name: str, digits: bool, any_case: bool) -> bool:
    words = name.split()
    if not 1 <= len(words) <= _MAX_WORDS or not name[0].isalpha():
        return False
    if any(word.casefold().strip(".,!") in SOUNDS for word in words):
        return False
    for place, word in enumerate(words):
        capital = word[0].isalpha() and not word[0].islower()
        particle = place > 0 and word.casefold() in PARTICLES
        counted = digits and place > 0 and word.isdigit()
        if not (capital or particle or counted or (any_case and word[0].isalpha())):
            return False
    signs = (sign for word in words for sign in word)
    return all(
        sign.isalpha() or sign in _NAME_SIGNS or (digits and sign.isdigit()) or category(sign)[0] == "M"
        for sign in signs
    )


def _without_asides(text: str, prose: bool, remarks: list[str]) -> str:
    """Remove text in brackets; adds a remark if it may have been part of the sentence."""
    kept: list[str] = []
    last = 0
    for start, stop in _asides(text):
        inside, words = text[start + 1 : stop - 1], len(text[start:stop].split())
        amid = _amid(text, start, stop)
        if text[start] in _ROUND and prose and (amid or words > _SHORT_ASIDE or any(sign in ".!?" for sign in inside)):
            continue
        if speakable(inside) and ((amid and text[start] in _ROUND) or words > _LONG_ASIDE):
            remarks.append(f"{shown(' '.join(text[start:stop].split()))} is not spoken")
        before = text[last:start].rstrip(" ")
        kept.append(before if text[stop : stop + 1] in tuple(",.;:!?") else f"{before} ")
        last = stop
    return "".join(kept) + text[last:]


def _amid(text: str, start: int, stop: int) -> bool:
    """Are there words of the same sentence before and after, on the same line?"""
    before = text[max(0, start - _NEAR) : start].rpartition("\n")[2].rstrip()
    after = text[stop : stop + _NEAR].partition("\n")[0].strip(' .!?…,;:"”»')
    return bool(before) and before[-1] not in _ENDS and bool(after)


def _asides(text: str) -> Iterator[tuple[int, int]]:
    """Outermost pairs of brackets, as [start, stop), in order. Brackets without a counterpart are ordinary
    characters."""
    opened: list[tuple[str, int]] = []
    found: list[tuple[int, int]] = []
    for place, sign in enumerate(text):
        if sign in _PAIRS:
            opened.append((_PAIRS[sign], place))
        elif opened and sign == opened[-1][0]:
            _, start = opened.pop()
            while found and found[-1][0] > start:
                found.pop()
            found.append((start, place + 1))
    yield from found
