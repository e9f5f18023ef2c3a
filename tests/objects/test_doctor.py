"""What `raydub doctor` and `raydub plan` say of buckets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub.cluster import checks_storage
from raydub.cluster.checks_storage import storage_checks
from raydub.cluster.cli import app
from raydub.cluster.found import Check
from raydub.errors import Code, RaydubError
from raydub.objects import client
from raydub.objects.bucket import Bucket, bucket_of
from raydub.pipeline import local_workers
from tests.cluster.clips import SAMPLE, make_clip
from tests.objects.proxy import Proxy
from tests.objects.servers import ENVIRONMENT


def checked(bucket: str | None = None) -> dict[str, Check]:
    return {name: check() for name, check in storage_checks(bucket)}


def test_a_bucket_that_does_all(s3: str) -> None:
    found = checked(f"{s3}/a folder/")
    assert {name: check.state for name, check in found.items()} == {"bucket": "ok", "cache": "ok"}
    assert "honours create-only and replace-only writes" in found["bucket"].found
    assert list(bucket_of(s3).names()) == []
    assert client.ATTEMPTS > 2


def test_a_store_that_ignores_conditions(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Bucket.put
    monkeypatch.setattr(Bucket, "put", lambda self, key, data, **conditions: plain(self, key, data))
    found = checked(s3)["bucket"]
    assert found.state == "missing"
    assert "ignores the conditions of create-only and replace-only writes" in found.found
    assert list(bucket_of(s3).names()) == []


def test_a_bucket_that_may_only_be_read(s3: str, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(moto_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        proxy.rule = lambda method, path: "403 AccessDenied" if method == "PUT" else ""
        with pytest.raises(RaydubError, match="cannot write") as caught:
            checked(s3)
    assert caught.value.code is Code.STORE_DENIED


def test_a_clock_that_differs(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checks_storage.time.time
    monkeypatch.setattr(checks_storage.time, "time", lambda: real() + 3600)
    found = checked(s3)["bucket"]
    assert found.state == "note"
    assert "differ by 3600 s" in found.found or "differ by 3601 s" in found.found


def test_what_the_environment_says(
    environment: None, s3: str, moto_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = checked()
    assert {name: check.state for name, check in found.items()} == {"s3://": "ok", "cache": "ok"}
    assert moto_url in found["s3://"].found
    assert os.environ["RAYDUB_CACHE_DIR"] in found["cache"].found
    with Proxy(moto_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url.replace("://", "://somebody:hunter2@"))
        for answer, words in (("403 InvalidAccessKeyId", "refuses the credentials"), ("html", "not an object store")):
            proxy.rule = lambda method, path, answer=answer: answer  # type: ignore[misc]
            said = checked()["s3://"]
            assert said.state == "note"
            assert words in said.found
            assert not {"hunter2", *ENVIRONMENT.values()} & set(str(said).split())
            assert "hunter2" not in str(said)
    monkeypatch.setenv("RAYDUB_CACHE_GB", "0.5")
    assert checked()["cache"].state == "note"
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name)
    assert list(checked()) == ["buckets"]


def test_limits_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raydub.cluster import checks

    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(local_workers, "_CGROUP", tmp_path)
    assert "of" not in checks._memory().found.split(",")[0].split()
    (tmp_path / "memory.max").write_text(f"{1 << 30}\n")
    assert checks._memory().found.startswith("1.0 of ")
    monkeypatch.setattr("raydub.pipeline.threads.usable_cores", lambda: 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert checks._processor().found.startswith("1 of 8 cores (")


def test_inputs_in_buckets_are_probed_by_plan(s3: str, tmp_path: Path) -> None:
    bucket = bucket_of(s3)
    make_clip(tmp_path / "clip.mp4", 1.0)
    bucket.put_file("in/clip.mp4", tmp_path / "clip.mp4")
    bucket.put_file("in/speech.flac", SAMPLE / "speech_es.flac")
    bucket.put("in/page.mp4", b"<html>no film</html>")
    videos = {"good": "clip.mp4", "page": "page.mp4", "absent": "none.mp4", "web": "https://films.example/a.mp4"}
    rows = [
        {"id": name, "video": path, "audio": "speech.flac", "output": f"new {name}.mp4"}
        for name, path in videos.items()
    ]
    bucket.put("in/jobs.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    done = CliRunner().invoke(app, ["plan", f"{s3}/in/jobs.jsonl", "--json"])
    said = json.loads(done.stdout)
    assert done.exit_code == 1
    assert [(job["job_id"], job["width"]) for job in said["jobs"]] == [("good", 256)]
    assert said["remote"] == ["web"]
    assert {error["job"]: error["code"] for error in said["errors"]} == {
        "page": "E_INPUT_UNREADABLE",
        "absent": "E_INPUT_MISSING",
    }
    assert all(f"{s3}/in/" in error["message"] and "raydub-near" not in error["message"] for error in said["errors"])
