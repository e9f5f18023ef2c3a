"""Warnings are shown, a job that changed no frame is shown as such, and --strict makes a failure of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.cluster.commands.run import show_report
from raydub.cluster.ordering import run_options
from raydub.cluster.request import RunReport
from raydub.errors import Code
from raydub.manifests.results import JobResult, read_results
from raydub.pipeline.strict import HARMLESS, kind_of, strictly, unasked
from tests.cluster.clips import make_clip, make_speech


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wall without a face, a portrait, and a sentence."""
    folder = tmp_path_factory.mktemp("inputs")
    make_clip(folder / "wall.mp4", 0.8, faceless=range(100))
    make_clip(folder / "face.mp4", 0.8)
    make_speech(folder / "en.wav", 0.8)
    return folder


def manifest(inputs: Path, folder: Path, *videos: str) -> str:
    rows = [
        {"video": str(inputs / f"{video}.mp4"), "audio": str(inputs / "en.wav"), "output": f"{video}.mp4"}
        | {"engine": "warp"}  # so short videos have too few mouths for `own`
        for video in videos
    ]
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "m.jsonl")


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.slow
def test_a_run_shows_warnings_and_counts_them(inputs: Path, tmp_path: Path) -> None:
    path = manifest(inputs, tmp_path, "wall", "face")
    result = invoke("run", path, "--no-ray")
    assert result.exit_code == 0, result.stderr
    said = result.stderr.splitlines()
    at = next(number for number, line in enumerate(said) if line.startswith("job 'wall': ok"))
    assert said[at].startswith("job 'wall': ok, BUT NO FRAME GOT A NEW MOUTH (20 frames)")
    assert said[at + 1] == "[W_NO_FACE] job 'wall': no face was seen; only the sound is new"
    assert "2 rows: 1 ok, 1 ok without any new mouth; " in result.stdout
    assert "  no frame got a new mouth: wall\n" in result.stdout
    assert "  warnings: W_NO_FACE in 1 job\n" in result.stdout
    rows = read_results(tmp_path / "m.results.jsonl")
    assert [(row.synthesised > 0, [kind_of(text) for text in row.warnings]) for row in rows] == [
        (False, ["W_NO_FACE"]),
        (True, []),
    ]
    # finished before, it is still said in the summary
    again = invoke("run", path, "--no-ray")
    assert "nothing to do: 2 rows were already finished" in again.stdout
    assert "  warnings: W_NO_FACE in 1 job\n" in again.stdout
    document = json.loads(invoke("run", path, "--no-ray", "--json").stdout)
    assert document["warnings"] == {"W_NO_FACE": 1}
    # and a strict run does not take it
    strict = invoke("run", path, "--no-ray", "--strict")
    assert strict.exit_code == 1
    assert "[E_STRICT] job 'wall', line 1: no frame got a new mouth; W_NO_FACE: " in strict.stderr
    assert "2 rows: 1 ok, 1 failed (1 already finished)" in strict.stdout
    assert (tmp_path / "wall.mp4").exists()


@pytest.mark.slow
def test_strict_publishes_nothing_that_was_not_asked_for(inputs: Path, tmp_path: Path) -> None:
    path = manifest(inputs, tmp_path, "wall", "face")
    result = invoke("run", path, "--no-ray", "--strict")
    assert result.exit_code == 1
    rows = read_results(tmp_path / "m.results.jsonl")
    assert [(row.status, row.error_code) for row in rows] == [("failed", "E_STRICT"), ("ok", None)]
    assert "W_NO_FACE" in rows[0].warnings[0]
    assert [(tmp_path / f"{name}.mp4").exists() for name in ("wall", "face")] == [False, True]
    [again] = [json.loads(line) for line in (tmp_path / "m.results.failed.jsonl").read_text().splitlines()]
    assert again["id"] == "wall"
    # what was made is kept
    lax = json.loads(invoke("run", path, "--no-ray", "--json").stdout)
    assert lax["counts"]["ok"] == 2
    assert "track" not in lax["stage_seconds"]


@pytest.mark.slow
def test_dub_shows_warnings_and_writes_a_row(inputs: Path, tmp_path: Path) -> None:
    arguments = ["dub", "--video", str(inputs / "wall.mp4"), "--audio", str(inputs / "en.wav")]
    output, row = tmp_path / "o.mp4", tmp_path / ".raydub" / "results" / "o.mp4.jsonl"
    strict = invoke(*arguments, "-o", str(output), "--strict")
    assert (strict.exit_code, output.exists()) == (1, False)
    assert "[E_STRICT] job 'o': no frame got a new mouth" in strict.stderr
    assert [result.error_code for result in read_results(row)] == ["E_STRICT"]
    first = invoke(*arguments, "-o", str(output))
    assert first.exit_code == 0
    assert "[W_NO_FACE] job 'o': no face was seen" in first.stderr
    assert first.stdout == f"results: {row}\n"
    [result] = read_results(row)
    assert (result.status, result.synthesised, result.output) == ("ok", 0, str(output))
    second = invoke(*arguments, "-o", str(output), "--results", str(tmp_path / "r"))
    assert second.exit_code == 0
    assert second.stdout.splitlines() == [
        f"already finished: {output}",
        f"results: {tmp_path / 'r.jsonl'}",
        f"results: {tmp_path / 'r.parquet'}",
    ]
    assert "[W_NO_FACE] job 'o'" in second.stderr
    assert [one.id for one in read_results(tmp_path / "r.parquet")] == ["o"]


def test_which_warnings_a_strict_run_takes() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "errors.md").read_text()
    known = set(re.findall(r"^\| `(W_\w+)` \|", text, re.MULTILINE))
    assert known > HARMLESS
    for kind in known:
        problem = unasked(10, 5, [f"{kind}: something"])
        assert (problem is None) == (kind in HARMLESS), kind
    problem = unasked(10, 0, ["W_EXTENDED: went on"])
    assert problem is not None
    assert (problem.code, problem.message) == (Code.STRICT, "no frame got a new mouth")
    assert unasked(10, 1, []) is None
    failed = JobResult(id="x", status="failed", error_code="E_X", frames=3)
    assert strictly(None, failed) is failed  # type: ignore[arg-type]


def test_submit_hands_strict_on() -> None:
    assert run_options(["m.jsonl", "--strict"])["strict"] is True


def test_warnings_are_counted_by_job(capsys: pytest.CaptureFixture[str]) -> None:
    results = (
        JobResult(id="a", status="ok", frames=5, synthesised=5, warnings=("W_SCRIPT: 1", "W_SCRIPT: 2", "W_BED: no")),
        JobResult(id="b", status="ok", frames=5, synthesised=5, warnings=("W_SCRIPT: 1",)),
        JobResult(id="c", status="ok", frames=5, warnings=("W_UNCHANGED: no",)),
    )
    show_report(RunReport(results, seconds=1.0), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "3 rows: 2 ok, 1 ok without any new mouth; 1.0 s",
        "  no frame got a new mouth: c",
        "  warnings: W_SCRIPT in 2 jobs, W_BED in 1 job, W_UNCHANGED in 1 job",
    ]
