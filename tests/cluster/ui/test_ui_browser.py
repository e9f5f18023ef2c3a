"""The page in a real browser: the whole way, errors, a reload in the middle, two users, the token, accessibility.

Screenshots are kept in RAYDUB_SHOTS, or beside the test's other temporary files."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("plotly", reason="the report needs raydub[report]")
pytest.importorskip("streamlit", reason="the page needs raydub[ui]")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.slow
SAMPLE = REPOSITORY / "examples" / "demo"
LOADS, WORKS = 60_000, 240_000  # milliseconds, also on a machine with much other work
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on PATH")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def served(folder: Path, *flags: str) -> Iterator[str]:
    """The page's address."""
    command = [sys.executable, "-m", "raydub.cluster.cli", "ui", "--folder", str(folder), "--port", "0", *flags]
    log = (folder.parent / f"{folder.name}.log").open("w")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=REPOSITORY)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), (folder.parent / f"{folder.name}.log").read_text()
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        log.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ui") / "dubs"


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder, "--max-upload-mb", "2") as found:
        yield found


@pytest.fixture
def shot(tmp_path: Path) -> Callable[[Any, str], None]:
    folder = Path(os.environ.get("RAYDUB_SHOTS") or tmp_path / "shots")
    folder.mkdir(parents=True, exist_ok=True)

    def keep(page: Any, name: str) -> None:
        page.wait_for_timeout(700)
        page.screenshot(path=folder / f"{name}.png")

    return keep


def opened(context: Any, address: str) -> Any:
    page = context.new_page()
    page.set_default_timeout(LOADS)
    page.goto(address)
    page.get_by_role("heading", name="The video").wait_for()
    return page


def upload(page: Any, place: int, *files: Any) -> None:
    """place: 0 for the video, 1 for the recording. By its label: while the page is drawn again, fields come and go."""
    label = ("Upload a video", "Upload a recording")[place]
    field = page.get_by_test_id("stFileUploader").filter(has_text=label).last
    field.locator("input[type=file]").set_input_files(*files)


