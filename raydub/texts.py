"""Text that may leave the process: UTF-8, and JSON that every reader takes.

A file name on Linux is bytes. Python shows bytes that are no UTF-8 as lone surrogates, and JSON can spell them too
("\\udce9"). Such text has no UTF-8 form: pydantic, Arrow and a UTF-8 terminal refuse it, each in its own way.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_LONE = re.compile("[\ud800-\udfff]")
# Line ends that JSON allows inside a text and str.splitlines() cuts at, and what steers a terminal.
_UNSAFE = re.compile("[\x80-\x9f\u2028\u2029\ud800-\udfff]")


def has_utf8(text: str) -> bool:
    """Does `text` have a UTF-8 form? It has unless it holds a lone surrogate."""
    return text.isascii() or _LONE.search(text) is None


def escaped(text: str) -> str:
    """`text` with lone surrogates as their escapes (\\udce9), for messages and results; other text as it is."""
    return text if has_utf8(text) else text.encode("utf-8", "backslashreplace").decode("utf-8")


def strict_json(value: Any, indent: int | None = None) -> str:
    """JSON text of `value`, encodable as UTF-8, with nothing in it that RFC 8259 does not know.

    NaN becomes null, an infinity the text "Infinity" or "-Infinity", bytes become text (surrogateescape), other types
    their str(). Lone surrogates and odd line ends stand there as escapes, so that they are read back as they were."""
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
