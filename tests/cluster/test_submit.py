"""Submitting a run: its id, what is sent, what is refused, and its outcome, with a client that starts nothing."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.cluster.ordering import order_for, run_options
from raydub.cluster.sent import environment, pinned_packages
from raydub.cluster.session import jobs
from raydub.errors import Code, UsageError
from tests.cluster.fake_jobs import URL, FakeJobs

ROW = {"video": "s3://input/v.mp4", "audio": "/data/a.wav", "output": "o.mp4"}
OUT = ["--", "--output-root", "/data/out"]
LOG = """2026-01-01 12:00:00 INFO job_manager.py -- Runtime env is setting up.
job 'a': 50 frames in 1 chunk
[E_INPUT_MISSING] job 'b', line 2: video /x.mp4 does not exist
job 'a': ok, 50 frames (50 new), 3.0 s: /data/a.mp4
2 rows: 1 ok, 1 failed; 4.0 s
  /data/m.results.jsonl
  /data/m.results.failed.jsonl
"""


def manifest(tmp_path: Path, **row: Any) -> Path:
    path = tmp_path / "my jobs.jsonl"
    path.write_text(json.dumps({**ROW, **row}) + "\n")
    return path


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["submit", *map(str, arguments)])


def said(result: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_manifest_that_depends_on_no_folder_is_sent(tmp_path: Path, cluster: FakeJobs) -> None:
    path = manifest(tmp_path)
    result = invoke(path, "--json", *OUT, "--set", "crf=20")
    assert result.exit_code == 0, result.stderr
    found = said(result)
    assert (found["status"], found["new"], found["sent"]) == ("SUBMITTED", True, ["my jobs.jsonl"])
    assert found["work_dir"] == "/data/out/.raydub"
    job = cluster.told[found["job_id"]]
    assert job.entrypoint == "raydub run 'my jobs.jsonl' --output-root /data/out --set crf=20 --address auto"
    assert cluster.sent[found["job_id"]] == {"my jobs.jsonl": path.read_text()}
    assert job.runtime_env["env_vars"] == {"RAYDUB_MANIFEST": str(path), "RAY_JOB_STOP_WAIT_TIME_S": "30"}
    assert job.metadata["raydub_results"] == "/data/out/my jobs.results"


def test_submitting_twice_is_one_job(tmp_path: Path, cluster: FakeJobs) -> None:
    path = manifest(tmp_path)
    first = said(invoke(path, "--json", *OUT))["job_id"]
    cluster.told[first].status = "RUNNING"
    second = invoke(path, *OUT)
    assert (second.exit_code, second.stdout.splitlines()[0]) == (0, f"{first}: is there already, RUNNING")
    assert list(cluster.told) == [first]
    for status in ("SUCCEEDED", "FAILED", "STOPPED"):
        cluster.told[first].status = status
        ended = invoke(path, *OUT)
        assert ended.exit_code == 2
        assert f"E_JOB_STATE] field 'job': this manifest with these options is the job {first!r}" in ended.stderr
        assert f"raydub resume {first}" in ended.stderr
    again = said(invoke(path, "--json", "--again", *OUT))
    assert (again["job_id"], again["new"]) == (f"{first}-2", True)
    cluster.told[f"{first}-2"].status = "FAILED"
    assert said(invoke(path, "--json", "--again", *OUT))["job_id"] == f"{first}-3"


def test_the_id_is_of_the_content_and_the_options(tmp_path: Path, cluster: FakeJobs) -> None:
    path = manifest(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    same = manifest(tmp_path / "elsewhere")
    ids = [
        order_for(str(one), [*OUT[1:], *more]).order.base
        for one, more in [(path, []), (same, ["-v"]), (path, ["--strict"]), (path, ["--work-dir", "/w"])]
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    manifest(tmp_path, output="p.mp4")
    assert order_for(str(path), OUT[1:]).order.base not in ids


@given(st.text(min_size=1), st.text(), st.integers(2, 999_999))
@example("a-1234567890.jsonl", "", 2)
def test_ids_are_plain_and_split_again(name: str, content: str, attempt: int) -> None:
    base = jobs.base_id(name, content, {"strict": True})
    assert re.fullmatch(r"[A-Za-z0-9_.-]{12,51}", base)
    assert base[0] not in "-."
    assert jobs.split_id(base) == (base, 1)
    assert jobs.split_id(f"{base}-{attempt}") == (base, attempt)


def test_somebody_else_submits_the_same_at_this_moment(tmp_path: Path, cluster: FakeJobs) -> None:
    path = manifest(tmp_path)
    base = order_for(str(path), OUT[1:]).order.base
    unseen = cluster.list_jobs

    def late() -> list[Any]:
        found = unseen()
        if base not in cluster.told:
            cluster.put(base, "RUNNING", {"raydub": "1"})
        return found

    cluster.list_jobs = late  # type: ignore[method-assign]
    result = said(invoke(path, "--json", *OUT))
    assert (result["job_id"], result["new"], result["status"]) == (base, False, "RUNNING")


def test_small_scripts_go_with_their_manifest(tmp_path: Path, cluster: FakeJobs) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("Hello.")
    row = {"video": "s3://input/v.mp4", "script": "texts/a.txt", "output": "o.mp4"}
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps(row))
    found = said(invoke(path, "--json", *OUT))
    assert cluster.sent[found["job_id"]] == {"jobs.jsonl": json.dumps(row), "texts/a.txt": "Hello."}
    (tmp_path / "texts" / "a.txt").write_text("x" * (1 << 20) + "x")
    assert order_for(str(path), OUT[1:]).files is None


@pytest.mark.parametrize(
    "row", [{"video": "v.mp4"}, {"face": "reference:me.png"}, {"script": "../a.txt", "audio": None}]
)
def test_a_manifest_of_relative_inputs_stays_where_it_is(
    row: dict[str, str], tmp_path: Path, cluster: FakeJobs
) -> None:
    (tmp_path / "a.txt").write_text("Hello.")
    (tmp_path / "in").mkdir()
    path = manifest(tmp_path / "in", **row)
    found = said(invoke(path, "--json", *OUT))
    assert (found["sent"], cluster.sent) == ([], {})
    assert cluster.entrypoint.startswith(f"raydub run '{path}' --output-root")
    forced = invoke(path, "--ship", *OUT)
    assert forced.exit_code == 2
    assert "E_FIELD_CONFLICT] field 'ship'" in forced.stderr
    assert "line 1" in forced.stderr


def test_what_decides_whether_it_is_sent(tmp_path: Path, cluster: FakeJobs) -> None:
    path = manifest(tmp_path)
    said(invoke(path, "--json"))  # outputs go to the manifest's folder
    assert cluster.entrypoint == f"raydub run '{path}' --address auto"
    said(invoke(path, "--json", "--no-ship", *OUT))
    assert cluster.sent == {}
    said(invoke(path, "--json", "--image", "docker.io/me/raydub:1", *OUT, "--strict"))
    assert cluster.sent == {}
    assert list(cluster.told.values())[-1].runtime_env["image_uri"] == "docker.io/me/raydub:1"
    said(invoke(path, "--json", *OUT, "--verbose", "--set", "face=reference:me.png"))
    assert cluster.sent == {}
    assert invoke(path, "--ship").exit_code == 2


@pytest.mark.parametrize("place", ["s3://bucket/in/jobs.jsonl", "gs://bucket/jobs.csv", "/only/there/jobs.jsonl"])
def test_a_manifest_of_the_cluster_is_not_read_here(place: str, cluster: FakeJobs) -> None:
    found = said(invoke(place, "--json"))
    assert cluster.entrypoint == f"raydub run {place} --address auto"
    assert found["work_dir"] == f"{place.rpartition('/')[0]}/.raydub"
    assert said(invoke(place, "--json"))["new"] is False
    said(invoke(place, "--json", "--", "--output-root", "s3://other/out/"))
    assert list(cluster.told.values())[-1].metadata["raydub_work_dir"] == "s3://other/out/.raydub"
    assert invoke(place, "--ship", *OUT).exit_code == 2


def test_a_working_folder_is_sent_whole(tmp_path: Path, cluster: FakeJobs) -> None:
    manifest(tmp_path, video="clips/v.mp4")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "v.mp4").write_text("x")
    found = said(invoke(tmp_path / "my jobs.jsonl", "--json", "--working-dir", tmp_path, *OUT))
    assert set(cluster.sent[found["job_id"]]) == {"my jobs.jsonl", "clips/v.mp4"}
    assert cluster.entrypoint.startswith("raydub run 'my jobs.jsonl' --output-root")
    package = said(invoke("in/jobs.jsonl", "--json", "--working-dir", "s3://bucket/p.zip", *OUT))
    assert cluster.told[package["job_id"]].runtime_env["working_dir"] == "s3://bucket/p.zip"
    assert invoke(tmp_path / "my jobs.jsonl", "--working-dir", tmp_path / "clips", *OUT).exit_code == 2
    assert invoke(tmp_path / "my jobs.jsonl", "--working-dir", tmp_path).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--", "--output-root", "out"], "output-root"),
        (["--", "--output-root", "/o", "--work-dir", "w"], "work-dir"),
        (["--", "--results", "r"], "results"),
        ([*OUT, "--face", "reference:me.png"], "face"),
        ([*OUT, "--no-ray"], "no-ray"),
        ([*OUT, "--cpus", "2"], "cpus"),
        (["--image", "i", "--ship", *OUT], "ship"),
        (["--image", "i", "--working-dir", ".", *OUT], "working-dir"),
        (["--working-dir", ".", "--ship", *OUT], "ship"),
        (["--env", "AWS_SECRET_ACCESS_KEY=x", *OUT], "env"),
        (["--env", "RAYDUB_WEIGHTS", *OUT], "env"),
        (["--pip", "/nowhere.txt", *OUT], "pip"),
    ],
)
def test_what_cannot_be_meant_for_a_cluster(
    arguments: list[str], field: str, tmp_path: Path, cluster: FakeJobs
) -> None:
    result = invoke(manifest(tmp_path), *arguments)
    assert (result.exit_code, cluster.told) == (2, {})
    assert f"field '{field}'" in result.stderr


def test_a_manifest_that_is_nowhere(tmp_path: Path, cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("jobs.jsonl", *OUT)
    assert (result.exit_code, cluster.told) == (2, {})
    assert "E_MANIFEST_UNREADABLE" in result.stderr


def test_no_secret_is_given_to_a_job() -> None:
    assert environment(["RAYDUB_WEIGHTS=/w", "AWS_REGION=eu"]) == {"RAYDUB_WEIGHTS": "/w", "AWS_REGION": "eu"}
    for text in (
        "AWS_ACCESS_KEY_ID=x",
        "AWS_SESSION_TOKEN=x",
        "RAYDUB_TOKEN=x",
        "AWS_ENDPOINT_URL=http://me:word@host",
        "PATH=/bin",
        "GOOGLE_APPLICATION_CREDENTIALS=/x",
    ):
        with pytest.raises(UsageError) as found:
            environment([text])
        assert found.value.field == "env"


def test_packages_are_pinned(tmp_path: Path, cluster: FakeJobs) -> None:
    path = tmp_path / "more.txt"
    path.write_text("# more\nobstore==0.12.1\npiper-tts[x]==1.3.0  # speech\n\n")
    assert pinned_packages(path) == ["obstore==0.12.1", "piper-tts[x]==1.3.0"]
    invoke(manifest(tmp_path), "--pip", path, *OUT)
    env = list(cluster.told.values())[-1].runtime_env
    assert env["pip"] == {"packages": ["obstore==0.12.1", "piper-tts[x]==1.3.0"], "pip_check": False}
    path.write_text("obstore>=0.12\n")
    with pytest.raises(UsageError) as found:
        pinned_packages(path)
    assert "does not pin 'obstore>=0.12'" in found.value.message


def waited(tmp_path: Path, cluster: FakeJobs, status: str, log: str, code: int | None, *more: str) -> tuple[str, Any]:
    path = manifest(tmp_path)
    job_id = order_for(str(path), []).order.base
    cluster.told.pop(job_id, None)
    cluster.next[job_id] = ["PENDING", "RUNNING", status]
    cluster.logs[job_id] = log
    put = cluster.put

    def with_code(*arguments: Any) -> None:
        put(*arguments)
        cluster.told[job_id].driver_exit_code = code
        cluster.told[job_id].message = f"Job entrypoint command failed with exit code {code}\nwith its last lines"

    cluster.put = with_code  # type: ignore[method-assign]
    result = CliRunner().invoke(app, ["submit", str(path), "--wait", *more])
    cluster.put = put  # type: ignore[method-assign]
    return job_id, result


def test_the_end_of_a_run_is_told(tmp_path: Path, cluster: FakeJobs) -> None:
    job_id, result = waited(tmp_path, cluster, "FAILED", LOG, 1, "--address", URL)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{job_id}: FAILED (exit code 1)",
        "  2 rows: 1 ok, 1 failed; 4.0 s",
        "    /data/m.results.jsonl",
        "    /data/m.results.failed.jsonl",
        f"  full log: raydub logs {job_id} --address {URL}",
    ]
    assert "[E_INPUT_MISSING] job 'b', line 2: video /x.mp4 does not exist" in result.stderr
    document = said(waited(tmp_path, cluster, "FAILED", LOG, 1, "--json")[1])
    assert (document["status"], document["exit_code"]) == ("FAILED", 1)
    assert document["last"][0] == "2 rows: 1 ok, 1 failed; 4.0 s"
    assert document["errors"] == ["[E_INPUT_MISSING] job 'b', line 2: video /x.mp4 does not exist"]


def test_a_good_end_is_short(tmp_path: Path, cluster: FakeJobs) -> None:
    log = "3 rows: 3 ok; 9.0 s\n  warnings: W_NO_FACE in 1 job\n  /data/m.results.jsonl\n"
    job_id, result = waited(tmp_path, cluster, "SUCCEEDED", log, 0)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"{job_id}: SUCCEEDED", *(f"  {line}" for line in log.splitlines())]


@pytest.mark.parametrize("code", [2, 3, 143])
def test_the_exit_code_is_that_of_the_run(code: int, tmp_path: Path, cluster: FakeJobs) -> None:
    log = "[E_WEIGHTS_MISSING] job 'a': no weights\n1 row: 1 failed; 1.0 s\n"
    result = waited(tmp_path, cluster, "FAILED", log, code)[1]
    assert result.exit_code == code
    assert "E_WEIGHTS_MISSING" in result.stderr


def test_a_run_that_never_came_to_its_end(tmp_path: Path, cluster: FakeJobs) -> None:
    """raydub is not there, or was killed: there is no summary, but Ray's reason and the end of the log."""
    log = "".join(f"line {number}\n" for number in range(50)) + "sh: 1: raydub: not found\n"
    job_id, result = waited(tmp_path, cluster, "FAILED", log, 127)
    assert result.exit_code == 127
    told = result.stdout.splitlines()
    assert told[-2:] == ["  sh: 1: raydub: not found", f"  full log: raydub logs {job_id}"]
    assert len(told) == 22
    silent = waited(tmp_path, cluster, "FAILED", "", 127)[1]
    assert "  Job entrypoint command failed with exit code 127" in silent.stdout
    gone = waited(tmp_path, cluster, "STOPPED", "", None)[1]
    assert (gone.exit_code, gone.stdout.splitlines()[0]) == (1, f"{job_id}: STOPPED")


