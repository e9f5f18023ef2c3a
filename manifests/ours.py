"""Are the files at the place of results results, and of which manifest? Asked of the files themselves, so that the
answer is the same whatever the work folder is, and also where no job could be begun."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raydub.manifests.naming import ResultsFiles
from raydub.manifests.results import NOTE_KEY
from raydub.manifests.rows import NOTES
from raydub.regular import open_regular

_TELLING = frozenset({"id", "status", "error_code", "output", "attempts"})
"""Columns by which results of any version are known."""


def stranger_of(files: ResultsFiles) -> Path | None:
    """A file in the place of results that raydub did not write as such: what would be lost; None where there is none.
    Raises OSError for one that cannot be read."""
    if files.parquet.exists() and not _is_results(files.parquet):
        return files.parquet
    if files.jsonl.exists() and not _all_rows_have(files.jsonl, _TELLING):
        return files.jsonl
    if files.failed.exists() and not _all_rows_have(files.failed, frozenset(NOTES)):
        return files.failed
    return None


def manifest_of(parquet: Path) -> str | None:
    """The manifest, as an absolute path, whose results a Parquet file holds; None where it does not say so."""
    schema = _schema(parquet) if parquet.exists() else None
    try:
        said = json.loads((schema.metadata or {})[NOTE_KEY])["manifest"] if schema is not None else None
    except (KeyError, TypeError, ValueError):
        return None
    return said if isinstance(said, str) else None


def _is_results(parquet: Path) -> bool:
    schema = _schema(parquet)
    return schema is not None and _TELLING.issubset(schema.names)


def _schema(parquet: Path) -> pa.Schema | None:
    """None for what is no Parquet."""
    try:
        with open_regular(parquet) as file:
            return pq.read_schema(file)
    except (pa.ArrowException, ValueError):
        return None


def _all_rows_have(path: Path, names: frozenset[str]) -> bool:
    """Is every line of the file a JSON object with these keys?"""
    try:
        with open_regular(path) as lines:
            return all(isinstance(row := json.loads(line), dict) and names <= row.keys() for line in lines)
    except (ValueError, RecursionError):
        return False
