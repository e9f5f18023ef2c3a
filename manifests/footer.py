"""What a Parquet file says of its own size, read without pyarrow.

pyarrow's accessors of column metadata end the whole process (an uncaught C++ exception) where a damaged footer lacks
some, so the few numbers that limits need are read here: FileMetaData of the format, in Thrift's compact protocol.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO, NamedTuple

_MAX_FOOTER = 4 << 20
_MAX_DEPTH = 12
_MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 6, 7, 8, 9, 10, 11, 12


class Column(NamedTuple):
    """One column of one row group. values: of lists, each item counts; unpacked: bytes after decompression."""

    path: str
    rows: int
    values: int
    unpacked: int


def columns_of(file: BinaryIO) -> list[Column]:
    """Every column of every row group. Raises ValueError for anything but a whole, plain footer of at most 4 MiB."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] == b"PARE":
        raise ValueError("it is encrypted")
    if tail[4:] != _MAGIC or not 0 < length <= size - 12:
        raise ValueError("it has no Parquet footer")
    if length > _MAX_FOOTER:
        raise ValueError(f"its footer has {length} bytes, more than {_MAX_FOOTER}")
    file.seek(-8 - length, os.SEEK_END)
    footer = file.read(length)
    try:
        groups = _Reader(footer).struct(_MAX_DEPTH).get(4, [])
        return [_column(chunk, int(group.get(3, 0))) for group in groups for chunk in group.get(1, [])]
    except (IndexError, AttributeError, TypeError, KeyError) as error:
        raise ValueError("its footer is damaged") from error


def _column(chunk: dict[int, Any], rows: int) -> Column:
    known = chunk[3]
    name = b".".join(known[3]).decode("utf-8", "replace")
    return Column(name, rows, int(known[5]), int(known[6]))


class _Reader:
    """Thrift's compact protocol, all of it that Parquet uses, with no names: structs are dicts by field number."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self, depth: int) -> dict[int, Any]:
        """A struct at the current place. Raises IndexError, ValueError on damage."""
        fields: dict[int, Any] = {}
        number = 0
        while header := self._byte():
            step, kind = header >> 4, header & 15
            number = number + step if step else self._signed()
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth < 0:
            raise ValueError("its footer is nested too deeply")
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if _BYTE < kind <= _I64:
            return self._signed()
        if kind == _DOUBLE:
            return self._take(8)
        if kind == _BINARY:
            return self._take(self._number())
        if kind in (_LIST, _SET):
            return self._list(depth)
        if kind == _MAP:
            count = self._number()
            kinds = self._byte() if count else 0
            self._enough(count)
            return [(self._value(kinds >> 4, depth - 1), self._value(kinds & 15, depth - 1)) for _ in range(count)]
        if kind == _STRUCT:
            return self.struct(depth - 1)
        raise ValueError("its footer is damaged")

    def _list(self, depth: int) -> list[Any]:
        header = self._byte()
        count = header >> 4 if header >> 4 != 15 else self._number()
        self._enough(count)
        return [self._value(header & 15, depth - 1) for _ in range(count)]

    def _enough(self, count: int) -> None:
        """Every item takes a byte or more: a count beyond the data is damage, found before memory is taken for it."""
        if count > len(self._data) - self._at:
            raise ValueError("its footer is damaged")

    def _byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def _take(self, count: int) -> bytes:
        self._enough(count)
        self._at += count
        return self._data[self._at - count : self._at]

    def _number(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("its footer is damaged")

    def _signed(self) -> int:
        value = self._number()
        return value >> 1 ^ -(value & 1)