def test_errors_are_shown_up_to_a_number(cluster: FakeJobs) -> None:
    log = "".join(f"[E_STORAGE] job '{number}': no\n" for number in range(100)) + "100 rows: 100 failed; 1.0 s\n"
    cluster.put("x", "FAILED")
    cluster.logs["x"] = log
    found = jobs.Cluster(cluster, URL).outcome("x", "FAILED")
    assert found.errors[-1] == "and 80 more"
    assert len(found.errors) == 21


def test_a_bad_manifest_is_not_submitted(tmp_path: Path, cluster: FakeJobs) -> None:
    path = manifest(tmp_path, video="/v.mp4", output="../o.mp4")
    for more in ([], ["--json"]):
        result = invoke(path, *more, *OUT)
        assert result.exit_code == 2
        assert "E_OUTPUT_ESCAPES" in result.stderr
    assert json.loads(result.stdout)["error"]["code"] == Code.OUTPUT_ESCAPES
    assert cluster.told == {}


@pytest.mark.parametrize("name", ["-odd.jsonl", "--help.jsonl", "a\nb.jsonl", "日本 '$(x)'.jsonl", "-.jsonl"])
def test_odd_names_of_manifests(name: str, tmp_path: Path, cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(json.dumps(ROW) + "\n")
    for more in ([], ["--working-dir", "."]):
        found = said(invoke(f"./{name}", "--json", *more, *OUT))
        words = shlex.split(cluster.entrypoint)
        assert words[:2] == ["raydub", "run"]
        assert os.path.normpath(str(run_options(words[2:-2])["manifest"])) == name
        assert set(cluster.sent[found["job_id"]]) == {name}
        cluster.told.clear()


def test_what_changes_the_outcome_changes_the_id(tmp_path: Path, cluster: FakeJobs) -> None:
    (tmp_path / "a.txt").write_text("Hello.")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "v.mp4").write_text("one")
    path = manifest(tmp_path, script="a.txt", audio=None)

    def job(**more: Any) -> str:
        return order_for(str(path), OUT[1:], **more).order.base

    def whole() -> str:
        return job(working_dir=str(tmp_path))

    first, folder = job(), whole()
    assert (job(), whole()) == (first, folder)
    others = [
        job(runtime_env={"env_vars": {"RAYDUB_WEIGHTS": "/w"}}),
        job(runtime_env={"pip": {"packages": ["a==1"]}}),
        job(runtime_env={"image_uri": "i:1"}),
        job(runtime_env={"image_uri": "i:2"}),
    ]
    (tmp_path / "clips" / "v.mp4").write_text("two")
    assert job() == first, "what is not sent does not count"
    others.append(whole())
    (tmp_path / ".gitignore").write_text("clips\n")
    ignoring = whole()
    (tmp_path / "clips" / "v.mp4").write_text("three")
    assert whole() == ignoring, "nor what Ray leaves out"
    (tmp_path / "a.txt").write_text("Goodbye.")
    others.append(job())
    assert len({first, folder, ignoring, *others}) == 3 + len(others)


