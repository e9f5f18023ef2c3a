"""The three file forms of a manifest, read into plain rows with their line numbers. Only the form is checked here.

pyarrow reads CSV and Parquet. Its JSON reader stops at the first bad line without saying which one it was, so JSON
lines are read with the standard library, one line at a time and no longer than MAX_LINE.

A manifest may come from anybody, and a few KB of Parquet can mean terabytes of text: how much there is gets known from
the file's own index, and is checked again on what was read, before rows are made of it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from manifests.footer import Column, columns_of
from raydub.errors import Code, UsageError

Row = dict[str, Any]
RawRow = tuple[int, Row | UsageError]

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet")
MAX_LINE = 1 << 20
MAX_ROWS = 1_000_000
MAX_BYTES = 1 << 28
"""Of the file, and of its text once unpacked."""
MAX_FIELDS = 256
MAX_CELL = 1 << 16
MAX_ITEMS = 64
"""Of a list in a Parquet cell."""
_MAX_DEPTH = 4
_BATCH = 256


class _Refused(ValueError):
    """More than a manifest may hold, or a header that cannot be meant."""


def raw_rows(path: Path) -> list[RawRow]:
    """(line, row) for every row; a row that is none in its form comes as the UsageError that says why.

    Lines count from 1, a CSV header included; Parquet rows count from 1. Raises UsageError MANIFEST_UNREADABLE."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise _unreadable(path, f"the suffix {suffix!r} says no known form", f"expected one of {', '.join(SUFFIXES)}")
    try:
        if not path.is_file():
            raise _unreadable(path, "there is no such file", "check the path")
        if path.stat().st_size > MAX_BYTES:
            raise _unreadable(path, f"it is larger than {MAX_BYTES} bytes", "split it into several manifests")
        rows: list[RawRow] = []
        for row in {".csv": _csv, ".parquet": _parquet}.get(suffix, _jsonl)(path):
            rows.append(row)
            if len(rows) > MAX_ROWS:
                raise _unreadable(path, f"it holds more than {MAX_ROWS} rows", "split it into several manifests")
        return rows
    except _Refused as error:
        raise _unreadable(path, str(error), "split it into several manifests, or look at what made it") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        # ValueError: UnicodeDecodeError and NUL bytes in the path as well.
        raise _unreadable(
            path, f"{type(error).__name__}: {str(error)[:300]}", "is it whole, and what its suffix says?"
        ) from error


def _unreadable(path: Path, why: str, hint: str) -> UsageError:
    return UsageError(Code.MANIFEST_UNREADABLE, f"cannot read the manifest {str(path)!r}: {why}", hint=hint)


def _jsonl(path: Path) -> Iterator[RawRow]:
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE)
                yield number, _syntax(f"the line is longer than {MAX_LINE} bytes", "one job per line")
                continue
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield number, _json_row(line)


