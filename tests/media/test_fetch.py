"""Fetching: whole or not at all, gone on with after a break, asked once, and never for longer than agreed."""

from __future__ import annotations

import errno
import gzip
import hashlib
import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raydub import partial
from raydub.errors import Code, RaydubError
from raydub.media.fetch import fetch, known_copy
from raydub.media.fetch_policy import FetchPolicy
from raydub.store import TAG, Store
from tests.kept import record_of
from tests.media.web import OWN, Request, Shelf, serving

CONTENT = bytes(range(256)) * 5000
SECRET = "signature=pa55word"


def nowait(_: float) -> None:
    pass


def got(url: str, tmp_path: Path, policy: FetchPolicy = OWN) -> bytes:
    return Path(fetch(url, tmp_path, policy, sleep=nowait).path).read_bytes()


def refusal(url: str, tmp_path: Path, policy: FetchPolicy = OWN) -> RaydubError:
    with pytest.raises(RaydubError) as refused:
        fetch(url, tmp_path, policy, sleep=nowait)
    assert "pa55word" not in str(refused.value)
    return refused.value


def leftovers(tmp_path: Path) -> list[str]:
    found = (path for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("lock", TAG))
    return sorted(path.name for path in found if "identities" not in path.parts)


def test_a_file_comes_whole_under_the_name_of_its_content(tmp_path: Path) -> None:
    with serving(Shelf(CONTENT)) as web:
        path = Path(fetch(web.url(f"/a/clip.MP4?{SECRET}#part"), tmp_path, OWN).path)
    assert path.name == hashlib.sha256(CONTENT).hexdigest() + ".mp4"
    assert path.read_bytes() == CONTENT
    asked, headers = web.hits[0]
    assert asked == f"/a/clip.MP4?{SECRET}"
    assert headers["accept-encoding"] == "identity"
    assert headers["host"] == f"127.0.0.1:{web.port}"
    [name] = Store(tmp_path).names("fetched")
    assert leftovers(tmp_path) == sorted([path.name, record_of(tmp_path, name).name])
    assert "pa55word" not in record_of(tmp_path, name).read_text()


@pytest.mark.parametrize("shelf", [Shelf(CONTENT), Shelf(CONTENT, "", "Sat, 01 Feb 2025 10:00:00 GMT")])
def test_a_second_job_asks_with_a_condition(tmp_path: Path, shelf: Shelf) -> None:
    with serving(shelf) as web:
        first = fetch(web.url(), tmp_path, OWN)
        assert fetch(web.url(), tmp_path, OWN) == first
        assert len(web.hits) == 2
        assert {"if-none-match", "if-modified-since"} & set(web.hits[1][1])
        state = known_copy(web.url(), tmp_path)
        assert state is not None
        assert (state.path, state.size) == (first.path, len(CONTENT))
        shelf.content, shelf.etag, shelf.modified = b"newer", '"two"', ""
        second = fetch(web.url(), tmp_path, OWN)
        assert Path(second.path).read_bytes() == b"newer"
        # A plan that was made with the former version still finds it.
        assert Path(first.path).read_bytes() == CONTENT
        assert known_copy(web.url(), tmp_path) != state
    assert known_copy(web.url("/other.mp4"), tmp_path) is None
    assert known_copy("no address", tmp_path) is None


def test_without_marks_of_versions_a_young_copy_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Shelf(CONTENT, "")) as web:
        assert [got(web.url(), tmp_path) for _ in range(3)] == [CONTENT] * 3
        assert len(web.hits) == 1
        later = time.time() + 3600
        monkeypatch.setattr("raydub.media.fetch.time.time", lambda: later)
        assert got(web.url(), tmp_path) == CONTENT
        assert len(web.hits) == 2


def test_a_copy_that_lost_bytes_is_fetched_anew(tmp_path: Path) -> None:
    with serving(Shelf(CONTENT)) as web:
        path = Path(fetch(web.url(), tmp_path, OWN).path)
        path.write_bytes(CONTENT[:99])
        assert known_copy(web.url(), tmp_path) is None
        assert got(web.url(), tmp_path) == CONTENT


