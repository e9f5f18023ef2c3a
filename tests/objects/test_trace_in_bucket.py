"""The trace of a run in a bucket, and what notes tell of requests to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.pipeline.notes import note_of
from tests.pipeline.test_trace import NOTES, record

RUN = "a" * 12


def test_a_trace_in_a_bucket(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note_of("track", "a", 0)  # what tests before have asked for
    record(f"{s3}/out/.raydub", RUN, NOTES)
    counts = note_of("track", "a", 0).counts
    assert counts["requests"] > 0
    assert counts["bytes_written"] > 500
    assert note_of("track", "a", 0).counts == {}
    monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / "another machine"))
    out = tmp_path / "trace.json"
    for arguments in ([f"{s3}/out"], [f"{s3}/out/.raydub"], [RUN, "--work-dir", f"{s3}/out/.raydub"]):
        out.unlink(missing_ok=True)
        done = CliRunner().invoke(app, ["trace", *arguments, "-o", str(out)])
        assert done.exit_code == 0, done.output
        assert json.loads(out.read_text())["otherData"]["runs"] == [RUN]
    for wrong, code in (
        (f"{s3}/elsewhere", "E_FIELD_VALUE"),
        (f"{s3}x/out", "E_"),
        (f"{s3}/out/x.results.jsonl", "E_MANIFEST"),
    ):
        done = CliRunner().invoke(app, ["trace", wrong, "-o", str(out)])
        assert done.exit_code != 0
        assert f"[{code}" in done.output, done.output
