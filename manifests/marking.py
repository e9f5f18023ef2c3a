"""Values of the fields that mark an output, label and consent, and the rule that consent must be given."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from raydub.errors import Code, UsageError
from raydub.manifests.fields import asks_nothing, json_object

if TYPE_CHECKING:
    from raydub.manifests.read import ManifestResult

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


def require_consent(asked: ManifestResult) -> ManifestResult:
    """The rows of a manifest with those refused that state no consent (UsageError CONSENT, by row)."""
    from raydub.manifests.rows import BadRow

    kept, bad = [], list(asked.bad)
    for job in asked.jobs:
        if job.options.consent is not None:
            kept.append(job)
            continue
        error = UsageError(
            Code.CONSENT,
            "the row does not say who agreed to the dubbing",
            field="consent",
            hint="set 'consent' to the person's name and where the agreement is kept",
        )
        error.at(job=job.id, line=job.line)
        bad.append(BadRow(job.line or 0, job.id, job.row(), (error,)))
    return replace(asked, jobs=tuple(kept), bad=tuple(sorted(bad, key=lambda row: row.line)))
