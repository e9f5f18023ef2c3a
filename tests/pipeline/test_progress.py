"""What the user sees."""

from __future__ import annotations

import io
import json
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.manifests.results import JobResult
from raydub.pipeline.events import Note
from raydub.pipeline.now import now_of
from raydub.pipeline.progress import (
    PlainProgress,
    Poller,
    QuietProgress,
    clock,
    lines_of,
    outcome,
    summary,
)
from raydub.pipeline.progress_bars import RichProgress, bars
from raydub.pipeline.progress_lines import JsonProgress
from raydub.pipeline.tally import Tally
from tests.conftest import REPOSITORY


def note(stage: str = "track", frames: int = 10, peak: float = 50.0) -> Note:
    return Note(stage, "a", frames, 0.5, 1, "here", peak)


def test_speed_leaves_the_start_out() -> None:
    now = [0.0]
    tally = Tally(1, lambda: now[0])
    tally.plan("a", 500)
    now[0] = 100.0
    tally.part("a", 100, reused=False)
    assert tally.speed == 0.0
    now[0] = 102.0
    tally.part("a", 100, reused=False)
    assert tally.speed == 50.0
    assert re.fullmatch(r"0/1 jobs · 200/500 frames · \d+% · 50 fps · ETA \d:\d\d", summary(tally))


def test_the_eta_is_that_of_all_jobs() -> None:
    """Jobs that nothing is known of are taken to be as long as the others; what failed is not waited for."""
    now = [0.0]
    tally = Tally(4, lambda: now[0])
    assert tally.eta() is None
    tally.plan("a", 100, 2)
    tally.note(Note("track", "a", 50, 1.0, 1, "here", 50.0, chunk=0))
    one, all_of_them = _left_of(tally, now), 4
    tally.end("a")
    now[0] += 1
    of_three = tally.eta()
    assert of_three is not None
    assert of_three == pytest.approx(one * 3 / all_of_them, rel=0.15)
    assert "ETA about" in summary(tally)
    for name in ("b", "c", "d"):
        tally.plan(name, 200, 2)
    now[0] += 1
    assert tally.unplanned == 0
    of_longer = tally.eta()
    assert of_longer is not None
    assert of_longer > 1.5 * of_three
    assert "ETA about" not in summary(tally)
    for name in "bcd":
        tally.end(name, failed=name == "d")
    now[0] += 1
    assert (tally.eta(), tally.failed, summary(tally)[:8]) == (None, 1, "4/4 jobs")


def _left_of(tally: Tally, now: list[float]) -> float:
    now[0] += 1
    eta = tally.eta()
    assert eta is not None
    return eta


def test_the_share_never_falls() -> None:
    now = [0.0]
    tally = Tally(2, lambda: now[0])
    tally.plan("a", 100, 1)
    shares = []
    for stage in ("track", "lipsync", "render"):
        now[0] += 1
        tally.note(Note(stage, "a", 100, 3.0, 1, "here", 50.0, chunk=0))
        shares.append(tally.left().share)
    now[0] += 1
    tally.plan("b", 10_000, 10)  # longer than was thought
    shares.append(tally.left().share)
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[2] < 1


def test_rows_that_were_done_before_count_among_all() -> None:
    lines: list[str] = []
    progress = PlainProgress(41, lines.append, earlier=40)
    assert summary(progress.tally) == "40/41 jobs"
    progress.finished(JobResult(id="x", status="failed", error_code="E_X", error_message="no"))
    assert summary(progress.tally) == "41/41 jobs"
    assert progress.tally.unplanned == 0


