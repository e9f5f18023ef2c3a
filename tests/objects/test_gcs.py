"""gs:// names, against a small server with the preconditions of Google's XML API."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from raydub.errors import Code, InputError, RaydubError
from raydub.objects import bucket as module
from raydub.objects import client
from raydub.objects.bucket import Bucket, bucket_of
from raydub.objects.errors import Conflict
from tests.objects.gcs import TOKEN, Gcs
from tests.objects.proxy import Proxy
from tests.objects.test_bucket import KEYS


@pytest.fixture
def gcs(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gcs]:
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", TOKEN)
    with Gcs("films") as server:
        monkeypatch.setenv("GOOGLE_BASE_URL", server.url)
        yield server


@pytest.fixture
def bucket(gcs: Gcs) -> Bucket:
    return bucket_of("gs://films")


def test_objects(bucket: Bucket) -> None:
    for number, key in enumerate(KEYS):
        made = bucket.put(key, key.encode() * number)
        found = bucket.head(key)
        assert found is not None
        assert (found.etag, found.version, found.modified) == (made.etag, made.version, 1_800_000_000)
        assert found.version
        assert bucket.get(key, etag=made.etag) == (key.encode() * number, found)
    assert {meta.key for meta in bucket.names()} == set(KEYS)
    assert bucket.get_range(KEYS[2], 1, 4) == (KEYS[2] * 2).encode()[1:4]
    assert bucket.get_range(KEYS[0], 1, 4) == b""
    bucket.copy(KEYS[1], "copy")
    assert bucket.get_range("copy", 0, 100) == KEYS[1].encode()
    bucket.delete("copy")
    bucket.delete("copy")
    assert bucket.head("copy") is None
    assert bucket.get("copy") is None
    assert list(bucket.names("empty")) == []
    with pytest.raises(InputError) as caught:
        bucket.copy("copy", "other")
    assert caught.value.code is Code.INPUT_MISSING


def test_conditions(bucket: Bucket) -> None:
    first = bucket.put("claim", b"one", create=True)
    with pytest.raises(Conflict):
        bucket.put("claim", b"two", create=True)
    second = bucket.put("claim", b"two", etag=first.etag)
    assert second.version != first.version
    for key in ("claim", "absent"):
        with pytest.raises(Conflict):
            bucket.put(key, b"three", etag=first.etag)
    with pytest.raises(InputError) as caught:
        bucket.get("claim", etag=first.etag)
    assert caught.value.code is Code.INPUT_CHANGED


def test_a_replacement_between_look_and_write_is_noticed(
    bucket: Bucket, gcs: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bucket.put("lease", b"one")
    original = bucket.head

    def head(key: str) -> module.Meta | None:
        found = original(key)
        gcs.store("lease", b"somebody else's")
        return found

    monkeypatch.setattr(bucket, "head", head)
    with pytest.raises(Conflict):
        bucket.put("lease", b"two", etag=first.etag)
    assert gcs.objects["lease"].content == b"somebody else's"


def test_of_racing_creates_one_wins(bucket: Bucket, gcs: Gcs) -> None:
    won, start = [], threading.Barrier(24)

    def race(number: int) -> None:
        start.wait()
        try:
            bucket.put("claim", str(number).encode(), create=True)
        except Conflict:
            return
        won.append(number)

    racers = [threading.Thread(target=race, args=(number,)) for number in range(24)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert won == [int(gcs.objects["claim"].content)]


def test_files_in_parts_and_listing_by_pages(bucket: Bucket, gcs: Gcs, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(2 * module.PART + 5)
    (tmp_path / "up").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SINGLE", module.PART)
        made = bucket.put_file("film", tmp_path / "up", create=True)
        with pytest.raises(Conflict):
            bucket.put_file("film", tmp_path / "up", create=True)
    assert gcs.objects["film"].content == content
    assert bucket.download("film", tmp_path / "down", made) == hashlib.sha256(content).hexdigest()
    for number in range(12):
        bucket.put(f"n/{number:02}", b"")
    assert [meta.key for meta in bucket.names("n")] == [f"n/{number:02}" for number in range(12)]


def test_through_a_breaking_proxy(bucket: Bucket, gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(gcs.url, seed=3, errors=0.1, resets=0.06, truncated=0.05) as proxy:
        monkeypatch.setenv("GOOGLE_BASE_URL", proxy.url)
        through = bucket_of("gs://films")
        assert through is not bucket
        for number in range(40):
            made = through.put(f"n/{number:02}", b"1", create=True)
            through.put(f"n/{number:02}", f"{number}".encode(), etag=made.etag)
        assert [int(through.get_range(meta.key, 0, 9)) for meta in through.names("n")] == list(range(40))
        assert sum(proxy.report()["faults"].values()) > 5


def test_refusals(gcs: Gcs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RaydubError) as caught:
        bucket_of("gs://other").get("film")
    assert caught.value.code is Code.BUCKET_MISSING
    assert "GOOGLE_BASE_URL" in caught.value.hint
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "another-secret")
    module._buckets.clear()
    for call in (bucket_of("gs://films").head, bucket_of("gs://films").get):
        with pytest.raises(RaydubError) as caught:
            call("film")
        assert caught.value.code is Code.CREDENTIALS
        assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.hint
        assert "another-secret" not in str(caught.value)
    monkeypatch.delenv("GOOGLE_BEARER_TOKEN")
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    module._buckets.clear()
    with pytest.raises(RaydubError) as caught:
        bucket_of("gs://films").get("film")
    assert caught.value.code is Code.CREDENTIALS
    (tmp_path / "key.json").write_text('{"private_key": "very-secret"')
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "key.json"))
    module._buckets.clear()
    with pytest.raises(RaydubError) as caught:
        bucket_of("gs://films")
    assert caught.value.code is Code.CREDENTIALS
    assert "very-secret" not in str(caught.value)
