"""`raydub faces`: portraits of who is in a picture, and names that the field `face` takes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.manifests.options import Options
from raydub.stages.track.embed import SAME_PERSON, reference_embedding
from tests.cluster.clips import SAMPLE


def invoke(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, ["faces", *map(str, arguments)])


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Two faces beside each other, the right one larger."""
    portrait = cv2.imread(str(SAMPLE / "portrait.png"))
    assert portrait is not None
    small, large = (cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA) for side in (256, 384))
    picture = np.full((384, 640, 3), 90, np.uint8)
    picture[128:, :256], picture[:, 256:] = small, large
    cv2.imwrite(str(tmp_path / "pair.png"), picture)
    return tmp_path / "pair.png"


def test_nobody_is_searched_who_cannot_be_heard(pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("raydub.models.active_speaker.require_active_speaker", lambda: tmp_path)
    assert "[E_VIDEO_NO_SOUND]" in invoke("pair.png", "--speaking").stderr
    assert [path.name for path in tmp_path.iterdir()] == ["pair.png"]


def test_everybody_gets_a_portrait_and_a_name(pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("pair.png", "--json")
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["most_at_once"], [row["number"] for row in said["people"]]) == (2, [1, 2])
    small, large = said["people"]
    assert small["width"] < large["width"]
    assert small["face"] == ["index:0", "reference:pair.faces/face-1.png"]
    assert large["face"] == ["largest", "index:1", "reference:pair.faces/face-2.png"]
    assert all(Options(face=name).face == name for row in said["people"] for name in row["face"])
    # A portrait serves as reference picture.
    one, other = (reference_embedding(row["portrait"]) for row in said["people"])
    assert np.linalg.norm(one - other) < SAME_PERSON
    assert cv2.imread(said["sheet"]).shape == (256 + 36, 512, 3)  # type: ignore[union-attr]
    text = invoke("pair.png").stdout.splitlines()
    assert text[0].startswith(" 1  in 1 of 1 frames, ")
    assert text[0].endswith("face=index:0 or reference:pair.faces/face-1.png")
    assert text[-1] == "pair.faces/sheet.png"


def test_what_is_not_ours_stays(pair: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "face-2.png").write_bytes(b"mine")
    done = invoke(pair, "-o", folder)
    assert done.exit_code == 2
    assert "[E_OUTPUT_EXISTS]" in done.stderr
    assert [path.read_bytes() for path in folder.iterdir()] == [b"mine"]


def test_nobody(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((128, 128, 3), 90, np.uint8))
    done = invoke(tmp_path / "wall.png", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "[E_FACE_NONE]" in done.stderr
    assert not (tmp_path / "out").exists()
