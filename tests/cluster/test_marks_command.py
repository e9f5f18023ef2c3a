"""Signed runs, required consent, and `raydub verify`, by the command line and from Python."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import raydub
from raydub.cluster.cli import app
from raydub.cluster.commands.verify import EXIT_CODES
from raydub.cluster.ordering import order_for
from raydub.errors import Code, UsageError
from raydub.manifests.results import read_results
from raydub.process import kept_environment
from raydub.stages.marks.signing import CERT_VARIABLE, KEY_VARIABLE
from tests.cluster.clips import make_clip, make_speech
from tests.stages.marks.certificates import make

FACTS = ("made by", "what it is", "engine", "weights", "source", "speech", "consent", "signed by", "record", "file")


def call(*arguments: object) -> Any:
    """Run a command; what it leaves in the environment of its process is taken back."""
    with kept_environment((CERT_VARIABLE, KEY_VARIABLE)):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run of three rows, of which two state consent, with its outcome."""
    folder = tmp_path_factory.mktemp("marks")
    make_clip(folder / "clip.mp4", 0.4, side=128)
    make_speech(folder / "es.wav", 0.4, language="es")
    make().write(folder)
    same = {"video": "clip.mp4", "audio": "es.wav", "engine": "warp"}
    rows = [
        {**same, "output": "a.mp4", "consent": "Ana", "label": "AI", "label_size": 0.08},
        {**same, "output": "b.mkv", "consent": {"who": "Ben"}},
        {**same, "output": "c.mp4"},
    ]
    (folder / "jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder, call(*command(folder))


def command(folder: Path, *more: object) -> list[object]:
    signed = ["--c2pa-cert", folder / "cert.pem", "--c2pa-key", folder / "key.pem"]
    return ["run", folder / "jobs.jsonl", "--no-ray", "--workers", 1, "--require-consent", *signed, *more]


def test_a_signed_run(world: tuple[Path, Any]) -> None:
    folder, done = world
    assert done.exit_code == 1, done.output
    assert "[E_CONSENT] job 'c', line 3, field 'consent'" in done.output
    rows = read_results(folder / "jobs.results.parquet")
    assert [(row.status, row.marks, row.consent) for row in rows] == [
        ("ok", ("xmp", "c2pa", "label"), "Ana"),
        ("ok", ("xmp", "c2pa"), '{"who": "Ben"}'),
        ("failed", (), None),
    ]
    assert rows[2].error_code == "E_CONSENT"
    key = (folder / "key.pem").read_text().splitlines()[1]
    written = [path for path in folder.rglob("*") if path.is_file() and path.name != "key.pem"]
    assert not any(key.encode() in path.read_bytes() for path in written)
    assert key not in done.output


def test_verify_on_one_screen(world: tuple[Path, Any]) -> None:
    folder, _ = world
    for name in ("a.mp4", "b.mkv"):
        done = call("verify", folder / name, "--trust", folder / "root.pem")
        assert done.exit_code == EXIT_CODES["intact"] == 0, done.output
        lines = done.stdout.splitlines()
        assert len(lines) < 20
        assert all(any(line.startswith(f"  {fact} ") for line in lines) for fact in FACTS)
        assert "(trusted)" in done.stdout
        assert "the same file" in done.stdout
    assert "who: Ben" in done.stdout
    said = json.loads(call("verify", folder / "a.mp4", "--json").stdout)
    assert (said["verdict"], said["facts_are_signed"], said["facts"]["consent"]) == ("intact", True, "Ana")
    assert said["credentials"]["trusted"] is False


def test_verify_of_others(world: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = world
    plain = call("verify", folder / "clip.mp4")
    assert (plain.exit_code, plain.stdout.splitlines()[0].partition(":")[0]) == (5, "clip.mp4")
    shutil.copy(folder / "b.mkv", tmp_path / "b.mkv")
    assert call("verify", tmp_path / "b.mkv").exit_code == 4
    content = bytearray((folder / "a.mp4").read_bytes())
    content[content.rindex(b"mdat") + 500] ^= 1
    (tmp_path / "a.mp4").write_bytes(content)
    changed = call("verify", tmp_path / "a.mp4")
    assert (changed.exit_code, "ALTERED" in changed.stdout) == (1, True)
    assert "metadata without a signature" in changed.stdout
    (tmp_path / "other.pem").write_text(make().root)
    assert call("verify", folder / "a.mp4", "--trust", tmp_path / "other.pem").exit_code == 6


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["no.mp4"], Code.INPUT_MISSING),
        (["s3://bucket/a.mp4"], Code.NOT_BUILT),
        (["{folder}"], Code.INPUT_UNREADABLE),
        (["{folder}/a.mp4", "--trust", "{folder}/clip.mp4"], Code.FIELD_VALUE),
        (["{folder}/a.mp4", "--trust", "no.pem"], Code.FIELD_VALUE),
    ],
)
def test_wrong_calls_of_verify(world: tuple[Path, Any], arguments: list[str], code: Code) -> None:
    done = call("verify", *(text.format(folder=world[0]) for text in arguments), "--json")
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (2, str(code))


