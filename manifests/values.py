"""What any value of any field must be before anybody looks at what it says: bounded, flat enough, and UTF-8.

Whatever reads a field may then take time that grows faster than its length, and whatever writes one finds text that it
can write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raydub.errors import Code, UsageError
from raydub.texts import has_utf8

MAX_TEXT = 16_384
"""Characters of a value: 32 speakers with a path each. Of a list or an object: of all its text together."""
MAX_PARTS = 4096
"""Items of a list or an object, at all levels together."""
MAX_NAME = 80
"""Characters of a field's name that a message shows."""


def refused(name: Any, value: Any) -> UsageError | None:
    """What is wrong with a value whatever its field, None where nothing is."""
    field = str(name)[:MAX_NAME]
    length = parts = 0
    waiting = [value]
    while waiting:
        part = waiting.pop()
        parts += 1
        if isinstance(part, (str, bytes)):
            length += len(part)
            if length > MAX_TEXT:
                return _too_much(field, f"more than {MAX_TEXT:,} characters")
            if isinstance(part, str) and not has_utf8(part):
                return no_utf8(field, part)
        elif isinstance(part, Mapping):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, (list, tuple)):
            waiting += part
        if parts + len(waiting) > MAX_PARTS:
            return _too_much(field, f"more than {MAX_PARTS} items")
    return None


def no_utf8(field: str | None, text: str) -> UsageError:
    """FIELD_VALUE for text without a UTF-8 form, which no result, table or message could show as it is."""
    shown = repr(text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}..")
    hint = "rename the file or folder if its name is meant; save the manifest as UTF-8 if it has another encoding"
    return UsageError(Code.FIELD_VALUE, f"{shown} holds bytes that are no UTF-8", field=field, hint=hint)


def _too_much(field: str, what: str) -> UsageError:
    return UsageError(
        Code.FIELD_VALUE, f"the value of {field!r} has {what}", field=field, hint="no field takes so much"
    )
