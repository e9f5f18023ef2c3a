"""What goes wrong between here and a store, and what it is called."""

from __future__ import annotations

import hashlib
import logging
import pickle
import random
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raydub.errors import Code, InputError, RaydubError
from raydub.objects import bucket as module
from raydub.objects import client, reading
from raydub.objects.bucket import Bucket, bucket_of
from raydub.objects.counted import counted
from raydub.objects.errors import Conflict
from tests.examples import slow
from tests.objects.proxy import Proxy
from tests.objects.servers import ENVIRONMENT


@pytest.fixture
def proxy(s3: str, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with Proxy(moto_url, seed=1) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture
def bucket(s3: str, proxy: Proxy) -> Bucket:
    return bucket_of(s3)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest parts that stores take."""
    monkeypatch.setattr(module, "PART", 5 << 20)
    monkeypatch.setattr(reading, "PIECE", 5 << 20)
    monkeypatch.setattr(module, "MULTIPART", 5 << 20)


def _each(bucket: Bucket, path: Path) -> dict[str, Callable[[], object]]:
    path.write_bytes(bytes(module.MULTIPART + 1))
    return {
        "head": lambda: bucket.head("k"),
        "get": lambda: bucket.get("k"),
        "get_range": lambda: bucket.get_range("k", 0, 1),
        "put": lambda: bucket.put("k", b"1"),
        "create": lambda: bucket.put("k", b"1", create=True),
        "replace": lambda: bucket.put("k", b"1", etag='"e"'),
        "put_file": lambda: bucket.put_file("k", path),
        "names": lambda: list(bucket.names("folder")),
        "delete": lambda: bucket.delete("k"),
    }


def _all_fail(bucket: Bucket, path: Path, code: Code, hint: str) -> None:
    for what, call in _each(bucket, path).items():
        with pytest.raises(RaydubError) as caught:
            call()
        error = caught.value
        assert error.code is code, f"{what}: {error}"
        assert not error.retryable, what
        assert bucket.name in error.message, what
        assert hint in error.hint, what
        assert error.__context__ is None or isinstance(error.__context__, (client.Unfinished, RaydubError)), what
        assert pickle.loads(pickle.dumps(error)).code is code


def test_a_bucket_that_does_not_exist(proxy: Proxy, tmp_path: Path) -> None:
    _all_fail(bucket_of("s3://no-such-bucket-here"), tmp_path / "f", Code.BUCKET_MISSING, "AWS_ENDPOINT_URL")


@pytest.mark.parametrize(
    ("answer", "code", "hint"),
    [
        ("403 AccessDenied", Code.STORE_DENIED, "allow this role"),
        ("403 InvalidAccessKeyId", Code.CREDENTIALS, "AWS_ACCESS_KEY_ID"),
        slow("403 SignatureDoesNotMatch", Code.CREDENTIALS, "AWS_SECRET_ACCESS_KEY"),
        ("400 ExpiredToken", Code.CREDENTIALS, "AWS_SESSION_TOKEN"),
        ("403 RequestTimeTooSkewed", Code.CREDENTIALS, "clock"),
        slow("400 AuthorizationHeaderMalformed", Code.STORE_PROTOCOL, "AWS_REGION"),
        ("400 KeyTooLongError", Code.STORAGE, "shorter names"),
        ("301 PermanentRedirect", Code.STORE_PROTOCOL, "AWS_REGION"),
    ],
)
def test_refusals_have_names_and_are_not_repeated(
    bucket: Bucket, proxy: Proxy, tmp_path: Path, answer: str, code: Code, hint: str
) -> None:
    proxy.rule = lambda method, path: answer
    _all_fail(bucket, tmp_path / "f", code, hint)
    counts = proxy.report()["total"]
    # head asks again by GET, which says why; delete and names make sure of the bucket.
    assert counts["requests"] <= 14


def test_credentials_that_expire_in_the_middle(bucket: Bucket, proxy: Proxy, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(3 * module.PART)
    (tmp_path / "up").write_bytes(content)
    made = bucket.put_file("film", tmp_path / "up")
    proxy.script.extend(["", "400 ExpiredToken", "400 ExpiredToken", "400 ExpiredToken"])
    with pytest.raises(RaydubError) as caught:
        bucket.download("film", tmp_path / "down", made)
    assert caught.value.code is Code.CREDENTIALS
    proxy.script.clear()
    assert bucket.download("film", tmp_path / "down", made) == hashlib.sha256(content).hexdigest()


def test_a_bucket_that_may_only_be_read(bucket: Bucket, proxy: Proxy) -> None:
    bucket.put("k", b"content")
    proxy.rule = lambda method, path: "" if method in ("GET", "HEAD") else "403 AccessDenied"
    assert bucket.head("k") is not None
    assert bucket.get("k") is not None
    for call in (lambda: bucket.put("k", b""), lambda: bucket.delete("k"), lambda: bucket.put("k", b"", create=True)):
        with pytest.raises(RaydubError) as caught:
            call()
        assert caught.value.code is Code.STORE_DENIED


@pytest.mark.parametrize("status", ["200", slow("403"), "404"])
def test_an_endpoint_that_answers_with_a_web_page(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    page = b"<!DOCTYPE html><html><body>Sign in</body></html>"
    head = f"HTTP/1.1 {status} X\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n"
    with _listening(lambda asked: head.encode() + (b"" if asked.startswith(b"HEAD") else page)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        _all_fail(bucket_of("s3://films"), tmp_path / "f", Code.STORE_PROTOCOL, "AWS_ENDPOINT_URL")


def test_a_web_server_without_pages_is_no_empty_bucket(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"HTTP/1.1 404 X\r\nContent-Type: text/plain\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
    with _listening(lambda asked: answer + (b"" if asked.startswith(b"HEAD") else b"not found\n")) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        for call in (bucket_of("s3://films").head, bucket_of("s3://films").get):
            with pytest.raises(RaydubError, match="what answers is not an object store") as caught:
                call("k")
            assert caught.value.code is Code.STORE_PROTOCOL


def test_something_else_at_the_endpoint(environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _listening(lambda asked: b"SSH-2.0-OpenSSH_9.6\r\n") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        _all_fail(bucket_of("s3://films"), tmp_path / "f", Code.STORE_PROTOCOL, "AWS_ENDPOINT_URL")


def test_no_credentials(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    module._buckets.clear()
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    for what, call in _each(bucket_of(s3), tmp_path / "f").items():
        with pytest.raises(RaydubError) as caught:
            call()
        assert caught.value.code is Code.CREDENTIALS, what
        assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_an_endpoint_where_nobody_is(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(client, "ATTEMPTS", 3)
    before = counted()
    with pytest.raises(RaydubError, match=r"E_STORAGE.*s3://films/k.*cannot be reached, after 3 attempts") as caught:
        bucket_of("s3://films").get("k")
    assert caught.value.retryable
    assert counted().retries - before.retries == 2


@pytest.mark.parametrize(
    "fault",
    [
        "errors",
        "resets",
        slow("resets:before"),
        "truncated",
        "503 SlowDown",
        slow("429 Slow"),
        slow("409 ConditionalRequestConflict"),
    ],
)
def test_what_passes_is_tried_again(bucket: Bucket, proxy: Proxy, tmp_path: Path, fault: str) -> None:
    bucket.put("k", b"content")
    for what, call in _each(bucket, tmp_path / "f").items():
        # An answer to HEAD has no body, so its 409 would have no code.
        if what == "replace" or (what == "head" and fault.startswith("409")):
            continue
        bucket.delete("k") if what == "create" else bucket.put("k", b"content")
        proxy.script.extend([fault, fault])
        before = counted().retries
        call()
        # obstore counts no retries of its own: of parts, and of listings.
        assert counted().retries - before == 2 or what in ("put_file", "names"), what
        assert not proxy.script, what


def test_an_odd_answer_to_a_look_is_not_absence(bucket: Bucket, proxy: Proxy) -> None:
    bucket.put("k", b"content")
    proxy.script.append("409 ConditionalRequestConflict")
    with pytest.raises(RaydubError, match="HTTP 409") as caught:
        bucket.head("k")
    assert caught.value.code is Code.STORAGE


def test_a_store_that_is_busy_with_another_condition(bucket: Bucket, proxy: Proxy) -> None:
    proxy.script.extend(["409 ConditionalRequestConflict", "409 ConditionalRequestConflict"])
    bucket.put("k", b"one", create=True)
    proxy.script.append("409 ConditionalRequestConflict")
    with pytest.raises(Conflict):
        bucket.put("k", b"one", create=True)


def test_a_store_that_stays_broken(bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ATTEMPTS", 3)
    proxy.rule = lambda method, path: "errors"
    with pytest.raises(RaydubError, match=r"HTTP 500, InternalError, after 3 attempts") as caught:
        bucket.get("k")
    assert caught.value.code is Code.STORAGE
    assert caught.value.retryable
    assert proxy.report()["total"]["requests"] == 3


def test_a_store_that_does_not_answer(s3: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    module._buckets.clear()
    proxy.hung_seconds = 1.0
    proxy.rule = lambda method, path: "hung"
    with pytest.raises(RaydubError, match="no answer in time, after 2 attempts") as caught:
        bucket_of(s3).get("k")
    assert caught.value.retryable


def test_a_body_goes_on_where_it_broke_off(bucket: Bucket, proxy: Proxy) -> None:
    content = random.Random(1).randbytes(8 << 20)
    made = bucket.put("k", content)
    for fault in ("truncated", "resets"):
        before, asked = counted(), proxy.report()["total"]["bytes_read"]
        proxy.script.extend([fault, fault, ""])
        assert bucket.get("k", etag=made.etag) == (content, bucket.head("k"))
        assert counted().retries - before.retries == 2
        assert proxy.report()["total"]["bytes_read"] - asked < 1.4 * len(content)


@pytest.mark.parametrize("pinned", [True, False])
def test_an_object_that_is_replaced_while_it_is_read(
    bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, pinned: bool
) -> None:
    old, new = (random.Random(seed).randbytes(4 << 20) for seed in (1, 2))
    made = bucket.put("k", old)
    proxy.script.append("truncated")
    monkeypatch.setattr(client.time, "sleep", lambda seconds: bucket.put("k", new))
    if pinned:
        with pytest.raises(InputError) as caught:
            bucket.get("k", etag=made.etag)
        assert caught.value.code is Code.INPUT_CHANGED
    else:
        found = bucket.get("k")
        assert found is not None
        assert found[0] == new


@pytest.mark.parametrize("fault", ["errors:after", "resets:after"])
def test_a_write_whose_answer_is_lost_is_known_as_ours(bucket: Bucket, proxy: Proxy, fault: str) -> None:
    proxy.script.append(fault)
    made = bucket.put("claim", b"writer 1", create=True)
    assert bucket.get("claim", etag=made.etag) is not None
    proxy.script.append(fault)
    again = bucket.put("claim", b"writer 1, later", etag=made.etag)
    assert bucket.get("claim", etag=again.etag) is not None
    # Somebody else's claim, and the first answer lost: no mistake about whose it is.
    proxy.script.append(fault)
    with pytest.raises(Conflict):
        bucket.put("claim", b"writer 2", create=True)


@pytest.mark.slow
def test_a_store_with_all_faults_at_once(
    s3: str, moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = random.Random(5).randbytes(5 * module.PART + 5)
    (tmp_path / "up").write_bytes(content)
    with Proxy(moto_url, seed=5, errors=0.1, resets=0.06, truncated=0.04, slow=0.02) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        bucket = bucket_of(s3)
        made = bucket.put_file("film", tmp_path / "up")
        assert bucket.download("film", tmp_path / "down", made) == hashlib.sha256(content).hexdigest()
        for number in range(40):
            bucket.put(f"n/{number}", str(number).encode(), create=True)
        assert sorted(int(meta.key[2:]) for meta in bucket.names("n")) == list(range(40))
        assert sum(proxy.report()["faults"].values()) > 5


def test_no_credential_is_told(
    bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    told = repr(bucket)
    for answer in (
        f"403 SignatureDoesNotMatch</Code><AWSAccessKeyId>{ENVIRONMENT['AWS_ACCESS_KEY_ID']}</AWSAccessKeyId><Code>X",
        f"500 Some</Code><Secret>{ENVIRONMENT['AWS_SECRET_ACCESS_KEY']}</Secret><Code>X",
        f"404 Some</Code><Secret>{ENVIRONMENT['AWS_SECRET_ACCESS_KEY']}</Secret><Code>X",
    ):
        proxy.rule = lambda method, path, answer=answer: answer  # type: ignore[misc]
        for call in _each(bucket, tmp_path / "f").values():
            try:
                call()
            except (RaydubError, Conflict) as error:
                told += "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
                told += repr(error.__context__) + repr(error.__cause__)
    told += caplog.text
    assert len(told) > 1000
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert ENVIRONMENT[name] not in told


class _listening:
    """A server that answers each request with bytes and closes; gives its URL."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._accept, daemon=True).start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += connection.recv(1 << 16)
            connection.sendall(self._answer(asked))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
