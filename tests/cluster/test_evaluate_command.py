"""`raydub evaluate`: results, single files, wrong calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.manifests.evaluation import Evaluation, Reason
from raydub.manifests.results import JobResult, read_results, write_results
from raydub.stages.evaluate.thresholds import load_thresholds
from tests.cluster.clips import make_clip
from tests.evaluations import evaluation

BAD = Reason(figure="sharpness", value=0.1, limit=0.4, verdict="bad", message="the mouth is blurred")


def invoke(*words: object) -> Any:
    return CliRunner().invoke(app, ["evaluate", *map(str, words)])


def finished(tmp_path: Path) -> Path:
    """Results of two finished jobs and a failed one, in both formats."""
    rows = [
        JobResult(id="a", status="ok", video="v.mp4", output=str(tmp_path / "a.mp4"), frames=10, synthesised=5),
        JobResult(id="b", status="failed", error_code="E_FACE_NONE"),
        JobResult(id="c", status="ok", video="v.mp4", output=str(tmp_path / "gone" / "c.mp4"), frames=10),
    ]
    stem = tmp_path / "jobs.results"
    write_results(rows, f"{stem}.jsonl", f"{stem}.parquet", tmp_path / "jobs.jsonl")
    return Path(f"{stem}.jsonl")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of rows as they are measured; a is good, the others are bad."""
    from raydub.pipeline import evaluating

    seen: list[str] = []

    def evaluate_result(row: JobResult, limits: Any) -> Evaluation:
        seen.append(row.id)
        about: dict[str, Any] = {"verdict": "good"} if row.id == "a" else {"verdict": "bad", "reasons": (BAD,)}
        return Evaluation(id=row.id, output=str(row.output), output_sha256="", frames=10, duration=0.4, **about)

    monkeypatch.setattr(evaluating, "evaluate_result", evaluate_result)
    return seen


def test_results_get_their_columns_in_both_formats(tmp_path: Path, measured: list[str]) -> None:
    table = finished(tmp_path)
    done = invoke(table)
    assert measured == ["a", "c"]
    assert done.exit_code == 1, "a film is bad"
    assert "1 good, 1 bad" in done.stdout
    assert "the mouth is blurred" in done.stdout
    for path in (table, table.with_suffix(".parquet")):
        a, b, c = read_results(path)
        assert (a.verdict, a.evaluation) == ("good", f"{tmp_path / 'a.mp4'}.evaluation.json")
        assert (b.status, b.verdict, b.evaluation) == ("failed", None, None)
        assert (c.verdict, c.reasons, c.evaluation) == ("bad", ("the mouth is blurred",), None), "its folder is gone"
    assert Evaluation.from_json((tmp_path / "a.mp4.evaluation.json").read_bytes()).id == "a"
    from raydub.manifests.ours import manifest_of

    assert manifest_of(table.with_suffix(".parquet")) == str(tmp_path / "jobs.jsonl")


def test_one_job_alone(tmp_path: Path, measured: list[str]) -> None:
    table = finished(tmp_path)
    done = invoke(table.with_suffix(".parquet"), "--job", "a", "--json")
    assert (measured, done.exit_code) == (["a"], 0)
    [said] = json.loads(done.stdout)["evaluations"]
    assert (said["verdict"], said["file"]) == ("good", f"{tmp_path / 'a.mp4'}.evaluation.json")
    assert "curves" not in said
    wrong = invoke(table, "--job", "z", "--json")
    assert json.loads(wrong.stdout)["error"]["code"] == "E_FIELD_VALUE"


def test_a_file_that_is_no_evaluation_is_not_overwritten(tmp_path: Path, measured: list[str]) -> None:
    table = finished(tmp_path)
    mine = tmp_path / "a.mp4.evaluation.json"
    mine.write_text('{"my": "notes"}')
    done = invoke(table, "--json")
    assert json.loads(done.stdout)["error"]["code"] == "E_OUTPUT_EXISTS"
    assert mine.read_text() == '{"my": "notes"}'


def test_curves_of_many_films_are_kept_in_their_documents_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from raydub.cluster.commands.evaluate import _of_results
    from raydub.pipeline import evaluating

    made = evaluation("a", frames=50)
    monkeypatch.setattr(evaluating, "evaluate_result", lambda row, limits: made)
    found = _of_results(finished(tmp_path), ["a"], load_thresholds(), lambda one, at: None)
    assert [one.curves for one, _ in found] == [None]
    assert Evaluation.from_json((tmp_path / "a.mp4.evaluation.json").read_bytes()).curves == made.curves


def test_nothing_is_measured_for_a_document_that_cannot_be_written(tmp_path: Path, measured: list[str]) -> None:
    table = finished(tmp_path)
    rows = read_results(table)
    mine = tmp_path / "z.mp4.evaluation.json"
    mine.write_text("mine")
    write_results([*rows, rows[0].model_copy(update={"id": "z", "output": str(tmp_path / "z.mp4")})], table, None)
    assert json.loads(invoke(table, "--json").stdout)["error"]["code"] == "E_OUTPUT_EXISTS"
    assert measured == []