def test_a_break_is_gone_on_with_where_it_was(tmp_path: Path) -> None:
    shelf = Shelf(CONTENT)
    shelf.cut = 300_000
    with serving(shelf) as web:
        assert got(web.url(), tmp_path) == CONTENT
    assert "range" not in web.hits[0][1]
    assert web.hits[1][1]["range"] == "bytes=300000-"
    assert web.hits[1][1]["if-range"] == '"one"'
    assert len(web.hits) == 2


def test_another_version_after_a_break_begins_anew(tmp_path: Path) -> None:
    shelf = Shelf(CONTENT)

    def answer(request: Request) -> None:
        shelf(request)
        shelf.content, shelf.etag = CONTENT[::-1], '"two"'

    shelf.cut = 300_000
    with serving(answer) as web:
        assert got(web.url(), tmp_path) == CONTENT[::-1]


def test_a_server_that_lies_about_the_range_is_not_believed(tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        if len(web.hits) == 1:
            request.send(200, CONTENT[:1000], {"ETag": '"one"'}, len(CONTENT))
        elif "Range" in request.headers:
            # As long as the rest should be, and not the rest.
            other = CONTENT[1000:][::-1]
            request.send(206, other, {"Content-Range": f"bytes 2000-{len(CONTENT) - 1}/{len(CONTENT)}"})
        else:
            request.send(200, CONTENT)

    with serving(answer) as web:
        assert got(web.url(), tmp_path) == CONTENT


def test_weak_marks_do_not_join_two_halves(tmp_path: Path) -> None:
    shelf = Shelf(CONTENT, 'W/"one"')
    shelf.cut = 1000
    with serving(shelf) as web:
        assert got(web.url(), tmp_path) == CONTENT
    assert "range" not in web.hits[1][1]


def test_what_a_dead_worker_fetched_is_not_fetched_again(tmp_path: Path) -> None:
    shelf = Shelf(CONTENT)

    def answer(request: Request) -> None:
        shelf.cut = 200_000 if len(web.hits) == 1 else 0
        shelf(request)

    with serving(answer) as web:
        assert refusal(web.url(), tmp_path).code is Code.FETCH_FAILED
        assert "partial" in leftovers(tmp_path)
        web.answer = shelf
        assert got(web.url(), tmp_path) == CONTENT
    assert web.hits[-1][1]["range"] == "bytes=200000-"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_trouble_passes(tmp_path: Path, status: int) -> None:
    waits: list[float] = []

    def answer(request: Request) -> None:
        if len(web.hits) < 3:
            request.send(status, b"busy", {"Retry-After": "7"} if len(web.hits) == 1 else {"Retry-After": "86400"})
        else:
            request.send(200, CONTENT)

    with serving(answer) as web:
        assert Path(fetch(web.url(), tmp_path, OWN, sleep=waits.append).path).read_bytes() == CONTENT
    assert waits == [7.0, OWN.longest_wait]


def test_waits_double_within_a_bound(tmp_path: Path) -> None:
    waits: list[float] = []
    policy = replace(OWN, first_wait=1.0, longest_wait=4.0, tries=6)
    with serving(lambda request: request.send(503)) as web, pytest.raises(RaydubError) as refused:
        fetch(web.url(), tmp_path, policy, sleep=waits.append)
    assert refused.value.code is Code.FETCH_FAILED
    assert len(web.hits) == 6
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, (1, 2, 4, 4, 4), strict=True))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, Code.INPUT_MISSING),
        (410, Code.INPUT_MISSING),
        (401, Code.FETCH_FAILED),
        (403, Code.FETCH_FAILED),
        (400, Code.FETCH_FAILED),
        (204, Code.FETCH_FAILED),
        (206, Code.FETCH_FAILED),
        (304, Code.FETCH_FAILED),
    ],
)
def test_lasting_refusals_are_not_repeated(tmp_path: Path, status: int, code: Code) -> None:
    with serving(lambda request: request.send(status)) as web:
        error = refusal(web.url(f"/a.mp4?{SECRET}"), tmp_path)
        assert (error.code, len(web.hits)) == (code, 1)
        assert f"http://127.0.0.1:{web.port}/a.mp4" in error.message
        assert not error.retryable


