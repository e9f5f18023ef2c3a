"""What stands where a command writes of its own accord is replaced where raydub made it, and stays where it did not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from safetensors.numpy import save_file
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.cluster.commands import demo
from raydub.manifests.results import read_results
from tests.cluster.clips import make_clip

MINE = "my own notes\n"
ROW = {"video": "none.mp4", "audio": "none.wav", "output": "o.mp4"}
OWN_ROWS = json.dumps({"id": "a", "status": "ok", "mine": 1}) + "\n"


def raydub(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def manifest(path: Path) -> Path:
    """A manifest of which no job can begin, so that there is no work folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(ROW) + "\n")
    return path


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "E_OUTPUT_EXISTS" in result.stderr
    for word in words:
        assert word in result.stderr.replace("\n", "")


@pytest.mark.parametrize("content", [MINE, json.dumps(ROW) + "\n", OWN_ROWS, "\n"])
@pytest.mark.parametrize("end", ["jsonl", "parquet", "failed.jsonl"])
@pytest.mark.parametrize("name", ["m.results", "other"])
def test_a_file_of_the_users_is_not_replaced_by_results(name: str, end: str, content: str, tmp_path: Path) -> None:
    own = tmp_path / f"{name}.{end}"
    own.write_text(content)
    result = raydub("run", manifest(tmp_path / "m.jsonl"), "--no-ray", "--results", tmp_path / name)
    refused(result, str(own), "--results")
    assert own.read_text() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["m.jsonl", own.name])


@pytest.mark.parametrize("lost", [(), ("parquet",), ("parquet", "failed.jsonl"), ("jsonl",), ("failed.jsonl",)])
def test_own_results_are_replaced_also_those_of_a_run_that_was_killed(lost: tuple[str, ...], tmp_path: Path) -> None:
    asked = ["run", manifest(tmp_path / "m.jsonl"), "--no-ray"]
    assert raydub(*asked).exit_code == 1
    (tmp_path / "m.jsonl").write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, "output": "p.mp4"}) + "\n")
    for end in lost:
        (tmp_path / f"m.results.{end}").unlink()
    assert raydub(*asked).exit_code == 1
    for end in ("jsonl", "parquet"):
        assert len(read_results(tmp_path / f"m.results.{end}")) == 2
    assert len((tmp_path / "m.results.failed.jsonl").read_text().splitlines()) == 2


def test_results_of_another_manifest_are_kept_whatever_the_work_folder_is(tmp_path: Path) -> None:
    """No job of either can begin: nothing but the results themselves says whose they are."""
    first, second = manifest(tmp_path / "de" / "m.jsonl"), manifest(tmp_path / "es" / "m.jsonl")
    out = ["--no-ray", "--output-root", tmp_path / "out"]
    assert raydub("run", first, *out, "--work-dir", tmp_path / "w1").exit_code == 1
    before = (tmp_path / "out" / "m.results.jsonl").read_bytes()
    for folder in ("w1", "w2"):
        refused(raydub("run", second, *out, "--work-dir", tmp_path / folder), str(first))
    assert (tmp_path / "out" / "m.results.jsonl").read_bytes() == before
    # by its own name, by a link, by a name that the user chose, and once the other manifest is gone
    (tmp_path / "linked").symlink_to(first.parent)
    assert raydub("run", tmp_path / "linked" / "m.jsonl", *out).exit_code == 1
    for manifest_of_both in (first, second):
        assert raydub("run", manifest_of_both, *out, "--results", tmp_path / "both").exit_code == 1
    shutil.rmtree(first.parent)
    assert raydub("run", second, *out).exit_code == 1
    refused(raydub("run", manifest(tmp_path / "fr" / "m.jsonl"), *out), str(second))


def test_the_record_of_a_single_job_is_no_input_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / ".raydub" / "results" / "talk.mp4.jsonl"
    script.parent.mkdir(parents=True)
    script.write_text('{"text": "Hello."}\n')
    asked = ["dub", "--video", "none.mp4", "-o", "talk.mp4"]
    result = raydub(*asked, "--script", script, "--tts", "command")
    assert (result.exit_code, "E_FIELD_CONFLICT" in result.stderr) == (2, True), result.stderr
    assert script.read_text() == '{"text": "Hello."}\n'


