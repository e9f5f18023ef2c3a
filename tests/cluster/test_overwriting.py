"""No command writes over one of its inputs, by whatever name, link or case; nor into raydub's own work folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from tests.cluster.clips import make_clip

FILES = (
    "video.mp4",
    "speech.wav",
    "lines.srt",
    "lines.jsonl",
    "lines.failed.jsonl",
    "lines.timing.json",
    "bed.mkv",
    "face.png",
    "voice.onnx",
    "voice.onnx.json",
    "weights.mov",
    "shots/1.png",
    "shots/2.png",
    "clips/a.mp4",
    "000000.png",
)
ROW = {"video": "video.mp4", "audio": "speech.wav", "output": "new.mp4"}
SPOKEN = {"video": "video.mp4", "script": "lines.srt", "output": "new.mp4"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files that are no media: whoever opens one gets another error."""
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"not touched: {name}")
    (tmp_path / "lines.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello.\n")
    (tmp_path / "lines.timing.json").write_text('{"segments": [{"text": "Hello.", "start": 0, "end": 1}]}')
    said = [{"text": "a", "voice": "../voice.onnx#3"}, {"text": "b", "voice": "../linked.onnx"}]
    (tmp_path / "said").mkdir()
    (tmp_path / "said" / "lines.json").write_text(json.dumps(said))
    (tmp_path / "said" / "escaped.txt").write_text(json.dumps(said).replace("onnx", "\\u006fnnx"))
    (tmp_path / "said" / "wide.jsonl").write_text("\n".join(map(json.dumps, said)), encoding="utf-16")
    (tmp_path / "linked.jsonl").write_text("not touched: linked")
    os.link(tmp_path / "linked.jsonl", tmp_path / "linked.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def manifest(folder: Path, *rows: dict[str, str], name: str = "m.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def symlink(goal: str, name: str) -> str:
    os.symlink(os.path.abspath(goal), name)
    return name


def hard_link(goal: str, name: str) -> str:
    os.link(goal, name)
    return name


def plainly(goal: str, name: str) -> str:
    return goal


def elsewhere(goal: str, name: str) -> str:
    """By a folder that is a symlink."""
    os.symlink(os.getcwd(), "other")
    return os.path.join("other", goal)


def shouted(goal: str, name: str) -> str:
    stem, dot, suffix = goal.rpartition(".")
    return f"{stem.upper()}{dot}{suffix}"


WAYS = [plainly, symlink, hard_link, elsewhere, shouted]

# What it is; arguments, in which {out} stands for another name of the file `goal`; `goal`, "" where the arguments name
# it; the row of the manifest.
TABLE: list[tuple[str, list[str], str, dict[str, str]]] = [
    ("run, results over the manifest", ["run", "m.jsonl", "--results", "{stem}"], "m.jsonl", ROW),
    (
        "run, results over a script",
        ["run", "m.jsonl", "--results", "{stem}"],
        "lines.jsonl",
        {**SPOKEN, "script": "lines.jsonl"},
    ),
    (
        "run, failed rows over a script",
        ["run", "m.jsonl", "--results", "lines"],
        "lines.failed.jsonl",
        {**SPOKEN, "script": "lines.failed.jsonl"},
    ),
    (
        "dub, results over a script",
        ["dub", "--video", "video.mp4", "--script", "lines.jsonl", "-o", "new.mp4", "--results", "{stem}"],
        "lines.jsonl",
        {},
    ),
    ("dub over the video", ["dub", "--video", "video.mp4", "--audio", "speech.wav", "-o", "{out}"], "video.mp4", {}),
    ("dub over the speech", ["dub", "--video", "video.mp4", "--audio", "bed.mkv", "-o", "{out}"], "bed.mkv", {}),
    (
        "dub over the bed",
        [
            "dub",
            "--video",
            "video.mp4",
            "--script",
            "lines.srt",
            "--bed",
            "mix",
            "--set",
            "bed_audio=bed.mkv",
            "-o",
            "{out}",
        ],
        "bed.mkv",
        {},
    ),
    (
        "dub over the weights",
        [
            "dub",
            "--video",
            "video.mp4",
            "--audio",
            "speech.wav",
            "--engine",
            "wav2lip",
            "--model",
            "./weights.mov",
            "-o",
            "{out}",
        ],
        "weights.mov",
        {},
    ),
    (
        "dub over the reference",
        ["dub", "--video", "video.mp4", "--audio", "speech.wav", "--set", "face=reference:bed.mkv", "-o", "{out}"],
        "bed.mkv",
        {},
    ),
    ("frames clean over the video", ["frames", "clean", "video.mp4", "-o", "{out}"], "video.mp4", {}),
    ("frames extract over a picture", ["frames", "extract", "000000.png", "-o", "."], "", {}),
    ("frames extract into its folder", ["frames", "extract", "shots", "-o", "shots"], "", {}),
    ("frames clean into its folder", ["frames", "clean", "shots", "-o", "shots/"], "", {}),
    ("timeline over its results", ["timeline", "face.png", "-o", "{out}"], "face.png", {}),
    (
        "tts, sound over the bed",
        ["tts", "lines.srt", "--video", "bed.mkv", "--bed", "mix", "--set", "bed_audio=speech.wav", "-o", "{out}"],
        "speech.wav",
        {},
    ),
    ("tts, report over the script", ["tts", "lines.srt", "-o", "new.wav", "--report", "{out}"], "lines.srt", {}),
    ("tts, report of its own accord", ["tts", "lines.timing.json", "-o", "lines.wav"], "", {}),
    *(
        (
            f"tts, report over a voice of a segment, {named}",
            ["tts", script, "--tts", "piper", "--language", "es", "-o", "new.wav", "--report", "{out}"],
            named,
            {},
        )
        for script in ("said/lines.json", "said/escaped.txt", "said/wide.jsonl")
        for named in ("voice.onnx", "voice.onnx.json")
    ),
    (
        "tts, report over a voice",
        ["tts", "lines.srt", "--tts", "piper", "--voice", "voice.onnx", "-o", "new.wav", "--report", "{out}"],
        "voice.onnx.json",
        {},
    ),
    ("train, report over a clip", ["train", "clips", "-o", "new.safetensors", "--report", "{out}"], "clips/a.mp4", {}),
]
CASES = [(row[0], *row[1:], way) for row in TABLE for way in (WAYS if row[2] else [plainly])]


@pytest.mark.parametrize(
    ("arguments", "goal", "row", "way"),
    [case[1:] for case in CASES],
    ids=[f"{case[0]}, {case[4].__name__}" for case in CASES],
)
def test_no_command_writes_over_its_inputs(
    arguments: list[str], goal: str, row: dict[str, str], way: Callable[[str, str], str], here: Path
) -> None:
    manifest(here, row or ROW)
    if goal:
        out = way(goal, f"other{Path(goal).suffix}")
        arguments = [text.format(out=out, stem=out.removesuffix(".jsonl")) for text in arguments]
    before = contents(here)
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, "E_FIELD_CONFLICT" in result.stderr) == (2, True), result.stderr
    assert "overwrit" in result.stderr
    assert contents(here) == before


