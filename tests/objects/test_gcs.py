"""What only gs:// has, against a small server with the preconditions of Google's XML API; see test_bucket for the
rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from raydub.errors import Code, RaydubError
from raydub.objects import bucket as module
from raydub.objects import client
from raydub.objects.bucket import Bucket, bucket_of
from raydub.objects.errors import Conflict
from tests.objects.gcs import Gcs
from tests.objects.proxy import Proxy


@pytest.fixture
def bucket(gcs: Gcs) -> Bucket:
    return bucket_of("gs://films")


def test_versions_are_generations(bucket: Bucket) -> None:
    first = bucket.put("claim", b"one", create=True)
    found = bucket.head("claim")
    assert found is not None
    assert (found.etag, found.version, found.modified) == (first.etag, first.version, 1_800_000_000)
    second = bucket.put("claim", b"two", etag=first.etag)
    assert first.version
    assert second.version not in ("", first.version)


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


def test_listing_by_pages(bucket: Bucket) -> None:
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
