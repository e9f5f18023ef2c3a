"""Runs of the page in real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from raydub.cluster.ui.desk import Desk
from raydub.cluster.ui.rooms import Room, new_secret
from raydub.cluster.ui.seen import RunSeen, see
from raydub.cluster.ui.settings import UiSettings
from tests.conftest import REPOSITORY

SAMPLE = REPOSITORY / "examples" / "demo"
ROW = {"id": "a", "video": str(SAMPLE / "clip.mp4"), "audio": str(SAMPLE / "speech_es.flac"), "engine": "warp"}
ROW["output"] = "a.mp4"


def until(folder: Path, wanted: Callable[[RunSeen], bool], seconds: float = 200.0) -> RunSeen:
    end = time.monotonic() + seconds
    while not wanted(run := see(folder)):
        assert time.monotonic() < end, run
        time.sleep(0.1)
    return run


@pytest.mark.slow
def test_a_run_is_stopped_and_continued_and_the_next_waits(tmp_path: Path) -> None:
    desk, room = Desk(UiSettings(tmp_path)), Room(tmp_path, new_secret())
    try:
        first, second = room.new_run(), room.new_run()
        desk.order(first, "one", ROW)
        desk.order(second, "two", {**ROW, "video": "/nowhere.mp4"})
        until(first, lambda run: run.state == "working" and bool(run.now.get("stages")))
        assert (see(second).state, desk.place(second)) == ("waiting", 0)
        desk.stop(first)
        stopped = until(first, lambda run: run.is_over)
        assert stopped.problem()[0] == "E_INTERRUPTED"
        failed = until(second, lambda run: run.is_over)
        assert (failed.state, failed.problem()[0]) == ("failed", "E_INPUT_MISSING")
        desk.again(first)
        done = until(first, lambda run: run.is_over)
        assert (done.state, done.result["frames"]) == ("ok", 188)
        assert done.output is not None
        assert done.output.stat().st_size > 100_000
        assert done.now["share"] == 1.0
    finally:
        desk.close()


def test_a_run_that_waits_can_be_taken_back(tmp_path: Path) -> None:
    desk, room = Desk(UiSettings(tmp_path, runs_at_once=0)), Room(tmp_path, new_secret())
    try:
        folder = room.new_run()
        desk.order(folder, "one", ROW)
        assert see(folder).state == "waiting"
        desk.stop(folder)
        assert (see(folder).state, see(folder).problem()[0]) == ("failed", "E_INTERRUPTED")
    finally:
        desk.close()
