"""Remove the markup of a format: HTML-like tags, WebVTT spans, ASS overrides; and inaudible characters.

Line breaks are kept, as they still carry meaning (who speaks). All expressions are linear in the length of the text.
"""

from __future__ import annotations

import html
import re
import unicodedata

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_KNOWN_TAG = re.compile(
    r"</?(?:i|b|u|s|em|strong|font|span|small|big|p|div|c|v|lang|ruby|rt|mark|sub|sup|tt|a)(?:[\s.][^<>]*)?/?>",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_OVERRIDE = re.compile(r"\{(?:\\|[A-Za-z]:)[^{}]*\}")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_RUBY_TEXT = re.compile(r"<rt[^<>]*>[^<>]*(?:</rt>)?")
_VTT_TAG = re.compile(r"<(/?)([A-Za-z][^<>\s.]*|[0-9][0-9:]*)(?:\.[^<>\s]*)?(?:\s([^<>]*))?>")
_BLOCK = re.compile(r"\{([^{}]*)\}")
_DRAWING = re.compile(r"\\p([0-9]+)")
_KARAOKE = re.compile(r"\\[kK][fot]?[0-9]")

# Soft hyphen, zero-width space, marks of direction, joiners of words, annotation, byte order; not the joiner and
# non-joiner that Persian, Indic scripts and emoji are spelt with.
_UNHEARD = re.compile(
    "[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\ufffe\uffff]"
)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f\x80-\x84\x86-\x9f]")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_MAX_MARKS = 16
"""Combining marks on one letter; no script uses more, and normalising a long run takes quadratic time."""


def plain_lines(text: str) -> str:
    """Without control and invisible characters and lone surrogates, with \\n between lines."""
    return _UNHEARD.sub("", _CONTROL.sub("", _LINE_ENDS.sub("\n", text)))


def characters(text: str) -> str:
    """As plain_lines(), in Unicode's NFC."""
    text = plain_lines(text)
    return text if text.isascii() else unicodedata.normalize("NFC", _few_marks(text))


def from_html(text: str, any_tag: bool) -> str:
    """Without HTML-like tags, overrides such as {\\an8}, and entities. any_tag: remove whatever looks like a tag, as
    players of subtitles do; otherwise only those of HTML and WebVTT, so that <anna@example.com> stays."""
    text = _BREAK.sub("\n", _OVERRIDE.sub("", text))
    return entities((_TAG if any_tag else _KNOWN_TAG).sub("", text))


def entities(text: str) -> str:
    """&amp; and other entities as characters. Only with a semicolon: AT&T and R&B stay."""
    return _ENTITY.sub(lambda found: html.unescape(found.group()), text)


def from_vtt(text: str) -> tuple[str, tuple[str, ...]]:
    """The payload of a WebVTT cue without spans, inner times, ruby readings and entities; and the voices (<v Name>)
    with text in it, in order of their first words."""
    text = _BREAK.sub("\n", _RUBY_TEXT.sub("", _OVERRIDE.sub("", text)))
    said: list[str] = []
    voices: list[str] = []
    voice, last = "", 0
    for tag in _VTT_TAG.finditer(text):
        _hear(text[last : tag.start()], voice, said, voices)
        last = tag.end()
        closing, name, annotation = tag.groups()
        if name == "v":
            voice = "" if closing else " ".join(entities(annotation or "").split())
    _hear(text[last:], voice, said, voices)
    return "".join(said), tuple(voices)


def _hear(piece: str, voice: str, said: list[str], voices: list[str]) -> None:
    piece = entities(piece)
    said.append(piece)
    if voice and voice not in voices and any(sign.isalnum() for sign in piece):
        voices.append(voice)


def from_ass(text: str) -> tuple[str, bool]:
    """The text of an ASS event without override blocks and drawings, \\N as a line break; and whether it is karaoke."""
    said: list[str] = []
    drawing, karaoke, last = False, False, 0
    for block in _BLOCK.finditer(text):
        if not drawing:
            said.append(text[last : block.start()])
        last = block.end()
        for scale in _DRAWING.findall(block.group(1)):
            drawing = int(scale[:9]) > 0
        karaoke = karaoke or _KARAOKE.search(block.group(1)) is not None
    if not drawing:
        said.append(text[last:])
    return breaks("".join(said)), karaoke


def breaks(text: str) -> str:
    """\\N as a line break, \\n (a break only in one mode of wrapping) and \\h (a hard space) as blanks."""
    return text.replace("\\N", "\n").replace("\\n", " ").replace("\\h", " ")


def _few_marks(text: str) -> str:
    kept: list[str] = []
    run = 0
    for sign in text:
        run = run + 1 if unicodedata.combining(sign) else 0
        if run <= _MAX_MARKS:
            kept.append(sign)
    return "".join(kept)
