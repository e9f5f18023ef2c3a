"""`raydub plan --cluster`: what a run takes, and what is wrong with the flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from tests.cluster.clips import SAMPLE, make_clip


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    make_clip(folder / "clip.mp4", 1.0)
    row = {"video": "clip.mp4", "audio": str(SAMPLE / "speech_es.flac")}
    rows = [{**row, "id": name, "output": f"{name}.mp4"} for name in ("a", "b")]
    (folder / "jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "jobs.jsonl"


def planned(jobs: Path, *flags: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["plan", str(jobs), "--json", *flags])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_time_price_bottleneck_and_one_more_node(jobs: Path) -> None:
    flags = ["--cluster", "2xL4:8cpu,0x64cpu", "--price", "gpu=2,cpu=0.5,node=1"]
    total = planned(jobs, *flags)["total"]
    assert total["price"] == pytest.approx(total["estimated_seconds"] / 3600 * 2 * (2 + 4 + 1), abs=0.01)
    assert 0 < total["first_seconds"] <= total["estimated_seconds"]
    assert [one["node"] for one in total["one_more_node"]] == ["L4:8cpu", "64cpu"]
    assert total["bottleneck"]["seconds"] <= total["estimated_seconds"]
    assert total["predicted"] == ["L4, as fast as 86 cores in most networks"]
    said = CliRunner().invoke(app, ["plan", str(jobs), *flags]).stdout
    for words in ("on 2xL4:8cpu,0x64cpu: 16 cores, 2 GPUs", "the first video after", "; price ", "bottleneck: "):
        assert words in said
    for words in ("one more L4:8cpu: ", "one more 64cpu: ", "predicted, not measured: L4"):
        assert words in said


def test_nobody_speaks_in_a_video_without_sound(tmp_path: Path) -> None:
    make_clip(tmp_path / "mute.mp4", 0.2, side=64)
    row = {"video": "mute.mp4", "audio": str(SAMPLE / "speech_es.flac"), "output": "o.mp4", "face": "active"}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(row))
    with av.open(str(tmp_path / "mute.mp4")) as film:
        assert not film.streams.audio
    done = CliRunner().invoke(app, ["plan", str(tmp_path / "jobs.jsonl")])
    assert "[E_VIDEO_NO_SOUND]" in done.stderr
    assert done.exit_code != 0


def test_without_ray_and_with_given_costs(jobs: Path, tmp_path: Path) -> None:
    one, two = (planned(jobs, "--no-ray", "--workers", count, "--cluster", "1x4cpu") for count in ("1", "2"))
    assert one["total"]["workers"] == {"worker": 1}
    assert two["total"]["estimated_seconds"] < one["total"]["estimated_seconds"]
    assert one["total"]["one_more_node"] == []
    file = tmp_path / "costs.json"
    file.write_text(json.dumps({**one["costs"], "start": {"local": 500.0}}))
    slow = planned(jobs, "--no-ray", "--workers", "1", "--cluster", "1x4cpu", "--costs", str(file))
    assert slow["total"]["estimated_seconds"] - one["total"]["estimated_seconds"] == pytest.approx(499, abs=3)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--cluster", "8xH100"], "group 1, '8xH100': the cores of a node are missing"),
        (["--cluster", "1x4cpu,x"], "group 2, 'x'"),
        (["--cluster", "1xX9:4cpu"], "no costs for the GPU X9"),
        (["--cluster", "1x4cpu", "--cores", "4"], "--cluster says what --cores and --gpus say"),
        (["--cluster", "1x4cpu", "--price", "L4=2"], "L4 is none of gpu, cpu, node"),
        (["--cluster", "2x4cpu", "--no-ray"], "--no-ray runs on one node"),
        (["--gpus", "100000000"], "a node with GPUs has 1 to 64"),
        (["--cores", "100000000"], "a node has 1 to 4096 cores"),
        (["--price", "gpu=nan"], "is not NAME=NUMBER"),
        (["--price", "gpu=-1"], "is not NAME=NUMBER"),
        (["--price", "gpu=inf"], "is not NAME=NUMBER"),
        (["--costs", "none.toml"], "costs none.toml cannot be read"),
    ],
)
def test_wrong_flags(jobs: Path, flags: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["plan", str(jobs), *flags])
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_more_workers_than_there_is_work(jobs: Path) -> None:
    found = planned(jobs, "--no-ray", "--workers", "999999999", "--cluster", "1x4cpu")["total"]
    assert found["workers"]["worker"] <= found["jobs"] + found["chunks"]
    assert found["estimated_seconds"] > 0


def test_measuring_needs_a_sound_file(jobs: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("hello there")
    row = {"id": "a", "video": str(jobs.parent / "clip.mp4"), "script": "lines.txt", "output": "a.mp4", "tts": "espeak"}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(row) + "\n")
    result = CliRunner().invoke(app, ["plan", str(tmp_path / "jobs.jsonl"), "--measure"])
    assert result.exit_code == 2
    assert "--measure needs a job with a sound file" in result.stderr


@pytest.mark.slow
def test_measured_here(jobs: Path) -> None:
    found = planned(jobs, "--measure", "--cluster", "1x2cpu")
    costs, usual = found["costs"], planned(jobs, "--cluster", "1x2cpu")["costs"]
    assert costs["source"].endswith("of this machine, 10 s of a")
    changed = {name for name, cost in costs["stages"].items() if cost != usual["stages"][name]}
    assert changed == {"prepare:own", "track", "lipsync:own", "render:own", "stitch"}
    assert 0.3 < costs["efficiency"] <= 1
    assert 0.1 < costs["start"]["worker"] < 30
