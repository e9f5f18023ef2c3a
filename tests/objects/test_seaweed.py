"""The same against a second server, which checks signatures and stores on disk."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raydub.errors import Code, RaydubError
from raydub.objects import bucket as module
from raydub.objects import reading
from raydub.objects.bucket import Bucket, bucket_of
from raydub.objects.errors import Conflict
from tests.objects import servers
from tests.objects.proxy import Proxy
from tests.objects.test_bucket import KEYS

pytestmark = pytest.mark.slow

_RACER = """
import sys
from raydub.objects.bucket import bucket_of
from raydub.objects.errors import Conflict
bucket = bucket_of(sys.argv[1])
bucket.head("warm")
print("ready", flush=True)
sys.stdin.readline()
wins = ""
for round in range(5):
    try:
        bucket.put(f"claim {round}", sys.argv[2].encode(), create=True)
        wins += str(round)
    except Conflict:
        pass
print(wins, flush=True)
"""


@pytest.fixture(scope="module")
def seaweed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.seaweed(tmp_path_factory.mktemp("seaweed")) as url:
        servers.make_signed_bucket(url, "films")
        yield url


@pytest.fixture
def bucket(environment: None, seaweed_url: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweed_url)
    module._buckets.clear()
    return bucket_of("s3://films")


def test_objects(bucket: Bucket) -> None:
    for key in KEYS:
        # Names of its files are limited to 255 bytes.
        if all(len(step.encode()) <= 255 for step in key.split("/")):
            made = bucket.put(f"objects/{key}", key.encode())
            assert bucket.get(f"objects/{key}", etag=made.etag) == (key.encode(), bucket.head(f"objects/{key}"))
    assert len(list(bucket.names("objects"))) == len(KEYS) - 1
    assert bucket.get_range("objects/a", 1, 5) == b""
    assert bucket.head("objects/none") is None
    bucket.delete("objects/a")
    bucket.delete("objects/a")
    assert bucket.head("objects/a") is None


def test_of_24_racing_processes_one_creates(bucket: Bucket) -> None:
    command = [sys.executable, "-c", _RACER, "s3://films"]
    racers = [
        subprocess.Popen([*command, f"racer {number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(24)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    wins = {f"racer {number}": racer.communicate(timeout=60)[0].strip() for number, racer in enumerate(racers)}
    for round in range(5):
        found = bucket.get(f"claim {round}")
        assert found is not None
        assert [who for who, won in wins.items() if str(round) in won] == [found[0].decode()]


def test_replace_only_what_was_seen(bucket: Bucket) -> None:
    first = bucket.put("lease", b"one", create=True)
    second = bucket.put("lease", b"two", etag=first.etag)
    with pytest.raises(Conflict):
        bucket.put("lease", b"three", etag=first.etag)
    with pytest.raises(Conflict):
        bucket.put("nothing", b"three", etag=first.etag)
    assert bucket.get("lease", etag=second.etag) is not None


def test_parts_through_a_breaking_proxy(
    bucket: Bucket, seaweed_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = random.Random(1).randbytes(5 * module.PART + 5)
    (tmp_path / "up").write_bytes(content)
    with Proxy(seaweed_url, seed=7, errors=0.05, resets=0.04, truncated=0.03) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        through = bucket_of("s3://films")
        for _ in range(3):
            made = through.put_file("film", tmp_path / "up")
            assert through.download("film", tmp_path / "down", made) == hashlib.sha256(content).hexdigest()
        for number in range(60):
            through.put(f"n/{number}", str(number).encode(), create=True)
        assert sorted(int(meta.key[2:]) for meta in through.names("n")) == list(range(60))
        assert sum(proxy.report()["faults"].values()) > 5


def test_listing_by_pages(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(25):
        bucket.put(f"pages/{number:02}", b"x")
    monkeypatch.setattr(reading, "_PAGE", 7)
    assert [meta.key for meta in bucket.names("pages")] == [f"pages/{number:02}" for number in range(25)]


@pytest.mark.parametrize(
    ("key", "secret", "code"),
    [
        (servers.READER["AWS_ACCESS_KEY_ID"], servers.READER["AWS_SECRET_ACCESS_KEY"], Code.STORE_DENIED),
        ("AKIANOBODY", "x", Code.CREDENTIALS),
        (servers.ENVIRONMENT["AWS_ACCESS_KEY_ID"], "wrong", Code.CREDENTIALS),
    ],
)
def test_refusals(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, key: str, secret: str, code: Code) -> None:
    bucket.put("film", b"content")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    module._buckets.clear()
    refused = bucket_of("s3://films")
    if code is Code.STORE_DENIED:
        assert refused.get("film") is not None
    else:
        with pytest.raises(RaydubError) as caught:
            refused.head("film")
        assert caught.value.code is code
    with pytest.raises(RaydubError) as caught:
        refused.put("film", b"other", create=True)
    assert caught.value.code is code
    with pytest.raises(RaydubError) as caught:
        bucket_of("s3://other-bucket").get("film")
    assert caught.value.code in (code, Code.BUCKET_MISSING, Code.STORE_DENIED)