def test_a_single_chunk_moves_while_it_is_worked_on() -> None:
    lines: list[str] = []
    progress = PlainProgress(1, lines.append)
    progress.planned("a", 90, 1)
    shown = []
    for stage, frames, done in (
        ("track", 0, False),
        ("track", 45, False),
        ("track", 90, True),
        ("lipsync", 0, False),
        ("lipsync", 90, True),
        ("render", 60, False),
        ("render", 90, True),
        ("stitch", 0, False),
    ):
        progress._last = -1e9  # as if the last line were long ago
        progress.note(Note(stage, "a", frames, 1.0, 1, "here", 50.0, done))
        shown.append(lines[-1])
    reached = [line.split(" · ")[1] for line in shown]
    assert reached == [f"{frames}/90 frames" for frames in (0, 15, 30, 30, 60, 80, 90, 90)]
    assert [line.split(" · ")[-1] for line in shown] == [
        "track ..",
        "track 45",
        "track 90",
        "track 90  lipsync ..",
        "track 90  lipsync 90",
        "track 90  lipsync 90  render 60",
        "track 90  lipsync 90  render 90",
        "track 90  lipsync 90  render 90  stitch ..",
    ]
    assert (progress.tally.done_frames, progress.tally.speed) == (0, 0.0)
    progress.part("a", 90, False)
    assert progress.tally.reached("a") == progress.tally.reached_frames() == 90


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.sampled_from(["track", "lipsync", "render"]), st.integers(0, 200), st.booleans()
        ),
        max_size=40,
    ),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60)), max_size=2),
)
def test_what_is_reached_is_never_more_than_is_planned(
    notes: list[tuple[str, str, int, bool]], parts: list[tuple[str, int]]
) -> None:
    """Notes may get lost, come twice (work that is done again), or before the plan."""
    tally = Tally(2)
    half = len(notes) // 2
    for number, (job, stage, frames, done) in enumerate(notes):
        if number == half:
            tally.plan("a", 120)
            tally.plan("b", 120)
        tally.note(Note(stage, job, frames, 0.1, 1, "here", 1.0, done))
    for job, frames in parts:
        tally.part(job, frames, reused=False)
    assert tally.done_frames <= tally.reached_frames() <= max(tally.planned_frames, tally.done_frames)
    before = tally.done_frames
    for job in "ab":
        tally.end(job)
    assert tally.done_frames == before
    assert tally.stages().count("..") == 0


def test_notes_are_summed_per_stage_and_worker() -> None:
    tally = Tally(1)
    for peak in (50.0, 70.0, 60.0):
        tally.note(note(peak=peak))
    tally.note(note("render", 5))
    assert tally.stages() == "track 30  render 5"
    assert tally.peak_mb[("track", "here", 1)] == 70.0


def test_outcome_lines() -> None:
    ok = JobResult(id="x", status="ok", frames=9, synthesised=4, attempts=1, wall_seconds=2.04, output="o.mp4")
    assert outcome(ok) == "job 'x': ok, 9 frames (4 new), 2.0 s: o.mp4"
    same = ok.model_copy(update={"synthesised": 0, "warnings": ("W_NO_FACE: nobody", "W_BED: no bed")})
    assert lines_of(same) == [
        "job 'x': ok, BUT NO FRAME GOT A NEW MOUTH (9 frames), 2.0 s: o.mp4",
        "[W_NO_FACE] job 'x': nobody",
        "[W_BED] job 'x': no bed",
    ]
    assert "already finished" in outcome(ok.model_copy(update={"attempts": 0}))
    bad = JobResult(id="x", status="failed", error_code="E_STORAGE", error_message="no", hint="why", line=3)
    assert outcome(bad) == "[E_STORAGE] job 'x', line 3: no (why)"
    assert [clock(3725), clock(65)] == ["1:02:05", "1:05"]


def test_plain_lines() -> None:
    lines: list[str] = []
    with PlainProgress(1, lines.append) as progress:
        progress.planned("x", 100, 2)
        progress._last = -1e9  # as if the last line were long ago
        progress.part("x", 50, False)
        progress.part("x", 50, False)
        progress.note(note())
        progress.finished(JobResult(id="x", status="ok", attempts=1))
    assert len(lines) == 3, lines
    assert "100 frames in 2 chunks" in lines[0]
    assert "50/100 frames" in lines[1]


def test_bars_on_a_terminal() -> None:
    from rich.console import Console

    screen = io.StringIO()
    with RichProgress(2, Console(file=screen, force_terminal=True, width=120)) as progress:
        for name in ("x", "y"):
            progress.planned(name, 100, 1)
            progress.note(note())
            progress.part(name, 100, False)
            progress.finished(JobResult(id=name, status="ok", attempts=1, output=f"[{name}].mp4"))
    assert "job 'x': ok" in screen.getvalue()
    assert "[y].mp4" in screen.getvalue()


