"""Whole runs from bucket to bucket, through a store that fails now and then."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.objects.bucket import bucket_of
from raydub.pipeline import leases
from tests.cluster.clips import make_clip, make_speech
from tests.objects.proxy import Proxy

NAME = "in/é 🎬"


def frames_of(path: Path) -> str:
    """A digest of all decoded frames."""
    digest = hashlib.sha256()
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            digest.update(frame.to_ndarray().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    make_clip(folder / "clip.mp4", 1.0)
    make_speech(folder / "en.wav", 1.2)
    rows = [{"video": "clip.mp4", "audio": "en.wav", "output": f"sub dir/{name}"} for name in ("a.mp4", "b.mkv")]
    (folder / "jobs.jsonl").write_text("".join(json.dumps({"id": row["output"], **row}) + "\n" for row in rows))
    assert CliRunner().invoke(app, ["run", str(folder / "jobs.jsonl"), "--no-ray"]).exit_code == 0
    return folder


@pytest.fixture
def uploaded(s3: str, clips: Path) -> str:
    for name in ("clip.mp4", "en.wav", "jobs.jsonl"):
        bucket_of(s3).put_file(f"{NAME}/{name}", clips / name)
    return s3


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["run", *arguments, "--no-ray", "--json"])
    return done.exit_code, json.loads(done.stdout or "{}")


def check_outputs(s3: str, clips: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mkv"):
        data = bucket_of(s3).get(f"out/sub dir/{name}")
        assert data is not None
        (tmp_path / name).write_bytes(data[0])
        assert frames_of(tmp_path / name) == frames_of(clips / "sub dir" / name)


def check_no_secrets(s3: str, folder: Path) -> None:
    """Nothing that a run has written, here or there, has a credential in it."""
    bucket = bucket_of(s3)
    written = {meta.key: (bucket.get(meta.key) or (b"",))[0] for meta in bucket.names()}
    written |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(written) > 30
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert not [where for where, content in written.items() if os.environ[name].encode() in content]


def test_frames_are_those_of_a_local_run_although_the_store_fails(
    uploaded: str, clips: Path, moto_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = [f"{uploaded}/{NAME}/jobs.jsonl", "--output-root", f"{uploaded}/out", "--verbose"]
    monkeypatch.setenv("AWS_SESSION_TOKEN", "tests-session-token-not-for-records")
    with Proxy(moto_url, seed=7, errors=0.05, resets=0.02, truncated=0.01) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        code, said = run(*asked)
        assert (code, said["counts"]["ok"]) == (0, 2), said
        assert sum(proxy.faults.values()) > 0
        first = proxy.report()["total"]["requests"]
        code, said = run(*asked)
        assert (code, said["finished_before"]) == (0, 2)
        assert proxy.report()["total"]["requests"] - first < 60
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    check_outputs(uploaded, clips, tmp_path)
    check_no_secrets(uploaded, tmp_path)
    left = [meta.key for meta in bucket_of(uploaded).names("out")]
    assert not [key for key in left if "/runs/" in key or ".locks" in key or key.endswith(".tmp")]
    assert sorted(key for key in left if "jobs." in key) == [
        "out/jobs.results.jsonl",
        "out/jobs.results.parquet",
    ]
    rows = [json.loads(line) for line in (bucket_of(uploaded).get("out/jobs.results.jsonl") or (b"",))[0].splitlines()]
    assert [row["output"] for row in rows] == [f"{uploaded}/out/sub dir/{name}" for name in ("a.mp4", "b.mkv")]
    assert all("raydub-near" not in json.dumps({**row, "job_dir": ""}) for row in rows)


@pytest.mark.slow
def test_the_work_folder_and_the_outputs_may_be_in_different_places(uploaded: str, clips: Path, tmp_path: Path) -> None:
    manifest = f"{uploaded}/{NAME}/jobs.jsonl"
    code, _ = run(manifest, "--output-root", f"{uploaded}/out", "--work-dir", str(tmp_path / "work"))
    assert code == 0
    check_outputs(uploaded, clips, tmp_path)
    code, said = run(manifest, "--output-root", str(tmp_path / "local"), "--work-dir", f"{uploaded}/work")
    assert code == 0
    assert said["counts"]["ok"] == 2
    assert frames_of(tmp_path / "local/sub dir/a.mp4") == frames_of(clips / "sub dir/a.mp4")


_ELSEWHERE = """
import sys
from raydub.pipeline import leases
leases.BEAT, leases.EXPIRED, leases._LOOK_EVERY = 0.3, 2.0, 0.3
leases.socket.gethostname = lambda: "elsewhere"
from raydub.cluster.cli import app
app()
"""


@pytest.mark.slow
def test_a_driver_that_was_frozen_loses_its_outputs_and_leaves_the_results_of_the_other(
    uploaded: str, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [f"{uploaded}/{NAME}/jobs.jsonl", "--output-root", f"{uploaded}/out"]
    bucket = bucket_of(uploaded)
    command = [sys.executable, "-c", _ELSEWHERE, "run", *asked, "--work-dir", f"{uploaded}/work", "--no-ray", "--json"]
    command.append("--overwrite")  # it may replace anything, if it is its turn
    environment = {**os.environ, "RAYDUB_CACHE_DIR": str(tmp_path / "elsewhere")}
    frozen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)
    try:
        until = time.monotonic() + 60
        while not any(".locks/runs/" not in meta.key for meta in bucket.names("out/sub dir/.raydub.locks")):
            assert time.monotonic() < until
            assert frozen.poll() is None
            time.sleep(0.02)
        frozen.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(leases, "EXPIRED", 2.0)
        monkeypatch.setattr(leases, "_LOOK_EVERY", 0.3)
        code, said = run(*asked)
        assert (code, said["counts"]["ok"]) == (0, 2), said
        before = {meta.key: meta.etag for meta in bucket.names("out") if "/.raydub" not in meta.key}
        frozen.send_signal(signal.SIGCONT)
        told, logged = frozen.communicate(timeout=120)
    finally:
        frozen.kill()
        frozen.wait()
    assert {meta.key: meta.etag for meta in bucket.names("out") if "/.raydub" not in meta.key} == before
    results = json.loads(told)["results"]
    assert [row["error_code"] for row in results] == ["E_OUTPUT_BUSY"] * 2, results
    assert "another run has taken over outputs of this one" in logged
    assert frozen.returncode == 1
    check_outputs(uploaded, clips, tmp_path)
    assert not [meta.key for meta in bucket.names("out") if ".locks" in meta.key]


def test_what_others_wrote_is_not_replaced(uploaded: str) -> None:
    bucket_of(uploaded).put("out/sub dir/a.mp4", b"somebody's")
    code, said = run(f"{uploaded}/{NAME}/jobs.jsonl", "--output-root", f"{uploaded}/out")
    assert code == 1
    assert [row["error_code"] for row in said["results"]] == ["E_OUTPUT_EXISTS", None]
    assert (bucket_of(uploaded).get("out/sub dir/a.mp4") or (b"",))[0] == b"somebody's"
    bucket_of(uploaded).put("out/jobs.results.jsonl", b"mine\n")
    code, _ = run(f"{uploaded}/{NAME}/jobs.jsonl", "--output-root", f"{uploaded}/out")
    assert code == 2


@pytest.mark.slow
def test_inputs_that_are_absent_empty_or_denied_fail_their_job_only(
    uploaded: str, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = bucket_of(uploaded)
    bucket.put(f"{NAME}/empty.mp4", b"")
    bucket.put(f"{NAME}/page.mp4", b"<html><body>no film</body></html>")
    rows = [
        {"id": name, "video": video, "audio": "en.wav", "output": f"{name}.mp4"}
        for name, video in {
            "absent": "nowhere.mp4",
            "empty": "empty.mp4",
            "page": "page.mp4",
            "bucket": "s3://no-such-bucket-here/a.mp4",
            "dots": "../clip.mp4",
            "good": "clip.mp4",
        }.items()
    ]
    bucket.put(f"{NAME}/jobs.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    code, said = run(f"{uploaded}/{NAME}/jobs.jsonl", "--output-root", f"{uploaded}/out")
    assert code == 1
    assert {row["id"]: row["error_code"] for row in said["results"]} == {
        "absent": "E_INPUT_MISSING",
        "empty": "E_INPUT_EMPTY",
        "page": "E_INPUT_UNREADABLE",
        "bucket": "E_BUCKET_MISSING",
        "dots": "E_FIELD_VALUE",
        "good": None,
    }
    with Proxy(moto_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        proxy.rule = lambda method, path: "403 AccessDenied" if method == "PUT" else ""
        code, said = run(f"{uploaded}/{NAME}/jobs.jsonl", "--output-root", f"{uploaded}/elsewhere")
        assert code == 3
        proxy.rule = lambda method, path: "403 ExpiredToken" if "/refs/tracks" in path else ""
        code, said = run(f"{uploaded}/{NAME}/jobs.jsonl", "--output-root", f"{uploaded}/third", "--fresh")
        assert {row["id"]: row["error_code"] for row in said["results"]}["good"] == "E_CREDENTIALS"
    assert "secret" not in json.dumps(said)


def test_outputs_outside_the_root_or_among_ours_are_refused(uploaded: str, clips: Path) -> None:
    for output, code in {
        "s3://other-bucket/a.mp4": "E_OUTPUT_ESCAPES",
        f"{uploaded}/out-of-it/a.mp4": "E_OUTPUT_ESCAPES",
        "../a.mp4": "E_OUTPUT_ESCAPES",
        "/tmp/a.mp4": "E_OUTPUT_ESCAPES",
        ".raydub/a.mp4": "E_OUTPUT_ESCAPES",
        "a//b.mp4": "E_FIELD_VALUE",
        "x" * 1100 + ".mp4": "E_FIELD_VALUE",
    }.items():
        row = {"id": "a", "video": "clip.mp4", "audio": "en.wav", "output": output}
        bucket_of(uploaded).put(f"{NAME}/one.jsonl", json.dumps(row).encode())
        exit_code, said = run(f"{uploaded}/{NAME}/one.jsonl", "--output-root", f"{uploaded}/out")
        assert [row["error_code"] for row in said["results"]] == [code], output
        assert exit_code == 1
    row = {"id": "a", "video": str(clips / "clip.mp4"), "audio": str(clips / "en.wav"), "output": f"{uploaded}/a.mp4"}
    (clips / "one.jsonl").write_text(json.dumps(row))
    _, said = run(str(clips / "one.jsonl"))
    assert [row["error_code"] for row in said["results"]] == ["E_OUTPUT_ESCAPES"]


@pytest.mark.slow
def test_a_work_folder_in_a_bucket_is_cleaned(uploaded: str) -> None:
    asked = [f"{uploaded}/{NAME}/jobs.jsonl", "--output-root", f"{uploaded}/out"]
    assert run(*asked)[0] == 0
    bucket = bucket_of(uploaded)
    assert any("/blobs/" in meta.key for meta in bucket.names("out"))
    done = CliRunner().invoke(app, ["clean", f"{uploaded}/out", "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["records"]["parts"] == 1
    left = {meta.key.split("/")[3] for meta in bucket.names("out/.raydub/refs")}
    assert left <= {"done", "identities", "owners", "index", "mouths", "sources", "state", "results"}
    assert not [meta.key for meta in bucket.names("out/.raydub/blobs") if meta.key.endswith((".mp4", ".mkv"))]
    code, said = run(*asked)
    assert (code, said["finished_before"]) == (0, 2)
    assert CliRunner().invoke(app, ["clean", f"{uploaded}/in"]).exit_code == 2


@pytest.mark.slow
def test_chunks_may_read_their_part_of_a_film_only(
    s3: str, clips: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from raydub.media.info import ProbeLimits
    from raydub.media.opening import open_input
    from raydub.objects import near, ranges
    from raydub.objects.near import copy_of, pin
    from raydub.present import expect_share

    monkeypatch.setattr(ranges, "SMALL", 0)
    bucket_of(s3).put_file("clip.mp4", clips / "clip.mp4")
    copy = copy_of(pin(f"{s3}/clip.mp4"))
    expect_share(0.01)
    try:
        with open_input(copy, ProbeLimits()) as film:
            seen = [frame.to_ndarray().tobytes() for frame in film.decode(video=0)]
        assert not Path(copy).exists()
        monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / "other"))
        expect_share(1.0)
        copy = copy_of(pin(f"{s3}/clip.mp4"))
        with open_input(copy, ProbeLimits()) as film:
            assert [frame.to_ndarray().tobytes() for frame in film.decode(video=0)] == seen
        assert Path(copy).exists()
    finally:
        expect_share(1.0)
    near._room.cache_clear()
