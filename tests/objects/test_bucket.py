from __future__ import annotations

import hashlib
import os
import random
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from raydub.errors import Code, InputError, StageError
from raydub.objects import bucket as module
from raydub.objects.bucket import Bucket, bucket_of
from raydub.objects.counted import counted
from raydub.objects.errors import Conflict

KEYS = ["a", "a b/ü 😀.mp4", "a?b#c%20d/%2F", "*|\\^~`{}[]<>\"'&+=", "é" * 512]


@pytest.fixture
def at_s3(s3: str) -> Bucket:
    return bucket_of(s3)


@pytest.fixture(params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """A bucket of each protocol."""
    if request.param == "s3":
        return bucket_of(request.getfixturevalue("s3"))
    request.getfixturevalue("gcs")
    return bucket_of("gs://films")


@pytest.fixture
def film(tmp_path: Path) -> tuple[Path, bytes]:
    """A file of two parts and a bit."""
    content = random.Random(1).randbytes(2 * module.PART + 12345)
    path = tmp_path / "film.bin"
    path.write_bytes(content)
    return path, content


def test_what_is_put_is_there(bucket: Bucket) -> None:
    for number, key in enumerate(KEYS):
        content = key.encode() * number
        made = bucket.put(key, content)
        found = bucket.head(key)
        assert found is not None
        assert (found.key, found.size, found.etag) == (key, len(content), made.etag)
        assert abs(found.modified - found.modified // 1) == 0
        assert bucket.get(key) == (content, found)
        assert bucket.get_range(key, 1, 3, etag=made.etag) == content[1:3]
    assert {meta.key for meta in bucket.names()} == set(KEYS)


def test_absent_objects(bucket: Bucket) -> None:
    assert bucket.head("none") is None
    assert bucket.get("none") is None
    bucket.delete("none")
    assert list(bucket.names()) == []
    with pytest.raises(InputError) as caught:
        bucket.get_range("none", 0, 1)
    assert caught.value.code is Code.INPUT_MISSING


def test_ranges_end_at_the_end(bucket: Bucket) -> None:
    bucket.put("five", b"12345")
    assert bucket.get_range("five", 3, 100) == b"45"
    assert bucket.get_range("five", 5, 100) == b""
    assert bucket.get_range("five", 2, 2) == b""
    bucket.put("empty", b"")
    assert bucket.get_range("empty", 0, 10) == b""


def test_create_and_replace_only_as_asked(bucket: Bucket) -> None:
    first = bucket.put("claim", b"one", create=True)
    with pytest.raises(Conflict):
        bucket.put("claim", b"one", create=True)
    second = bucket.put("claim", b"two", etag=first.etag)
    with pytest.raises(Conflict):
        bucket.put("claim", b"three", etag=first.etag)
    with pytest.raises(Conflict):
        bucket.put("absent", b"three", etag=second.etag)
    assert bucket.get("claim", etag=second.etag) is not None
    assert bucket.head("absent") is None


def test_of_racing_creates_one_wins(bucket: Bucket) -> None:
    won, start = [], threading.Barrier(8)

    def race(number: int) -> None:
        start.wait()
        try:
            bucket.put("claim", str(number).encode(), create=True)
        except Conflict:
            return
        won.append(number)

    racers = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    found = bucket.get("claim")
    assert found is not None
    assert won == [int(found[0])]


def test_changed_objects_are_noticed(bucket: Bucket) -> None:
    first = bucket.put("film", b"first")
    bucket.put("film", b"other")
    for read in (
        lambda: bucket.get("film", etag=first.etag),
        lambda: bucket.get_range("film", 0, 2, etag=first.etag),
        lambda: bucket.get("gone", etag=first.etag),
    ):
        with pytest.raises(InputError) as caught:
            read()
        assert caught.value.code is Code.INPUT_CHANGED
        assert bucket.name in caught.value.message


@pytest.mark.parametrize("size", [0, 1, module.PART, module.PART + 1])
def test_files_up_and_down(bucket: Bucket, tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "up").write_bytes(content)
    made = bucket.put_file("file", tmp_path / "up")
    assert made.size == size
    (tmp_path / "down").write_bytes(b"something longer that was there before" * 3)
    assert bucket.download("file", tmp_path / "down", made) == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "down").read_bytes() == content


def test_large_files_go_in_parts(bucket: Bucket, film: tuple[Path, bytes], tmp_path: Path) -> None:
    path, content = film
    before = counted()
    made = bucket.put_file("film", path)
    assert counted().bytes_written - before.bytes_written == len(content)
    assert "-" in made.etag or bucket.scheme == "gs"  # of an object that was joined from parts
    assert bucket.download("film", tmp_path / "down", made, parts=2) == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "down").read_bytes() == content
    assert counted().bytes_read - before.bytes_read == len(content)


