"""Text for output: valid UTF-8, and JSON that every reader accepts.

A file name on Linux is bytes. Python decodes bytes that are not UTF-8 as lone surrogates, and JSON can contain them too
("\\udce9"). Such text cannot be encoded as UTF-8: pydantic, Arrow and UTF-8 terminals refuse it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_LONE = re.compile("[\ud800-\udfff]")
# Line separators that JSON allows in strings and str.splitlines() splits at, and terminal control characters.
_UNSAFE = re.compile("[\x80-\x9f\u2028\u2029\ud800-\udfff]")


def has_utf8(text: str) -> bool:
    """Whether `text` can be encoded as UTF-8: it can unless it contains a lone surrogate."""
    return text.isascii() or _LONE.search(text) is None


def escaped(text: str) -> str:
    """`text` with lone surrogates as their escapes (\\udce9), for messages and results; other text as it is."""
    return text if has_utf8(text) else text.encode("utf-8", "backslashreplace").decode("utf-8")


def strict_json(value: Any, indent: int | None = None) -> str:
    """JSON of `value` that conforms to RFC 8259 and can be encoded as UTF-8.

    NaN becomes null, an infinity the text "Infinity" or "-Infinity", bytes become text (surrogateescape), other types
    their str(). Lone surrogates and unusual line separators are escaped, so that they are read back unchanged."""
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=indent, default=str)
    return text if text.isascii() else _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, Mapping):
        return {name if isinstance(name, str) else str(_plain(name)): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
