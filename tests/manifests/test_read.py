"""The three file forms, bad rows beside good ones, and clashes between rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raydub.errors import Code, RaydubError, UsageError
from raydub.manifests import formats
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.read import ManifestResult, read_manifest
from tests.examples import examples

GOOD = {"video": "a.mp4", "audio": "b.wav", "output": "o.mp4"}
RELAXED = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(60)
)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        names = list(dict.fromkeys(name for row in rows for name in row))
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    else:
        names = list(dict.fromkeys(name for row in rows for name in row))
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows([{n: _cell(v) for n, v in row.items()} for row in rows])
    return path


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def places(result: ManifestResult) -> list[tuple[int | None, Code, str | None]]:
    return [(error.line, error.code, error.field) for error in result.errors]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_good_rows_survive_beside_bad_ones(tmp_path: Path, suffix: str) -> None:
    rows = [
        {**GOOD, "id": "one", "crf": "20"},
        {**GOOD, "output": "../two.mp4", "id": "two", "crf": None},
        {**GOOD, "output": "three.mp4", "id": None, "crf": "bright"},
        {**GOOD, "output": "four.mov", "id": None, "crf": None},
    ]
    result = read_manifest(write(tmp_path / f"m{suffix}", rows), tmp_path / "out")
    first = 2 if suffix == ".csv" else 1
    assert [(job.id, job.line) for job in result.jobs] == [("one", first), ("four", first + 3)]
    assert places(result) == [
        (first + 1, Code.OUTPUT_ESCAPES, "output"),
        (first + 2, Code.FIELD_VALUE, "crf"),
    ]
    assert [row.id for row in result.bad] == ["two", "three"]
    assert result.jobs[0].video == str(tmp_path / "a.mp4")
    assert result.jobs[0].output == str(tmp_path / "out" / "o.mp4")
    assert result.jobs[0].options == Options(crf=20)


def test_jsonl_reports_every_unreadable_line_with_its_number(tmp_path: Path) -> None:
    good = json.dumps(GOOD).encode()
    lines = [
        b"\xef\xbb\xbf" + good,
        b"",
        b"nope",
        b"[1, 2]",
        b'{"video": "a", "video": "b"}',
        b'{"crf": NaN}',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"crf": ' + b"9" * 5000 + b"}",
        b'"' + b"x" * (formats.MAX_LINE + 5) + b'"',
        good.replace(b"o.mp4", b"p.mp4"),
    ]
    (tmp_path / "m.jsonl").write_bytes(b"\n".join(lines))
    result = read_manifest(tmp_path / "m.jsonl")
    assert [job.line for job in result.jobs] == [1, 11]
    assert [(line, code) for line, code, _ in places(result)] == [(n, Code.MANIFEST_SYNTAX) for n in range(3, 11)]
    assert "column 1" in result.errors[0].message
    assert "'video' appears twice" in result.errors[2].message
    assert [row.id for row in result.bad] == [f"line-{n}" for n in range(3, 11)]


def test_csv_numbers_its_lines_through_blank_and_refused_ones(tmp_path: Path) -> None:
    text = "video,audio,output\na.mp4,b.wav,o.mp4\n\nshort,row\na.mp4,b.wav,p.mp4,extra\na.mp4,b.wav,q.mp4\nlast\n"
    (tmp_path / "m.csv").write_text(text)
    result = read_manifest(tmp_path / "m.csv")
    assert [(job.id, job.line) for job in result.jobs] == [("o", 2), ("q", 6)]
    assert places(result) == [(n, Code.MANIFEST_SYNTAX, None) for n in (4, 5, 7)]


def test_csv_values_stay_text(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('id , video,audio,output,pads,fps\n007,"a, b.mp4",1.50,o.mp4,"0,1,2,3",25\n')
    (job,) = read_manifest(tmp_path / "m.csv").jobs
    assert (job.id, Path(job.video).name, Path(job.audio).name) == ("007", "a, b.mp4", "1.50")
    assert job.options.pads == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("m.txt", b"{}", Code.MANIFEST_UNREADABLE),
        ("m.jsonl", b"", Code.MANIFEST_EMPTY),
        ("m.jsonl", b"\n \n", Code.MANIFEST_EMPTY),
        ("m.csv", b"", Code.MANIFEST_EMPTY),
        ("m.csv", b"video,audio,output\n", Code.MANIFEST_EMPTY),
        ("m.csv", b"video,video\na,b\n", Code.MANIFEST_UNREADABLE),
        ("m.csv", b"video,audio,caf\xe9\na,b,c\n", Code.MANIFEST_UNREADABLE),
        ("m.csv", "video,audio,output\na,b,c.mp4\n".encode("utf-16"), Code.MANIFEST_UNREADABLE),
        ("m.csv", "video,audio,output\na,b,c.mp4\n".encode("utf-16-le"), Code.MANIFEST_UNREADABLE),
        ("m.parquet", b"", Code.MANIFEST_UNREADABLE),
        ("m.parquet", b"PAR1 nonsense PAR1", Code.MANIFEST_UNREADABLE),
        (None, b"", Code.MANIFEST_UNREADABLE),
    ],
)
def test_manifests_that_cannot_be_used(tmp_path: Path, name: str | None, content: bytes, code: Code) -> None:
    path = tmp_path / (name or "absent.jsonl")
    if name:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_manifest(path)
    assert caught.value.code is code


def test_ids_and_outputs_are_unique_after_folding(tmp_path: Path) -> None:
    rows = [
        {**GOOD, "id": "Straße"},
        {**GOOD, "id": "STRASSE", "output": "p.mp4"},
        {**GOOD, "id": "other", "output": "./O.MP4"},
        {**GOOD, "id": "third", "output": "x/../q.mp4"},
        {**GOOD, "output": "é.mp4"},
        {**GOOD, "output": "e\u0301.mp4", "id": "acute"},
        {**GOOD, "output": "sub/o.mp4"},
    ]
    result = read_manifest(write(tmp_path / "m.jsonl", rows))
    assert [job.id for job in result.jobs] == ["Straße", "é", "o"]
    assert places(result) == [
        (2, Code.ID_DUPLICATE, "id"),
        (3, Code.OUTPUT_DUPLICATE, "output"),
        (4, Code.OUTPUT_ESCAPES, "output"),
        (6, Code.OUTPUT_DUPLICATE, "output"),
    ]
    assert "line 1" in result.errors[0].message


def test_an_output_never_overwrites_any_input_of_the_manifest(tmp_path: Path) -> None:
    rows = [{**GOOD, "output": "b.mp4"}, {**GOOD, "video": "b.mp4", "output": "c.mp4"}]
    result = read_manifest(write(tmp_path / "m.jsonl", rows))
    assert places(result) == [(1, Code.FIELD_CONFLICT, "output")]


NAMES = st.text(st.characters(categories=["L", "N"], max_codepoint=0x24F), min_size=1, max_size=12)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "masking": st.sampled_from(["dynamic", "lips-open", "always"]),
        "no_face": st.sampled_from(["keep", "drop", "hold", "fail"]),
        "face": st.sampled_from(["largest", "left", "index:3", "reference:/x/é.png"]),
        "pads": st.lists(st.integers(-50, 50), min_size=4, max_size=4),
        "fps": st.sampled_from(["24000/1001", "25", "60"]),
        "chunk_seconds": st.floats(0.2, 120),
        "crf": st.integers(0, 51),
        "smooth": st.booleans(),
        "rotate": st.sampled_from([0, 90, 180, 270]),
        "resize_height": st.integers(64, 2000),
    },
)
ROWS = st.lists(st.tuples(NAMES, OPTIONS), min_size=1, max_size=6, unique_by=lambda pair: pair[0].casefold())


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@RELAXED
@given(rows=ROWS)
def test_jobs_roundtrip_through_every_form(tmp_path: Path, suffix: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    jobs = [
        Job(
            id=name,
            video=f"/clips/{name}, a.mp4",
            audio=f"/clips/{name}.wav",
            output=str(tmp_path / f"{index}.mp4"),
            options=Options.model_validate(options),
            line=index + (2 if suffix == ".csv" else 1),
            output_root=str(tmp_path),
        )
        for index, (name, options) in enumerate(rows)
    ]
    result = read_manifest(write(tmp_path / f"m{suffix}", [job.row() for job in jobs]))
    kept = {job.id: job for job in result.jobs}
    # NFKC folding may find two of the random names alike; whatever was kept is exactly what was written
    assert all(kept[job.id] == job for job in jobs if job.id in kept)
    assert {code for _, code, _ in places(result)} <= {Code.ID_DUPLICATE}
    assert len(result.jobs) + len(result.bad) == len(jobs)


BYTES = st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
GLUE = st.sampled_from(
    [b"video,audio,output\n", b"a,b,c.mp4\n", b'"', b"\n", b",", b"{", b'{"video": 1}', b"\r", b"\0"]
)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@RELAXED
@given(data=BYTES | st.lists(GLUE | BYTES, max_size=12).map(b"".join))
def test_any_bytes_end_in_a_result_or_a_named_error(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(data)
    try:
        result = read_manifest(path)
    except RaydubError as error:
        assert error.code in (Code.MANIFEST_UNREADABLE, Code.MANIFEST_EMPTY)
    else:
        assert result.jobs or result.errors


@settings(RELAXED, max_examples=examples(12))
@given(cut=st.integers(0, 2000), flip=st.integers(0, 2000), value=st.integers(0, 255))
def test_damaged_parquet_is_a_named_error(tmp_path: Path, cut: int, flip: int, value: int) -> None:
    path = write(tmp_path / "m.parquet", [{**GOOD, "crf": n} for n in range(5)])
    data = bytearray(path.read_bytes())
    data[flip % len(data)] = value
    path.write_bytes(bytes(data[: max(1, len(data) - cut)] if cut % 2 else data))
    try:
        read_manifest(path)
    except RaydubError as error:
        assert error.code in (Code.MANIFEST_UNREADABLE, Code.MANIFEST_EMPTY)


def test_odd_parquet_types_are_row_errors(tmp_path: Path) -> None:
    table = pa.table({"video": [b"\xff"], "audio": [1.5], "output": [["o.mp4"]], "crf": [True]})
    pq.write_table(table, tmp_path / "m.parquet")
    result = read_manifest(tmp_path / "m.parquet")
    assert {field for _, _, field in places(result)} == {"video", "audio", "output", "crf"}


def test_limits_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_ROWS", 2)
    for suffix in (".jsonl", ".csv", ".parquet"):
        with pytest.raises(UsageError) as caught:
            read_manifest(write(tmp_path / f"m{suffix}", [GOOD] * 3))
        assert caught.value.code is Code.MANIFEST_UNREADABLE