def test_poller_fetches_until_the_end_and_once_more() -> None:
    waiting = [note()]
    seen: list[Note] = []
    quiet = QuietProgress(1)

    def fetch() -> list[Note]:
        found, waiting[:] = list(waiting), []
        return found

    with Poller(fetch, lambda one: (seen.append(one), quiet.note(one))[0]) as poller:
        waiting.append(note("render"))
        assert isinstance(poller._thread, threading.Thread)
    assert {one.stage for one in seen} == {"track", "render"}
    assert quiet.tally.stage_frames["render"] == 10


def test_bars_are_bounded() -> None:
    """A thousand jobs in work on a small window."""
    from rich.console import Console

    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=20)
    progress = RichProgress(1000, console)
    for number in range(1000):
        progress.planned(f"[red]job {number}\x1b[2J", 100, 1)
        progress.note(Note("track", f"[red]job {number}\x1b[2J", 50, 0.5, number, "here", 50.0, done=False, chunk=0))
    console.print(progress._view())
    lines = [line for line in screen.getvalue().splitlines() if line.strip()]
    assert 10 < len(lines) <= 19
    assert "and 99" in lines[-1]
    assert "\x1b[2J" not in screen.getvalue()
    for number in range(1000):
        progress.finished(JobResult(id=f"{number}", status="ok", attempts=1))
    assert "job '5'" not in screen.getvalue()
    for number in range(1000):
        progress.finished(JobResult(id=f"{number}", status="failed", error_code="E_X", error_message="no"))
    assert screen.getvalue().count("[E_X]") == 50


def test_messages_do_not_steer_the_terminal() -> None:
    from rich.console import Console

    written = io.StringIO()
    progress = RichProgress(1, Console(file=written, width=80, height=24, force_terminal=True))
    said = "one\x1b]0;title\x07\x1b[2J [bold]x[/bold] \u202e\ntwo"
    progress.finished(JobResult(id="x", status="failed", error_code="E_X", error_message=said, hint="h"))
    assert "one?]0;title??[2J [bold]x[/bold] ?\ntwo" in written.getvalue()


def test_bars_name_the_run_its_stages_and_jobs() -> None:
    from rich.console import Console

    tally = Tally(3)
    tally.plan("talk-es", 100, 2, {"prepare": 1.0, "track": 4.0, "lipsync": 1.0, "render": 8.0, "stitch": 0.5})
    tally.note(Note("track", "talk-es", 50, 2.0, 1, "here", 50.0, chunk=0))
    tally.note(Note("render", "talk-es", 0, 0.0, 1, "here", 50.0, done=False, chunk=0, attempt=1))
    screen = io.StringIO()
    Console(file=screen, width=100).print(bars(now_of(tally), 100))
    words = screen.getvalue()
    for said in ("all", "0/3 jobs", "ETA about", "  track", "1 worker", "talk-es", "16/100 frames", "render"):
        assert said in words, words


def test_json_lines_are_what_the_documentation_says() -> None:
    lines: list[str] = []
    with JsonProgress(3, lines.append, earlier=1, run_id="a" * 12) as progress:
        progress.expect(["x", "y"], 2, failed=1)
        progress.planned("x", 100, 2, {"track": 4.0, "render": 8.0})
        progress.note(Note("track", "x", 50, 2.0, 1, "here", 50.0, chunk=0))
        progress.part("x", 50, False)
        progress.finished(JobResult(id="x", status="ok", attempts=1, output="x.mp4", frames=100, synthesised=80))
        bad = JobResult(id="y", status="failed", error_code="E_X", error_message="no\nnewline", hint="why", line=3)
        progress.finished(bad)
    assert all("\n" not in line for line in lines)
    told = [json.loads(line) for line in lines]
    assert [line["event"] for line in told] == ["start", "planned", "progress", "finished", "finished", "progress"]
    assert told[0] | {"at": 0, "raydub": ""} == {
        "event": "start", "at": 0, "schema": 1, "raydub": "", "run": "a" * 12, "jobs": 3, "earlier": 1,
    }  # fmt: skip
    documented = (REPOSITORY / "docs" / "progress.md").read_text()
    for line in told:
        for name in line:
            assert f"`{name}`" in documented, name
    last = told[-1]
    assert (last["jobs_done"], last["jobs_failed"], last["share"], last["frames_done"]) == (3, 2, 1.0, 50)
    assert told[4]["error_message"] == "no\nnewline"
    first = told[2]
    assert {"stage", "frames", "seconds", "working", "share"} == set(first["stages"][0])
    assert {"id", "frames", "reached", "share", "stages"} == set(first["working"][0])
