"""Checks for values of any field before they are parsed: bounded size and UTF-8.

Parsers may then take more than linear time, and writers get text that they can encode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raydub.errors import Code, UsageError
from raydub.texts import has_utf8

MAX_TEXT = 16_384
"""Characters of a value, enough for 32 speakers with a path each. For a list or object: of all its text together."""
MAX_PARTS = 4096
"""Items of a list or object, all levels together."""
MAX_NAME = 80
"""Characters of a field's name that a message shows."""


def refused(name: Any, value: Any) -> UsageError | None:
    """The error for a value that no field may have; None if it is acceptable."""
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
    """FIELD_VALUE for text that is not UTF-8: results, tables and messages could not contain it."""
    shown = repr(text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}..")
    hint = "rename the file or folder if that is its name; else save the manifest as UTF-8"
    return UsageError(Code.FIELD_VALUE, f"{shown} contains bytes that are not UTF-8", field=field, hint=hint)


def _too_much(field: str, what: str) -> UsageError:
    return UsageError(Code.FIELD_VALUE, f"the value of {field!r} has {what}", field=field, hint="shorten the value")
