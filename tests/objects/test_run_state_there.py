"""The state and the results of a run whose work folder is in a bucket, read from another place."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.manifests.results import JobResult
from raydub.pipeline.progress import QuietProgress
from raydub.pipeline.run_state import RunState


def test_a_run_is_read_from_its_bucket(s3: str) -> None:
    failed = JobResult(id="b", status="failed", error_code="E_STORAGE", error_message="no")
    state = RunState(f"{s3}/out/.raydub", "a" * 12, QuietProgress(2), ["a", "b"]).start()
    state.close([JobResult(id="a", status="ok"), failed], [], lambda path: path.write_text('{"id": "b"}\n'))
    for place in (f"{s3}/out", f"{s3}/out/.raydub"):
        found = CliRunner().invoke(app, ["status", place, "--json"])
        assert found.exit_code == 1, found.stderr
        assert json.loads(found.stdout)["state"]["counts"]["failed"] == 1
        rows = CliRunner().invoke(app, ["results", place, "--failed-only"])
        assert (rows.exit_code, rows.stdout) == (1, '{"id": "b"}\n')


@pytest.mark.parametrize(("place", "code"), [("s3://not-a-bucket-of-ours/out", "E_BUCKET_MISSING"), ("/x", "E_NO_RUN")])
def test_a_place_without_runs(place: str, code: str, s3: str) -> None:
    where = f"{s3}{place}" if place.startswith("/") else place
    found = CliRunner().invoke(app, ["status", where])
    assert found.exit_code in (2, 3)
    assert code in found.stderr
