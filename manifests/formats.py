"""Read the three manifest formats into plain rows with line numbers. Only the syntax is checked here.

Parquet is read by pyarrow (manifests/parquet.py). Its text readers do not report line numbers of bad rows, so JSON
lines and CSV (manifests/separated.py) are read with the standard library, line by line, at most MAX_LINE each.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, BinaryIO

from raydub.errors import Code, UsageError
from raydub.kinds import NotRegularError
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
from raydub.manifests.separated import csv_rows
from raydub.regular import open_regular

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet")
_MAX_DEPTH = 4
_MAX_LINES = 2 * MAX_ROWS
"""Including blank lines."""


def raw_rows(path: PurePath) -> list[RawRow]:
    """(line, row) for every row; for a row with a syntax error, (line, UsageError).

    Lines count from 1, a CSV header included; Parquet rows count from 1. Raises UsageError MANIFEST_UNREADABLE."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise _unreadable(path, f"unknown suffix {suffix!r}", f"expected one of {', '.join(SUFFIXES)}")
    reader = {".csv": csv_rows, ".parquet": _parquet}.get(suffix, _jsonl)
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
        raise _unreadable(path, "the file does not exist", "check the path") from error
    except NotRegularError as error:
        raise _unreadable(path, f"it {error.strerror}", "write the rows to a file and give its path") from error
    except RefusedError as error:
        hint = "split it into several manifests, or check the program that wrote it"
        raise _unreadable(path, str(error), hint) from error
    except (OSError, ValueError) as error:
        # ValueError includes UnicodeDecodeError and NUL bytes in the path.
        hint = "check that the file is complete and matches its suffix"
        raise _unreadable(path, f"{type(error).__name__}: {str(error)[:300]}", hint) from error


def _unreadable(path: PurePath, why: str, hint: str) -> UsageError:
    return UsageError(Code.MANIFEST_UNREADABLE, f"cannot read the manifest {str(path)!r}: {why}", hint=hint)


def _parquet(file: BinaryIO) -> Iterator[RawRow]:
    # pyarrow takes 0.1 s to import.
    from raydub.manifests.parquet import parquet_rows

    return parquet_rows(file)


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
        # Decoded anyway, so that the error can name the field with the wrong encoding.
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
        return syntax(f"values are nested more than {_MAX_DEPTH} levels deep", "one flat JSON object per line")
    return row


def _deeper(value: Any, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(item, levels - 1) for item in inside)


def _pairs(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the field {twice[:80]!r} appears twice")
    return row


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")
