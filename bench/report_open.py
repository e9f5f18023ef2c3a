"""How long the report of a large run takes to be made, and to open in a browser: from the call to a table that has been
drawn and answers. Rows and evaluations are made up (tests/evaluations.py), media are left out: a page loads them only
when its video is opened. Needs Chromium and playwright. Prints JSON."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, sync_playwright  # noqa: E402

from tests.evaluations import run_of  # noqa: E402

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# Two frames after the event, the page has been drawn and the main thread is free.
_READY = """() => new Promise((go) => {
  const wait = () => document.documentElement.dataset.ready
    ? requestAnimationFrame(() => setTimeout(() => go(performance.now())))
    : setTimeout(wait, 1);
  wait();
})"""
_TIMED = """(act) => new Promise((go) => {
  const begin = performance.now();
  (0, eval)(act);
  requestAnimationFrame(() => setTimeout(() => go(performance.now() - begin)));
})"""
_SORT = "document.querySelector('[data-key=\"f:delay_ms\"] button').click()"
_FIND = "{ const find = document.querySelector('.find'); find.value = '.de'; find.dispatchEvent(new Event('input')); }"
_PLOT = """() => new Promise((go) => {
  const begin = performance.now();
  document.querySelector("main:not([hidden]) .plot").scrollIntoView();
  const wait = () => document.querySelector("main:not([hidden]) .canvas[data-drawn]")
    ? go(performance.now() - begin) : setTimeout(wait, 5);
  wait();
})"""


def opened(browser: Browser, address: str, plot: bool = False) -> dict[str, float]:
    """Milliseconds, in a browser that has kept nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address, wait_until="commit")
    found = {"open": page.evaluate(_READY)}
    if plot:
        found["plots"] = page.evaluate(_PLOT)
    else:
        found |= {"sort": page.evaluate(_TIMED, _SORT), "find": page.evaluate(_TIMED, _FIND)}
    context.close()
    return found


def main() -> None:
    """Make a report and open it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    program = os.environ.get("RAYDUB_CHROMIUM") or next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if program is None:
        sys.exit("no Chromium: install one, or name it in RAYDUB_CHROMIUM")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        results = run_of(Path(folder), asked.rows)
        command = [sys.executable, "-m", "raydub.cluster.cli", "report", str(results), "--no-media", "-o"]
        begin = time.monotonic()
        subprocess.run([*command, f"{folder}/report"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        made = time.monotonic() - begin
        subprocess.run([*command, f"{folder}/report.html"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        said: dict[str, object] = {"rows": asked.rows, "browser": browser.version, "made_seconds": round(made, 2)}
        for name, plot in (("report/index.html", False), ("report/video-0001.html", True), ("report.html", False)):
            path = Path(folder) / name
            runs = [opened(browser, path.as_uri(), plot) for _ in range(asked.times)]
            said[name] = {
                "bytes": path.stat().st_size,
                **{f"{key}_ms": round(statistics.median(run[key] for run in runs)) for key in runs[0]},
                "open_ms_worst": round(max(run["open"] for run in runs)),
            }
        browser.close()
    print(json.dumps(said, indent=2))


if __name__ == "__main__":
    main()
