"""Lists of failed rows: readable as manifests whatever went wrong, with the reason in each row."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError, StageError
from raydub.manifests.failed import write_failed
from raydub.manifests.fields import words_of
from raydub.manifests.job import Job
from raydub.manifests.limits import MAX_LINE
from raydub.manifests.read import ManifestResult, check_rows, read_manifest
from raydub.manifests.results import JobResult, read_results, write_results
from raydub.manifests.rows import KNOWN, NOTES, parse_row
from tests.examples import examples

GOOD = {"video": "a.mp4", "audio": "b.wav", "output": "o.mp4"}
WORDS = st.text(st.characters(), max_size=10) | st.sampled_from(
    ["", " ", "caf\udce9.mp4", "\ud800", "x" * 20_000, "a.mp4", "o.mov", "../o.mp4", "none", "reference:r.png",
     "wav2lip_gan", "left; ben=reference:x.png", "es_ES.onnx", "https://example.com/a.mp4?secret", "file:///caf%E9.mp4",
     "\0", "1e999"]
)  # fmt: skip
CELLS = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
ROWS = st.dictionaries(st.sampled_from([*KNOWN, *NOTES]) | WORDS.filter(bool), CELLS, max_size=6)


def strict(line: str) -> dict[str, Any]:
    def no(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    found: dict[str, Any] = json.loads(line, parse_constant=no)
    return found


def refused(folder: Path, read: ManifestResult) -> list[dict[str, Any]]:
    """The rows of failed.jsonl when every row of a manifest failed, all results written and read back on the way."""
    problems = [StageError(Code.QUARANTINED, "twice"), InputError(Code.INPUT_MISSING, "caf\udce9", hint="x\ud800")]
    results = [JobResult.failure(job, problems[place % 2]) for place, job in enumerate(read.jobs)]
    results += [JobResult.refused(row) for row in read.bad]
    write_results(results, folder / "r.jsonl", folder / "r.parquet")
    assert read_results(folder / "r.jsonl") == read_results(folder / "r.parquet") == results
    write_failed(folder / "f.jsonl", results, read.jobs, read.bad, read.folder)
    return [strict(line) for line in (folder / "f.jsonl").read_text("utf-8").splitlines()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(60))
@given(rows=st.lists(ROWS | ROWS.map(lambda row: {**GOOD, **row}), min_size=1, max_size=4))
def test_any_failed_row_can_be_read_back_with_its_reason(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    read = check_rows(list(enumerate(rows, 1)), tmp_path / "in", tmp_path)
    written = refused(tmp_path, read)
    asked = [row for row in rows if row]
    assert len(written) == len(asked)
    if not asked:
        return
    assert all(row["error_code"].startswith("E_") and row["error_message"] for row in written)
    again = read_manifest(tmp_path / "f.jsonl", tmp_path)
    assert len(again.jobs) + len(again.bad) == len(written)
    # Good jobs stay the same. A refused row is refused again, unless NaN was wrong, or what it clashed with.
    jobs = {job.id: job.options for job in again.jobs}
    assert all(jobs.get(job.id) == job.options for job in read.jobs)
    for row in read.bad:
        lost = any(isinstance(value, float) and math.isnan(value) for value in row.row.values())
        clash = {error.code for error in row.errors} <= {Code.ID_DUPLICATE, Code.OUTPUT_DUPLICATE, Code.FIELD_CONFLICT}
        assert lost or clash or not row.row or any(error.code in {e.code for e in row.errors} for error in again.errors)


def test_the_reason_is_passed_over_and_renewed(tmp_path: Path) -> None:
    rows = [
        {**GOOD, "error_code": "E_OLD", "error_message": 5, "error_hint": ["x"]},
        {"crf": 99, "error_code": "E_OLD"},
    ]
    read = check_rows(list(enumerate(rows, 1)), tmp_path, tmp_path)
    assert len(read.jobs) == 1
    first, second = refused(tmp_path, read)
    assert (first["error_code"], first["error_message"]) == ("E_QUARANTINED", "twice")
    assert (second["error_code"], second["crf"]) == ("E_FIELD_MISSING", 99)
    assert "crf" in second["error_message"]


def test_numbers_without_end_are_no_json_constants(tmp_path: Path) -> None:
    text = '{"video": "a", "crf": 1e999, "pads": [1e999, -1e999, 0, 0], "box": {"x": [1e999]}}\n'
    (tmp_path / "m.jsonl").write_text(text)
    (row,) = refused(tmp_path, read_manifest(tmp_path / "m.jsonl"))
    assert row["crf"] == "Infinity"
    assert row["pads"] == ["Infinity", "-Infinity", 0, 0]
    assert {bad.errors[0].code for bad in read_manifest(tmp_path / "f.jsonl").bad} == {Code.FIELD_MISSING}
    assert any(error.field == "crf" for error in read_manifest(tmp_path / "f.jsonl").errors)


def test_refused_rows_mean_the_same_from_another_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "own.pth").touch()
    row = {
        **GOOD,
        "maskin": "always",
        "model": "wav2lip_gan",
        "restore": "gfpgan",
        "restore_model": "own.pth",
        "face": "reference: r.png",
        "bed": "mix",
        "bed_audio": "bed.wav",
        "voice": "anna=es.onnx#3; ben=amy",
        "script": "none",
    }
    spoken = {
        "video": "a.mp4",
        "script": "s.srt",
        "output": "p.mp4",
        "typo": 1,
        "speakers": {"anna": "reference:r.png"},
    }
    read = check_rows([(1, row), (2, spoken)], folder, tmp_path)
    first, second = refused(tmp_path, read)
    place = str(folder)
    assert first["video"] == f"{place}/a.mp4"
    assert (first["model"], first["script"], first["output"]) == ("wav2lip_gan", "none", "o.mp4")
    assert (first["restore_model"], first["bed_audio"]) == (f"{place}/own.pth", f"{place}/bed.wav")
    assert (first["face"], first["voice"]) == (f"reference:{place}/r.png", f"anna={place}/es.onnx#3; ben=amy")
    assert (second["script"], second["speakers"]) == (f"{place}/s.srt", {"anna": f"reference:{place}/r.png"})


@pytest.mark.parametrize("form", [str, dict, list])
def test_refused_speakers_and_voices_mean_the_same_from_another_folder(tmp_path: Path, form: type) -> None:
    folder = tmp_path / "run,lr=0.1"
    said: dict[str, Any] = {}
    for name, values in (("speakers", ["reference:r.png", "left"]), ("voice", ["es.onnx#3", "amy"])):
        pairs = dict(zip(("anna", "ben"), values, strict=True))
        said[name] = words_of(pairs) if form is str else form(pairs if form is dict else pairs.items())
    row = {"video": "a.mp4", "script": "s.srt", "output": "p.mp4", **said}
    (written,) = refused(tmp_path, check_rows([(1, {**row, "typo": 1})], folder, tmp_path))
    made = parse_row({**written, "typo": None}, tmp_path / "elsewhere", tmp_path)
    assert isinstance(made, Job), made
    assert made.options == parse_row(row, folder, tmp_path).options
    assert made.options.voices_of() == {"anna": f"{folder}/es.onnx#3", "ben": "amy"}
    assert made.options.faces_of() == {"anna": f"reference:{folder}/r.png", "ben": "left"}


def test_a_row_too_long_for_a_line_is_left_out(tmp_path: Path) -> None:
    table = pa.table({"video": ["a.mp4", "b.mp4"], **{f"c{n}": ["x" * 60_000, None] for n in range(40)}})
    pq.write_table(table, tmp_path / "m.parquet")
    written = refused(tmp_path, read_manifest(tmp_path / "m.parquet"))
    assert [Path(row["video"]).name for row in written] == ["b.mp4"]
    assert max(map(len, (tmp_path / "f.jsonl").read_bytes().splitlines())) <= MAX_LINE
    assert len(read_results(tmp_path / "r.jsonl")) == 2


@pytest.mark.parametrize("status", ["failed", "quarantined", "skipped"])
def test_the_reason_is_the_results(tmp_path: Path, status: str) -> None:
    (job,) = check_rows([(1, GOOD)], tmp_path, tmp_path).jobs
    result = JobResult(id=job.id, line=1, status=status, error_code="E_X", error_message="why", hint="do")  # type: ignore[arg-type]
    assert write_failed(tmp_path / "f.jsonl", [result], [job]) == 1
    row = strict((tmp_path / "f.jsonl").read_text())
    assert [row[name] for name in NOTES] == ["E_X", "why", "do"]