def violations(page: Any) -> list[str]:
    """What axe finds, streamlit's parts included: their colours and texts are chosen by us."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
    return [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]


def test_the_whole_way(browser: Any, address: str, tmp_path: Path, shot: Callable[[Any, str], None]) -> None:
    context = browser.new_context(viewport={"width": 1200, "height": 1500}, accept_downloads=True)
    page = opened(context, address)
    shot(page, "1_new")
    upload(page, 0, SAMPLE / "clip.mp4")
    page.get_by_text("640 × 640").wait_for()
    upload(page, 1, SAMPLE / "speech_es.flac")
    page.get_by_text("speech_es.flac:").wait_for()
    page.get_by_role("button", name="Show the faces").click()
    page.get_by_text("Person 1, in").wait_for(timeout=WORKS)
    page.get_by_text("Person 1", exact=True).click()
    page.get_by_text("Settings (the defaults are good)").click()
    page.get_by_text("How mouths are drawn").wait_for()
    shot(page, "2_filled")
    assert violations(page) == []
    page.get_by_role("button", name="Start dubbing").click()
    page.wait_for_url(re.compile(r"run=[0-9a-f]{24}"))
    page.locator(".rd-stages").wait_for()
    page.wait_for_timeout(3000)
    shot(page, "3_working")
    assert violations(page) == []
    page.reload()  # in the middle: the run goes on, and its state comes from its files
    page.get_by_role("link", name="Download").wait_for(timeout=WORKS)
    page.get_by_text("Report: compare").wait_for(timeout=WORKS)
    shot(page, "4_done")
    assert violations(page) == []
    after = page.locator("video").nth(1)
    after.evaluate("video => { video.muted = true; return video.play() }")
    page.wait_for_function("() => document.querySelectorAll('video')[1].currentTime > 0.3")
    assert after.evaluate("video => video.videoWidth") == 640
    assert after.evaluate("video => video.duration") == pytest.approx(7.5, abs=0.2)
    after.evaluate("video => { video.pause(); video.currentTime = 5 }")  # a range request
    page.wait_for_function("() => document.querySelectorAll('video')[1].currentTime > 4.9")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    saved = tmp_path / "got.mp4"
    download.value.save_as(saved)
    assert saved.stat().st_size > 100_000
    page.locator("summary", has_text="The same without this page").click()
    page.locator("code", has_text="clip.dubbed.mp4").first.wait_for()
    page.get_by_text("Report: compare").click()
    pages = page.frame_locator("[data-testid=stIFrame]")
    pages.locator("video").first.wait_for()
    pages.locator("video").first.evaluate(
        "video => new Promise(done => video.readyState ? done() : video.onloadeddata = done)"
    )
    page.locator("[data-testid=stIFrame]").scroll_into_view_if_needed()
    shot(page, "4_report")
    mine = page.url
    page.goto(f"{address}?view=runs")
    page.get_by_role("link", name="clip.mp4 with speech_es.flac").wait_for()
    assert violations(page) == []
    shot(page, "5_runs")

    # Another browser: no run, no file, whatever it knows.
    other = browser.new_context()
    stranger = other.new_page()
    stranger.set_default_timeout(LOADS)
    stranger.goto(mine)
    stranger.get_by_text("no such run of yours").wait_for()
    run = mine.rpartition("run=")[2]
    for name in ("clip.dubbed.mp4", "clip.mp4"):
        assert stranger.request.get(f"{address}raydub/file/{run}/{name}").status == 404
        assert page.request.get(f"{address}raydub/file/{run}/{name}").status == 200
    stranger.goto(f"{address}?view=runs")
    stranger.get_by_text("Nothing here yet").wait_for()
    stranger.goto(address)
    stranger.get_by_role("heading", name="The video").wait_for()
    other.close()

    page.goto(mine)
    page.get_by_role("button", name="Remove").click()
    page.get_by_text("Nothing here yet").wait_for()
    context.close()


def test_uploads_that_do_not_fit(browser: Any, address: str, shot: Callable[[Any, str], None]) -> None:
    context = browser.new_context(viewport={"width": 1200, "height": 1100})
    page = opened(context, address)
    upload(page, 0, {"name": "talk.mp4", "mimeType": "video/mp4", "buffer": b"no video at all" * 1000})
    page.get_by_role("alert").first.wait_for()
    shot(page, "6_no_video")
    assert "talk.mp4" in page.get_by_role("alert").first.inner_text()
    assert page.get_by_role("button", name="Start dubbing").is_disabled()
    page.reload()
    page.get_by_role("heading", name="The video").wait_for()
    upload(page, 0, {"name": "long.mp4", "mimeType": "video/mp4", "buffer": b"0" * (3 << 20)})
    page.get_by_text("2MB or smaller").or_(page.get_by_text(re.compile("must be 2"))).first.wait_for()
    shot(page, "7_too_large")
    context.close()


def test_the_same_name_by_two_users_at_once(browser: Any, address: str, folder: Path) -> None:
    contexts = [browser.new_context() for _ in range(2)]
    pages = [opened(context, address) for context in contexts]
    clip, names = (SAMPLE / "clip.mp4").read_bytes(), ("speech_es.flac", "speech_en.flac")
    for page in pages:
        upload(page, 0, {"name": "talk.mp4", "mimeType": "video/mp4", "buffer": clip})
    for page in pages:
        page.get_by_text("640 × 640").wait_for()  # before, the old place for videos can be there beside the new one
    for page, name in zip(pages, names, strict=True):
        data = (SAMPLE / name).read_bytes()
        upload(page, 1, {"name": "voice.flac", "mimeType": "audio/flac", "buffer": data})
    for page in pages:
        page.get_by_text("640 × 640").wait_for()
        page.get_by_text("voice.flac:").wait_for()
    kept = sorted(path.read_bytes() for path in folder.glob("rooms/*/files/*/voice.flac"))
    assert kept == sorted((SAMPLE / name).read_bytes() for name in names)
    # The same name again by the same user: both are kept, and the new one is used.
    upload(pages[0], 1, {"name": "voice.flac", "mimeType": "audio/flac", "buffer": (SAMPLE / names[1]).read_bytes()})
    pages[0].wait_for_timeout(1000)
    pages[0].get_by_text("voice.flac:").wait_for()
    for _ in range(100):
        if len(list(folder.glob("rooms/*/files/*/voice.flac"))) == 3:
            break
        pages[0].wait_for_timeout(100)
    assert len(list(folder.glob("rooms/*/files/*/voice.flac"))) == 3
    for context in contexts:
        context.close()


def status_of(address: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_token(browser: Any, tmp_path: Path) -> None:
    token = "correct-horse-battery"
    with served(tmp_path / "dubs", "--host", "0.0.0.0", "--token", token) as found:
        plain = found.replace("0.0.0.0", "127.0.0.1").partition("?")[0]
        assert found.endswith(f"?token={token}")
        inner = ("health", "host-config", "metrics", "upload_file/a/b", "stream", "script-health-check")
        others = ("", "media/x", "static/js/index.js", "raydub/file/a/b", "?token=wrong", f"?token={token}x")
        for path in (*others, *(f"_stcore/{name}" for name in inner)):
            assert status_of(plain + path) == 403, path
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(LOADS)
        page.goto(plain)
        page.get_by_text("needs the address with its token").wait_for()
        line = "new WebSocket(address)"
        told = (
            f"done => {{ const line = {line}; line.onopen = () => done('open'); line.onclose = () => done('closed') }}"
        )
        assert (
            page.evaluate(f"address => new Promise({told})", plain.replace("http", "ws") + "_stcore/stream") == "closed"
        )
        page.goto(f"{plain}?token={token}")
        page.get_by_role("heading", name="The video").wait_for()
        assert "token" not in page.url
        page.reload()
        page.get_by_role("heading", name="The video").wait_for()
        context.close()


@pytest.mark.parametrize(("name", "scheme", "size"), [
    ("phone_light", "light", (390, 844)), ("phone_dark", "dark", (390, 844)), ("desktop_dark", "dark", (1200, 1000)),
])  # fmt: skip
def test_it_fits_small_screens_and_the_dark(
    browser: Any, address: str, shot: Callable[[Any, str], None], name: str, scheme: str, size: tuple[int, int]
) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = opened(context, address)
    shot(page, name)
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert violations(page) == []
    context.close()
