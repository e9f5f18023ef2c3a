"""The three file forms of a manifest, read into plain rows with their line numbers. Only the form is checked here.

pyarrow reads Parquet. Its readers of text do not say in which line of the file a bad row stands, so JSON lines and CSV
(manifests/separated.py) are read with the standard library, one line at a time and no longer than MAX_LINE.

A manifest may come from anybody, and a few KB of Parquet can mean terabytes of text: how much there is gets known from
the file's own index, and is checked again on what was read, before rows are made of it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raydub.errors import Code, UsageError
from raydub.manifests.footer import Column, columns_of
from raydub.manifests.limits import (
    MAX_BYTES,
    MAX_CELL,
    MAX_FIELDS,
    MAX_ITEMS,
    MAX_LINE,
    MAX_ROWS,
    RawRow,
    RefusedError,
    Row,
    check_columns,
    syntax,
)
from raydub.manifests.separated import csv_rows
from raydub.regular import NotRegularError, open_regular

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet")
_MAX_DEPTH = 4
_MAX_LINES = 2 * MAX_ROWS
"""Blank ones counted."""
_BATCH = 256
UNREADABLE = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, pa.ArrowException)
"""What Arrow raises where a value of a file has no Python value, or is not of the kind that the file says."""


def raw_rows(path: Path) -> list[RawRow]:
    """(line, row) for every row; a row that is none in its form comes as the UsageError that says why.

    Lines count from 1, a CSV header included; Parquet rows count from 1. Raises UsageError MANIFEST_UNREADABLE."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise _unreadable(path, f"the suffix {suffix!r} says no known form", f"expected one of {', '.join(SUFFIXES)}")
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
        raise _unreadable(path, "there is no such file", "check the path") from error
    except NotRegularError as error:
        raise _unreadable(path, f"it {error.strerror}", "write the rows to a file and name that") from error
    except RefusedError as error:
        raise _unreadable(path, str(error), "split it into several manifests, or look at what made it") from error
    except (OSError, ValueError, pa.ArrowException) as error:
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


def _parquet(file: BinaryIO) -> Iterator[RawRow]:
    _check_size(columns_of(file))
    with pq.ParquetFile(file) as found:
        if found.metadata.num_rows > MAX_ROWS:
            raise RefusedError(f"it holds more than {MAX_ROWS} rows")
        check_columns(found.schema_arrow.names)
        texts = [
            column.path
            for column in map(found.schema.column, range(len(found.schema.names)))
            if column.physical_type == "BYTE_ARRAY" and column.max_repetition_level == 0
        ]
    # Text is read as numbers into a list of the distinct ones: one long text in every row stays one text in memory.
    with pq.ParquetFile(file, read_dictionary=texts, pre_buffer=False) as found:
        number, text = 0, 0
        # In this thread alone: see manifests.results.read_results.
        for batch in found.iter_batches(batch_size=_BATCH, use_threads=False):
            text += _check_cells(batch, number)
            if text > MAX_BYTES:
                raise RefusedError(f"it holds more than {MAX_BYTES} bytes of text")
            for row in _python_rows(batch):
                number += 1
                yield number, row


def _python_rows(batch: Any) -> Iterator[Row | UsageError]:
    """The rows of a batch. What Arrow stores and Python cannot hold (text that is no UTF-8, a date after the year 9999,
    an unknown time zone) costs its own row only."""
    try:
        rows = batch.to_pylist()
    except UNREADABLE:
        rows = map(partial(_python_row, batch), range(batch.num_rows))
    yield from rows


def _python_row(batch: Any, place: int) -> Row | UsageError:
    row: Row = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            row[name] = _python_value(column[place])
        except UnicodeDecodeError:
            return syntax(f"the column {name[:80]!r} holds text that is no UTF-8", "write it as UTF-8")
        except UNREADABLE as error:
            kind = str(column.type)[:80]
            why = f"the column {name[:80]!r} holds a {kind} that cannot be read: {str(error)[:120]}"
            return syntax(why, "write it as text or as a number")
    return row


def _python_value(cell: Any) -> Any:
    """A cell as a Python value, text that is no UTF-8 with lone surrogates. Raises UnicodeDecodeError inside lists."""
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        plain = cell.value if pa.types.is_dictionary(cell.type) else cell
        if not (pa.types.is_string(plain.type) or pa.types.is_large_string(plain.type)):
            raise
        return plain.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")


def _check_size(columns: list[Column]) -> None:
    """What a Parquet file says of itself: bytes once unpacked, values of its lists."""
    for column in columns:
        if column.values > MAX_ITEMS * max(column.rows, 1):
            raise RefusedError(f"the column {column.path!r} has lists of more than {MAX_ITEMS} items")
    unpacked = sum(max(column.unpacked, 0) for column in columns)
    if unpacked > MAX_BYTES:
        raise RefusedError(f"it unpacks to {unpacked} bytes, more than {MAX_BYTES}")


def _check_cells(batch: Any, rows: int) -> int:
    """Bytes of text in a batch; `rows` were read before it. Raises RefusedError for a cell longer than MAX_CELL."""
    total = 0
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        distinct = column.dictionary if pa.types.is_dictionary(column.type) else column
        if not (pa.types.is_string(distinct.type) or pa.types.is_binary(distinct.type)):
            continue
        lengths = pc.binary_length(distinct)
        if len(lengths) and (pc.max(lengths).as_py() or 0) > MAX_CELL:
            raise RefusedError(
                f"column {name!r} has a value of more than {MAX_CELL} bytes within {_BATCH} rows of row {rows + 1}"
            )
        total += pc.sum(lengths if distinct is column else lengths.take(column.indices)).as_py() or 0
    return total
