"""What the user sees."""

from __future__ import annotations

import io
import threading

from manifests.results import JobResult
from pipeline.events import Note
from pipeline.progress import PlainProgress, Poller, QuietProgress, RichProgress, Tally, clock, outcome, summary


def note(stage: str = "track", frames: int = 10, peak: float = 50.0) -> Note:
    return Note(stage, "a", frames, 0.5, 1, "here", peak)


def test_speed_and_eta_leave_the_start_out() -> None:
    now = [0.0]
    tally = Tally(1, lambda: now[0])
    tally.planned_frames = 500
    assert tally.eta() is None
    now[0] = 100.0
    tally.part(100, reused=False)
    assert tally.speed == 0.0
    now[0] = 102.0
    tally.part(100, reused=False)
    assert tally.speed == 50.0
    assert tally.eta() == 6.0
    tally.part(300, reused=True)
    assert tally.eta() == 0.0
    assert summary(tally) == "0/1 jobs · 500/500 frames · 50 fps · ETA 0:00"


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
    assert "finished already" in outcome(ok.model_copy(update={"attempts": 0}))
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
    assert len(lines) == 3
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
