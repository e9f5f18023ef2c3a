"""CSV manifests: comma-separated values with a header, multi-line values in quotes (RFC 4180). If the header has
semicolons and no comma, as spreadsheets in many locales write it, the separator is a semicolon.

Read with the standard library, which reports the line where a row begins, and keeps bytes that are not UTF-8 as lone
surrogates, so that only their row is refused.
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

_QUOTES = "quote values that contain the separator, a quote or a line end, and double quotes inside them"


def csv_rows(file: BinaryIO) -> Iterator[RawRow]:
    """(line, row) of every non-blank row; lines count from 1, including the header. Raises RefusedError."""
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
                    message = f"a quote in this row is not closed: {error}; the rest of the file was not read"
                    yield line, syntax(message, _QUOTES)
                    return
                yield line, syntax(f"not CSV: {error}", _QUOTES)
                continue
            if not any(values):
                continue
            if len(values) != len(names):
                yield line, syntax(f"{len(values)} values, but the header has {len(names)} columns", _QUOTES)
            elif max(map(len, values)) > MAX_CELL:
                yield line, syntax(f"a value has more than {MAX_CELL} characters", "shorten the value")
            else:
                yield line, {name: value or None for name, value in zip(names, values, strict=True)}


def _separator(text: io.TextIOWrapper) -> str:
    """The separator, from the first non-blank line. Rewinds the file."""
    header = next((line for line in iter(lambda: text.readline(MAX_LINE), "") if line.strip()), "")
    text.seek(0)
    return ";" if ";" in header and "," not in header else ","


def _header(reader: Iterator[list[str]]) -> list[str]:
    """The column names, from the first non-blank row."""
    try:
        names = [name.strip() for name in next((row for row in reader if any(row)), [])]
    except csv.Error as error:
        raise RefusedError(f"its header is not valid CSV: {error}") from error
    if any(not has_utf8(name) or "\0" in name for name in names):
        raise RefusedError("its header is not UTF-8: save it as UTF-8")
    check_columns(names)
    return names


def _count_lines(file: BinaryIO) -> None:
    """Refuse too many lines before rows or their errors use memory."""
    ends = {b"\n": 0, b"\r": 0}
    while block := file.read(MAX_LINE):
        for end in ends:
            ends[end] += block.count(end)
    if max(ends.values()) > MAX_ROWS + 1:
        raise RefusedError(f"it holds more than {MAX_ROWS} rows")
    file.seek(0)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of the file with their line ends; limits are checked before rows are made from them."""
    number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise RefusedError(f"line {number} is longer than {MAX_LINE} characters")
        columns = 1 + max(line.count(","), line.count(";")) if number == 1 else 0
        if columns > MAX_FIELDS:
            raise RefusedError(f"it has {columns} columns, more than {MAX_FIELDS}")
        yield line
