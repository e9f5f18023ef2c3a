"""`raydub timeline`: the table, the JSON document, the picture, and what it says where something is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from raydub.arrays import U8, Bools
from raydub.cluster import plot
from raydub.cluster.cli import app
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE
from raydub.manifests.results import JobResult, write_results
from raydub.stages.job_plan import load_plan, save_plan
from raydub.stages.types import Gate
from tests.kept import blobs_below
from tests.pipeline.test_clean import job
from tests.pipeline.test_timeline import cue, finished

Image = U8
GATES = [Gate(0, 10, 30, 1.0), Gate(0, 30, 33, 0.5), Gate(0, 60, 62, 1.0)]


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["timeline", *map(str, arguments)])


@pytest.fixture
def two(tmp_path: Path) -> str:
    rows = [cue(1, 0.4, 1.2, "left", speaker="Ana"), cue(2, 2.0, 3.0, "right", speaker="Ben")]
    gates = [*GATES, Gate(1, 50, 75, 1.0)]
    return finished(tmp_path, rows, gates, ("left", "right"), bed=[0.0] * 10 + [-12.0] * 20 + [0.0] * 70)


def results(path: Path, *rows: tuple[str, str | None]) -> Path:
    found = [JobResult(id=name, status="ok" if folder else "failed", job_dir=folder) for name, folder in rows]
    write_results(found, path, None)
    return path


def test_the_table(two: str) -> None:
    said = invoke(two)
    assert said.exit_code == EXIT_OK, said.stderr
    lines = [line.split() for line in said.stdout.splitlines()]
    assert lines[0] == ["cue", "speaker", "from", "to", "frames", "left", "right"]
    assert lines[1] == ["1", "Ana", "0.400", "1.200", "20", "20", "0"]
    assert lines[2] == ["2", "Ben", "2.000", "3.000", "25", "2", "25"]
    assert lines[3][-2:] == ["2", "0"]
    # Columns stand below their heads.
    ends = {line.rstrip()[-1:] and len(line.rstrip()) for line in said.stdout.splitlines()}
    assert len(ends) == 1


def test_the_json_document(two: str) -> None:
    said = json.loads(invoke(two, "--json").stdout)
    assert said == {
        "job": "j",
        "segments": [
            {"number": 1, "speaker": "Ana", "start": 0.4, "end": 1.2, "frames": 20}
            | {"synthesised": {"left": 20, "right": 0}},
            {"number": 2, "speaker": "Ben", "start": 2.0, "end": 3.0, "frames": 25}
            | {"synthesised": {"left": 2, "right": 25}},
        ],
        "outside": {"left": 2, "right": 0},
        "picture": "",
    }


def test_every_face_of_one_voice_is_named(tmp_path: Path) -> None:
    folder = finished(tmp_path, [cue(1, 0.4, 1.2)], [Gate(face, 10, 30, 1.0) for face in range(3)])
    said = json.loads(invoke(folder, "--json").stdout)
    assert said["segments"][0]["synthesised"] == {"face 0": 20, "face 1": 20, "face 2": 20}


# -- the picture --------------------------------------------------------------------------------------------------


class Page:
    """A picture's bands from top to bottom, cut by their heights, and their columns by seconds."""

    def __init__(self, path: Path, heights: list[int], begin: float = 0.0, end: float = 4.0) -> None:
        image = cv2.imread(str(path))
        assert image is not None
        assert image.shape == (
            plot._TOP + sum(height + plot._GAP for height in heights),
            plot._LEFT + plot._WIDTH + plot._RIGHT,
            3,
        )
        tops = [plot._TOP]
        for height in heights:
            tops.append(tops[-1] + height + plot._GAP)
        self.ruler = image[: plot._TOP]
        self.bands: list[Image] = [image[top : top + height] for top, height in zip(tops, heights, strict=False)]
        self._begin, self._end = begin, end

    def coloured(self, band: int) -> Bools:
        """(_WIDTH,) bool: the column has something else in it than shades of grey."""
        inside = self.bands[band][:, plot._LEFT : plot._LEFT + plot._WIDTH].astype(int)
        found: Bools = (np.ptp(inside, axis=2) > 40).any(axis=0)
        return found

    def seconds(self, band: int) -> list[tuple[float, float]]:
        """Runs of coloured columns, in seconds to a hundredth."""
        on = np.concatenate([[False], self.coloured(band), [False]])
        edges = np.flatnonzero(on[1:] != on[:-1]) / plot._WIDTH * (self._end - self._begin) + self._begin
        return [(round(float(a), 2), round(float(b), 2)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


TWO_FACES = [plot._CUES, plot._SPEECH, plot._CUES, plot._SPEECH, plot._BED, plot._GATE, plot._GATE]


def near(found: list[tuple[float, float]], expected: list[tuple[float, float]]) -> bool:
    return np.shape(found) == np.shape(expected) and bool(np.abs(np.array(found) - np.array(expected)).max() <= 0.02)


def test_bands_are_coloured_where_something_is(two: str, tmp_path: Path) -> None:
    picture = tmp_path / "new" / "t.png"
    said = invoke(two, "-o", picture)
    assert said.exit_code == EXIT_OK, said.stderr
    assert said.stdout.splitlines()[-1] == str(picture)
    page = Page(picture, TWO_FACES)
    assert near(page.seconds(0), [(0.4, 1.2)])  # cues of the left one
    assert near(page.seconds(2), [(2.0, 3.0)])
    assert near(page.seconds(5), [(0.4, 1.32), (2.4, 2.48)])  # gates
    assert near(page.seconds(6), [(2.0, 3.0)])
    # A half-open gate is half as high.
    full, half = (page.bands[5][:, plot._LEFT + round(at / 4 * plot._WIDTH)] for at in (0.8, 1.26))
    high = [int((np.ptp(column.astype(int), axis=1) > 40).sum()) for column in (full, half)]
    assert high[0] >= plot._GATE - 6
    assert abs(high[1] - high[0] / 2) <= 2
    # The speech is a line in the silence and fills its band in the words.
    speech = page.bands[1][:, plot._LEFT :].astype(int)
    tall = (np.ptp(speech, axis=2) > 40).sum(axis=0)
    assert tall[round(0.8 / 4 * plot._WIDTH)] > 50
    assert tall[round(2.5 / 4 * plot._WIDTH)] <= 2
    # The bed is lower from 0.4 to 1.2 s.
    dark = page.bands[4][:, plot._LEFT : plot._LEFT + plot._WIDTH].max(axis=2) < 80
    level = [np.flatnonzero(dark[:, round(at / 4 * plot._WIDTH)]).mean() for at in (0.2, 0.8, 2.0)]
    assert level[0] == level[2] < level[1] - 20


def test_a_window_of_it(two: str, tmp_path: Path) -> None:
    picture = tmp_path / "t.png"
    assert invoke(two, "-o", picture, "--from", 1, "--to", 2.5).exit_code == EXIT_OK
    page = Page(picture, TWO_FACES, 1.0, 2.5)
    assert near(page.seconds(0), [(1.0, 1.2)])
    assert near(page.seconds(2), [(2.0, 2.5)])
    assert near(page.seconds(5), [(1.0, 1.32), (2.4, 2.48)])
    assert near(page.seconds(6), [(2.0, 2.5)])


def test_what_lies_outside_the_window_is_not_drawn(two: str, tmp_path: Path) -> None:
    picture = tmp_path / "t.png"
    for begin, end in ((1.4, 1.9), (3.2, 4.0)):
        assert invoke(two, "-o", picture, "--from", begin, "--to", end).exit_code == EXIT_OK
        page = Page(picture, TWO_FACES, begin, end)
        assert [page.seconds(band) for band in (0, 2, 5, 6)] == [[], [], [], []], (begin, end)


def test_without_a_bed_there_is_no_band_for_it(tmp_path: Path) -> None:
    folder = finished(tmp_path, [cue(1, 0.4, 1.2), cue(2, 2.0, 2.8, heard=(2.0, 2.0))], GATES)
    picture = tmp_path / "t.png"
    assert invoke(folder, "-o", picture).exit_code == EXIT_OK
    page = Page(picture, [plot._CUES, plot._SPEECH, plot._GATE])
    assert near(page.seconds(2), [(0.4, 1.32), (2.4, 2.48)])
    # The second line was left out: its box is there, and nothing is heard of it.
    cues = np.ptp(page.bands[0][36:, plot._LEFT :].astype(int), axis=2) > 40
    heard = np.flatnonzero(cues.any(axis=0)) / plot._WIDTH * 4
    assert heard.min() == pytest.approx(0.4, abs=0.02)
    assert heard[heard > 1.5].size == 0
    assert near(page.seconds(0), [(0.4, 1.2), (2.0, 2.8)])


@pytest.mark.parametrize("window", [("--from", 5), ("--from", 3, "--to", 2), ("--to", 0)])
def test_a_window_with_nothing_in_it(two: str, tmp_path: Path, window: tuple[object, ...]) -> None:
    said = invoke(two, "-o", tmp_path / "t.png", *window)
    assert said.exit_code == EXIT_USAGE
    assert "[E_FIELD_VALUE]" in said.stderr
    assert "4.0" in said.stderr
    assert not (tmp_path / "t.png").exists()


@pytest.mark.parametrize("name", ["t.jpg", "t", "t.png.txt"])
def test_only_png(two: str, tmp_path: Path, name: str) -> None:
    said = invoke(two, "-o", tmp_path / name)
    assert said.exit_code == EXIT_USAGE
    assert "[E_OUTPUT_FORMAT]" in said.stderr
    assert not (tmp_path / name).exists()


def test_a_sound_that_is_gone(two: str, tmp_path: Path) -> None:
    (tmp_path / "work" / "speech" / "j" / "voice-1.wav").unlink()
    assert invoke(two).exit_code == EXIT_OK, "the table needs no sound"
    said = invoke(two, "-o", tmp_path / "t.png")
    assert said.exit_code == EXIT_SOME_FAILED
    assert "[E_INPUT_MISSING]" in said.stderr
    assert "voice-1.wav" in said.stderr


def test_a_place_where_no_picture_can_be(two: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = invoke(two, "-o", tmp_path / "file" / "t.png")
    assert said.exit_code == EXIT_USAGE
    assert "[E_STORAGE]" in said.stderr


# -- which job ----------------------------------------------------------------------------------------------------


def test_a_results_manifest_with_one_job(two: str, tmp_path: Path) -> None:
    path = results(tmp_path / "m.results.jsonl", ("j", two), ("bad", None))
    assert invoke(path).stdout == invoke(two).stdout


def test_several_jobs_want_a_name(two: str, tmp_path: Path) -> None:
    path = results(tmp_path / "m.results.jsonl", ("one", two), ("two", two), ("bad", None))
    said = invoke(path)
    assert said.exit_code == EXIT_USAGE
    assert "[E_FIELD_MISSING]" in said.stderr
    assert "one, two" in said.stderr
    assert "--job" in said.stderr
    assert invoke(path, "--job", "two").exit_code == EXIT_OK
    for name in ("bad", "three"):
        refused = invoke(path, "--job", name)
        assert refused.exit_code == EXIT_USAGE
        assert "no finished job" in refused.stderr


@pytest.mark.parametrize("content", [None, "", "nonsense\n", '{"id": 3}\n', "[1]\n", "\x00\n"])
def test_what_is_no_results_manifest(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "m.results.jsonl"
    if content is not None:
        path.write_text(content)
    said = invoke(path)
    assert said.exit_code == EXIT_USAGE
    assert said.stderr.startswith("[E_")
    assert "Traceback" not in said.stderr
    assert json.loads(invoke(path, "--json").stdout)["error"]["code"].startswith("E_")


def test_a_job_without_a_script_and_one_whose_parts_are_gone(two: str, tmp_path: Path) -> None:
    blobs_below(Path(load_plan(two).work_dir), "parts")[0].unlink()
    said = invoke(two)
    assert said.exit_code == EXIT_SOME_FAILED
    assert "[E_STORAGE]" in said.stderr
    assert "1 of 4 parts" in said.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    assert invoke(empty).exit_code == EXIT_SOME_FAILED
    plan = load_plan(two)
    save_plan(plan.model_copy(update={"job": plan.job.model_copy(update={"speech": None, "audio": "a.wav"})}))
    none = invoke(two)
    assert none.exit_code == EXIT_SOME_FAILED
    assert "only jobs with a script" in none.stderr


@pytest.mark.parametrize(
    "folder", ["\0", "a\0b", "x" * 5000, "/", ".", "..", "a", "", "caf\udce9", "/dev/null", "plan"]
)
def test_a_folder_that_cannot_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan").mkdir()
    for path in (tmp_path / "plan.json", tmp_path / "plan" / "plan.json"):
        path.write_text("{}")
    said = invoke(results(tmp_path / "r.jsonl", ("j", folder)))
    assert said.exit_code == (EXIT_SOME_FAILED if folder else EXIT_USAGE)
    assert ("[E_STORAGE]" if folder else "[E_FIELD_MISSING]") in said.stderr


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_manifest_is_no_results(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"m.{form}"
    row = {"video": "a.mp4", "audio": "a.wav", "output": "o.mp4"}
    if form == "jsonl":
        path.write_text(json.dumps(row) + "\n")
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    said = invoke(path)
    assert said.exit_code == EXIT_USAGE
    assert "[E_MANIFEST_UNREADABLE]" in said.stderr
    assert "is not a results manifest" in said.stderr


def test_the_job_of_a_video_is_found(tmp_path: Path) -> None:
    """In the nearest work folder above it, or in the one that is named."""
    folder = job(tmp_path, "ready", True)
    output = tmp_path / "ready.mp4"
    named = invoke(output, "--work-dir", tmp_path / "work", "--json")
    assert named.exit_code == EXIT_OK, named.stderr
    assert json.loads(named.stdout) == json.loads(invoke(folder, "--json").stdout)
    unknown = invoke(output)
    assert unknown.exit_code == EXIT_USAGE
    assert "--work-dir" in unknown.stderr
    (tmp_path / ".raydub").symlink_to(tmp_path / "work")
    assert invoke(output, "--json").stdout == named.stdout
    assert invoke(tmp_path / "other.mp4").exit_code == EXIT_USAGE


def test_a_job_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("")
    result = CliRunner().invoke(app, ["timeline", str(tmp_path / "r.jsonl"), "--job", "nope"])
    assert (result.exit_code, "nope" in result.stderr) == (2, True), result.stderr
