"""Results manifests, and failed rows that can be fed back in."""

from __future__ import annotations

import contextlib
import io
import json
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError, StageError
from raydub.manifests.failed import write_failed
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.read import read_manifest
from raydub.manifests.results import JobResult, WeightsUse, read_results, schema, write_results
from tests.examples import examples

JOB = Job(id="a", video="/in/a.mp4", audio="/in/a.wav", output="/out/a.mp4", options=Options(crf=20), line=1)
TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
RESULTS = st.builds(
    JobResult,
    id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    status=st.sampled_from(["ok", "failed", "quarantined", "skipped"]),
    error_code=TEXT,
    error_message=TEXT,
    output=TEXT,
    frames=st.integers(0, 10**9),
    seconds=st.dictionaries(st.sampled_from(["track", "lipsync", "render"]), st.floats(0, 1e6)),
    drawn=st.dictionaries(st.sampled_from(["own", "warp", "wav2lip"]), st.integers(0, 10**9)),
    weights=st.lists(st.builds(WeightsUse, name=st.just("w"), sha256=st.just("0"), licence=st.just("x"))).map(tuple),
    warnings=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=2).map(tuple),
    line=st.none() | st.integers(1, 10**6),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(40))
@given(results=st.lists(RESULTS, max_size=4))
def test_both_forms_hold_the_same_rows(tmp_path: Path, results: list[JobResult]) -> None:
    write_results(results, tmp_path / "r.jsonl", tmp_path / "r.parquet")
    assert read_results(tmp_path / "r.jsonl") == read_results(tmp_path / "r.parquet") == results
    assert pq.read_schema(tmp_path / "r.parquet").equals(schema())


def test_schema_names_every_field_in_order() -> None:
    assert schema().names == list(JobResult.model_fields)


def test_failures_carry_their_code() -> None:
    failed = JobResult.failure(JOB, InputError(Code.INPUT_MISSING, "no a.mp4", hint="check it"), attempts=1)
    assert (failed.status, failed.error_code, failed.hint) == ("failed", "E_INPUT_MISSING", "check it")
    assert (failed.attempts, failed.line, failed.output) == (1, 1, "/out/a.mp4")
    assert JobResult.failure(JOB, StageError(Code.QUARANTINED, "twice")).status == "quarantined"


def test_failed_rows_can_be_fed_back_in(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rows = [
        {"id": "good", "video": "a.mp4", "audio": "b.wav", "output": "o.mp4"},
        {"id": "broken", "video": "a.mp4", "audio": "b.wav", "output": "p.mp4", "crf": 21, "face": "index:1"},
        {"id": "typo", "video": "a.mp4", "audio": "b.wav", "output": "q.mp4", "maskin": "always"},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows) + "not a row\n"
    (tmp_path / "in" / "m.jsonl").write_text(text)
    read = read_manifest(tmp_path / "in" / "m.jsonl", tmp_path / "out")
    done = JobResult(id="good", status="ok", line=1)
    lost = JobResult.failure(read.jobs[1], StageError(Code.ENCODE_FAILED, "disk"))
    refused = [JobResult.refused(bad) for bad in read.bad]
    assert [(r.id, r.error_code, r.line) for r in refused] == [
        ("typo", "E_FIELD_UNKNOWN", 3),
        ("line-4", "E_MANIFEST_SYNTAX", 4),
    ]
    target = tmp_path / "elsewhere" / "failed.jsonl"
    assert write_failed(target, [done, lost, *refused], read.jobs, read.bad, read.folder) == 2
    again = read_manifest(target, tmp_path / "out")
    assert [job.model_copy(update={"line": 2}) for job in again.jobs] == [read.jobs[1]]
    assert [(bad.id, bad.errors[0].field) for bad in again.bad] == [("typo", "maskin")]
    mended = target.read_text().replace("maskin", "masking")
    target.write_text(mended)
    assert read_manifest(target, tmp_path / "out").jobs[1].video == str(tmp_path / "in" / "a.mp4")


def test_a_failed_write_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.jsonl"
    write_results([JobResult(id="a", status="ok")], path, None)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StageError, match="no space left") as caught:
        write_results([], path, tmp_path / "r.parquet")
    assert caught.value.code is Code.DISK_FULL
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]