@pytest.mark.parametrize("status", [403, 503])
def test_an_earlier_copy_stands_in_and_says_so(tmp_path: Path, status: int) -> None:
    with serving(Shelf(CONTENT)) as web:
        fetch(web.url(), tmp_path, OWN)
        web.answer = lambda request: request.send(status)
        again = fetch(web.url(), tmp_path, OWN, sleep=nowait)
        assert Path(again.path).read_bytes() == CONTENT
        assert str(status) in again.unchecked
        web.answer = lambda request: request.send(404)
        assert refusal(web.url(), tmp_path).code is Code.INPUT_MISSING


def test_nobody_there(tmp_path: Path) -> None:
    with serving(Shelf(CONTENT)) as web:
        pass
    error = refusal(web.url(), tmp_path)
    assert error.code is Code.FETCH_FAILED
    assert "refused" in error.message


def _endless(request: Request) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"x" * 65536)


def _endless_chunks(request: Request) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    while True:
        request.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")


@pytest.mark.parametrize(
    "answer", [_endless, _endless_chunks, lambda request: request.send(200, b"x" * 10, length=1 << 50)]
)
def test_more_than_the_limit_is_not_taken(tmp_path: Path, answer: Callable[[Request], None]) -> None:
    with serving(answer) as web:
        error = refusal(web.url(), tmp_path, replace(OWN, max_bytes=1_000_000))
    assert (error.code, len(web.hits)) == (Code.INPUT_LIMIT, 1)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_compressed_answers_are_not_unpacked(tmp_path: Path, encoding: str) -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    with serving(lambda request: request.send(200, bomb, {"Content-Encoding": encoding})) as web:
        error = refusal(web.url(), tmp_path)
    assert error.code is Code.FETCH_FAILED
    assert "compressed" in error.message


@pytest.mark.parametrize(
    ("body", "kind"), [(b"\n <!DOCTYPE html><title>Log in", "text/plain"), (b"<head>", "text/html; charset=utf-8")]
)
def test_a_page_is_no_film(tmp_path: Path, body: bytes, kind: str) -> None:
    with serving(lambda request: request.send(200, body, {"Content-Type": kind})) as web:
        error = refusal(web.url(), tmp_path)
    assert error.code is Code.FETCH_FAILED
    assert "web page" in error.message


def test_an_empty_answer(tmp_path: Path) -> None:
    with serving(lambda request: request.send(200)) as web:
        assert refusal(web.url(), tmp_path).code is Code.INPUT_EMPTY


def _broken_chunks(request: Request) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"1000\r\n" + b"x" * 100)


def _no_http(request: Request) -> None:
    request.wfile.write(b"220 mail.example ESMTP\r\n")


def _many_headers(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(5000)) + b"\r\n")


