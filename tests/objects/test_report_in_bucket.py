"""Report and evaluation of a run whose results, outputs and evaluations are in a bucket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.manifests.evaluation import Evaluation
from raydub.manifests.results import read_results
from raydub.objects.bucket import bucket_of
from raydub.places import path_at
from raydub.regular import read_regular
from tests.cluster.pages import read_page
from tests.cluster.report_runs import dubbed, results_of

pytest.importorskip("plotly")


def put(s3: str, path: Path) -> str:
    bucket_of(f"{s3}/out").put(f"out/{path.name}", path.read_bytes())
    return f"{s3}/out/{path.name}"


def test_a_run_in_a_bucket_is_evaluated_and_shown(s3: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    here, gone = dubbed(run, "here"), dubbed(run, "gone", evaluated=False)
    output, document = put(s3, run / "here.mp4"), put(s3, run / "here.evaluation.json")
    rows = [
        here.model_copy(update={"output": output, "evaluation": document, "job_dir": None}),
        gone.model_copy(update={"output": f"{s3}/out/gone.mp4", "job_dir": None}),
    ]
    results = put(s3, results_of(run, *rows))
    said = CliRunner().invoke(app, ["report", results, "-o", str(tmp_path / "r"), "--json"])
    assert said.exit_code == 0, said.stderr
    page = read_page(tmp_path / "r" / "index.html")
    assert [row["note"] for row in page.data("table-data")["rows"]] == ["", "output is gone"]
    assert json.loads(said.stdout)["problems"] == 0
    assert len(list((tmp_path / "r" / "media").glob("*.mp4"))) == 1

    said = CliRunner().invoke(app, ["evaluate", results, "--job", "here", "--json"])
    assert said.exit_code in (0, 1), said.stderr
    row, other = read_results(path_at(results))
    assert row.evaluation == f"{output}.evaluation.json"
    assert other.verdict is None
    assert Evaluation.from_json(read_regular(row.evaluation)).frames == 50