@pytest.mark.parametrize("field", ["audio", "bed_audio", "face", "model"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_row_writes_over_an_input_of_another(field: str, way: Callable[[str, str], str], here: Path) -> None:
    other = {**SPOKEN, "bed": "mix", field: "bed.mkv", "output": "second.mp4"}
    if field == "audio":
        del other["script"]
    other[field] = {"face": "reference:bed.mkv", "model": "./bed.mkv"}.get(field, "bed.mkv")
    if field == "model":
        other["engine"] = "wav2lip"
    manifest(here, {**ROW, "output": way("bed.mkv", "other.mkv")}, other)
    before = contents(here)
    result = CliRunner().invoke(app, ["validate", "m.jsonl"])
    assert result.exit_code == 2
    assert "[E_FIELD_CONFLICT] job" in result.stderr
    assert "line 1, field 'output'" in result.stderr
    assert "of line 2 and would be overwritten" in result.stderr
    assert contents(here) == before


def test_results_over_a_voice_of_a_segment(here: Path) -> None:
    """By a link: results end otherwise than voices do."""
    manifest(here, {**ROW, "output": "first.mp4"}, {**SPOKEN, "script": "said/lines.json"})
    before = contents(here)
    result = CliRunner().invoke(app, ["run", "m.jsonl", "--results", "linked"])
    assert (result.exit_code, "E_FIELD_CONFLICT" in result.stderr) == (2, True), result.stderr
    assert "is a voice in the script of line 2 and would be overwritten" in result.stderr.replace("\n", " ")
    assert contents(here) == before


def test_a_picture_of_a_folder_that_is_read_is_an_input(here: Path) -> None:
    from raydub.places import Inputs

    inputs = Inputs()
    inputs.add_folder("the video", "shots", {".png"})
    os.link("shots/1.png", "linked.png")
    found = [
        inputs.at(path) for path in ("shots/1.png", "shots/3.png", "linked.png", "shots", "shots/out.mp4", "x.png")
    ]
    assert found == ["a file in the video"] * 3 + ["the video", None, None]


def test_two_outputs_of_one_command_are_two_files(here: Path) -> None:
    result = CliRunner().invoke(app, ["tts", "lines.srt", "-o", "new.wav", "--report", "./new.wav"])
    assert result.exit_code == 2
    assert "would be written twice" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["dub", "--video", "video.mp4", "--audio", "speech.wav", "-o", ".raydub/new.mp4"],
        ["dub", "--video", "video.mp4", "--audio", "speech.wav", "-o", ".raydub/jobs/x/new.mp4"],
        ["dub", "--video", "video.mp4", "--audio", "speech.wav", "-o", ".Raydub/new.mp4"],
        ["dub", "--video", "video.mp4", "--audio", "speech.wav", "-o", "new.mp4", "--results", ".raydub/r"],
        ["run", "m.jsonl", "--results", ".raydub/r"],
        ["run", "m.jsonl", "--output-root", ".raydub/parts"],
        ["frames", "clean", "video.mp4", "-o", ".raydub/new.mp4"],
        ["frames", "extract", "video.mp4", "-o", ".raydub"],
        ["timeline", "face.png", "-o", ".raydub/t.png"],
        ["tts", "lines.srt", "-o", ".raydub/new.wav"],
        ["tts", "lines.srt", "-o", "new.wav", "--report", ".raydub/new.json"],
        ["train", "clips", "-o", ".raydub/new.safetensors"],
    ],
    ids=" ".join,
)
def test_nothing_is_written_into_the_work_folder(arguments: list[str], here: Path) -> None:
    manifest(here, ROW)
    result = CliRunner().invoke(app, arguments)
    assert "E_OUTPUT_ESCAPES" in result.stderr
    assert "work folder" in result.stderr
    assert result.exit_code == 2
    assert not Path(".raydub/r.jsonl").exists()


