"""A wrong path, and an output that cannot be written, are told before anything is started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.cluster.glance import Glance
from raydub.errors import Code
from raydub.manifests.job import Job

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "ray", "cv2", "librosa", "scipy", "dlib", "openvino")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "v.mp4").write_bytes(b"no video, but a file")
    (tmp_path / "a.wav").write_bytes(b"no sound, but a file")
    (tmp_path / "l.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello.\n")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "bad.srt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "1.png").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.mp4")
    return tmp_path


def make_job(folder: Path, **fields: str) -> Job:
    given = {"video": "v.mp4", "audio": "a.wav", "output": "out/o.mp4", **fields}
    if "script" in given:
        del given["audio"]
    return Job(id="j", line=3, **{name: str(folder / value) for name, value in given.items()})


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, None),
        ({"video": "shots"}, None),
        ({"script": "l.srt"}, None),
        ({"video": "none.mp4"}, Code.INPUT_MISSING),
        ({"video": "v.mp4/below"}, Code.INPUT_UNREADABLE),
        ({"video": "empty.mp4"}, Code.INPUT_EMPTY),
        ({"video": "pipe.mp4"}, Code.INPUT_UNREADABLE),
        ({"video": "nothing"}, Code.VIDEO_NO_FRAMES),
        ({"audio": "none.wav"}, Code.INPUT_MISSING),
        ({"audio": "shots"}, Code.INPUT_UNREADABLE),
        ({"audio": "l.srt"}, Code.INPUT_FORMAT),
        ({"video": "bad.srt"}, Code.INPUT_FORMAT),
        ({"script": "none.srt"}, Code.INPUT_MISSING),
        ({"script": "bad.srt"}, Code.SCRIPT_UNREADABLE),
        ({"script": "v.mp4"}, Code.SCRIPT_UNREADABLE),
        ({"output": "v.mp4/o.mp4"}, Code.STORAGE),
        ({"output": "work/o.mp4"}, Code.OUTPUT_ESCAPES),
        ({"output": "work/jobs/a/o.mp4"}, Code.OUTPUT_ESCAPES),
    ],
)
def test_what_a_glance_tells(fields: dict[str, str], code: Code | None, files: Path) -> None:
    before = sorted(files.rglob("*"))
    problem = Glance(files / "work", here=True).problem(make_job(files, **fields))
    assert (problem and problem.code) == code
    if problem is not None:
        assert (problem.job, problem.line) == ("j", 3)
    assert sorted(files.rglob("*")) == before


def test_on_a_cluster_other_machines_may_have_what_is_absent_here(files: Path) -> None:
    glance = Glance(files / "work", here=False)
    assert glance.problem(make_job(files, video="none.mp4", script="none.srt")) is None
    empty = glance.problem(make_job(files, video="empty.mp4"))
    assert empty is not None
    assert empty.code is Code.INPUT_EMPTY


def test_jobs_that_share_a_wrong_file_get_an_error_each(files: Path) -> None:
    glance = Glance(files / "work", here=True)
    jobs = [make_job(files, video="none.mp4").model_copy(update={"line": line}) for line in (1, 2)]
    assert [problem.line for problem in map(glance.problem, jobs) if problem] == [1, 2]


@pytest.mark.parametrize("how", [["--no-ray"], []])
def test_when_all_are_wrong_nothing_is_started(how: list[str], files: Path) -> None:
    rows = [
        {"video": "none.mp4", "audio": "a.wav", "output": "a.mp4"},
        {"video": "v.mp4", "audio": "l.srt", "output": "b.mp4"},
        {"video": "v.mp4", "script": "bad.srt", "output": "c.mp4"},
        {"video": "v.mp4", "audio": "a.wav", "output": "v.mp4/d.mp4", "id": "d"},
    ]
    (files / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = (
        "import sys\nfrom raydub.cluster.cli import main\n"
        f"sys.argv = ['raydub', 'run', {str(files / 'm.jsonl')!r}, *{how!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 1, end.code\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    # A process of its own, as this one may be connected to a Ray.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED []"
    assert [line.split("]")[0].strip("[") for line in done.stderr.splitlines()] == [
        "E_INPUT_MISSING",
        "E_INPUT_FORMAT",
        "E_SCRIPT_UNREADABLE",
        "E_STORAGE",
    ]
    assert "4 rows: 4 failed" in done.stdout
    assert not (files / ".raydub" / "runs").exists()
    found = [json.loads(line) for line in (files / "m.results.jsonl").read_text().splitlines()]
    assert [row["line"] for row in found] == [1, 2, 3, 4]


def test_a_wrong_path_of_dub_leaves_nothing_behind(files: Path) -> None:
    arguments = ["dub", "--video", str(files / "none.mp4"), "--audio", str(files / "a.wav"), "-o", str(files / "o.mp4")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "[E_INPUT_MISSING] job 'o': video" in result.stderr
    assert not (files / ".raydub").exists()


def test_results_that_cannot_be_written_are_a_usage_error(files: Path) -> None:
    (files / "m.jsonl").write_text(json.dumps({"video": "v.mp4", "audio": "a.wav", "output": "o.mp4"}) + "\n")
    (files / "taken.parquet").mkdir()
    for results, why in (("v.mp4/r", "a part of its path is a file"), ("taken", "it is a folder")):
        result = CliRunner().invoke(app, ["run", str(files / "m.jsonl"), "--results", str(files / results), "--json"])
        assert result.exit_code == 2
        error = json.loads(result.stdout)["error"]
        assert (error["code"], error["field"]) == ("E_STORAGE", "results")
        assert why in error["message"]
        assert error["hint"]
    assert not (files / ".raydub").exists()


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_an_output_folder_without_leave_is_told_at_once(files: Path) -> None:
    """Formerly the muxing program failed after all the work, as E_STITCH_FAILED."""
    (files / "shut").mkdir(mode=0o555)
    # Root without the right to overlook permissions.
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    more = ["dub", "--video", "v.mp4", "--audio", "a.wav", "-o", "shut/o.mp4", "--work-dir", "work"]
    done = subprocess.run(
        [*(drop if os.geteuid() == 0 else []), sys.executable, "-m", "raydub.cluster.cli", *more],
        capture_output=True,
        text=True,
        cwd=files,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=120,
    )
    (files / "shut").chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert "[E_STORAGE] job 'o': cannot write in the folder" in done.stderr
    assert "you may not write there" in done.stderr
    assert list((files / "shut").iterdir()) == []
