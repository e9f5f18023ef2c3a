"""Log lines: which run, job and chunk they are about, as text and as JSON."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, UsageError
from raydub.logs import PLACE, JsonLines, check_format, doing, json_line
from tests.conftest import REPOSITORY

SCRIPT = """
import logging, sys, threading, warnings
from raydub.errors import Code, StageError
from raydub.logs import doing, set_up_logging
set_up_logging(True)
log = logging.getLogger("raydub.test")
with doing(run="r1", job="two\\nlines \\udce9", chunk=3, stage="render"):
    log.info("working")
    threading.Thread(target=log.debug, args=("beside",)).start()
    log.warning("it failed: %s", StageError(Code.STORAGE, "no disk"))
log.info("after")
try:
    1 / 0
except ZeroDivisionError:
    log.warning("bug", exc_info=True)
logging.getLogger("other").info("not shown")
print("a library's line", file=sys.stderr)
warnings.warn("old")
sys.stderr.write("unfinished")
print("stdout stays", flush=True)
raise SystemExit("the end")
"""


def lines(**environment: str) -> tuple[str, list[str]]:
    """stdout, and the lines on stderr, of the script."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=REPOSITORY, env={"PATH": "", **environment}, capture_output=True, text=True
    )
    return done.stdout, done.stderr.splitlines()


def test_text_lines_name_their_place() -> None:
    out, said = lines()
    assert out == "stdout stays\n"
    where = ' [run=r1 job="two\\nlines \\udce9" chunk=3 stage=render]: '
    assert [line.partition(" INFO ")[2] for line in said if " INFO " in line] == [
        f"raydub.test{where}working",
        "raydub.test: after",
    ]
    assert any(f"raydub.test{where}beside" in line for line in said), "another thread of the step"


def test_every_line_is_json() -> None:
    out, said = lines(RAYDUB_LOG_FORMAT="json")
    assert out == "stdout stays\n"
    rows = [json.loads(line) for line in said]
    assert all(set(PLACE) | {"time", "level", "logger", "message", "host", "pid"} <= set(row) for row in rows)
    by = {row["message"]: row for row in rows}
    for message in ("working", "beside"):
        assert [by[message][name] for name in PLACE] == ["r1", "two\nlines \udce9", 3, "render"]
    failed = by["it failed: [E_STORAGE] no disk"]
    assert (failed["code"], failed["level"], failed["time"][-1]) == ("E_STORAGE", "WARNING", "Z")
    assert [by["after"][name] for name in PLACE] == [None] * 4
    assert "ZeroDivisionError" in by["bug"]["traceback"]
    assert by["a library's line"]["logger"] == "stderr"
    assert any(row["logger"] == "py.warnings" and "old" in row["message"] for row in rows)
    assert "unfinishedthe end" in by


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="not a log format") as caught:
        check_format("xml")
    assert (caught.value.code, caught.value.field) == (Code.FIELD_VALUE, "log-format")
    assert "UsageError" in "".join(lines(RAYDUB_LOG_FORMAT="xml")[1])


@given(st.lists(st.text(st.characters(codec=None) | st.sampled_from('\n\r{}"\x1b')), max_size=12))
def test_any_text_in_any_pieces_becomes_json_lines(pieces: list[str]) -> None:
    below = io.StringIO()
    stream = JsonLines(below)
    for piece in pieces:
        assert stream.write(piece) == len(piece)
    stream.close()
    found = below.getvalue().split("\n")
    assert found.pop() == ""
    for line in found:
        assert line.encode()
        json.loads(line)
    assert len(found) == len([line for line in "".join(pieces).split("\n") if line.strip()])


def test_lines_of_workers_lose_rays_prefix() -> None:
    below = io.StringIO()
    inner = json_line("INFO", "raydub", "hello", job="a")
    for before in ("(StageWorker pid=7)", "(MapWorker(f) pid=7, ip=10.0.0.2)", "\x1b[36m(Stage pid=7)\x1b[0m"):
        JsonLines(below).write(f"{before} {inner}\n")
    JsonLines(below).write("(Stage pid=7) {no json}\n")
    *forwarded, other = below.getvalue().splitlines()
    assert forwarded == [inner] * 3
    assert json.loads(other)["message"] == "(Stage pid=7) {no json}"


def test_places_are_nested_and_restored_in_each_thread() -> None:
    def here() -> list[object]:
        said = json.loads(json_line("INFO", "x", "y"))
        return [said[name] for name in PLACE]

    seen: list[object] = []
    with doing(run="r"), doing(job="j", chunk=0, stage="track"):
        assert here() == ["r", "j", 0, "track"]
        thread = threading.Thread(target=lambda: seen.append(here()))
        thread.start()
        thread.join()
        with doing(chunk=1):
            assert here() == ["r", "j", 1, "track"]
        assert here() == ["r", "j", 0, "track"]
    assert seen == [["r", "j", 0, "track"]]
    assert here() == [None] * 4