def test_nor_into_a_work_folder_of_another_name(here: Path) -> None:
    (here / "speech.wav").write_bytes(b"RIFF no sound")
    manifest(here, {**ROW, "output": "work/jobs/new.mp4"}, {**ROW, "output": "work.mp4", "id": "beside"})
    result = CliRunner().invoke(app, ["run", "m.jsonl", "--no-ray", "--work-dir", "work", "--json"])
    found = json.loads(result.stdout)["results"]
    assert found[0]["error_code"] == "E_OUTPUT_ESCAPES"
    assert found[1]["error_code"] != "E_OUTPUT_ESCAPES"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["dub", "--video", "video.mp4", "--audio", "speech.wav", "--overwrite", "-o", "o.mp4", "--no-ray"], "o.mp4"),
        (["dub", "--video", "video.mp4", "--audio", "speech.wav", "-o", "new.mp4", "--results", "r"], "r.parquet"),
        (["run", "m.jsonl"], "m.results.jsonl"),
        (["run", "m.jsonl", "--results", "r"], "r.failed.jsonl"),
        (["frames", "clean", "video.mp4", "-o", "o.mp4"], "o.mp4"),
        (["frames", "extract", "video.mp4", "-o", "pics"], "pics"),
        (["timeline", "face.png", "-o", "t.png"], "t.png"),
        (["tts", "lines.srt", "-o", "o.wav"], "o.wav"),
        (["tts", "lines.srt", "-o", "o.wav"], "o.timing.json"),
        (["tts", "--text", "hi", "--language", "en", "-o", "o.wav", "--report", "n"], "n"),
        (["train", "clips", "-o", "o.safetensors"], "o.safetensors"),
        (["train", "clips", "--report", "n"], "n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_pipe_is_not_replaced_by_a_file(arguments: list[str], name: str, here: Path) -> None:
    """Told before any work: none of the inputs is what it says it is, and nobody looks."""
    manifest(here, ROW)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(name)
    before = contents(here)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0
    said = ("is a named pipe", "cannot write in the folder") if name == "pics" else ("is a named pipe",)
    assert "[E_" in result.stderr
    assert any(text in result.stderr for text in said)
    assert Path(name).is_fifo()
    assert {path: digest for path, digest in contents(here).items() if path in before} == before


def test_the_two_that_were_found(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "t.mp4", 0.4)
    manifest(tmp_path, {**ROW, "video": "t.mp4"})
    before = contents(tmp_path)
    cleaned = CliRunner().invoke(app, ["frames", "clean", str(clip), "-o", str(clip)])
    ran = CliRunner().invoke(app, ["run", str(tmp_path / "m.jsonl"), "--no-ray", "--results", str(tmp_path / "m")])
    assert (cleaned.exit_code, ran.exit_code) == (2, 2)
    assert contents(tmp_path) == before


def test_weights_in_their_own_folder_are_not_imported_over_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path))
    (tmp_path / "own.onnx").write_bytes(b"\x08\x07\x12\x07pytorch" + b"x" * 5000)
    (tmp_path / "own.onnx.json").write_text('{"audio": {"sample_rate": 16000}}')
    before = contents(tmp_path)
    result = CliRunner().invoke(app, ["models", "import", str(tmp_path / "own.onnx")])
    assert result.exit_code == 2
    assert "is in the weights folder already" in result.stderr
    assert {name: digest for name, digest in contents(tmp_path).items() if name in before} == before


