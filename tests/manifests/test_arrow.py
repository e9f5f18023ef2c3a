"""Parquet columns of every type, with values that Python cannot hold: they cost their own rows, never the manifest."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raydub.errors import Code, UsageError
from raydub.manifests.failed import write_failed
from raydub.manifests.parquet import _python_rows, parquet_rows, rows_of
from raydub.manifests.read import read_manifest
from raydub.manifests.results import JobResult, read_results, write_results
from raydub.manifests.rows import KNOWN


def units(kind: str) -> dict[str, Any]:
    return {f"{kind} {unit}": bits(getattr(pa, kind)(unit)) for unit in ("s", "ms", "us", "ns")}


def bits(kind: Any) -> Any:
    """A small value, a large and a small one: in a Parquet file seconds are milliseconds, so not the largest."""
    top = 2**31 - 1 if kind.bit_width == 32 else 2**63 // 1001
    return pa.array([1, top, -top], pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)


DATES = bits(pa.timestamp("us"))
BYTES = pa.array([b"ok", b"\xff\xfe", None])
TEXT = BYTES.view(pa.string())
OFFSETS = pa.array([0, 1, 2, 3], pa.int32())
COLUMNS: dict[str, Any] = {
    **units("timestamp"),
    **units("duration"),
    **{f"zone {zone}": bits(pa.timestamp("us", zone)) for zone in ("UTC", "No/Where", "+99:99", "é", "\0")},
    **{str(kind): bits(kind) for kind in (pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"))},
    **{str(kind): bits(kind) for kind in (pa.time64("us"), pa.time64("ns"))},
    "decimal": pa.array([Decimal(1), Decimal("9" * 38), None], pa.decimal128(38)),
    "decimal256": pa.array([Decimal(1), Decimal("-" + "9" * 76), None], pa.decimal256(76)),
    "interval": pa.array([pa.MonthDayNano([1, 2, 3]), pa.MonthDayNano([2**31 - 1, -(2**31), 2**63 - 1]), None]),
    "float16": pa.array(np.array([1, np.inf, np.nan], np.float16)),
    "float64": pa.array([1e308, float("-inf"), float("nan")]),
    "uint64": pa.array([1, 2**64 - 1, None], pa.uint64()),
    "null": pa.nulls(3),
    "bool": pa.array([True, False, None]),
    "binary": BYTES,
    "large binary": BYTES.cast(pa.large_binary()),
    "binary view": BYTES.cast(pa.binary_view()),
    "fixed binary": pa.array([b"okok", b"\xff\xfe\0\0", None], pa.binary(4)),
    "text": TEXT,
    "large text": BYTES.cast(pa.large_binary()).view(pa.large_string()),
    "dictionary": pa.DictionaryArray.from_arrays(pa.array([0, 1, 1]), TEXT.slice(0, 2)),
    "dictionary of dates": pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), DATES),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), DATES),
    "list": pa.ListArray.from_arrays(OFFSETS, DATES),
    "list of text": pa.ListArray.from_arrays(OFFSETS, TEXT),
    "large list": pa.LargeListArray.from_arrays(OFFSETS.cast(pa.int64()), DATES),
    "fixed list": pa.FixedSizeListArray.from_arrays(DATES, 1),
    "struct": pa.StructArray.from_arrays([DATES, TEXT], ["a", "b"]),
    "map": pa.MapArray.from_arrays(OFFSETS, pa.array(["a", "b", "c"]), DATES),
    "map of text": pa.MapArray.from_arrays(OFFSETS, BYTES.fill_null(b"").view(pa.string()), TEXT),
    "deep": pa.ListArray.from_arrays(OFFSETS, pa.StructArray.from_arrays([DATES, TEXT], ["a", "b"])),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16, b"\xff" * 16, None], pa.binary(16))),
}
NOT_IN_PARQUET = ("interval", "runs")
FIELDS = sorted({"id", "video", "script", "speakers", "voice", "box", "fps", "crf", "overwrite", "face", "unknown"})


def test_rows_of_all_types_come_out_of_the_reading_process_as_they_are(tmp_path: Path) -> None:
    pq.write_table(pa.table({kind: COLUMNS[kind] for kind in COLUMNS if kind not in NOT_IN_PARQUET}), tmp_path / "a")
    with open(tmp_path / "a", "rb") as file:
        there = list(parquet_rows(file))
        assert repr(there) == repr(list(rows_of(file)))
    assert len(there) == 3


@pytest.mark.parametrize("kind", sorted(set(COLUMNS) - set(NOT_IN_PARQUET)))
def test_a_cell_costs_its_own_row_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    # In this process: another for each of four hundred manifests would take minutes.
    monkeypatch.setattr("raydub.manifests.parquet.parquet_rows", rows_of)
    assert {*FIELDS} - {*KNOWN} == {"unknown"}
    column = COLUMNS[kind]
    empty = (
        pa.nulls(1, column.type)
        if not pa.types.is_dictionary(column.type)
        else column.take(pa.array([None], pa.int32()))
    )
    column = pa.chunked_array([column, empty])
    for field in FIELDS:
        rows = {
            "video": ["a.mp4"] * 4,
            "audio": ["a.wav"] * 4,
            "output": [f"{n}.mp4" for n in range(4)],
            "id": list("abcd"),
        }
        if field == "script":
            rows["audio"] = [None, None, None, "a.wav"]
        if field in ("speakers", "voice"):
            rows["script"] = ["s.srt"] * 4
            del rows["audio"]
        pq.write_table(pa.table({**rows, field: column}), tmp_path / "m.parquet")
        found = read_manifest(tmp_path / "m.parquet", tmp_path)
        assert len(found.jobs) + len(found.bad) == 4
        assert field == "video" or 4 in [job.line for job in found.jobs], found.errors
        results = [JobResult.refused(row) for row in found.bad]
        write_results(results, tmp_path / "r.jsonl", tmp_path / "r.parquet")
        assert read_results(tmp_path / "r.parquet") == results
        write_failed(tmp_path / "f.jsonl", results, found.jobs, found.bad, found.folder)


@pytest.mark.parametrize("kind", sorted(COLUMNS))
def test_every_type_gives_rows(kind: str) -> None:
    rows = list(_python_rows(pa.record_batch({"video": ["a", "b", "c"], "fps": COLUMNS[kind]})))
    assert len(rows) == 3
    assert isinstance(rows[0], dict) or kind.startswith("zone")
    assert all("'fps'" in row.message for row in rows if isinstance(row, UsageError))


def test_a_date_beyond_the_calendar_is_told(tmp_path: Path) -> None:
    column = pa.array([1, 2**60, None], pa.timestamp("us"))
    rows = {"video": ["a", "b", "c"], "audio": ["a", "b", "c"], "output": ["a.mp4", "b.mp4", "c.mp4"]}
    pq.write_table(pa.table({**rows, "fps": column}), tmp_path / "m.parquet")
    found = read_manifest(tmp_path / "m.parquet")
    assert [(error.line, error.code) for error in found.errors] == [(1, Code.FIELD_VALUE), (2, Code.MANIFEST_SYNTAX)]
    assert "'fps' contains a timestamp[us] that cannot be read" in found.errors[1].message
    assert [job.line for job in found.jobs] == [3]
