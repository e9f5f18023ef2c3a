"""Detect result files, and the manifest they belong to, from the files alone: independent of the work folder, and also
if no job started."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING

from raydub.manifests.naming import ResultsFiles
from raydub.manifests.results import NOTE_KEY
from raydub.manifests.rows import NOTES
from raydub.places import exists
from raydub.regular import open_regular

if TYPE_CHECKING:
    import pyarrow as pa

_TELLING = frozenset({"id", "status", "error_code", "output", "attempts"})
"""Columns that results of every version have."""


def stranger_of(files: ResultsFiles) -> PurePath | None:
    """A file at a results path that is not a results file and would be overwritten; None if there is none. Raises
    OSError for an unreadable file."""
    if exists(files.parquet) and not _is_results(files.parquet):
        return files.parquet
    if exists(files.jsonl) and not _all_rows_have(files.jsonl, _TELLING):
        return files.jsonl
    if exists(files.failed) and not _all_rows_have(files.failed, frozenset(NOTES)):
        return files.failed
    return None


def is_row(path: PurePath) -> bool:
    """Whether a file contains rows of results only. False for an unreadable one."""
    try:
        return _all_rows_have(path, _TELLING)
    except OSError:
        return False


def manifest_of(parquet: PurePath) -> str | None:
    """The absolute path of the manifest whose results a Parquet file contains; None if unknown."""
    schema = _schema(parquet) if exists(parquet) else None
    try:
        said = json.loads((schema.metadata or {})[NOTE_KEY])["manifest"] if schema is not None else None
    except (KeyError, TypeError, ValueError):
        return None
    return said if isinstance(said, str) else None


def _is_results(parquet: PurePath) -> bool:
    schema = _schema(parquet)
    return schema is not None and _TELLING.issubset(schema.names)


def _schema(parquet: PurePath) -> pa.Schema | None:
    """The schema; None if the file is not Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_regular(parquet) as file:
            return pq.read_schema(file)
    except (pa.ArrowException, ValueError):
        return None


def _all_rows_have(path: PurePath, names: frozenset[str]) -> bool:
    """Whether every line of the file is a JSON object with these keys."""
    try:
        with open_regular(path) as lines:
            return all(isinstance(row := json.loads(line), dict) and names <= row.keys() for line in lines)
    except (ValueError, RecursionError):
        return False
