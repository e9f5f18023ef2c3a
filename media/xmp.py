"""XMP packets (ISO 16684-1) that say what a dubbed video is: written as text, read with a parser that expands nothing.

IPTC's digital source type is the property that readers of any kind look for; what raydub knows beyond it is in a
namespace of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.sax.saxutils import escape

COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for real footage in which a trained algorithm has made a part."""
SOURCE_TYPE = "digital_source_type"
"""The name of that property in packet() and facts_of()."""
MAX_PACKET = 1 << 20
"""Bytes of a packet that are read."""
_OWN = "urn:raydub:xmp#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMP, _DC = "http://ns.adobe.com/xap/1.0/", "http://purl.org/dc/elements/1.1/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NAMES = {
    SOURCE_TYPE: ("Iptc4xmpExt", _IPTC, "DigitalSourceType"),
    "tool": ("xmp", _XMP, "CreatorTool"),
    "job": ("dc", _DC, "identifier"),
}
"""Properties that others know, by our name: prefix, namespace, name. All others are in our own namespace."""
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot contain, not even escaped (production 2)."""
_NAME = re.compile("[a-z][a-z0-9_]{0,40}")
_BEGIN = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END = b'<?xpacket end="r"?>'


def packet(facts: Mapping[str, str]) -> bytes:
    """The XMP packet of these facts, UTF-8: the same facts give the same bytes. facts: by names of small letters,
    digits and _; values are any text, of which characters that XML cannot contain become U+FFFD."""
    lines = []
    for name, value in facts.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name of a property: {name!r}")
        prefix, _, known = _NAMES.get(name, ("raydub", _OWN, name))
        lines.append(f"   <{prefix}:{known}>{escape(_NO_XML.sub(chr(0xFFFD), value))}</{prefix}:{known}>")
    spaces = {prefix: space for prefix, space, _ in _NAMES.values()} | {"raydub": _OWN}
    declared = "".join(f'\n    xmlns:{prefix}="{space}"' for prefix, space in sorted(spaces.items()))
    text = [
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">',
        f' <rdf:RDF xmlns:rdf="{_RDF}">',
        f'  <rdf:Description rdf:about=""{declared}>',
        *lines,
        "  </rdf:Description>",
        " </rdf:RDF>",
        "</x:xmpmeta>",
    ]
    return b"\n".join([_BEGIN, *(line.encode() for line in text), _END])


def facts_of(found: bytes) -> dict[str, str]:
    """What packet() was given; of a packet by others the properties that both know. {} for anything that is no XMP.
    Carriage returns are read as line feeds, as XML has it."""
    if len(found) > MAX_PACKET:
        return {}
    try:
        # Decoded here: in UTF-16 the bytes of a declaration are others, and the parser would read it.
        text = _unwrapped(found).decode("utf-8-sig")
        if "<!" in text or "\0" in text:  # no declarations: nothing to expand
            return {}
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError):
        return {}
    known = {f"{{{space}}}{name}": own for own, (_, space, name) in _NAMES.items()}
    facts: dict[str, str] = {}
    for description in root.iter(f"{{{_RDF}}}Description"):
        values = [(child.tag, child.text or "") for child in description if not len(child)]
        for tag, value in [*values, *description.attrib.items()]:  # a property may be an element or an attribute
            name = known.get(tag) or (tag.removeprefix(f"{{{_OWN}}}") if tag.startswith(f"{{{_OWN}}}") else None)
            if name is not None:
                facts.setdefault(name, value)
    return facts


def _unwrapped(found: bytes) -> bytes:
    start, stop = found.find(b"<x:xmpmeta"), found.rfind(b"</x:xmpmeta>")
    return found[start : stop + len(b"</x:xmpmeta>")] if 0 <= start < stop else found
