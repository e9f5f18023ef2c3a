"""The three file forms of a manifest, read into plain rows with their line numbers. Only the form is checked here.

pyarrow reads Parquet (manifests/parquet.py). Its readers of text do not say in which line of the file a bad row stands,
so JSON lines and CSV (manifests/separated.py) are read with the standard library, one line at a time and no longer than
MAX_LINE.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from raydub.errors import Code, UsageError
from raydub.manifests.limits import (
    MAX_BYTES,
    MAX_FIELDS,
    MAX_LINE,
    MAX_ROWS,
    RawRow,
    RefusedError,
    Row,
    syntax,
)
from raydub.manifests.parquet import parquet_rows
from raydub.manifests.separated import csv_rows
from raydub.regular import NotRegularError, open_regular

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet")
_MAX_DEPTH = 4
_MAX_LINES = 2 * MAX_ROWS
"""Blank ones counted."""


def raw_rows(path: Path) -> list[RawRow]:
    """(line, row) for every row; a row that is none in its form comes as the UsageError that says why.

    Lines count from 1, a CSV header included; Parquet rows count from 1. Raises UsageError MANIFEST_UNREADABLE."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise _unreadable(path, f"the suffix {suffix!r} says no known form", f"expected one of {', '.join(SUFFIXES)}")
    reader = {".csv": csv_rows, ".parquet": parquet_rows}.get(suffix, _jsonl)
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise _unreadable(path, f"it is larger than {MAX_BYTES} bytes", "split it into several manifests")
            rows: list[RawRow] = []
            for row in reader(file):
                rows.append(row)
                if len(rows) > MAX_ROWS:
                    raise _unreadable(path, f"it holds more than {MAX_ROWS} rows", "split it into several manifests")
            return rows
    except FileNotFoundError as error:
        raise _unreadable(path, "there is no such file", "check the path") from error
    except NotRegularError as error:
        raise _unreadable(path, f"it {error.strerror}", "write the rows to a file and name that") from error
    except RefusedError as error:
        raise _unreadable(path, str(error), "split it into several manifests, or look at what made it") from error
    except (OSError, ValueError) as error:
        # ValueError: UnicodeDecodeError and NUL bytes in the path as well.
        raise _unreadable(
            path, f"{type(error).__name__}: {str(error)[:300]}", "is it whole, and what its suffix says?"
        ) from error


def _unreadable(path: Path, why: str, hint: str) -> UsageError:
    return UsageError(Code.MANIFEST_UNREADABLE, f"cannot read the manifest {str(path)!r}: {why}", hint=hint)


def _jsonl(file: BinaryIO) -> Iterator[RawRow]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if number > _MAX_LINES:
            raise RefusedError(f"it has more than {_MAX_LINES} lines")
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE)
            yield number, syntax(f"the line is longer than {MAX_LINE} bytes", "one job per line")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield number, _json_row(line)


def _json_row(line: bytes) -> Row | UsageError:
    wrong = None
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        # A row all the same, if only a value has another encoding: then its field can be named.
        text = line.decode("utf-8", "surrogateescape")
        wrong = syntax(f"the line is not UTF-8 (byte {error.start})", "save the manifest as UTF-8")
    try:
        row = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        return wrong or syntax(f"not JSON: {error.msg} at column {error.colno}", "one JSON object per line")
    except (ValueError, RecursionError) as error:
        return wrong or syntax(f"not a usable row: {str(error)[:120]}", "one flat JSON object per line")
    if not isinstance(row, dict):
        kind = type(row).__name__
        return wrong or syntax(f"the line holds a JSON {kind}, not an object", 'write {"video": .., "audio": ..}')
    if len(row) > MAX_FIELDS:
        return syntax(f"the row has {len(row)} fields, more than {MAX_FIELDS}", "one flat JSON object per line")
    if _deeper(row, _MAX_DEPTH):
        return syntax(f"values lie more than {_MAX_DEPTH} levels deep", "one flat JSON object per line")
    return row


def _deeper(value: Any, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(item, levels - 1) for item in inside)


def _pairs(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the field {twice[:80]!r} stands twice")
    return row


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")