def test_the_sheet_of_the_demo_is_no_input_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raydub.cluster.commands import demo

    (tmp_path / "d.png").write_text("a picture")
    (tmp_path / "s.wav").write_text("a sound")
    (tmp_path / "jobs.jsonl").write_text(json.dumps({"video": "d.png", "audio": "s.wav", "output": "d.mp4"}) + "\n")
    monkeypatch.setattr(demo, "_sample", lambda: tmp_path)
    before = contents(tmp_path)
    result = CliRunner().invoke(app, ["demo", "--no-ray", "-o", str(tmp_path)])
    assert result.exit_code == 2
    assert "would be overwritten" in result.stderr
    assert contents(tmp_path) == before


@pytest.mark.parametrize("results", ["", ".", "/", "..", "./..", "new.mp4/x", "new.mp4/a/x", "video.mp4/x"])
@pytest.mark.parametrize(
    "call", [["run", "m.jsonl"], ["dub", "--video", "video.mp4", "--audio", "speech.wav", "-o", "new.mp4"]]
)
def test_results_have_a_name_and_no_file_for_a_folder(results: str, call: list[str], here: Path) -> None:
    manifest(here, ROW)
    before = contents(here)
    said = CliRunner().invoke(app, [*call, "--results", results])
    assert said.exit_code == 2, said.stderr
    assert "'results'" in said.stderr
    assert contents(here) == before
