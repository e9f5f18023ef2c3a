"""Manifests as CSV: comma-separated values under a header, values of several lines in quotes (RFC 4180). Where the
header has semicolons and no comma, as spreadsheets of many countries write it, values are separated by semicolons.

Read with the standard library: it says in which line of the file a row begins, however many lines the values before it
have, and takes bytes that are no UTF-8 along (as lone surrogates), so that the row is refused that holds them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from raydub.manifests.limits import (
    MAX_CELL,
    MAX_FIELDS,
    MAX_LINE,
    MAX_ROWS,
    RawRow,
    RefusedError,
    check_columns,
    syntax,
)
from raydub.texts import has_utf8

_QUOTES = "put values that hold the separator, a quote or a line end in quotes, and double the quotes in them"


def csv_rows(file: BinaryIO) -> Iterator[RawRow]:
    """(line, row) of every row but blank ones; lines count from 1, the header included. Raises RefusedError."""
    _count_lines(file)
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(_lines(text), strict=True, delimiter=_separator(text))
        names = _header(reader)
        while True:
            line = reader.line_num + 1
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if reader.line_num > line:
                    message = f"a quote is opened in this row and not closed: {error}; nothing after it was read"
                    yield line, syntax(message, _QUOTES)
                    return
                yield line, syntax(f"not CSV: {error}", _QUOTES)
                continue
            if not any(values):
                continue
            if len(values) != len(names):
                yield line, syntax(f"{len(values)} values where the header names {len(names)}", _QUOTES)
            elif max(map(len, values)) > MAX_CELL:
                yield line, syntax(f"a value has more than {MAX_CELL} characters", "no field takes so much")
            else:
                yield line, {name: value or None for name, value in zip(names, values, strict=True)}


def _separator(text: io.TextIOWrapper) -> str:
    """The character between values, by the first line that is not blank; the file is at its beginning again then."""
    header = next((line for line in iter(lambda: text.readline(MAX_LINE), "") if line.strip()), "")
    text.seek(0)
    return ";" if ";" in header and "," not in header else ","


def _header(reader: Iterator[list[str]]) -> list[str]:
    """The names of the columns: the first row that is not blank."""
    try:
        names = [name.strip() for name in next((row for row in reader if any(row)), [])]
    except csv.Error as error:
        raise RefusedError(f"its header is no CSV: {error}") from error
    if any(not has_utf8(name) or "\0" in name for name in names):
        raise RefusedError("its header is not UTF-8: save it as UTF-8")
    check_columns(names)
    return names


def _count_lines(file: BinaryIO) -> None:
    """Refuse too many lines before any row, or any error about one, takes memory."""
    ends = {b"\n": 0, b"\r": 0}
    while block := file.read(MAX_LINE):
        for end in ends:
            ends[end] += block.count(end)
    if max(ends.values()) > MAX_ROWS + 1:
        raise RefusedError(f"it holds more than {MAX_ROWS} rows")
    file.seek(0)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of the file with their ends. Limits hold before a row is made of them."""
    number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise RefusedError(f"line {number} is longer than {MAX_LINE} characters")
        columns = 1 + max(line.count(","), line.count(";")) if number == 1 else 0
        if columns > MAX_FIELDS:
            raise RefusedError(f"it has {columns} columns, more than {MAX_FIELDS}")
        yield line
