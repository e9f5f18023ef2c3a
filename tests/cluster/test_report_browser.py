"""The report in a real browser: headless Chromium, by Playwright. RAYDUB_CHROMIUM names another one; tests skip where
there is none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from tests.cluster.report_runs import dubbed, failed, results_of
from tests.evaluations import run_of

pytest.importorskip("plotly")
sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.slow

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOSTILE = "</script><script>window.hacked=1</script>\"'><img src=x onerror='window.hacked=2'>"
FRAMES = 100
# The binary code of tests.media.films.picture, read from the pixels that the browser shows.
READ = """(film) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [film.videoWidth, film.videoHeight];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(film, 0, 0);
  const block = Math.floor(canvas.width / 12);
  let number = 0;
  for (let bit = 0; bit < 12; bit++) {
    if (pen.getImageData(bit * block + (block >> 1), canvas.height >> 2, 1, 1).data[1] > 125) number += 1 << bit;
  }
  return number;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = os.environ.get("RAYDUB_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium: install one, or name it in RAYDUB_CHROMIUM")
    with sync.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        opened = driver.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    size = (384, 288)
    rows = [
        dubbed(folder, "first", FRAMES, size=size),
        failed("gone"),
        dubbed(folder, "second", FRAMES, size=size, evaluated=False, id=HOSTILE),
        failed("odd", "E_FIELD_VALUE"),
    ]
    return results_of(folder, *rows)


def made(*arguments: object) -> Path:
    said = CliRunner().invoke(app, ["report", *map(str, arguments), "--json"])
    assert said.exit_code == 0, said.stderr
    return Path(json.loads(said.stdout)["file"])


@pytest.fixture(scope="module")
def single(run: Path) -> str:
    return made(run, "-o", run.parent / "all.html").as_uri()


@pytest.fixture(scope="module")
def folder(run: Path) -> str:
    return made(run, "-o", run.parent / "report").parent.as_uri()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("many")
    return made(run_of(place, 150), "-o", place / "report", "--no-media").as_uri()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails its test if it reports an error, or asks for anything that is not a file."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
    opened.on(
        "request", lambda asked: errors.append(asked.url) if asked.url[:5] not in ("file:", "blob:", "data:") else None
    )
    yield opened
    context.close()
    assert errors == []


def column(page: Any, key: str) -> list[str]:
    found: list[str] = page.evaluate(
        """(key) => {
          const heads = [...document.querySelectorAll(".videos thead th")].map((head) => head.dataset.key);
          const at = heads.indexOf(key);
          return [...document.querySelectorAll(".videos tbody tr")].map((row) => row.children[at].innerText.trim());
        }""",
        key,
    )
    return found


def floats(texts: list[str]) -> list[float]:
    return [float(text) for text in texts if text != "–"]


def test_rows_are_sorted_by_any_figure(page: Any, many: str) -> None:
    page.goto(many)
    before = column(page, "id")
    head = page.get_by_role("button", name="mouth late (ms)")
    head.click()
    rising = column(page, "f:delay_ms")
    assert floats(rising) == sorted(floats(rising))
    assert rising[-12:] == ["–"] * 12  # rows without the figure are last
    assert page.locator("[data-key='f:delay_ms']").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")  # the head has kept the focus
    falling = column(page, "f:delay_ms")
    assert floats(falling) == sorted(floats(falling), reverse=True)
    assert falling[-12:] == ["–"] * 12
    assert page.locator("[data-key='f:delay_ms']").get_attribute("aria-sort") == "descending"
    page.get_by_label("Sort by").select_option(label="Verdict, first to last")
    verdicts = column(page, "verdict")
    assert verdicts == sorted(verdicts, key=["bad", "look", "good", "–"].index)
    # A figure that is not among the columns, from the menu of a phone.
    page.get_by_label("Sort by").select_option(label="true peak (dBTP), highest first")
    assert page.locator(".count").inner_text() == "150 videos, by true peak (dBTP)"
    page.get_by_text("Figures and columns").click()
    page.get_by_label("true peak (dBTP)", exact=True).check()
    peaks = floats(column(page, "f:true_peak_dbtp"))
    assert peaks == sorted(peaks, reverse=True)
    page.get_by_label("Sort by").select_option(label="manifest")
    assert column(page, "id") == before


