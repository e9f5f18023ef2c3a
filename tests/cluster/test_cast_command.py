"""`raydub cast` with people and times that are given, and what commands say without the network."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.manifests.options import Options
from raydub.manifests.read import read_manifest
from raydub.stages.talkers import Talk, Talker
from tests.cluster.clips import SAMPLE

VTT = """WEBVTT

00:00.000 --> 00:04.000
<v Anna & Co>Hello.

00:04.000 --> 00:08.000
<v Ben>Good evening.

00:10.000 --> 00:12.000
<v Narrator>Meanwhile.
"""


def invoke(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    portrait = np.asarray(cv2.imread(str(SAMPLE / "portrait.png")), np.uint8)
    talkers = []
    for start, stop in ((0, 100), (95, 200), (292, 300)):
        speaks = np.zeros(300, np.bool_)
        speaks[start:stop] = True
        talkers.append(Talker(np.zeros(128, np.float32), speaks, portrait=portrait))

    def found(video: str, work_dir: str, detector: str) -> Talk:
        assert Path(work_dir).is_dir()
        return Talk(Fraction(25), np.ones(300, np.bool_), tuple(talkers))

    monkeypatch.setattr("raydub.stages.talkers.find_talkers", found)
    monkeypatch.setattr("raydub.models.active_speaker.require_active_speaker", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.vtt").write_text(VTT)
    (tmp_path / "talk.mp4").write_bytes(b"a film")
    return tmp_path / "a.vtt"


def test_speakers_get_faces_and_pictures(script: Path) -> None:
    done = invoke("cast", "a.vtt", "talk.mp4")
    assert done.exit_code == 1, "the narrator has no face"
    lines = done.stdout.splitlines()
    assert lines[0] == "Anna & Co  face 1  in 100 % of 4.0 s of lines, confidence high"
    assert lines[1] == "Ben        face 2  in 100 % of 4.0 s of lines, confidence high"
    assert lines[2] == "Narrator   none    nobody in the picture speaks during 2.0 s of lines"
    assert lines[3] == "face 3 speaks for 0.3 s, and no speaker has it (talk.cast/face-3.png)"
    field = json.loads(lines[4])["speakers"]
    assert field["Ben"] == "reference:talk.cast/face-2.png"
    assert field["Narrator"] == "none"
    assert Options(speakers=json.dumps(field)).faces_of() == field
    page = Path(lines[5]).read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "Anna &amp; Co" in page
    assert "http" not in page
    again = invoke("cast", "a.vtt", "talk.mp4", "--json")
    said = json.loads(again.stdout)
    assert [row["confidence"] for row in said["speakers"]] == ["high", "high", "none"]
    assert (said["faces_without_speaker"], said["field"]["speakers"]) == ([3], field)
    Path("talk.cast/cast.html").write_text("mine")
    assert "[E_OUTPUT_EXISTS]" in invoke("cast", "a.vtt", "talk.mp4").stderr
    assert Path("talk.cast/cast.html").read_text() == "mine"


def test_script_and_video_of_a_job(script: Path, tmp_path: Path) -> None:
    row = {"video": "talk.mp4", "script": "a.vtt", "output": "o.mp4", "id": "one"}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(row))
    done = invoke("cast", "--manifest", "jobs.jsonl", "--job", "one", "-o", "out")
    assert "face 2" in done.stdout
    assert (tmp_path / "out" / "cast.html").is_file()
    wrong = invoke("cast", "--manifest", "jobs.jsonl", "--job", "two")
    assert (wrong.exit_code, "[E_FIELD_VALUE]" in wrong.stderr) == (2, True)
    assert "[E_FIELD_MISSING]" in invoke("cast", "a.vtt").stderr
    assert "[E_FIELD_CONFLICT]" in invoke("cast", "a.vtt", "talk.mp4", "--manifest", "jobs.jsonl").stderr


def test_the_proposal_fits_into_the_manifest(script: Path, tmp_path: Path) -> None:
    """Wherever the manifest lies."""
    (tmp_path / "jobs").mkdir()
    row = {"video": "../talk.mp4", "script": "../a.vtt", "output": "o.mp4", "language": "en"}
    (tmp_path / "jobs" / "jobs.jsonl").write_text(json.dumps(row))
    done = invoke("cast", "--manifest", "jobs/jobs.jsonl", "--json")
    field = json.loads(done.stdout)["field"]
    (tmp_path / "jobs" / "jobs.jsonl").write_text(json.dumps({**row, **field}))
    [job] = read_manifest(tmp_path / "jobs" / "jobs.jsonl").jobs
    pictures = [face.partition(":")[2] for face in job.options.faces_of().values() if face != "none"]
    assert len(pictures) == 2
    assert all(Path(picture).is_file() for picture in pictures), pictures


def test_scripts_that_cannot_be_matched(script: Path, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("Anna: Hello.")
    (tmp_path / "c.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello.\n")
    assert "[E_SCRIPT_CUE]" in invoke("cast", "b.txt", "talk.mp4").stderr
    assert "[E_SPEAKER_UNKNOWN]" in invoke("cast", "c.srt", "talk.mp4").stderr


def test_without_the_network_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAYDUB_WEIGHTS", "RAYDUB_CACHE_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.vtt").write_text(VTT)
    for name in ("talk.mp4", "a.wav"):
        (tmp_path / name).write_bytes(b"x")
    rows = [
        {"video": "talk.mp4", "audio": "a.wav", "output": "o.mp4", "face": "active"},
        {"video": "talk.mp4", "script": "a.vtt", "output": "p.mp4", "speakers": "Ben=ACTIVE; *=none", "language": "en"},
    ]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    checked = invoke("validate", "jobs.jsonl", "--json")
    assert [error["code"] for error in json.loads(checked.stdout)["errors"]] == ["E_WEIGHTS_MISSING"] * 2
    done = invoke("run", "jobs.jsonl", "--no-ray")
    assert done.exit_code == 3
    assert done.stderr.count("raydub models pull light_asd") == 2
    for command in (("cast", "a.vtt", "talk.mp4"), ("faces", "talk.mp4", "--speaking")):
        refused = invoke(*command)
        assert (refused.exit_code, "[E_WEIGHTS_MISSING]" in refused.stderr) == (3, True)
