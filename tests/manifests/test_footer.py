"""The footer of a Parquet file, read without pyarrow: the same numbers, and never an end of the process."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raydub.manifests.footer import columns_of


@pytest.mark.parametrize("compression", ["none", "zstd", "snappy"])
@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_the_numbers_are_pyarrows(tmp_path: Path, rows: int, compression: str) -> None:
    lists = pa.array([[1, 2, 3]] * rows, pa.list_(pa.int64()))
    struct = pa.array([{"a": 1.5, "b": "x"}] * rows, pa.struct([("a", pa.float64()), ("b", pa.string())]))
    made = pa.table({"text": ["é" * n for n in range(rows)], "yes": [True] * rows, "lists": lists, "struct": struct})
    made = made.replace_schema_metadata({"k": "v" * 300})
    pq.write_table(made, tmp_path / "a.parquet", compression=compression, row_group_size=300)
    index = pq.ParquetFile(tmp_path / "a.parquet").metadata
    expected = [
        (column.path_in_schema, group.num_rows, column.num_values, column.total_uncompressed_size)
        for group in map(index.row_group, range(index.num_row_groups))
        for column in map(group.column, range(group.num_columns))
    ]
    with open(tmp_path / "a.parquet", "rb") as file:
        assert [tuple(column) for column in columns_of(file)] == expected


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300))
@example(b"\x19" * 200)
@example(b"\x1c" * 5000)
@example(b"\x49\xfc\xff\xff\xff\xff\x0f")
@example(b"\x1b\xff\xff\xff\xff\x0f\x11")
def test_any_footer_is_read_or_refused(data: bytes) -> None:
    try:
        assert columns_of(io.BytesIO(b"PAR1" + data + len(data).to_bytes(4, "little") + b"PAR1")) is not None
    except ValueError as error:
        assert "footer" in str(error)