def _long_header(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n")


def _broken_headers(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")


def _broken_length(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 12")


@pytest.mark.parametrize(
    "answer", [_broken_chunks, _no_http, _many_headers, _long_header, _broken_headers, _broken_length]
)
def test_broken_answers_end_after_some_tries(tmp_path: Path, answer: Callable[[Request], None]) -> None:
    with serving(answer) as web:
        assert refusal(web.url(f"/a?{SECRET}"), tmp_path).code is Code.FETCH_FAILED
        assert len(web.hits) == OWN.tries


def _silent(request: Request) -> None:
    request.rfile.read()


def _stuck(request: Request) -> None:
    request.send(200, CONTENT[:100], length=len(CONTENT))
    request.wfile.flush()
    request.rfile.read()


def _dripping_headers(request: Request) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    _drip(request, b"X")


def _dripping(request: Request) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    _drip(request, b"x")


def _continuing(request: Request) -> None:
    _drip(request, b"HTTP/1.1 100 Continue\r\n\r\n")


def _drip(request: Request, drop: bytes) -> None:
    """Until the other side hangs up."""
    while True:
        request.wfile.write(drop)
        time.sleep(0.05)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("answer", [_silent, _stuck, _dripping_headers, _dripping, _continuing])
def test_slow_answers_are_cut_off(tmp_path: Path, answer: Callable[[Request], None]) -> None:
    policy = replace(OWN, connect_seconds=0.3, idle_seconds=0.4, tries=1)
    with serving(answer) as web:
        assert refusal(web.url(), tmp_path, policy).code is Code.FETCH_FAILED


@pytest.mark.timeout(60)
def test_the_whole_has_an_end_too(tmp_path: Path) -> None:
    """Fast enough never to be idle, and endless: total_seconds ends it."""

    def answer(request: Request) -> None:
        request.send_response(200)
        request.end_headers()
        _drip(request, b"x" * 4096)

    with serving(answer) as web:
        assert refusal(web.url(), tmp_path, replace(OWN, total_seconds=0.5)).code is Code.FETCH_FAILED


def _fetch_there(url: str, folder: str, found: Any) -> None:
    found.put(fetch(url, folder, OWN).path)


@pytest.mark.timeout(120)
def test_two_processes_fetch_once(tmp_path: Path) -> None:
    shelf = Shelf(CONTENT)
    both = threading.Event()

    def answer(request: Request) -> None:
        # The first answer waits until the other process must have come to the lock.
        if len(web.hits) == 1:
            both.wait(20)
        shelf(request)

    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    with serving(answer) as web:
        workers = [context.Process(target=_fetch_there, args=(web.url(), str(tmp_path), found)) for _ in range(2)]
        for worker in workers:
            worker.start()
        threading.Timer(3, both.set).start()
        paths = {found.get(timeout=60) for _ in workers}
        for worker in workers:
            worker.join(30)
    assert len(paths) == 1
    assert Path(paths.pop()).read_bytes() == CONTENT
    assert len([hit for hit in web.hits if "if-none-match" not in hit[1]]) == 1


def test_without_locks_each_fetches_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(partial.fcntl, "flock", refuse)
    with serving(Shelf(CONTENT)) as web:
        paths = []
        workers = [threading.Thread(target=lambda: paths.append(got(web.url(), tmp_path))) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(30)
    assert paths == [CONTENT] * 3
    assert [name for name in leftovers(tmp_path) if "partial" in name] == []


def test_a_lock_that_is_never_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any) -> None:
        raise BlockingIOError

    monkeypatch.setattr(partial.fcntl, "flock", busy)
    with serving(Shelf(CONTENT)) as web:
        error = refusal(web.url(), tmp_path, replace(OWN, total_seconds=0.1))
    assert (error.code, web.hits) == (Code.TIMEOUT, [])


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("raydub.files.os.replace", full)
    with serving(Shelf(CONTENT)) as web:
        assert refusal(web.url(), tmp_path).code is Code.DISK_FULL
    assert not [name for name in leftovers(tmp_path) if name.endswith(".mp4")]


def test_a_state_that_somebody_changed_leads_nowhere(tmp_path: Path) -> None:
    with serving(Shelf(CONTENT)) as web:
        path = fetch(web.url(), tmp_path, OWN).path
        store = Store(tmp_path)
        [name] = store.names("fetched")
        said = store.record(name)
        assert said is not None
        for wrong in (
            {"sha256": "../../etc"},
            {"sha256": "/etc/passwd"},
            {"suffix": "/../x"},
            {"bytes": 1},
            {"about": {}},
            {"about": None},
        ):
            store.put_record(name, {**said, **wrong})
            assert known_copy(web.url(), tmp_path) is None
            assert fetch(web.url(), tmp_path, OWN).path == path


def test_damaged_headers_do_not_write_secrets_to_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def answer(request: Request) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nno header\r\nContent-Length: 4\r\n\r\nfilm")

    with serving(answer) as web, caplog.at_level("DEBUG"):
        fetch(web.url(f"/a.mp4?{SECRET}"), tmp_path, OWN)
    assert "pa55word" not in caplog.text
