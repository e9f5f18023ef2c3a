"""One namespace: every module is raydub's, whatever lies in the working directory or on the path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("cluster", "manifests", "media", "models", "pipeline", "stages", "tts")


@pytest.mark.parametrize("floor", FLOORS)
def test_root_folders_are_linked_into_the_package(floor: str) -> None:
    assert (ROOT / floor).is_dir()
    assert not (ROOT / floor).is_symlink()
    assert os.readlink(ROOT / "raydub" / floor) == f"../{floor}"


def strangers(folder: Path) -> Path:
    """A folder with packages of the names that raydub's floors have, as any checkout of Wav2Lip has `models/`."""
    for floor in FLOORS:
        (folder / floor).mkdir(parents=True)
        (folder / floor / "__init__.py").write_text("raise SystemExit('a stranger was imported')\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("how", ["folder", "path"])
def test_packages_of_the_same_names_are_not_ours(tmp_path: Path, how: str) -> None:
    """In the working directory (workers of Ray), on PYTHONPATH (a child of the plain loop); and a speech engine."""
    there = strangers(tmp_path / "there")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(there), str(ROOT)])}
    more = ["--no-ray"]
    if how == "folder":
        environment["PYTHONPATH"], more = os.pathsep.join(["", str(ROOT)]), []
    demo = ROOT / "examples" / "demo"
    (there / "hola.txt").write_text("hola")
    row = {"video": str(demo / "clip.mp4"), "audio": str(demo / "speech_es.flac"), "output": "o.mp4", "length": "video"}
    (there / "m.jsonl").write_text(json.dumps(row) + "\n")
    call = [sys.executable, "-m", "raydub.cluster.cli"]
    run = subprocess.run(
        [*call, "run", "m.jsonl", *more, "--json"], cwd=there, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert (there / "o.mp4").exists()
    speak = subprocess.run(
        [*call, "tts", "hola.txt", "--language", "es", "-o", "hola.wav"],
        cwd=there,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert speak.returncode == 0, speak.stderr


def test_a_wheel_holds_one_package(tmp_path: Path) -> None:
    """And with it what it reads: weights, catalogue, types. Built from a copy, so that the checkout stays clean."""
    pytest.importorskip("setuptools", minversion="77")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    archive = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True).stdout
    packed = subprocess.run(
        ["tar", "--null", "-T", "-", "-cf", "-"], cwd=ROOT, input=archive, capture_output=True, check=True
    ).stdout
    (tmp_path / "copy").mkdir()
    subprocess.run(["tar", "-xf", "-"], cwd=tmp_path / "copy", input=packed, check=True)
    build = "import setuptools.build_meta as m, sys; print(m.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=tmp_path / "copy", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"raydub", "raydub-0.1.0.dist-info"}
    inside = {name.removeprefix("raydub/") for name in names}
    ours = [name for name in listed.stdout.split() if name.split("/")[0] in FLOORS and name.endswith(".py")]
    assert [name for name in ours if name not in inside] == []
    assert {"models/mouth/mouth.safetensors", "models/catalogue.json"} <= inside
