"""Outputs stay below the output root, whatever a manifest writes; inputs are paths or addresses, never commands."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from raydub.errors import Code, RaydubError, UsageError
from raydub.manifests.failed import write_failed
from raydub.manifests.job import Job
from raydub.manifests.paths import confine_output, is_remote, resolve_media
from raydub.manifests.read import check_rows, read_manifest
from raydub.manifests.results import JobResult
from raydub.manifests.rows import BadRow
from raydub.media.fetch_policy import FetchPolicy
from raydub.places import path_at

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TRICKS = st.sampled_from(
    [
        *("..", ".", "", "/", "//", "~", "-y", "--output", "C:", "CON", "NUL.mp4", "a:b", "a ", "a.", "…", "a\\..\\b"),
        *(
            "\x00",
            "\n",
            "\r",
            "\t",
            "\x1b[2J",
            "\u202e4pm",
            "\u2066",
            "\u2028",
            "／",
            "．．",
            "․․",
            "a\u0301",
            "%2e%2e",
        ),
        *("file:", "file://", "concat:a|b", "pipe:1", "http://127.0.0.1", "s3://b", "$(id)", "`id`", "'", '"', "%d"),
        *("escape", "inside", "x" * 300, "\ud800", "\U0001f600", "etc", "passwd", "o.mp4", ".mp4", "o.mkv"),
    ]
)
PIECES = st.lists(st.one_of(TRICKS, st.text(max_size=8)), max_size=6)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with a folder, a symlink out, one that stays in, and one in a circle; beside it what must not change."""
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (root / "escape").symlink_to(tmp_path / "outside")
    (root / "inside").symlink_to(root / "folder")
    (root / "circle").symlink_to(root / "circle")
    (root / "out.mp4").symlink_to(tmp_path / "outside" / "film.mp4")
    return root


@RELAXED
@given(pieces=PIECES, joint=st.sampled_from(["/", "", "\\"]), end=st.sampled_from(["", ".mp4", "/o.mp4"]))
@example(["escape", "o"], "/", ".mp4")
@example(["inside", "..", "..", "o"], "/", ".mp4")
@example(["", "etc", "o"], "/", ".mp4")
@example(["file:///etc/o"], "", ".mp4")
@example(["-y"], "", ".mp4")
@example(["circle", "o"], "/", ".mp4")
def test_an_output_is_refused_by_name_or_lies_inside(tree: Path, pieces: list[str], joint: str, end: str) -> None:
    text = joint.join(pieces) + end
    try:
        found = confine_output(text, tree)
    except UsageError as error:
        assert error.field == "output"
        assert error.code in (
            *(Code.OUTPUT_ESCAPES, Code.OUTPUT_FORMAT, Code.FIELD_VALUE, Code.NOT_BUILT, Code.INPUT_FORMAT),
        )
        return
    real = os.path.realpath(found)
    assert real == found
    assert os.path.commonpath([real, str(tree)]) == str(tree) != real
    assert not any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in found)
    # No argument of ffmpeg can begin with it: it is absolute.
    assert found.startswith("/")


