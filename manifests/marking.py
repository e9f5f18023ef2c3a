"""Values of the fields that mark an output: label and consent."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from raydub.manifests.fields import asks_nothing, json_object

MAX_LABEL, MAX_CONSENT = 80, 2000
"""In characters."""
_UNSEEN = frozenset({"Cc", "Cs", "Cn", "Zl", "Zp"})
"""Unicode categories that a line of text does not have."""


def _label(value: Any) -> str | None:
    """One line of printable text; None for words that switch it off."""
    if asks_nothing(value):
        return None
    text = " ".join(value.split(" ")).strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= MAX_LABEL or any(unicodedata.category(c) in _UNSEEN for c in text):
        raise ValueError("not a line of text")
    return text


def _consent(value: Any) -> str:
    """A text without control characters, or an object in canonical form."""
    if isinstance(value, Mapping):
        text = json_object(value)
        if text == "{}":
            raise ValueError("an empty object")
    else:
        text = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= MAX_CONSENT or any(unicodedata.category(c) in _UNSEEN for c in text):
        raise ValueError("not a text")
    return text


LabelText = Annotated[str | None, BeforeValidator(_label)]
ConsentText = Annotated[str, BeforeValidator(_consent)]
