"""Flags that stand for manifest fields: what they become, and what submit understands of those it hands on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.cluster.commands.fields import FIELD_FLAGS, chosen, default_of, flag_of, is_switch, panel_of
from raydub.cluster.ordering import run_options
from raydub.errors import Code, UsageError
from raydub.manifests.options import FIELDS, Options, choices
from tests.cluster.fake_jobs import FakeJobs


def said_by(*arguments: str) -> dict[str, str]:
    """The fields that `run` would take from these flags."""
    said = run_options(["jobs.jsonl", *arguments])
    return FIELD_FLAGS.build({one.name: said[one.name] for one in FIELD_FLAGS.parameters})


def test_flags_become_fields() -> None:
    assert said_by() == {}
    arguments = ["--engine", "wav2lip", "--model", "wav2lip_gan", "--set", "restore-steady=0.5", "--restore", "gfpgan"]
    assert said_by(*arguments, "--upscale", "x2", "--no-smooth", "--overwrite") == {
        "engine": "wav2lip",
        "model": "wav2lip_gan",
        "restore_steady": "0.5",
        "restore": "gfpgan",
        "upscale": "x2",
        "smooth": "false",
        "overwrite": "true",
    }
    assert said_by("--set", "crf=30", "--crf", "20") == {"crf": "20"}


VALUES = {
    "label": "AI dubbed",
    "label_font": "/fonts/sans.ttf",
    "consent": "Ana, contract 12",
    "voice": "anna",
    "language": "es",
    "speakers": "anna=left",
    "bed_audio": "/m.wav",
    "loudness": "-20",
    "model": "wav2lip_gan",
    "engine_options": '{"strength": 2}',
    "box": "0 10 0 10",
    "crop": "0 -1 0 -1",
    "resize_height": "480",
    "restore_model": "codeformer",
    "upscale_model": "RealESRGAN_x2plus",
    "outscale": "2",
}
"""For fields that are absent by default."""


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_a_flag(name: str) -> None:
    """And what the flag hands on is a value of the field."""
    value = VALUES.get(name, default_of(name))
    if is_switch(name):
        assert said_by(flag_of(name)) == {name: "true"}
        assert said_by(f"--no-{flag_of(name)[2:]}") == {name: "false"}
        return
    assert said_by(flag_of(name), value) == {name: value}
    assert Options.model_validate({name: value}).model_fields_set == {name}
    if choices(name) and name != "face":
        assert all(said_by(flag_of(name), word) == {name: word} for word in choices(name))


def test_paths_in_flags_start_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike a path in a row, one of the command line starts at the current folder."""
    monkeypatch.chdir(tmp_path)
    place = str(tmp_path)
    for name in ("model", "restore_model", "upscale_model"):
        assert chosen({name: "sub/w.pth"})[name] == f"{place}/sub/w.pth"
        assert chosen({name: "w.pth"})[name] == f"{place}/w.pth"
        assert chosen({name: "WAV2LIP.pth"})[name] == "WAV2LIP.pth"
        assert chosen({name: "nonsense"})[name] == "nonsense"
    (tmp_path / "nonsense").write_bytes(b"x")
    assert chosen({"model": "nonsense"})["model"] == f"{place}/nonsense"
    assert chosen({"bed_audio": "m.wav"})["bed_audio"] == f"{place}/m.wav"
    assert chosen({"bed_audio": "https://x.org/m.wav"})["bed_audio"] == "https://x.org/m.wav"
    assert chosen({"face": "Reference: a.png"})["face"] == f"reference:{place}/a.png"
    assert chosen({"face": "left"})["face"] == "left"
    faces = chosen({"speakers": "anna=reference:a.png; ben=left"})["speakers"]
    assert faces == f"anna=reference:{place}/a.png; ben=left"
    assert chosen({"voice": "anna=v.onnx#2; ben=es"})["voice"] == f"anna={place}/v.onnx#2; ben=es"
    assert chosen({"voice": "a=; =b"})["voice"] == "a=; =b"  # its check will say
    assert chosen({}, ["face=reference:a.png"])["face"] == "reference:a.png"


def test_run_and_dub_have_the_same_flags_in_panels() -> None:
    panels = []
    for name in ("run", "dub"):
        said = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output
        assert [flag for flag in map(flag_of, FIELDS) if flag not in said] == []
        assert "--set" in said
        titles = [line for line in said.splitlines() if line.endswith(":") and not line.startswith(" ")]
        panels.append([title for title in titles if title != "Arguments:"])
        assert {f"{panel_of(field)}:" for field in FIELDS} < set(titles)
    assert panels[0] == panels[1]


@pytest.mark.parametrize("address", [["--address", "auto"], ["--address", "10.0.0.1:6379"]])
def test_cores_are_for_a_local_ray_only(tmp_path: Path, address: list[str]) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps({"video": "v.mp4", "audio": "a.wav", "output": "o.mp4"}) + "\n")
    done = CliRunner().invoke(app, ["run", str(path), "--cpus", "2", *address])
    assert done.exit_code == 2
    assert done.stderr.startswith("[E_FIELD_CONFLICT] field 'cpus'")
    assert not (tmp_path / "jobs.results.jsonl").exists()


def test_a_cluster_is_not_joined_without_ray(tmp_path: Path) -> None:
    arguments = ["dub", "--video", "v.mp4", "--audio", "a.wav", "-o", str(tmp_path / "o.mp4")]
    done = CliRunner().invoke(app, [*arguments, "--no-ray", "--address", "auto"])
    assert (done.exit_code, "field 'address'" in done.stderr) == (2, True)


def test_a_flag_that_contradicts_is_named(tmp_path: Path) -> None:
    arguments = ["dub", "--video", "v.mp4", "--audio", "a.wav", "-o", str(tmp_path / "o.mp4"), "--upscale", "x2"]
    done = CliRunner().invoke(app, [*arguments, "--set", "upscale_denoise=0.5"])
    assert done.exit_code == 2
    assert "E_FIELD_CONFLICT" in done.stderr
    assert "upscale_denoise" in done.stderr


def test_submit_checks_rows_as_the_run_will_read_them(tmp_path: Path, cluster: FakeJobs) -> None:
    """outscale alone contradicts itself; with the flag that is handed on it does not."""
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps({"video": "v.mp4", "audio": "a.wav", "output": "o.mp4", "outscale": 2}) + "\n")
    refused = CliRunner().invoke(app, ["submit", str(path)])
    assert (refused.exit_code, cluster.entrypoint) == (2, "")
    assert "E_FIELD_CONFLICT" in refused.stderr
    taken = CliRunner().invoke(app, ["submit", str(path), "--", "--upscale", "general"])
    assert taken.exit_code == 0, taken.stderr
    assert cluster.entrypoint.endswith("--upscale general --address auto")
    typo = CliRunner().invoke(app, ["submit", str(path), "--", "--upscael", "general"])
    assert typo.exit_code == 2
    assert "--upscael" in typo.stderr


def test_arguments_that_run_refuses() -> None:
    assert run_options(["jobs.jsonl", "--wait-gpu", "600"])["wait_gpu"] == 600
    for arguments in (["jobs.jsonl", "--nope"], ["jobs.jsonl", "--workers", "none"], []):
        with pytest.raises(UsageError) as error:
            run_options(arguments)
        assert error.value.code is Code.FIELD_VALUE