@pytest.mark.parametrize("single", [module.SINGLE, module.PART], ids=["one request", "parts"])
def test_conditional_writes_of_files(
    bucket: Bucket, film: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch, single: int
) -> None:
    monkeypatch.setattr(module, "SINGLE", single)
    path, content = film
    first = bucket.put_file("film", path, create=True)
    with pytest.raises(Conflict):
        bucket.put_file("film", path, create=True)
    other = bucket.put("film", b"replaced", etag=first.etag)
    with pytest.raises(Conflict):
        bucket.put_file("film", path, etag=first.etag)
    bucket.put_file("film", path, etag=other.etag)
    found = bucket.get("film")
    assert found is not None
    assert found[0] == content


@pytest.mark.parametrize("there", [b"", b"an older one"], ids=["create", "replace"])
def test_parts_are_not_joined_when_the_object_is_no_longer_theirs(
    bucket: Bucket, film: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch, there: bytes
) -> None:
    monkeypatch.setattr(module, "SINGLE", module.PART)
    condition: dict[str, Any] = {"etag": bucket.put("film", there).etag} if there else {"create": True}

    def forbidden() -> None:
        raise StageError(Code.OUTPUT_BUSY, "somebody else's by now")

    with pytest.raises(StageError, match="by now"):
        bucket.put_file("film", film[0], **condition, last=forbidden)
    found = bucket.head("film")
    assert (found.size if found else 0) == len(there)
    with pytest.raises(Conflict):
        bucket.put_file("film", film[0], **condition, last=lambda: bucket.put("film", b"somebody else's") and None)
    assert bucket.get_range("film", 0, 100) == b"somebody else's"


def test_a_download_of_an_object_that_changes_fails(bucket: Bucket, film: tuple[Path, bytes], tmp_path: Path) -> None:
    path, _ = film
    made = bucket.put_file("film", path)
    bucket.put("film", b"shorter")
    with pytest.raises(InputError) as caught:
        bucket.download("film", tmp_path / "down", made)
    assert caught.value.code is Code.INPUT_CHANGED
    bucket.delete("film")
    with pytest.raises(InputError) as caught:
        bucket.download("film", tmp_path / "down", made)
    assert caught.value.code is Code.INPUT_CHANGED


def test_listing_by_folder(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ["refs/a/1", "refs/a/2", "refs/a/sub/3", "refs/ab/4", "refs/a5"]
    for key in keys:
        bucket.put(key, key.encode())
    assert [meta.key for meta in bucket.names("refs/a")] == ["refs/a/1", "refs/a/2", "refs/a/sub/3"]
    assert {meta.key for meta in bucket.names("refs")} == set(keys)
    assert [meta.size for meta in bucket.names("refs/a/sub")] == [12]
    assert list(bucket.names("refs/a/1")) == []
    bucket.delete("refs/a5")
    assert bucket.head("refs/a5") is None


def test_what_others_put_into_a_folder(at_s3: Bucket, moto_url: str) -> None:
    at_s3.put("refs/1", b"")

    def ask(method: str, key: str) -> None:
        url = f"{moto_url}/{at_s3.name}/{key}"
        urllib.request.urlopen(urllib.request.Request(url, data=b"", method=method), timeout=20).close()

    ask("PUT", "refs/")
    assert [meta.key for meta in at_s3.names("refs")] == ["refs/1"]
    ask("PUT", "refs/a//b")
    with pytest.raises(StageError, match="empty step") as caught:
        list(at_s3.names("refs"))
    assert "remove" in caught.value.hint


def test_an_object_in_an_archive_is_named_so(at_s3: Bucket, moto_url: str) -> None:
    boto3 = pytest.importorskip("boto3")
    boto3.client("s3", endpoint_url=moto_url).put_object(
        Bucket=at_s3.name, Key="film", Body=b"cold", StorageClass="GLACIER"
    )
    assert at_s3.head("film") is not None
    with pytest.raises(InputError, match="it is in an archive") as caught:
        at_s3.get("film")
    assert caught.value.code is Code.INPUT_UNREADABLE
    assert "restore" in caught.value.hint


def test_an_empty_listing_makes_sure_of_the_endpoint_once(bucket: Bucket) -> None:
    assert list(bucket.names("none")) == []
    before = counted().requests
    for number in range(5):
        assert list(bucket.names(f"none/{number}")) == []
    assert counted().requests - before == 5


@pytest.mark.slow
def test_more_keys_than_fit_on_a_page(at_s3: Bucket) -> None:
    """moto's pages have 1,000 keys, as those of S3."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: at_s3.put(f"many/{number:04}", b""), range(1003)))
    assert [meta.key for meta in at_s3.names("many")] == [f"many/{number:04}" for number in range(1003)]


def test_one_client_for_each_place(s3: str, monkeypatch: pytest.MonkeyPatch, moto_url: str) -> None:
    assert bucket_of(s3) is bucket_of(f"{s3}/other/key")
    before = bucket_of(s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url.replace("127.0.0.1", "localhost"))
    assert bucket_of(s3) is not before
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)
    assert bucket_of(s3) is before
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in repr(before) + repr(vars(before))


def test_forked_processes_are_told_so(bucket: Bucket) -> None:
    bucket.head("warm")
    child = os.fork()
    if child == 0:
        try:
            bucket_of(f"s3://{bucket.name}")
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
