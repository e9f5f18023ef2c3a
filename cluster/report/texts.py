"""Text and values of jobs on a page: names of files are any bytes, and messages may quote addresses with secrets."""

from __future__ import annotations

import re
from typing import Any

from raydub.cluster.output import harmless
from raydub.media.fetch_uri import redact
from raydub.texts import escaped, strict_json

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s'\"<>]+")
_SPECIAL = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
_LONE = re.compile(r"\\ud[c-f][0-9a-f]{2}")


def shown(value: Any) -> str:
    """Text for a page, before HTML's own escaping: valid UTF-8, control and bidirectional characters as escapes, no
    user, password, query or fragment of an address."""
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return harmless(_ADDRESS.sub(lambda found: redact(found[0]), escaped(text)))


def for_script(value: Any) -> str:
    """JSON that may stand between <script> tags: no sign in it can end the element or begin a comment."""
    return re.sub("[<>&]", lambda found: _SPECIAL[found[0]], strict_json(value))


def bytes_of_name(text: str) -> str:
    """The path that results name as `text`: escapes of bytes that are not UTF-8 become these bytes again."""
    return _LONE.sub(lambda found: chr(int(found[0][2:], 16)), text)
