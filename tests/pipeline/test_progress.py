"""What the user sees."""

from __future__ import annotations

import io
import threading

from hypothesis import given
from hypothesis import strategies as st

from raydub.manifests.results import JobResult
from raydub.pipeline.events import Note
from raydub.pipeline.progress import (
    PlainProgress,
    Poller,
    QuietProgress,
    RichProgress,
    clock,
    lines_of,
    outcome,
    summary,
)
from raydub.pipeline.tally import Tally


def note(stage: str = "track", frames: int = 10, peak: float = 50.0) -> Note:
    return Note(stage, "a", frames, 0.5, 1, "here", peak)


def test_speed_and_eta_leave_the_start_out() -> None:
    now = [0.0]
    tally = Tally(1, lambda: now[0])
    tally.plan("a", 500)
    assert tally.eta() is None
    now[0] = 100.0
    tally.part("a", 100, reused=False)
    assert tally.speed == 0.0
    now[0] = 102.0
    tally.part("a", 100, reused=False)
    assert tally.speed == 50.0
    assert tally.eta() == 6.0
    assert summary(tally) == "0/1 jobs · 200/500 frames · 50 fps · ETA 0:06"
    tally.part("a", 300, reused=True)
    assert tally.eta() is None
    assert summary(tally) == "0/1 jobs · 500/500 frames · 50 fps"


def test_the_eta_is_that_of_all_jobs() -> None:
    """Jobs whose length nobody knows yet are taken to be as long as the others; what failed is not waited for."""
    now = [0.0]
    tally = Tally(4, lambda: now[0])
    tally.plan("a", 100)
    for at in (0.0, 10.0):
        now[0] = at
        tally.part("a", 50, reused=False)
    # 300 frames of three more jobs at 5 a second
    assert (tally.unplanned, tally.eta()) == (3, 60.0)
    assert "ETA about 1:00" in summary(tally)
    tally.end("a")
    tally.end("b")  # failed before its plan
    assert tally.eta() == 40.0
    for name in ("c", "d"):
        tally.plan(name, 200)
    assert (tally.unplanned, tally.eta()) == (0, 80.0)
    tally.end("c")  # failed after it
    assert (tally.planned_frames, tally.eta()) == (300, 40.0)
    assert summary(tally) == "3/4 jobs · 100/300 frames · 5 fps · ETA 0:40"


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
    assert shown == [
        "0/1 jobs · 0/90 frames · track ..",
        "0/1 jobs · 15/90 frames · track 45",
        "0/1 jobs · 30/90 frames · track 90",
        "0/1 jobs · 30/90 frames · track 90  lipsync ..",
        "0/1 jobs · 60/90 frames · track 90  lipsync 90",
        "0/1 jobs · 80/90 frames · track 90  lipsync 90  render 60",
        "0/1 jobs · 90/90 frames · track 90  lipsync 90  render 90",
        "0/1 jobs · 90/90 frames · track 90  lipsync 90  render 90  stitch ..",
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
