"""Language tags (BCP 47) in any spelling, and the distance of two of them in speech."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TAG = re.compile(r"[a-z]{2,8}(-[a-z0-9]{1,8})*")
_SAME = {
    **{"iw": "he", "in": "id", "ji": "yi", "jw": "jv", "mo": "ro", "no": "nb", "tl": "fil", "zh": "cmn", "hbs": "sh"},
    **{"eng": "en", "spa": "es", "fra": "fr", "fre": "fr", "deu": "de", "ger": "de", "ita": "it", "por": "pt"},
    **{"rus": "ru", "jpn": "ja", "kor": "ko", "zho": "cmn", "chi": "cmn", "ara": "ar", "hin": "hi", "nld": "nl"},
    **{"dut": "nl", "pol": "pl", "tur": "tr", "swe": "sv", "dan": "da", "fin": "fi", "nor": "nb", "nob": "nb"},
    **{"ces": "cs", "cze": "cs", "ell": "el", "gre": "el", "heb": "he", "hun": "hu", "ind": "id", "ron": "ro"},
    **{"rum": "ro", "ukr": "uk", "vie": "vi", "tha": "th", "tgl": "fil", "cat": "ca", "fas": "fa", "per": "fa"},
}
"""Old, three-letter and collective codes → the code that voices are compared by."""
_CANTONESE = ("hk", "mo")
_USUAL = {"en": "us", "fr": "fr", "pt": "br", "es": "es", "de": "de", "cmn": "cn", "it": "it"}
"""The country that is assumed for a bare language, unless voices state it."""
_LATIN_AMERICA = "419"
_LATIN = frozenset("ar bo cl co cr cu do ec gt hn mx ni pa pe pr py sv us uy ve".split())  # noqa: SIM905
_BRITISH = frozenset("ie au nz za in sg hk ke ng mt gg je im".split())  # noqa: SIM905


@dataclass(frozen=True)
class Tag:
    """language: the code that voices are compared by; rest: further subtags, lower case; spelt: the whole tag as given,
    but lower case and with dashes."""

    language: str
    rest: tuple[str, ...]
    spelt: str

    @property
    def region(self) -> str:
        """Country or part of the world, "" where none is named."""
        return next((part for part in self.rest if re.fullmatch("[a-z]{2}|[0-9]{3}", part)), "")


def parse(text: str) -> Tag | None:
    """A tag in any spelling ("es", "es_MX", "ES-mx", "zh-cmn"); None if it is not a tag. An encoding or variant as in
    "es_ES.UTF-8@euro" is ignored."""
    words = re.split("[.@]", text.strip(), maxsplit=1)[0].lower().replace("_", "-")
    if _TAG.fullmatch(words) is None:
        return None
    language, *rest = words.split("-")
    if language == "zh" and rest and (len(rest[0]) == 3 and rest[0].isalpha()):
        language, *rest = rest
    elif language == "zh" and any(part in _CANTONESE for part in rest):
        # Speech of Hong Kong and Macau is Cantonese.
        language = "yue"
    return Tag(_SAME.get(language, language), tuple(rest), words)


def distance(asked: Tag, tag: Tag, place: int) -> tuple[int, int] | None:
    """The distance of a voice's tag from the requested one, smaller is nearer; None for another language. place: of the
    tag among the voice's own, best first, the first being the voice's own language."""
    if asked.language != tag.language:
        return None
    equal, bare = asked.rest == tag.rest, not tag.rest
    usual = tag.rest == (_USUAL.get(asked.language, ""),)
    order: tuple[bool, ...] = (equal and place == 0, usual, equal)
    if asked.rest:
        order = (equal, _neighbours(asked, tag), bare and place == 0, usual, bare)
    return order.index(True) if True in order else len(order), place


def _neighbours(asked: Tag, tag: Tag) -> bool:
    """Is the speech of one country nearer to the other's than to the rest of the language?"""
    if asked.language == "es":
        return asked.region in _LATIN and tag.region in (_LATIN_AMERICA, "mx")
    if asked.language == "en":
        return asked.region in _BRITISH and tag.rest == ("gb",)
    # "de-at-1996" is nearer to "de-at" than to "de".
    return bool(asked.region) and asked.region == tag.region