def test_what_was_measured_before_a_stop_has_its_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raydub.pipeline import evaluating

    def evaluate_result(row: JobResult, limits: Any) -> Evaluation:
        if row.id == "c":
            raise KeyboardInterrupt
        return Evaluation(id="a", output=str(row.output), output_sha256="", frames=1, duration=1.0, verdict="good")

    monkeypatch.setattr(evaluating, "evaluate_result", evaluate_result)
    table = finished(tmp_path)
    assert invoke(table).exit_code != 0
    for path in (table, table.with_suffix(".parquet")):
        assert [row.verdict for row in read_results(path)] == ["good", None, None]


@pytest.mark.parametrize("where", ["none/x.json", "v.mp4", "."])
def test_the_users_document_is_checked_before_the_film_is_measured(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from raydub.stages.evaluate import files

    monkeypatch.setattr(files, "evaluate_file", lambda *words: pytest.fail("measured"))
    (tmp_path / "v.mp4").write_text("film")
    done = invoke(tmp_path / "v.mp4", "-o", tmp_path / where, "--json")
    assert json.loads(done.stdout)["error"]["code"] in ("E_STORAGE", "E_OUTPUT_EXISTS")
    assert (tmp_path / "v.mp4").read_text() == "film"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["{}/none.mp4"], "E_INPUT_MISSING"),
        (["{}/v.mp4", "--source", "{}/none.mp4"], "E_INPUT_MISSING"),
        (["{}/v.mp4", "--speech", "{}/none.wav"], "E_INPUT_MISSING"),
        (["{}/none.jsonl"], "E_MANIFEST_UNREADABLE"),
        (["{}/text.jsonl"], "E_MANIFEST_UNREADABLE"),
        (["{}/v.mp4", "{}/w.mp4", "--source", "{}/v.mp4"], "E_FIELD_CONFLICT"),
        (["{}/text.jsonl", "--speech", "{}/v.mp4"], "E_FIELD_CONFLICT"),
        (["{}/v.mp4", "--job", "a"], "E_FIELD_CONFLICT"),
        (["{}/v.mp4", "--face", "somebody"], "E_FIELD_VALUE"),
        (["{}/v.mp4", "--thresholds", "{}/none.toml"], "E_MANIFEST_UNREADABLE"),
        (["{}/v.mp4", "--thresholds", "{}/text.jsonl"], "E_MANIFEST_SYNTAX"),
    ],
)
def test_wrong_calls_say_what_is_wrong(tmp_path: Path, words: list[str], code: str) -> None:
    for name in ("v.mp4", "w.mp4", "text.jsonl"):
        (tmp_path / name).write_text("{no")
    done = invoke(*(word.format(tmp_path) for word in words), "--json")
    error = json.loads(done.stdout)["error"]
    assert (error["code"], done.exit_code) == (code, done.exit_code)
    assert done.exit_code != 0
    assert error["hint"]


@pytest.mark.slow
def test_a_portrait_that_speaks_without_moving_its_mouth(tmp_path: Path) -> None:
    """A film of another tool, from end to end: the committed portrait with the committed speech."""
    import subprocess

    from tests.cluster.clips import make_speech
    from tests.ffmpeg import ffmpeg_program

    silent, speech = make_clip(tmp_path / "silent.mp4", 4.0), make_speech(tmp_path / "en.wav", 4.0)
    film = tmp_path / "film.mp4"
    mux = ["-i", str(silent), "-i", str(speech), "-c:v", "copy", "-c:a", "aac", str(film)]
    subprocess.run([ffmpeg_program(), "-v", "error", "-y", *mux], check=True)
    done = invoke(film, "--source", silent, "--speech", speech)
    found = Evaluation.from_json((tmp_path / "film.mp4.evaluation.json").read_bytes())
    assert done.exit_code == 1
    assert found.verdict == "bad"
    assert "r_above" in {one.figure for one in found.reasons}
    assert found.figures["face_share"] == 1
    assert found.figures["psnr_outside"] == 100
    assert found.figures["identity"] == 0
    assert found.curves is not None
    assert len(found.curves.wanted) == len(found.curves.drawn) == found.frames == 100
    assert found.curves.speech_db[10] is not None
    limits = tmp_path / "mine.toml"
    limits.write_text("[sharpness]\nwhat = 'blurred'\nlook_below = 0.5\n")
    again = invoke(film, "--source", silent, "--thresholds", limits, "-o", tmp_path / "mine.json")
    assert (again.exit_code, Evaluation.from_json((tmp_path / "mine.json").read_bytes()).verdict) == (0, "good")