def _json_row(line: bytes) -> Row | UsageError:
    try:
        row = json.loads(line.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        return _syntax(f"the line is not UTF-8 (byte {error.start})", "save the manifest as UTF-8")
    except json.JSONDecodeError as error:
        return _syntax(f"not JSON: {error.msg} at column {error.colno}", "one JSON object per line")
    except (ValueError, RecursionError) as error:
        return _syntax(f"not a usable row: {str(error)[:120]}", "one flat JSON object per line")
    if not isinstance(row, dict):
        return _syntax(f"the line holds a JSON {type(row).__name__}, not an object", 'write {"video": .., "audio": ..}')
    if len(row) > MAX_FIELDS:
        return _syntax(f"the row has {len(row)} fields, more than {MAX_FIELDS}", "one flat JSON object per line")
    if _deeper(row, _MAX_DEPTH):
        return _syntax(f"values lie more than {_MAX_DEPTH} levels deep", "one flat JSON object per line")
    return row


def _deeper(value: Any, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(item, levels - 1) for item in inside)


def _pairs(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the field {next(n for n in names if names.count(n) > 1)!r} stands twice")
    return row


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _syntax(message: str, hint: str) -> UsageError:
    return UsageError(Code.MANIFEST_SYNTAX, message, hint=hint)


def _csv(path: Path) -> Iterator[RawRow]:
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        return
    data.decode("utf-8")  # pyarrow would drop a refused row that is not UTF-8 without a word
    _check_csv(data)
    refused: dict[int, UsageError] = {}

    def refuse(row: Any) -> str:
        message = f"{row.actual_columns} values where the header names {row.expected_columns}"
        refused[row.number] = _syntax(message, "quote values that hold a comma")
        return "skip"

    table = pacsv.read_csv(
        io.BytesIO(data),
        # One thread: only then does pyarrow number the rows that it refuses. One block: a row is never split.
        read_options=pacsv.ReadOptions(use_threads=False, block_size=max(len(data), 1) + 1),
        parse_options=pacsv.ParseOptions(invalid_row_handler=refuse, ignore_empty_lines=False, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            default_column_type=pa.string(), null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=True
        ),
    )
    names = [name.strip() for name in table.column_names]
    _check_columns(names)
    number = 1
    for batch in table.rename_columns(names).to_batches(max_chunksize=_BATCH):
        _check_cells(batch, number)
        for row in batch.to_pylist():
            number += 1
            while number in refused:
                yield number, refused.pop(number)
                number += 1
            if any(value is not None for value in row.values()):
                yield number, row
    yield from sorted(refused.items(), key=lambda pair: pair[0])


def _parquet(path: Path) -> Iterator[RawRow]:
    _check_size(columns_of(path))
    with pq.ParquetFile(path) as file:
        if file.metadata.num_rows > MAX_ROWS:
            raise _Refused(f"it holds more than {MAX_ROWS} rows")
        _check_columns(file.schema_arrow.names)
        texts = [
            column.path
            for column in map(file.schema.column, range(len(file.schema.names)))
            if column.physical_type == "BYTE_ARRAY" and column.max_repetition_level == 0
        ]
    # Text is read as numbers into a list of the distinct ones: one long text in every row stays one text in memory.
    with pq.ParquetFile(path, read_dictionary=texts, pre_buffer=False) as file:
        number, text = 0, 0
        for batch in file.iter_batches(batch_size=_BATCH):
            text += _check_cells(batch, number)
            if text > MAX_BYTES:
                raise _Refused(f"it holds more than {MAX_BYTES} bytes of text")
            for row in batch.to_pylist():
                number += 1
                yield number, row


def _check_columns(names: list[str]) -> None:
    if len(names) > MAX_FIELDS:
        raise _Refused(f"it has {len(names)} columns, more than {MAX_FIELDS}")
    if len(set(names)) < len(names):
        raise _Refused(f"the column {next(n for n in names if names.count(n) > 1)!r} stands twice")


def _check_csv(data: bytes) -> None:
    """Limits that hold before pyarrow sees the text: it takes whatever stands between two line ends into memory."""
    if data.count(b"\n") > MAX_ROWS + 1:
        raise _Refused(f"it holds more than {MAX_ROWS} rows")
    start, line = 0, 1
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        if end - start > MAX_LINE:
            raise _Refused(f"line {line} is longer than {MAX_LINE} bytes")
        start, line = end + 1, line + 1
    header = data[: data.find(b"\n")] if b"\n" in data else data
    if header.count(b",") >= MAX_FIELDS:
        raise _Refused(f"it has {header.count(b',') + 1} columns, more than {MAX_FIELDS}")


def _check_size(columns: list[Column]) -> None:
    """What a Parquet file says of itself: bytes once unpacked, values of its lists."""
    for column in columns:
        if column.values > MAX_ITEMS * max(column.rows, 1):
            raise _Refused(f"the column {column.path!r} has lists of more than {MAX_ITEMS} items")
    unpacked = sum(max(column.unpacked, 0) for column in columns)
    if unpacked > MAX_BYTES:
        raise _Refused(f"it unpacks to {unpacked} bytes, more than {MAX_BYTES}")


def _check_cells(batch: Any, rows: int) -> int:
    """Bytes of text in a batch; `rows` were read before it. Raises _Refused for a cell longer than MAX_CELL."""
    total = 0
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        distinct = column.dictionary if pa.types.is_dictionary(column.type) else column
        if not (pa.types.is_string(distinct.type) or pa.types.is_binary(distinct.type)):
            continue
        lengths = pc.binary_length(distinct)
        if len(lengths) and (pc.max(lengths).as_py() or 0) > MAX_CELL:
            raise _Refused(
                f"column {name!r} has a value of more than {MAX_CELL} bytes within {_BATCH} rows of row {rows + 1}"
            )
        total += pc.sum(lengths if distinct is column else lengths.take(column.indices)).as_py() or 0
    return total