def test_a_certificate_that_cannot_sign_is_found_before_anything_runs(world: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = world
    make(-9, -2).write(tmp_path)
    expired = ["--c2pa-cert", tmp_path / "cert.pem", "--c2pa-key", tmp_path / "key.pem"]
    root = ["--output-root", tmp_path / "out"]
    done = call("run", folder / "jobs.jsonl", "--no-ray", *root, *expired)
    assert done.exit_code == 3
    assert "[E_SIGNER]" in done.stderr
    assert "expired at" in done.stderr
    assert not (tmp_path / "out").exists()
    half = call("run", folder / "jobs.jsonl", "--no-ray", *root, "--c2pa-cert", folder / "cert.pem")
    assert (half.exit_code, "--c2pa-key" in half.stderr) == (2, True)
    key = (folder / "key.pem").read_text()
    pasted = call("run", folder / "jobs.jsonl", "--no-ray", *root, "--c2pa-key", key)
    assert pasted.exit_code == 2
    assert key.splitlines()[1] not in pasted.output


def test_other_ways_to_require_consent(world: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = world
    done = call("validate", folder / "jobs.jsonl", "--require-consent", "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["valid"], [error["code"] for error in said["errors"]]) == (2, 2, ["E_CONSENT"])
    given = ["--video", folder / "clip.mp4", "--audio", folder / "es.wav", "-o", tmp_path / "o.mp4"]
    done = call("dub", *given, "--require-consent")
    assert (done.exit_code, "[E_CONSENT]" in done.stderr) == (2, True)
    with pytest.raises(UsageError) as found:
        raydub.dub(folder / "clip.mp4", audio=folder / "es.wav", output=tmp_path / "o.mp4", require_consent=True)
    assert found.value.code is Code.CONSENT
    order = order_for(str(folder / "jobs.jsonl"), ["--require-consent"])
    assert order.read is not None
    assert [error.code for error in order.read().errors] == [Code.CONSENT]
    with pytest.raises(UsageError, match="relative to a folder of this machine"):
        order_for(str(folder / "jobs.jsonl"), ["--c2pa-key", "key.pem"])


def test_a_label_is_checked_with_the_rows(world: tuple[Path, Any]) -> None:
    done = call("validate", world[0] / "jobs.jsonl", "--label", "дубляж", "--json")
    errors = json.loads(done.stdout)["errors"]
    assert [(error["code"], error["field"], error["line"]) for error in errors] == [
        ("E_FIELD_VALUE", "label", line) for line in (2, 3)
    ]


@pytest.mark.slow
def test_finished_work_is_known_with_its_certificate(world: tuple[Path, Any], tmp_path: Path) -> None:
    folder = world[0]
    again = call(*command(folder))
    assert "2 rows" not in again.stdout
    assert "already finished" in again.stdout, again.output
    (folder / "b.mkv.c2pa").unlink()
    (folder / "jobs.results.jsonl").unlink()
    mended = call(*command(folder))
    assert mended.exit_code == 1
    assert (folder / "b.mkv.c2pa").exists()
    assert call("verify", folder / "b.mkv").exit_code == 0
    assert [row.attempts for row in read_results(folder / "jobs.results.jsonl")] == [0, 1, 0]


@pytest.mark.slow
def test_another_certificate_joins_again_and_draws_nothing(world: tuple[Path, Any], tmp_path: Path) -> None:
    folder = world[0]
    make(name="Another Studio").write(tmp_path)
    other = ["--c2pa-cert", tmp_path / "cert.pem", "--c2pa-key", tmp_path / "key.pem"]
    done = call(*command(folder)[:6], *other)
    assert done.exit_code == 1, done.output
    rows = read_results(folder / "jobs.results.jsonl")
    assert [set(row.seconds) & {"track", "lipsync", "render"} for row in rows] == [set()] * 3
    assert "CN=Another Studio" in call("verify", folder / "a.mp4").stdout
    assert call("verify", folder / "a.mp4", "--trust", folder / "root.pem").exit_code == 6


@pytest.mark.slow
def test_speech_from_a_script_is_in_the_facts(world: tuple[Path, Any], tmp_path: Path) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nHi.\n")
    given = ["--video", world[0] / "clip.mp4", "--script", tmp_path / "s.srt", "-o", tmp_path / "o.mp4"]
    assert call("dub", *given, "--engine", "warp", "--language", "en").exit_code == 0
    said = json.loads(call("verify", tmp_path / "o.mp4", "--json").stdout)
    assert (said["verdict"], said["facts_are_signed"], said["facts"]["tts"]) == ("intact", False, "espeak")
    assert set(said["facts"]["inputs"]) == {"video", "script", "speech"}