def test_a_changed_script_is_another_job(tmp_path: Path, cluster: FakeJobs) -> None:
    (tmp_path / "a.txt").write_text("Hello.")
    path = manifest(tmp_path, script="a.txt", audio=None)
    first = said(invoke(path, "--json", *OUT))["job_id"]
    (tmp_path / "a.txt").write_text("Goodbye.")
    second = said(invoke(path, "--json", *OUT))
    assert (second["new"], second["job_id"] != first) == (True, True)
    assert cluster.sent[second["job_id"]]["a.txt"] == "Goodbye."


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--", "--output-root", "s3://key:word@b/out"], "output-root"),
        (["--", "--output-root=s3://key:word@b/out"], "output-root"),
        ([*OUT, "--bed-audio", "https://token@host/a.wav"], "bed-audio"),
        ([*OUT, "--set", "bed_audio=https://h/a.wav?X-Amz-Signature=12&x=1"], "set"),
        ([*OUT, "--set", "bed_audio=https://h.blob/a.wav?sv=1&sig=12"], "set"),
        (["--working-dir", "https://me:word@host/p.zip", *OUT], "working-dir"),
        (["--env", "RAYDUB_X=https://token@host/", *OUT], "env"),
    ],
)
def test_no_secret_gets_into_what_everybody_can_list(
    arguments: list[str], field: str, tmp_path: Path, cluster: FakeJobs
) -> None:
    result = invoke(manifest(tmp_path), *arguments)
    assert (result.exit_code, cluster.told) == (2, {})
    assert f"field '{field}'" in result.stderr
    assert "word" not in result.stderr
    assert "token@" not in result.stderr
    plain = invoke("https://me:word@host/jobs.jsonl", *OUT)
    assert (plain.exit_code, "word" in plain.stderr, cluster.told) == (2, False, {})


def test_a_folder_that_ray_would_pack_for_an_hour(
    tmp_path: Path, cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raydub.cluster.sent._MOST_BYTES", 1000)
    path = manifest(tmp_path)
    assert invoke(path, "--working-dir", tmp_path, *OUT).exit_code == 0
    (tmp_path / "film.mp4").write_bytes(b"x" * 1000)
    large = invoke(path, "--working-dir", tmp_path, *OUT, "--strict")
    assert (large.exit_code, "field 'working-dir'" in large.stderr) == (2, True)
    (tmp_path / ".rayignore").write_text("*.mp4\n")
    assert invoke(path, "--working-dir", tmp_path, *OUT, "--strict").exit_code == 0
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("x")
    # Ray logs the name, and pytest-xdist ends where a test has logged what is not UTF-8.
    monkeypatch.setattr(logging.getLogger("ray._private.runtime_env.packaging"), "disabled", True)
    odd = invoke(path, "--working-dir", tmp_path, *OUT, "--strict")
    assert (odd.exit_code, "not UTF-8" in odd.stderr) == (2, True)
