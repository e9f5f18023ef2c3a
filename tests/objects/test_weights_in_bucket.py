"""Weights and voices in buckets: used through their copies, and identified by their content."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.errors import Code, DependencyError, InputError
from raydub.identity import identify
from raydub.models.mouth.embedded import EMBEDDED
from raydub.models.mouth.infer import MouthShapes
from raydub.models.store.locate import known_digest, locate
from raydub.objects.bucket import bucket_of
from raydub.objects.near import copy_of, pin
from raydub.stages.lipsync.select import make_engine
from raydub.tts.engines.deciding import decided_by, own_files
from raydub.tts.engines.host import HostedEngine
from raydub.tts.engines.voices import find_voice
from raydub.tts.scripts.read import read_script
from tests.cluster.clips import make_clip
from tests.tts.engines_support import piper_voice


@pytest.mark.slow
def test_weights_are_known_by_their_content(s3: str, tmp_path: Path) -> None:
    from tests.test_laws import wav2lip

    wav2lip(tmp_path)
    address, bucket = f"{s3}/models/narrow.pth", bucket_of(s3)
    bucket.put_file("models/narrow.pth", tmp_path / "narrow.pth")
    found = locate(address)
    assert (found.name, found.sha256) == ("narrow.pth", identify(tmp_path / "narrow.pth").sha256)
    assert known_digest(address) == found.sha256
    engine = make_engine("auto", address, backend="torch")
    assert [record.sha256 for record in engine.weights()] == [found.sha256]
    engine.load("cpu")
    bucket.put("models/narrow.pth", b"<!DOCTYPE html><html>")
    for call in (lambda: locate(address), lambda: known_digest(address), engine.weights):
        with pytest.raises(DependencyError) as caught:
            call()
        assert caught.value.code is Code.WEIGHTS_REFUSED
    bucket.delete("models/narrow.pth")
    with pytest.raises(DependencyError, match=address) as caught:
        locate(address)
    assert caught.value.code is Code.WEIGHTS_MISSING


def test_mouth_shapes(s3: str) -> None:
    bucket_of(s3).put_file("own.safetensors", EMBEDDED)
    assert MouthShapes.load(f"{s3}/own.safetensors").sha256 == MouthShapes.load().sha256
    [record] = make_engine("warp", f"{s3}/own.safetensors").weights()
    assert record.sha256 == MouthShapes.load().sha256


@pytest.fixture
def voice(s3: str, tmp_path: Path) -> tuple[str, Path]:
    """The address of a voice with its configuration, and the same on the disk."""
    pytest.importorskip("onnx", reason="onnx, which builds the tiny networks, is not installed")
    pytest.importorskip("piper", reason="the extra piper is not installed")
    path = piper_voice(tmp_path / "own.onnx")
    for name in ("own.onnx", "own.onnx.json"):
        bucket_of(s3).put_file(f"voices/{name}", tmp_path / name)
    return f"{s3}/voices/own.onnx", path


@pytest.mark.slow
def test_a_voice(s3: str, voice: tuple[str, Path]) -> None:
    address, path = voice
    assert decided_by("piper", address) == decided_by("piper", str(path))
    made = []
    for name in (address, str(path)):
        with HostedEngine("piper") as engine:
            chosen, tag = find_voice(engine, name, "es")
            made.append(engine.synthesise("Hola a todos.", chosen, tag, 1.0).samples)
    np.testing.assert_array_equal(*made)
    bucket_of(s3).delete("voices/own.onnx.json")
    with HostedEngine("piper") as engine, pytest.raises(DependencyError) as caught:
        find_voice(engine, address, "es")
    assert caught.value.code is Code.WEIGHTS_MISSING


def test_a_voice_for_another_program(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket_of(s3).put("v.onnx", b"network")
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", "sh -c 'cp $0 $1' {voice} {out_wav} {text_file}")
    address = f"{s3}/v.onnx"
    assert address in own_files("command", address)
    before = decided_by("command", address)
    with HostedEngine("command") as engine:
        chosen, tag = find_voice(engine, address, "es")
        with pytest.raises(Exception, match="not an audio file"):
            engine.synthesise("Hola.", chosen, tag, 1.0)
    bucket_of(s3).put("v.onnx", b"another")
    assert decided_by("command", address) != before


def test_voices_in_a_script_start_at_its_folder(s3: str) -> None:
    lines = [{"text": "Hola.", "voice": voice} for voice in ("sub/v.onnx#1", "./v.onnx", "gs://b/v.onnx", "/v.onnx")]
    bucket_of(s3).put("in/talk.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    wanted = [f"{s3}/in/sub/v.onnx#1", f"{s3}/in/v.onnx", "gs://b/v.onnx", "/v.onnx"]
    for path in (f"{s3}/in/talk.jsonl", copy_of(pin(f"{s3}/in/talk.jsonl"))):
        assert [segment.voice for segment in read_script(path).segments] == wanted


@pytest.mark.slow
def test_a_run_with_weights_and_a_voice_from_a_bucket(s3: str, voice: tuple[str, Path], tmp_path: Path) -> None:
    bucket = bucket_of(s3)
    make_clip(tmp_path / "clip.mp4", 1.0)
    bucket.put_file("in/clip.mp4", tmp_path / "clip.mp4")
    bucket.put_file("in/mouth.safetensors", EMBEDDED)
    bucket.put("in/talk.txt", b"Hola a todos.")
    row = {"id": "a", "video": "clip.mp4", "script": "talk.txt", "language": "es", "tts": "piper", "voice": voice[0]}
    row |= {"engine": "warp", "model": "mouth.safetensors", "output": "a.mp4"}
    bucket.put("in/jobs.jsonl", json.dumps(row).encode())
    asked = ["run", f"{s3}/in/jobs.jsonl", "--output-root", f"{s3}/out", "--no-ray", "--json"]
    said = json.loads(CliRunner().invoke(app, asked).stdout)
    [result] = said["results"]
    assert result["status"] == "ok", result
    assert sorted(used["sha256"] for used in result["weights"]) == sorted(
        [identify(EMBEDDED).sha256, identify(voice[1]).sha256]
    )
    assert json.loads(CliRunner().invoke(app, asked).stdout)["finished_before"] == 1
    bucket.delete("voices/own.onnx")
    [result] = json.loads(CliRunner().invoke(app, [*asked, "--fresh"]).stdout)["results"]
    assert result["error_code"] == "E_INPUT_MISSING", result
    assert voice[0] in result["error_message"]


def test_an_absent_voice_is_named(s3: str) -> None:
    from raydub.tts.engines.files import by_path

    for path, code in ((f"{s3}/none.onnx", Code.WEIGHTS_MISSING), ("/none.onnx", Code.VOICE_UNKNOWN)):
        with pytest.raises((DependencyError, InputError)) as caught:
            by_path(path, f"{path}.json")
        assert caught.value.code is code
        assert path in caught.value.message