@pytest.mark.parametrize(
    "text",
    [
        "escape/o.mp4",
        "out.mp4",
        "circle/o.mp4",
        "inside/../../o.mp4",
        "/etc/o.mp4",
        "\u202e4pm.mp4",
        "a\u2066.mp4",
        "o\nfile '/etc/passwd'.mp4",
        "o\x00.mp4",
        "file:///etc/o.mp4",
    ],
)
def test_ways_out_are_closed(tree: Path, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        confine_output(text, tree)
    assert refused.value.code is Code.OUTPUT_ESCAPES


@pytest.mark.parametrize(
    "text",
    ["-y.mp4", "CON.mp4", "12:30.mp4", "a|b.mp4", "..\\..\\o.mp4", "%d.mp4", "／etc／o.mp4", "inside/o.mp4", "é.mp4"],
)
def test_odd_names_are_names(tree: Path, text: str) -> None:
    assert Path(confine_output(text, tree)).parent in (tree, tree / "folder")


@RELAXED
@given(pieces=PIECES)
def test_an_input_is_refused_or_a_path_or_an_address(tmp_path: Path, pieces: list[str]) -> None:
    text = "/".join(pieces)
    try:
        found = resolve_media(text, tmp_path, "video", FetchPolicy())
    except RaydubError as error:
        assert error.field == "video"
        return
    if is_remote(found):
        assert found.startswith("https://")
    else:
        # What libav gets begins with "file:/": no other protocol and no flag can be meant.
        assert found.startswith("/")
        assert "\0" not in found
        assert "\n" not in found


def row(**more: Any) -> dict[str, Any]:
    return {"video": "a.mp4", "audio": "b.wav", "output": "o.mp4"} | more


def refusals(rows: list[dict[str, Any]], root: Path) -> list[tuple[int | None, Code]]:
    return [(error.line, error.code) for error in check_rows(list(enumerate(rows, 1)), root, root).errors]


def test_outputs_that_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    rows = [
        row(id="1", output="real/O.mp4"),
        row(id="2", output="real/o.mp4"),
        row(id="3", output="link/o.mp4"),
        row(id="4", output="real/ｏ.mp4"),
        row(id="5", output="real/é.mp4"),
        row(id="6", output="real/e\u0301.mp4"),
    ]
    clash = Code.OUTPUT_DUPLICATE
    assert refusals(rows, tmp_path) == [(2, clash), (3, clash), (4, clash), (6, clash)]


def test_outputs_that_are_inputs(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"film")
    (tmp_path / "o.mp4").symlink_to(tmp_path / "a.mp4")
    assert refusals([row()], tmp_path) == [(1, Code.FIELD_CONFLICT)]
    assert refusals([row(output="A.MP4")], tmp_path) == [(1, Code.FIELD_CONFLICT)]


def test_addresses_stay_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYDUB_ALLOW_SCHEMES", raising=False)
    address = "https://films.example/a b/c.mp4?sig=hunter2"
    asked = check_rows([(1, row(video=address, face="reference:https://films.example/f.png"))], tmp_path, tmp_path)
    job = asked.jobs[0]
    assert (job.video, job.options.face) == (address, "reference:https://films.example/f.png")
    assert job.audio == str(tmp_path / "b.wav")
    lost = JobResult.failure(job, UsageError(Code.FETCH_FAILED, "no"))
    failed = tmp_path / "failed.jsonl"
    assert write_failed(failed, [lost], asked.jobs) == 1
    assert read_manifest(failed).jobs == asked.jobs
    assert "hunter2" not in lost.model_dump_json()


def test_results_hold_no_secrets_of_refused_rows() -> None:
    bad = BadRow(1, "x", row(video="https://u:hunter2@h/a?k=hunter2", output="s3://b/o?X-Amz-Signature=hunter2"), ())
    error = UsageError(Code.NOT_BUILT, "no")
    said = JobResult.refused(bad._replace(errors=(error,))).model_dump_json()
    assert "hunter2" not in said
    assert "https://h/a" in said


def test_what_the_environment_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(id="1", video="http://films.example/a"), row(id="2", output="p.mp4", video="https://10.0.0.1/a")]
    monkeypatch.delenv("RAYDUB_ALLOW_SCHEMES", raising=False)
    monkeypatch.delenv("RAYDUB_ALLOW_PRIVATE", raising=False)
    assert refusals(rows, tmp_path) == [(1, Code.URI_SCHEME), (2, Code.URI_DENIED)]
    monkeypatch.setenv("RAYDUB_ALLOW_SCHEMES", "http")
    monkeypatch.setenv("RAYDUB_ALLOW_PRIVATE", "1")
    assert refusals(rows, tmp_path) == []
    monkeypatch.setenv("RAYDUB_ALLOW_SCHEMES", "none")
    assert refusals(rows, tmp_path) == [(1, Code.URI_SCHEME), (2, Code.URI_SCHEME)]


def test_weights_come_from_disks_and_buckets(tmp_path: Path) -> None:
    assert refusals([row(model="https://films.example/w.safetensors")], tmp_path) == [(1, Code.NOT_BUILT)]
    assert refusals([row(model="s3://films/../w.safetensors")], tmp_path) == [(1, Code.FIELD_VALUE)]
    [job] = check_rows([(1, row(model="S3://films/w.safetensors"))], tmp_path, tmp_path).jobs
    assert job.options.model == "s3://films/w.safetensors"
    folder = path_at("s3://films/in")
    asked = row(model="sub/w.pth", script="a.txt", voice="bea=v.onnx#2; anna=/v.onnx", audio=None)
    [job] = check_rows([(1, asked)], folder, tmp_path).jobs
    assert job.options.model == "s3://films/in/sub/w.pth"
    assert job.options.voices_of() == {"bea": "s3://films/in/v.onnx#2", "anna": "/v.onnx"}


def test_a_job_knows_its_root(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    job: Job = check_rows([(1, row())], tmp_path, tmp_path / "root").jobs[0]
    assert job.output_root == str(tmp_path / "real")
    assert job.output == str(tmp_path / "real" / "o.mp4")