def test_text_that_has_no_utf8_form_is_still_written(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"video": "\\ud800", "audio": "b", "output": "\\ud800.mp4"}\n')
    read = read_manifest(tmp_path / "m.jsonl")
    write_results([JobResult.refused(bad) for bad in read.bad], tmp_path / "r.jsonl", tmp_path / "r.parquet")
    assert write_failed(tmp_path / "f.jsonl", [], read.jobs, read.bad, read.folder) == 1
    assert len(read_results(tmp_path / "r.parquet")) == 1


def test_a_refused_parquet_row_with_nan_is_fed_back_as_absent(tmp_path: Path) -> None:
    pq.write_table(pa.table({"video": ["a.mp4"], "crf": [float("nan")]}), tmp_path / "m.parquet")
    read = read_manifest(tmp_path / "m.parquet")
    write_failed(tmp_path / "f.jsonl", [], read.jobs, read.bad, read.folder)
    row = json.loads((tmp_path / "f.jsonl").read_text())
    assert (row.pop("error_code"), *map(row.pop, ("error_message", "error_hint"))) == (
        "E_FIELD_MISSING",
        "output: where the dubbed video goes is missing; audio: the new speech is missing; crf: nan is not a value of "
        "'crf'",
        "every job needs 'output'",
    )
    assert row == {"video": str(tmp_path / "a.mp4"), "crf": None}


CELL = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXT | st.binary(max_size=4)
    | st.sampled_from(["ok", "a", "https://[", "http://u:p@x?y#z", "\0"]) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
ROWS = st.dictionaries(st.sampled_from([*JobResult.model_fields, "other"]), CELL, max_size=8)
FULL = JobResult(id="a", status="ok").model_dump(mode="json")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(60))
@given(row=ROWS | ROWS.map(lambda row: {**FULL, **row}))
def test_what_is_no_results_manifest_is_a_value_error(tmp_path: Path, row: dict[str, Any]) -> None:
    text = json.dumps(row, default=str)
    (tmp_path / "r.jsonl").write_text(text)
    try:
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "r.parquet")
    except (pa.ArrowException, OverflowError):
        (tmp_path / "r.parquet").write_text(text)
    for name in ("r.jsonl", "r.parquet"):
        with contextlib.suppress(ValueError):
            assert len(read_results(tmp_path / name)) <= 1


@pytest.mark.parametrize("seconds", [None, 1, "xy", ["a"], [["a"]], [{"a": 1}], [[1, 2]], {"lipsync": "x"}])
def test_seconds_of_another_shape(tmp_path: Path, seconds: Any) -> None:
    pq.write_table(pa.Table.from_pylist([{**FULL, "drawn": None, "seconds": seconds}]), tmp_path / "r.parquet")
    with contextlib.suppress(ValueError):
        read_results(tmp_path / "r.parquet")
    pq.write_table(pa.table({"id": ["a"], "seconds": pa.array([2**60], pa.timestamp("us"))}), tmp_path / "r.parquet")
    with pytest.raises(ValueError, match="OverflowError"):
        read_results(tmp_path / "r.parquet")


def test_parquet_is_read_in_the_thread_that_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of Arrow's that lets go of a Python file while the process ends aborts it."""
    threads = set()

    class Watched(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            threads.add(threading.get_ident())
            return super().readinto(buffer) or 0

        def read(self, size: int | None = -1) -> bytes:
            threads.add(threading.get_ident())
            return super().read(size) or b""

    monkeypatch.setattr("raydub.manifests.results.open_regular", lambda path: Watched(path))
    write_results([JobResult(id=str(n), status="ok") for n in range(2000)], None, tmp_path / "r.parquet")
    assert len(read_results(tmp_path / "r.parquet")) == 2000
    assert threads == {threading.get_ident()}
