"""Read Parquet manifests in a child process: some damaged files make pyarrow end the whole process, and a few KB can
unpack to terabytes of text.

The child's memory and processor time are bounded. Sizes are checked in the file's index, and again in the data read,
before rows are made from it.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from raydub.child import boot
from raydub.errors import UsageError
from raydub.manifests.limits import (
    MAX_BYTES,
    MAX_CELL,
    MAX_ITEMS,
    MAX_ROWS,
    RawRow,
    RefusedError,
    Row,
    check_columns,
    syntax,
)

UNREADABLE = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, pa.ArrowException)
"""What Arrow raises for values that have no Python equivalent or do not match their declared type."""
_BATCH = 256
_MEMORY = 3 << 30
"""The child's memory limit in bytes: address space (RLIMIT_AS), on macOS resident memory."""
_SECONDS = 120
"""Processor time limit: a million rows take 15 s."""


_BOOT = boot("raydub.manifests.parquet")
_SENT: Mapping[str, tuple[str, ...]] = {
    "builtins": ("ValueError",),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "pandas._libs.tslibs.timedeltas": ("_timedelta_unpickle",),
    "pandas._libs.tslibs.timestamps": ("_unpickle_timestamp",),
    "raydub.errors": ("UsageError", "_rebuild"),
    "raydub.manifests.limits": ("RefusedError",),
    "uuid": ("UUID",),
    "zoneinfo": ("ZoneInfo",),
}
"""Types that the child sends: errors, and the Python values of cells (pandas types for nanoseconds, if installed)."""


def parquet_rows(file: BinaryIO) -> Iterator[RawRow]:
    """(number, row) for every row of a regular file. Raises RefusedError for exceeded limits, ValueError for unreadable
    files."""
    command = [sys.executable, "-c", _BOOT, "0", json.dumps(sys.path)]
    with (
        tempfile.TemporaryFile() as noise,
        subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=noise) as child,
    ):
        assert child.stdout is not None
        try:
            while (told := _next(child.stdout)) is not None:
                if isinstance(told, RefusedError | ValueError):
                    raise told
                yield from told
        finally:
            child.kill()


class _Values(pickle.Unpickler):
    """Unpickles cell values and our own errors only, nothing executable: a file that exploits the child must not reach
    this process."""

    def find_class(self, module: str, name: str) -> Any:
        """The class of an allowed value. Raises UnpicklingError for any other."""
        if (module, name) == ("builtins", "getattr"):
            return _zone_maker
        if name not in _SENT.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed as a cell value")
        return super().find_class(module, name)


def _zone_maker(kind: Any, name: str) -> Any:
    """Only time zones are pickled as a method of their class."""
    if kind is not ZoneInfo or name != "_unpickle":
        raise pickle.UnpicklingError(f"{name} of {kind} is not allowed as a cell value")
    return ZoneInfo._unpickle  # type: ignore[attr-defined]


def _next(answers: Any) -> Any:
    try:
        return _Values(answers).load()
    except (EOFError, pickle.UnpicklingError):
        why = f"its reader process ended: the file is damaged, or needs more than {_MEMORY >> 30} GiB or {_SECONDS} s"
        raise ValueError(why) from None


def main() -> None:
    """The child process: read the file on standard input, write batches of rows as pickles, then None or an error."""
    for kind, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CPU, _SECONDS), (resource.RLIMIT_CORE, 0)):
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))
    if sys.platform == "darwin":
        threading.Thread(target=_watch, daemon=True).start()
    answers = sys.stdout.buffer
    try:
        rows: list[RawRow] = []
        for row in rows_of(sys.stdin.buffer):
            rows.append(row)
            if len(rows) == _BATCH:
                pickle.dump(rows, answers)
                rows = []
        pickle.dump(rows, answers)
        pickle.dump(None, answers)
    except RefusedError as error:
        pickle.dump(error, answers)
    except (OSError, MemoryError, *UNREADABLE) as error:
        pickle.dump(ValueError(f"{type(error).__name__}: {str(error)[:300]}"), answers)
    answers.flush()


def _watch() -> None:
    """End this process when it uses too much memory, on macOS, which does not support RLIMIT_AS."""
    while resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < _MEMORY:
        time.sleep(0.02)
    os._exit(1)


def rows_of(file: BinaryIO) -> Iterator[RawRow]:
    """Like parquet_rows(), in this process, which damaged files may end. Raises RefusedError, OSError, UNREADABLE."""
    with pq.ParquetFile(file) as found:
        check_columns(found.schema_arrow.names)
        _check_size(found.metadata)
        texts = [
            column.path
            for column in map(found.schema.column, range(len(found.schema.names)))
            if column.physical_type == "BYTE_ARRAY" and column.max_repetition_level == 0
        ]
    # Text is read dictionary-encoded: a long text that every row repeats is in memory once.
    with pq.ParquetFile(file, read_dictionary=texts, pre_buffer=False) as found:
        number, text = 0, 0
        # In this thread only, so that memory does not grow with the number of cores.
        for batch in found.iter_batches(batch_size=_BATCH, use_threads=False):
            text += _check_cells(batch, number)
            if text > MAX_BYTES:
                raise RefusedError(f"it holds more than {MAX_BYTES} bytes of text")
            for row in _python_rows(batch):
                number += 1
                yield number, row
        if number != found.metadata.num_rows:
            raise ValueError(f"its index says {found.metadata.num_rows} rows, but it has {number}")


def _python_rows(batch: Any) -> Iterator[Row | UsageError]:
    """The rows of a batch. A value without a Python equivalent (text that is not UTF-8, a date after the year 9999, an
    unknown time zone) makes an error of its own row only."""
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
            return syntax(f"the column {name[:80]!r} contains text that is not UTF-8", "write it as UTF-8")
        except UNREADABLE as error:
            kind = str(column.type)[:80]
            why = f"the column {name[:80]!r} contains a {kind} that cannot be read: {str(error)[:120]}"
            return syntax(why, "write it as text or as a number")
    return row


def _python_value(cell: Any) -> Any:
    """A cell as a Python value; bytes that are not UTF-8 become lone surrogates. Raises UnicodeDecodeError inside
    lists."""
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        plain = cell.value if pa.types.is_dictionary(cell.type) else cell
        if not (pa.types.is_string(plain.type) or pa.types.is_large_string(plain.type)):
            raise
        return plain.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")


def _check_size(index: Any) -> None:
    """Check limits in the file's index: rows, uncompressed bytes, list lengths."""
    if index.num_rows > MAX_ROWS:
        raise RefusedError(f"it holds more than {MAX_ROWS} rows")
    unpacked = 0
    for group in map(index.row_group, range(index.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if column.num_values > MAX_ITEMS * max(group.num_rows, 1):
                raise RefusedError(f"the column {column.path_in_schema!r} has lists of more than {MAX_ITEMS} items")
            unpacked += max(column.total_uncompressed_size, 0)
            if unpacked > MAX_BYTES:
                raise RefusedError(f"it unpacks to more than {MAX_BYTES} bytes")


def _check_cells(batch: Any, rows: int) -> int:
    """Bytes of text in a batch; `rows` were read before it. Raises RefusedError for a cell longer than MAX_CELL."""
    import pyarrow.compute as pc  # 0.4 s, needed by the child only

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
