"""The main job: a manifest in, dubbed videos and one outcome per row out, by the plain loop and on Ray."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.manifests.results import read_results
from raydub.media.probe import probe_speech, probe_video
from raydub.media.writer import count_frames
from raydub.pipeline import run_lookup
from tests.cluster.clips import make_clip, make_speech

RATES = [Fraction(25), Fraction(30000, 1001), Fraction(24)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips, two speeches, and the inputs of bad rows."""
    folder = tmp_path_factory.mktemp("inputs")
    for number, rate in enumerate(RATES):
        make_clip(folder / f"clip{number}.mp4", 1.0, rate, faceless=range(8, 14) if number == 2 else range(0))
    make_speech(folder / "en.wav", 1.2)
    make_speech(folder / "es.wav", 0.8, language="es")
    (folder / "empty.mp4").touch()
    return folder


def manifest(inputs: Path, clips: Sequence[int] = (0, 1, 2), speeches: Sequence[str] = ("en", "es")) -> Path:
    rows: list[object] = []
    for number in clips:
        for speech in speeches:
            rows.append(
                {"video": f"clip{number}.mp4", "audio": f"{speech}.wav", "output": f"out/{number}-{speech}.mp4"}
            )
    rows.insert(2, {"video": "missing.mp4", "audio": "en.wav", "output": "missing.mp4"})
    rows.insert(4, {"video": "empty.mp4", "audio": "en.wav", "output": "empty-out.mp4"})
    rows.append({"video": "clip0.mp4", "audio": "en.wav", "output": "../escapes.mp4"})
    path = inputs / "jobs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def check_outcome(root: Path, rows: list[dict]) -> None:  # type: ignore[type-arg]
    bad = [Path(row["output"]).name in ("missing.mp4", "empty-out.mp4", "escapes.mp4") for row in rows]
    assert [row["status"] for row in rows] == ["failed" if one else "ok" for one in bad]
    assert [row["line"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["error_code"] for row in rows if row["status"] == "failed"] == [
        "E_INPUT_MISSING",
        "E_INPUT_EMPTY",
        "E_OUTPUT_ESCAPES",
    ]
    for row in rows:
        if row["status"] != "ok":
            continue
        info = probe_video(row["output"])
        speech = probe_speech(row["audio"]).seconds
        assert count_frames(row["output"]) == row["frames"] == info.n_frames
        assert info.rate in RATES
        assert abs(float(info.n_frames / info.rate) - speech) <= 1 / float(info.rate)
        assert row["synthesised"] + row["untouched"] == row["frames"]
        assert row["synthesised"] > 0
        assert (row["faceless"] > 0) == ("clip2" in row["video"])
        assert row["weights"]
        assert row["engine"] == "own"
        assert sum(row["drawn"].values()) == row["synthesised"]
        assert {"prepare", "track", "lipsync", "render", "stitch"} <= set(row["seconds"])


def run(path: Path, root: Path, *more: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, ["run", str(path), "--output-root", str(root), *more])


def test_plain_loop(inputs: Path, tmp_path: Path) -> None:
    path = manifest(inputs, (0, 2))
    result = run(path, tmp_path, "--no-ray", "--set", "chunk_seconds=0.5")
    assert result.exit_code == 1, result.stderr
    rows = [json.loads(line) for line in (tmp_path / "jobs.results.jsonl").read_text().splitlines()]
    check_outcome(tmp_path, rows)
    assert [one.id for one in read_results(tmp_path / "jobs.results.parquet")] == [row["id"] for row in rows]
    assert "7 rows: 4 ok, 3 failed" in result.stdout
    assert "[E_INPUT_MISSING] job 'missing', line 3" in result.stderr
    assert "Traceback" not in result.stderr
    # the failures, fed back in, fail again in the same way, and nothing else is touched
    failed = [json.loads(line) for line in (tmp_path / "jobs.results.failed.jsonl").read_text().splitlines()]
    assert [row["output"].split("/")[-1] for row in failed] == ["missing.mp4", "empty-out.mp4", "escapes.mp4"]
    # again: all is there already, and the outcome is the same
    again = run(path, tmp_path, "--no-ray", "--set", "chunk_seconds=0.5", "--json")
    assert again.exit_code == 1
    report = json.loads(again.stdout)
    assert report["counts"] == {"ok": 4, "failed": 3, "quarantined": 0, "skipped": 0}
    assert [row["attempts"] for row in report["results"] if row["status"] == "ok"] == [0] * 4
    assert "track" not in report["stage_seconds"]
    # what both runs have kept of themselves
    runs = list(run_lookup.runs(run_lookup.work_folder(str(tmp_path))))
    assert [(one.number, one.state["status"], one.state["rows"]) for one in runs] == [(2, "ended", 7), (1, "ended", 7)]
    assert [one.state["counts"]["failed"] for one in runs] == [3, 3]
    assert runs[1].state["frames"]["done"] == sum(row["frames"] for row in rows)
    for kept, file in zip(
        run_lookup.results(runs[0]), ("jobs.results.jsonl", "jobs.results.failed.jsonl"), strict=True
    ):
        assert kept is not None
        assert Path(kept).read_text() == (tmp_path / file).read_text()


@pytest.mark.usefixtures("ray_here")
def test_ray(inputs: Path, tmp_path: Path) -> None:
    result = run(manifest(inputs, (0, 2), ("es",)), tmp_path, "--json")
    assert result.exit_code == 1, result.stderr
    report = json.loads(result.stdout)
    check_outcome(tmp_path, report["results"])
    assert {name.split("@")[0] for name in report["peak_mb"]} == {"prepare", "track", "lipsync", "render", "stitch"}


@pytest.mark.slow
def test_a_run_without_failures_leaves_no_list_of_them(inputs: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    row = {"video": str(inputs / "clip0.mp4"), "audio": str(inputs / "es.wav"), "output": "o.mp4"}
    path.write_text(json.dumps(row) + "\n")
    path.write_text(json.dumps({**row, "video": "none.mp4"}) + "\n")
    assert run(path, tmp_path, "--no-ray").exit_code == 1
    assert (tmp_path / "one.results.failed.jsonl").exists()
    path.write_text(json.dumps(row) + "\n")
    result = run(path, tmp_path, "--no-ray")
    assert result.exit_code == 0, result.stderr
    assert not (tmp_path / "one.results.failed.jsonl").exists()


@pytest.mark.slow
def test_dub(inputs: Path, tmp_path: Path) -> None:
    command = [
        "dub",
        "--video",
        str(inputs / "clip0.mp4"),
        "--audio",
        str(inputs / "es.wav"),
        "-o",
        str(tmp_path / "o.mp4"),
    ]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["frames"] == count_frames(str(tmp_path / "o.mp4")) == 20
    missing = CliRunner().invoke(app, ["dub", "--video", "none.mp4", *command[3:]])
    assert missing.exit_code == 1
    assert "[E_INPUT_MISSING]" in missing.stderr


def test_plan(inputs: Path) -> None:
    result = CliRunner().invoke(app, ["plan", str(manifest(inputs)), "--json", "--set", "chunk_seconds=0.5"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert len(found["jobs"]) == 6
    assert len(found["errors"]) == 3
    assert found["jobs"][0]["frames"] == 30
    assert found["jobs"][0]["chunks"] == 3
    assert found["total"]["frames"] == sum(job["frames"] for job in found["jobs"])
    assert all(seconds > 0 for job in found["jobs"] for seconds in job["seconds"].values())
    asked = ["plan", str(manifest(inputs)), "--set", "restore=gfpgan", "--cores", "8", "--gpus", "2"]
    total = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)["total"]
    assert (total["cluster"], total["cores"], total["gpus"]) == ("1x2xH100:8cpu", 8, 2)
    said = CliRunner().invoke(app, asked).stdout
    assert "on 1x2xH100:8cpu: 8 cores, 2 GPUs" in said
    assert said.splitlines()[-1].startswith("predicted, not measured: H100")