@pytest.mark.parametrize(
    "asked",
    [
        ["run", "m.jsonl", "--no-ray", "--work-dir", "w", "--results", "w/x"],
        ["dub", "--video", "m.jsonl", "--audio", "m.jsonl", "-o", "o.mp4", "--work-dir", "w", "--results", "w/x"],
        ["tts", "--text", "hi", "--language", "en", "--work-dir", "w", "-o", "w/blobs/a.wav"],
        ["tts", "--text", "hi", "--language", "en", "--work-dir", "w", "-o", "a.wav", "--report", "w/a.json"],
    ],
    ids=" ".join,
)
def test_nothing_is_written_into_a_work_folder_of_another_name(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest(tmp_path / "m.jsonl")
    result = raydub(*asked)
    assert (result.exit_code, "E_OUTPUT_ESCAPES" in result.stderr) == (2, True), result.stderr
    assert not (tmp_path / "w").exists()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused_for(own: Path, *asked: str | Path) -> None:
    """The command refuses to write over `own`, a file of the user's, and writes nothing at all."""
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(MINE)
    before = sorted(Path().rglob("*"))
    refused(raydub(*asked), own.name, "move it")
    assert own.read_text() == MINE
    assert sorted(Path().rglob("*")) == before


def test_a_timing_report_beside_a_sound_takes_only_the_place_of_one(here: Path) -> None:
    beside = here / "x.timing.json"
    asked = ["tts", "--text", "Hello.", "--language", "en", "-o", "x.wav"]
    for content in (MINE, "[]", '{"segments": [], "mix": {}}'):
        refused_for(beside, *asked)
        beside.write_text(content)
        refused(raydub(*asked), "x.timing.json")
        assert beside.read_text() == content
    assert raydub(*asked, "--report", "x.timing.json").exit_code == 0  # it was told to
    assert raydub(*asked).exit_code == 0
    assert json.loads(beside.read_text())["engine"] == "espeak"


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_pictures_take_only_the_place_of_pictures_of_ours(form: str, here: Path) -> None:
    clip = make_clip(here / "c.mp4", 0.2)
    first, asked = here / "pics" / f"000000.{form}", ["frames", "extract", clip, "-o", "pics", "--format", form]
    for name in ("000001", "000777", "1000000"):
        refused_for(here / "pics" / f"{name}.{form}", *asked)
        (here / "pics" / f"{name}.{form}").rename(here / "pics" / f"my-{name}.{form}")
    refused_for(here / "pics" / "000000.PNG", "frames", "clean", clip, "-o", "pics")
    (here / "pics" / "000000.PNG").unlink()
    assert raydub(*asked).exit_code == 0
    made = first.read_bytes()
    decoded = cv2.imread(str(first))
    assert raydub(*asked).exit_code == 0
    assert first.read_bytes() == made
    # whoever has worked on a picture has one of his own
    cv2.imwrite(str(first), decoded)
    refused(raydub(*asked), first.name)
    first.write_bytes(made[:-20] + b"x" + made[-19:])
    refused(raydub(*asked), first.name)


def test_trained_weights_of_no_chosen_name_take_only_the_place_of_such(here: Path) -> None:
    (here / "clips").mkdir()
    refused_for(here / "mouth.safetensors", "train", "clips")
    save_file({"a": np.zeros(3)}, "mouth.safetensors", {"config": "{}"})
    assert "E_OUTPUT_EXISTS" not in raydub("train", "clips").stderr


@pytest.fixture
def sample(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A demo of one job, which fails at once, and its output folder."""
    (here / "sample").mkdir()
    (here / "sample" / "v.mp4").write_text("video")
    (here / "sample" / "a.wav").write_text("speech")
    row = {"id": "d", "video": "v.mp4", "audio": "a.wav", "output": "d.mp4"}
    (here / "sample" / "jobs.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setattr(demo, "_sample", lambda: here / "sample")
    (here / "out").mkdir()
    return here / "out"


@pytest.mark.parametrize("fresh", [["--fresh"], []])
def test_the_demo_replaces_only_what_it_made(sample: Path, fresh: list[str]) -> None:
    asked = ["demo", "--no-ray", "-o", "out", "--json", *fresh]
    for name in ("d.png", "results.jsonl", "results.parquet"):
        refused_for(sample / name, *asked)
        (sample / name).unlink()
    (sample / "d.mp4").write_text(MINE)
    assert raydub(*asked).exit_code == 1
    assert (sample / "d.mp4").read_text() == MINE


def test_the_row_of_dub_replaces_only_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a work folder that outputs of one name in several folders share."""
    monkeypatch.chdir(tmp_path)
    for name in ("v.mp4", "a.wav"):
        (tmp_path / name).write_bytes(b"neither video nor sound")
    asked = ["dub", "--video", "v.mp4", "--audio", "a.wav", "--work-dir", "w", "-o"]
    for output in ("e/x.mp4", "f/x.mp4"):
        assert raydub(*asked, output).exit_code == 1
    rows = {json.loads(row.read_text())["output"]: row for row in (tmp_path / "w" / "results").iterdir()}
    assert set(rows) == {str(tmp_path / folder / "x.mp4") for folder in "ef"}
    theirs = rows[str(tmp_path / "e" / "x.mp4")]
    theirs.write_text(MINE)
    refused(raydub(*asked, "e/x.mp4"), theirs.name)
    assert theirs.read_text() == MINE


def test_the_output_is_not_the_work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "v.mp4", 0.4)
    result = raydub("dub", "--video", "v.mp4", "--audio", "v.mp4", "-o", "o.mp4", "--work-dir", "o.mp4", "--no-ray")
    assert "E_OUTPUT_ESCAPES" in result.stderr
    assert result.exit_code in (1, 2)
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize("name", ["n" * 252 + ".mp4", "d/" * 2100 + "o.mp4"])
def test_a_name_that_no_file_can_have(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = raydub("dub", "--video", "v.mp4", "--audio", "v.mp4", "-o", name)
    assert (result.exit_code, "E_FIELD_VALUE" in result.stderr) == (2, True), result.stderr
    assert "output" in result.stderr
    assert "E_FIELD_VALUE" in raydub("clean", name).stderr
