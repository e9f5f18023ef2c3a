"""Downloads of weights, case by case, from a server of the test's own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raydub.download import Absent
from raydub.errors import Code, DependencyError
from raydub.models.catalogue import Entry
from raydub.models.store import pull as pulling
from raydub.models.store.pull import pull
from tests.examples import examples
from tests.models.weights_server import QUICK, Request, Shelf, Shop, entry_for, open_shop, own_folder, weights

CONTENT = weights()
PAGE = b"<!DOCTYPE html><html><title>Rate limit</title></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 300000\n"


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as found:
        yield found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_folder(tmp_path, monkeypatch)


def refused(entry: Entry, code: Code) -> DependencyError:
    with pytest.raises(DependencyError) as error:
        pull(entry, patience=QUICK)
    assert error.value.code == code
    assert error.value.exit_code == 3
    assert not (Path(os.environ["RAYDUB_WEIGHTS"]) / entry.file).exists()
    return error.value


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix in (".partial", ".tmp") or ".partial" in path.name]


def test_whole_and_then_not_again(shop: Shop, folder: Path) -> None:
    entry = entry_for(CONTENT, shop.put("/net.pth", Shelf(CONTENT)))
    seen: list[tuple[int, int]] = []
    path = pull(entry, patience=QUICK, progress=lambda done, total: seen.append((done, total)))
    assert path == folder / "net.pth"
    assert path.read_bytes() == CONTENT
    assert pull(entry, patience=QUICK) == path
    assert len(shop.hits) == 1
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert left(folder) == []


def test_cut_connections_go_on_where_they_stopped(shop: Shop, folder: Path) -> None:
    entry = entry_for(CONTENT, shop.put("/net.pth", Shelf(CONTENT, cuts=(100_000, 50_000))))
    assert pull(entry, patience=QUICK).read_bytes() == CONTENT
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0 for _, asked, _ in shop.hits]
    assert starts[0] == 0
    assert len(starts) == 3
    assert 0 < starts[1] <= 100_000
    assert starts[1] < starts[2] <= 150_000
    assert [condition for _, asked, condition in shop.hits if asked] == ['"one"', '"one"']


@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 20_000), max_size=QUICK.tries - 1),
    ranges=st.booleans(),
    etag=st.sampled_from(["", '"one"', 'W/"one"']),
    have=st.none() | st.integers(0, 21_000),
)
def test_however_it_breaks_the_file_is_whole(
    shop: Shop, folder: Path, cuts: list[int], ranges: bool, etag: str, have: int | None
) -> None:
    content = CONTENT[:20_000]
    shelf = Shelf(content, etag, tuple(cuts))
    shelf.ranges = ranges
    entry = entry_for(content, shop.put("/net.pth", shelf))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if have is not None:
        (folder / f".net.pth.{entry.sha256[:12]}.partial").write_bytes((content + bytes(1000))[:have])
    assert pull(entry, patience=QUICK).read_bytes() == content
    assert left(folder) == []


def test_partial_file_of_an_earlier_run(shop: Shop, folder: Path) -> None:
    entry = entry_for(CONTENT, shop.put("/net.pth", Shelf(CONTENT)))
    partial = folder / f".net.pth.{entry.sha256[:12]}.partial"
    folder.mkdir()
    partial.write_bytes(CONTENT[:123_456])
    assert pull(entry, patience=QUICK).read_bytes() == CONTENT
    assert shop.hits == [("/net.pth", "bytes=123456-", None)]
    assert left(folder) == []


@pytest.mark.parametrize("tail", [b"", b"and more"])
def test_partial_file_that_needs_no_request(shop: Shop, folder: Path, tail: bytes) -> None:
    entry = entry_for(CONTENT, shop.put("/net.pth", Shelf(CONTENT)))
    folder.mkdir()
    (folder / f".net.pth.{entry.sha256[:12]}.partial").write_bytes(CONTENT + tail)
    assert pull(entry, patience=QUICK).read_bytes() == CONTENT
    assert len(shop.hits) == (1 if tail else 0)


def test_partial_file_of_something_else(shop: Shop, folder: Path) -> None:
    entry = entry_for(CONTENT, shop.put("/net.pth", Shelf(CONTENT)))
    folder.mkdir()
    (folder / f".net.pth.{entry.sha256[:12]}.partial").write_bytes(weights(seed=2)[:1000])
    assert pull(entry, patience=QUICK).read_bytes() == CONTENT
    assert [asked for _, asked, _ in shop.hits] == ["bytes=1000-", None]


def test_200_instead_of_206_starts_over(shop: Shop, folder: Path) -> None:
    shelf = Shelf(CONTENT, cuts=(100_000,))
    shelf.ranges = False
    assert pull(entry_for(CONTENT, shop.put("/net.pth", shelf)), patience=QUICK).read_bytes() == CONTENT
    assert len(shop.hits) == 2


def test_another_version_on_the_server_starts_over(shop: Shop, folder: Path) -> None:
    shelf = Shelf(weights(seed=9), cuts=(100_000,))

    def answer(request: Request) -> None:
        shelf(request)
        shelf.content, shelf.etag = CONTENT, '"two"'

    assert pull(entry_for(CONTENT, shop.put("/net.pth", answer)), patience=QUICK).read_bytes() == CONTENT
    assert len(shop.hits) == 2


@pytest.mark.parametrize("status", [416, 206])
def test_a_server_that_cannot_go_on(shop: Shop, folder: Path, status: int) -> None:
    shelf = Shelf(CONTENT, cuts=(100_000,))

    def answer(request: Request) -> None:
        if request.headers.get("Range"):
            request.send(status, CONTENT[5:], {"Content-Range": f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"})
        else:
            shelf(request)

    assert pull(entry_for(CONTENT, shop.put("/net.pth", answer)), patience=QUICK).read_bytes() == CONTENT
    assert [bool(asked) for _, asked, _ in shop.hits] == [False, True, False]


def test_wrong_hash_is_removed_and_the_next_mirror_asked(shop: Shop, folder: Path) -> None:
    bad, good = shop.put("/bad", Shelf(weights(seed=3))), shop.put("/good", Shelf(CONTENT))
    assert pull(entry_for(CONTENT, bad, good), patience=QUICK).read_bytes() == CONTENT
    assert [path for path, _, _ in shop.hits] == ["/bad", "/good"]
    assert shop.hits[1][1] is None
    error = refused(entry_for(CONTENT, bad, name="other"), Code.WEIGHTS_HASH)
    assert bad in error.message
    assert left(folder) == []


def never(request: Request) -> None:
    raise AssertionError("asked for too much")


@pytest.mark.parametrize(
    ("answer", "words", "code"),
    [
        (lambda r: r.send(200, PAGE), "web page", Code.WEIGHTS_REFUSED),
        (
            lambda r: r.send(200, CONTENT, {"Content-Type": "text/html; charset=utf-8"}),
            "web page",
            Code.WEIGHTS_REFUSED,
        ),
        (lambda r: r.send(200, POINTER), "git-lfs pointer", Code.WEIGHTS_REFUSED),
        (lambda r: r.send(200, CONTENT[:-1]), "299999 bytes", Code.WEIGHTS_REFUSED),
        (lambda r: r.send(200, CONTENT + b"x"), "300001 bytes", Code.WEIGHTS_REFUSED),
        (lambda r: r.send(200, CONTENT + b"x", length=-2), "more than 300000", Code.WEIGHTS_REFUSED),
        (lambda r: r.send(200, CONTENT, {"Content-Encoding": "gzip"}), "compressed", Code.WEIGHTS_REFUSED),
        (lambda r: r.send(404), "answered 404", Code.WEIGHTS_MISSING),
        (lambda r: r.send(403, PAGE), "answered 403", Code.WEIGHTS_MISSING),
        (
            lambda r: r.send(302, headers={"Location": "ftp://127.0.0.1/x"}),
            "neither http nor https",
            Code.WEIGHTS_MISSING,
        ),
        (lambda r: r.send(302, headers={"Location": r.path}), "redirects more than", Code.WEIGHTS_MISSING),
    ],
)
def test_answers_that_are_not_the_file(
    shop: Shop, folder: Path, answer: Callable[[Request], None], words: str, code: Code
) -> None:
    url = shop.put("/net.pth", answer)
    assert words in refused(entry_for(CONTENT, url), code).message
    assert len(shop.hits) <= 8
    assert [path for path in folder.iterdir() if path.stat().st_size > len(CONTENT)] == []
    good = shop.put("/good", Shelf(CONTENT))
    assert pull(entry_for(CONTENT, url, good), patience=QUICK).read_bytes() == CONTENT


def test_500_then_fine_and_500_for_ever(shop: Shop, folder: Path) -> None:
    answers = iter([lambda r: r.send(500), lambda r: r.send(503, headers={"Retry-After": "0"}), Shelf(CONTENT)])
    entry = entry_for(CONTENT, shop.put("/net.pth", lambda request: next(answers)(request)))
    assert pull(entry, patience=QUICK).read_bytes() == CONTENT
    error = refused(entry_for(CONTENT, shop.put("/ill", lambda r: r.send(502)), name="other"), Code.WEIGHTS_MISSING)
    assert error.retryable
    assert [path for path, _, _ in shop.hits].count("/ill") == QUICK.tries


def test_nobody_answers(shop: Shop) -> None:
    assert refused(entry_for(CONTENT, "http://127.0.0.1:9/net.pth"), Code.WEIGHTS_MISSING).retryable


def test_a_server_that_falls_silent(shop: Shop, folder: Path) -> None:
    release = threading.Event()

    def answer(request: Request) -> None:
        request.send(200, CONTENT[:1000], length=len(CONTENT))
        request.wfile.flush()
        release.wait(20)

    entry = entry_for(CONTENT, shop.put("/dead", answer), shop.put("/good", Shelf(CONTENT)))
    started = time.monotonic()
    assert pull(entry, patience=replace(QUICK, tries=1, idle_seconds=0.3)).read_bytes() == CONTENT
    assert time.monotonic() - started < 10
    release.set()


def test_a_server_that_trickles(shop: Shop, folder: Path) -> None:
    def answer(request: Request) -> None:
        request.send(200, CONTENT[:1000], length=len(CONTENT))
        for i in range(1000, 1200):
            request.wfile.write(CONTENT[i : i + 1])
            request.wfile.flush()
            time.sleep(0.05)

    entry = entry_for(CONTENT, shop.put("/slow", answer), shop.put("/good", Shelf(CONTENT)))
    assert pull(entry, patience=replace(QUICK, tries=1, idle_seconds=0.5)).read_bytes() == CONTENT
    assert 1000 <= int(str(shop.hits[1][1]).removeprefix("bytes=").rstrip("-")) < 1100


def test_redirects_are_followed_with_their_range(shop: Shop, folder: Path) -> None:
    far = shop.put("/far", Shelf(CONTENT, cuts=(100_000,)))
    near = shop.put("/near", lambda r: r.send(302, headers={"Location": far}))
    assert pull(entry_for(CONTENT, near), patience=QUICK).read_bytes() == CONTENT
    assert [path for path, _, _ in shop.hits] == ["/near", "/far"] * 2
    assert shop.hits[3][1] is not None


def test_no_redirect_from_https_to_http() -> None:
    door = pulling._OpenDoor(QUICK)
    assert door.follow("https://a/net.pth", "//b/net.pth") == "https://b/net.pth"
    with pytest.raises(Absent, match="https to http"):
        door.follow("https://a/net.pth", "http://elsewhere/net.pth")


def test_own_mirror_comes_first(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entry_for(CONTENT, shop.put("/public", Shelf(CONTENT)))
    monkeypatch.setenv("RAYDUB_MIRROR", shop.put("/own/", never))
    shop.put("/own/net.pth", Shelf(CONTENT))
    assert pull(entry, patience=QUICK).read_bytes() == CONTENT
    shop.put("/own/other.pth", lambda r: r.send(404))
    assert pull(replace(entry, name="other", file="other.pth"), patience=QUICK).read_bytes() == CONTENT
    assert [path for path, _, _ in shop.hits] == ["/own/net.pth", "/own/other.pth", "/public"]


def test_proxy_of_the_environment(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{shop.port}")
    shop.put("http://weights.invalid/net.pth", Shelf(CONTENT))
    assert pull(entry_for(CONTENT, "http://weights.invalid/net.pth"), patience=QUICK).read_bytes() == CONTENT


def test_offline(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYDUB_OFFLINE", "1")
    entry = entry_for(CONTENT, shop.put("/net.pth", Shelf(CONTENT)))
    assert "RAYDUB_OFFLINE" in refused(entry, Code.WEIGHTS_MISSING).message
    monkeypatch.setenv("RAYDUB_OFFLINE", "0")
    pull(entry, patience=QUICK)
    monkeypatch.setenv("RAYDUB_OFFLINE", "1")
    assert pull(entry).read_bytes() == CONTENT
    assert len(shop.hits) == 1


def test_no_address(folder: Path) -> None:
    assert "no known address" in refused(entry_for(CONTENT), Code.WEIGHTS_MISSING).message


def test_no_space(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entry_for(CONTENT, shop.put("/net.pth", Shelf(CONTENT)))
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(pulling.shutil, "disk_usage", lambda _: usage._replace(free=200_000))
    assert "0 MB are free" in refused(entry, Code.DISK_FULL).message
    assert shop.hits == []


def test_disk_that_fills_up_on_the_way(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    entry = entry_for(CONTENT, shop.put("/net.pth", Shelf(CONTENT)))
    monkeypatch.setattr("raydub.partial.Path.open", full)
    refused(entry, Code.DISK_FULL)


def test_consent_comes_before_the_download(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raydub.models import catalogue

    entry = entry_for(CONTENT, shop.put("/net.pth", Shelf(CONTENT)), licence="gfpgan-mixed")
    monkeypatch.setitem(catalogue.PUBLISHED, entry.sha256, catalogue.Published(entry.file, entry.licence, True))
    assert "gfpgan-mixed" in refused(entry, Code.LICENCE).hint
    assert shop.hits == []
    assert pull(entry, accepted=["gfpgan-mixed"], patience=QUICK).read_bytes() == CONTENT


def test_a_wrong_file_in_the_folder_is_replaced(shop: Shop, folder: Path) -> None:
    entry = entry_for(CONTENT, shop.put("/net.pth", Shelf(CONTENT)))
    folder.mkdir()
    (folder / "net.pth").write_bytes(weights(seed=5))
    assert pull(entry, patience=QUICK).read_bytes() == CONTENT


_CHILD = """
import json, sys
from raydub.models.catalogue import Entry
from raydub.models.store.pull import pull
from raydub.partial import Patience
said = json.loads(sys.argv[1])
print(pull(Entry(**{**said, "urls": tuple(said["urls"]), "aliases": ()}), patience=Patience(first_wait=0.0)))
"""


def child(entry: Entry) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", _CHILD, json.dumps(asdict(entry))]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_kill_9_and_then_only_what_is_missing(shop: Shop, folder: Path) -> None:
    content = weights(6 << 20)
    shelf, gate = Shelf(content), threading.Event()
    shelf.pause = lambda at: None if at < 4 << 20 else (gate.wait(60), None)[1]
    entry = entry_for(content, shop.put("/net.pth", shelf))
    partial = folder / f".net.pth.{entry.sha256[:12]}.partial"
    with child(entry) as process:
        deadline = time.monotonic() + 60
        while not (partial.exists() and partial.stat().st_size > 2 << 20) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
    gate.set()
    shelf.pause = None
    have = partial.stat().st_size
    assert 2 << 20 < have < len(content)
    assert not (folder / "net.pth").exists()
    assert pull(entry, patience=QUICK).read_bytes() == content
    assert [asked for _, asked, _ in shop.hits] == [None, f"bytes={have}-"]
    assert shop.hits[1][2] == '"one"'


def test_two_processes_one_download(shop: Shop, folder: Path) -> None:
    shelf = Shelf(CONTENT)
    shelf.pause = lambda at: time.sleep(0.3) if at == 0 else None
    entry = entry_for(CONTENT, shop.put("/net.pth", shelf))
    with child(entry) as one, child(entry) as two:
        said = [process.communicate(timeout=60) for process in (one, two)]
    assert [text.strip() for text, _ in said] == [str(folder / "net.pth")] * 2, said
    assert len(shop.hits) == 1
    assert hashlib.sha256((folder / "net.pth").read_bytes()).hexdigest() == entry.sha256
