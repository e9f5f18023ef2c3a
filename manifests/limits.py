"""Limits of manifests, and errors of their readers."""

from __future__ import annotations

from typing import Any

from raydub.errors import Code, UsageError

Row = dict[str, Any]
RawRow = tuple[int, Row | UsageError]

MAX_LINE = 1 << 20
MAX_ROWS = 1_000_000
MAX_BYTES = 1 << 28
"""Of the file, and of its uncompressed text."""
MAX_FIELDS = 256
MAX_CELL = 1 << 16
MAX_ITEMS = 64
"""Of a list in a Parquet cell."""


class RefusedError(ValueError):
    """A manifest exceeds a limit, or its header is invalid."""


def syntax(message: str, hint: str) -> UsageError:
    """MANIFEST_SYNTAX for one row."""
    return UsageError(Code.MANIFEST_SYNTAX, message, hint=hint)


def check_columns(names: list[str]) -> None:
    """Raises RefusedError for too many columns and for duplicate names."""
    if len(names) > MAX_FIELDS:
        raise RefusedError(f"it has {len(names)} columns, more than {MAX_FIELDS}")
    if len(set(names)) < len(names):
        raise RefusedError(f"the column {next(n for n in names if names.count(n) > 1)!r} appears twice")