def test_rows_are_filtered_by_words_verdict_and_figures(page: Any, many: str) -> None:
    page.goto(many)
    page.get_by_label("Find").fill("lesson-001 input_missing")
    assert [name.split("\n")[0][:11] for name in column(page, "id")] == ["lesson-0011"]
    assert page.locator(".count").inner_text() == "1 of 150 videos"
    page.get_by_label("Find").fill("")
    look, bad = (page.locator(".chips button", has_text=word) for word in ("look", "bad"))
    count = int(look.inner_text().split()[-1])
    look.click()
    assert look.get_attribute("aria-pressed") == "true"
    assert column(page, "verdict") == ["look"] * count
    bad.click()
    assert set(column(page, "verdict")) == {"look", "bad"}
    look.click()
    bad.click()
    page.get_by_text("Figures and columns").click()
    page.get_by_role("button", name="Add a filter by figure").click()
    page.get_by_label("Figure", exact=True).select_option(label="mouth late (ms)")
    page.get_by_label("Value").fill("65")
    delays = floats(column(page, "f:delay_ms"))
    assert delays
    assert min(delays) >= 65
    page.get_by_role("button", name="Remove this filter").click()
    assert page.locator(".count").inner_text() == "150 videos"


def numbers(page: Any) -> list[int]:
    """The frames that source and output show, read from their pixels."""
    return [page.eval_on_selector(f"main:not([hidden]) .{name} video", READ) for name in ("before", "after")]


def settle(page: Any) -> None:
    page.wait_for_function(
        """() => [...document.querySelectorAll("main:not([hidden]) video")]
             .every((film) => film.readyState >= 2 && !film.seeking && film.videoWidth)"""
    )
    page.evaluate("() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")


def test_both_films_show_the_same_frame(page: Any, single: str) -> None:
    page.goto(f"{single}#video-1")
    settle(page)
    assert numbers(page) == [0, 0]
    place = page.locator("main:not([hidden]) .place")
    for wanted in (37, 99, 12):
        place.evaluate("(range, to) => { range.value = to; range.dispatchEvent(new Event('input')); }", wanted)
        settle(page)
        assert numbers(page) == [wanted, wanted]
    page.locator("main:not([hidden]) h1").click()
    for key, wanted in ((".", 13), ("ArrowRight", 38), (",", 37), ("ArrowLeft", 12), ("Home", 0)):
        page.keyboard.press(key)
        settle(page)
        assert numbers(page) == [wanted, wanted], key
    page.keyboard.press("Space")
    page.get_by_role("button", name="Pause").wait_for()  # it tells that it plays when it does
    page.wait_for_timeout(1500)
    page.keyboard.press("Space")
    settle(page)
    one, other = numbers(page)
    assert one == other
    assert 10 < one < FRAMES
    seek = page.locator("main:not([hidden]) .strip button").nth(2)
    seek.click()
    settle(page)
    assert numbers(page) == [int(seek.get_attribute("data-frame"))] * 2


def test_films_stay_together_while_they_play(page: Any, single: str) -> None:
    page.goto(f"{single}#video-1")
    settle(page)
    page.get_by_role("button", name="Play").click()
    apart = []
    for _ in range(10):
        page.wait_for_timeout(200)
        apart.append(
            page.evaluate(
                """() => { const [a, b] = [...document.querySelectorAll("main:not([hidden]) video")];
                           return Math.abs(a.currentTime - b.currentTime); }"""
            )
        )
    assert max(apart[2:]) < 0.08, apart  # two frames


def test_the_divider_moves_by_keyboard_and_pointer(page: Any, single: str) -> None:
    page.goto(f"{single}#video-1")
    divider = page.locator("main:not([hidden]) [role=slider]")
    divider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("PageUp")
    assert divider.get_attribute("aria-valuenow") == "62"
    assert divider.get_attribute("aria-valuetext") == "source 62 %, dubbed 38 %"
    before = page.locator("main:not([hidden]) .before")
    assert before.evaluate("(one) => getComputedStyle(one).clipPath") == "inset(0px 38% 0px 0px)"
    page.keyboard.press("Home")
    assert divider.get_attribute("aria-valuenow") == "0"
    assert page.locator("main:not([hidden]) .place").input_value() == "0"  # the keys moved the divider only
    box = page.locator("main:not([hidden]) .stage").bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 60, steps=4)
    page.mouse.up()
    assert abs(int(divider.get_attribute("aria-valuenow")) - 25) <= 1


def test_sound_and_view_are_chosen(page: Any, single: str) -> None:
    page.goto(f"{single}#video-1")
    settle(page)
    page.locator("main:not([hidden]) .view").select_option("beside")
    boxes = [page.locator(f"main:not([hidden]) .{name}").bounding_box() for name in ("before", "after")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] + 1
    muted = "() => [...document.querySelectorAll('main:not([hidden]) video')].map((film) => film.muted)"
    assert page.evaluate(muted) == [False, True]
    page.locator("main:not([hidden]) .sound").select_option("off")
    assert page.evaluate(muted) == [True, True]


def test_plots_follow_the_player_and_seek_it(page: Any, folder: str) -> None:
    page.goto(f"{folder}/video-0001.html")
    settle(page)
    plot = page.locator(".plot")
    plot.scroll_into_view_if_needed()
    page.wait_for_selector(".canvas[data-drawn]", timeout=30_000)
    assert page.locator(".canvas .trace").count() >= 5
    summary = page.locator(".plots .summary").inner_text()
    assert "the drawn opening follows the wanted one with a correlation of" in summary
    box = page.locator(".canvas").bounding_box()
    page.mouse.click(box["x"] + 52 + (box["width"] - 66) / 2, box["y"] + 150)
    assert abs(int(page.locator(".place").input_value()) - FRAMES / 2) <= 1
    middle = page.locator(".cursor").bounding_box()["x"]
    page.keyboard.press("Home")
    assert page.locator(".cursor").bounding_box()["x"] < middle - 100
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_function("() => document.querySelector('.canvas').layout.xaxis.range[1] < 3")
    page.get_by_text("The same as a table").click()
    page.wait_for_selector(".numbers tbody tr")
    assert page.locator(".numbers tbody tr").count() == 4


def test_the_theme_follows_the_system_and_a_button(browser: Any, folder: str) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(f"{folder}/index.html")
    colour = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    assert sum(map(int, dark[4:-1].split(","))) < 120
    page.get_by_role("button", name="Switch between light and dark").click()
    assert sum(map(int, page.evaluate(colour)[4:-1].split(","))) > 650
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate(colour) == dark
    context.close()


def unfold(page: Any) -> None:
    """Open everything that opens."""
    for one in page.locator("details").all():
        one.evaluate("(one) => { one.open = true; }")
    if page.locator(".add").count():
        page.locator(".add").click()


@pytest.mark.parametrize("width", [360, 390])
def test_nothing_overflows_on_a_phone(page: Any, folder: str, many: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for address in (many, *(f"{folder}/{name}.html" for name in ("index", "video-0001", "video-0002", "video-0003"))):
        page.goto(address)
        unfold(page)
        if page.locator(".plot").count():
            page.locator(".plot").scroll_into_view_if_needed()
            page.wait_for_selector(".canvas[data-drawn]", timeout=30_000)
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0, address


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(page: Any, folder: str, many: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)
    for address in (many, f"{folder}/index.html", f"{folder}/video-0001.html", f"{folder}/video-0002.html"):
        page.goto(address)
        unfold(page)
        if page.locator(".plot").count():
            page.locator(".plot").scroll_into_view_if_needed()
            page.wait_for_selector(".canvas[data-drawn]", timeout=30_000)
        found = axe.run(page, options={"preload": False}).response["violations"]
        grave = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert grave == [], address


def test_hostile_names_run_nothing(page: Any, folder: str, single: str) -> None:
    for address in (f"{folder}/index.html", f"{folder}/video-0003.html", single, f"{single}#video-3"):
        page.goto(address)
        page.wait_for_timeout(200)
        assert page.evaluate("() => window.hacked") is None
        assert page.locator("img[src=x]").count() == 0
    assert page.locator("main:not([hidden]) h1").inner_text() == HOSTILE


def test_one_file_moves_between_its_pages(page: Any, single: str) -> None:
    page.goto(single)
    page.get_by_role("link", name="first").click()
    assert page.locator("main:not([hidden])").get_attribute("id") == "video-1"
    assert page.title() == "first · raydub report"
    settle(page)
    page.get_by_role("link", name="All videos").click()
    assert page.locator("main:not([hidden])").get_attribute("id") == "all"
    page.go_back()
    assert page.locator("main:not([hidden])").get_attribute("id") == "video-1"


def test_a_film_that_is_gone_is_told(browser: Any, run: Path) -> None:
    first = made(run, "-o", run.parent / "short")
    for path in (first.parent / "media").glob("*.mp4"):
        path.write_bytes(b"no film")
    page = browser.new_page()
    page.goto((first.parent / "video-0001.html").as_uri())
    page.wait_for_selector(".failed:not([hidden])")
    assert "cannot be played by this browser" in page.locator(".failed").inner_text()
    page.close()
