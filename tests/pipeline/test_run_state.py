"""The state of a run: counts that reconcile whatever happens in whatever order, bounded records, and a store that
fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, StageError, UsageError
from raydub.manifests.results import JobResult
from raydub.pipeline import run_lookup
from raydub.pipeline.events import Note
from raydub.pipeline.progress import QuietProgress
from raydub.pipeline.run_state import MOST_FAILURES, MOST_JOBS, Book, RunState
from raydub.store import Store
from tests.conftest import REPOSITORY
from tests.examples import examples

IDS = [f"job {number}" for number in range(5)]


def outcome(job_id: str, status: str, message: str = "no") -> JobResult:
    wrong = {} if status == "ok" else {"error_code": "E_STORAGE", "error_message": message}
    return JobResult(id=job_id, status=status, **wrong)  # type: ignore[arg-type]


names = st.sampled_from([*IDS, "of another run"])
statuses = st.sampled_from(["ok", "failed", "quarantined", "skipped"])
events = st.one_of(
    st.tuples(st.just("planned"), names, st.integers(1, 100)),
    st.tuples(st.just("part"), names, st.integers(1, 100)),
    st.tuples(st.just("step"), names, st.just("render")),
    st.tuples(st.just("finished"), names, statuses),
)


@given(st.lists(events, max_size=30), st.lists(statuses, max_size=4))
@settings(max_examples=examples(100))
def test_counts_reconcile_after_any_events(happened: list[tuple[str, str, Any]], before: list[str]) -> None:
    # Rows that were refused may have the id of a row that runs.
    book = Book(IDS, [outcome("job 1", status) for status in before])
    first: dict[str, str] = {}
    for event, name, what in happened:
        if event == "planned":
            book.planned(name, what, 2)
        elif event == "part":
            book.part(name, what)
        elif event == "step":
            book.step(name, what)
        else:
            book.finished(outcome(name, what))
            if name in IDS:
                first.setdefault(name, what)
        seen = book.snapshot()
        assert sum(seen["counts"].values()) == seen["rows"] == len(IDS) + len(before)
        assert all(count >= 0 for count in seen["counts"].values())
        assert not {job["id"] for job in seen["jobs"]} & set(first)
        assert len(seen["jobs"]) == seen["counts"]["running"]
    wanted = [*first.values(), *before]
    counts = book.snapshot()["counts"]
    assert {name: counts[name] for name in ("ok", "failed", "quarantined", "skipped")} == {
        name: wanted.count(name) for name in ("ok", "failed", "quarantined", "skipped")
    }
    assert len(book.snapshot()["failures"]) == len(wanted) - wanted.count("ok")


def test_the_record_of_ten_thousand_jobs_is_small(tmp_path: Path) -> None:
    ids = [f"job-{number}-{'x' * 100}" for number in range(10_000)]
    state = RunState(tmp_path / "w", "0" * 12, QuietProgress(len(ids)), ids)
    for name in ids[:4000]:
        state.finished(outcome(name, "failed", "long " * 1000))
    for name in ids[4000:8000]:
        state.planned(name, 100, 1)
    record = state.record()
    assert len(json.dumps(record)) < 300_000
    assert record["counts"] == {
        "ok": 0, "failed": 4000, "quarantined": 0, "skipped": 0, "running": 4000, "waiting": 2000,
    }  # fmt: skip
    assert (len(record["jobs"]), record["jobs_left_out"]) == (MOST_JOBS, 4000 - MOST_JOBS)
    assert (len(record["failures"]), record["failures_left_out"]) == (MOST_FAILURES, 4000 - MOST_FAILURES)


def state_in(folder: Path, run_id: str, **more: Any) -> RunState:
    return RunState(folder, run_id, QuietProgress(2), ["a", "b"], every=0.02, **more).start()


def written(folder: Path, beat: int) -> run_lookup.RunSeen:
    """The latest run's record once it was written so often."""
    for _ in range(2000):
        run = run_lookup.latest(str(folder))
        if run is not None and run.state["beat"] >= beat:
            return run
        threading.Event().wait(0.005)
    raise AssertionError("no state was written")


def test_a_run_and_its_results_are_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "out" / ".raydub"
    state = state_in(folder, "a" * 12, about={"manifest": "m.jsonl"})
    state.planned("a", 50, 2)
    state.note(Note("render", "a", 25, 1.5, 1, "host", 10.0))
    state.part("a", 25, False)
    run = written(folder, 2)
    assert (run.number, run.state["manifest"], run.says_running, run_lookup.alive(run)) == (1, "m.jsonl", True, True)
    run = written(folder, run.state["beat"] + 1)
    job = run.state["jobs"][0]
    assert job == {
        "id": "a",
        "frames": 50,
        "done": 25,
        "chunks": 2,
        "parts": 1,
        "stage": "render",
        "share": job["share"],
    }
    assert 0 <= job["share"] < 1
    render = next(stage for stage in run.state["stages"] if stage["stage"] == "render")
    assert (render["frames"], render["seconds"], run.state["frames"]["done"]) == (25, 1.5, 25)
    with pytest.raises(UsageError) as none_yet:
        run_lookup.results(run)
    assert none_yet.value.code is Code.NO_RESULTS
    rows = [outcome("a", "ok"), outcome("b", "failed")]
    state.close(rows, ["/out/m.results.jsonl"], lambda path: path.write_text('{"id": "b"}\n'))
    run = run_lookup.latest(run_lookup.work_folder(str(tmp_path / "out")))
    assert run is not None
    assert (run.state["status"], run_lookup.alive(run), run.state["files"]) == (
        "ended",
        False,
        ["/out/m.results.jsonl"],
    )
    assert (run.state["counts"]["ok"], run.state["counts"]["failed"], run.state["jobs"]) == (1, 1, [])
    found, failed = run_lookup.results(run)
    assert [json.loads(line)["id"] for line in Path(found).read_text().splitlines()] == ["a", "b"]
    assert failed is not None
    assert json.loads(Path(failed).read_text()) == {"id": "b"}


def test_two_runs_on_one_folder_have_their_own_records(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    one = state_in(folder, "a" * 12)
    written(folder, 1)
    two = state_in(folder, "b" * 12)
    one.close([outcome("a", "ok"), outcome("b", "ok")], [], lambda path: None)
    two.close([outcome("a", "skipped"), outcome("b", "ok")], [], lambda path: path.touch(), stopped=True)
    seen = list(run_lookup.runs(str(folder)))
    assert [(run.number, run.state["run"][0], run.state["status"]) for run in seen] == [
        (2, "b", "interrupted"),
        (1, "a", "ended"),
    ]


def test_a_store_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    state = state_in(tmp_path / "file", "a" * 12)
    threading.Event().wait(0.1)
    state.finished(outcome("a", "ok"))
    state.close([outcome("a", "ok"), outcome("b", "ok")], [], lambda path: None)
    assert [record.message for record in caplog.records if "state of the run" in record.message] == [
        caplog.records[0].message
    ]


def test_a_store_that_hangs_does_not_keep_a_stopped_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(Store, "put_record", lambda *_, **__: free.wait())
    monkeypatch.setattr("raydub.pipeline.run_state._LAST_SECONDS_STOPPED", 0.05)
    state = state_in(tmp_path / "w", "a" * 12)
    state.close([outcome("a", "ok"), outcome("b", "ok")], [], lambda path: None, stopped=True)
    assert state._thread.is_alive()
    free.set()
    state._thread.join(10)


def test_any_error_of_the_store_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise StageError(Code.DISK_FULL, "no space left")

    monkeypatch.setattr(Store, "put_record", refuse)
    state = state_in(tmp_path / "w", "a" * 12)
    threading.Event().wait(0.1)
    state.close([outcome("a", "ok"), outcome("b", "ok")], [], lambda path: None)
    assert "no space left" in caplog.text
    assert caplog.text.count("no space left") == 1


def test_a_dead_driver_of_this_machine_is_known_to_be_dead(tmp_path: Path) -> None:
    code = f"""
import os
from raydub.pipeline.progress import QuietProgress
from raydub.pipeline.run_state import RunState
state = RunState({str(tmp_path)!r}, "a" * 12, QuietProgress(1), ["a"])
state._write()
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 9
    run = run_lookup.latest(str(tmp_path))
    assert run is not None
    assert (run.says_running, run_lookup.alive(run)) == (True, False)


def test_old_records_are_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(1, 61):
        store.put_record(f"state/{number:08}-{'c' * 12}", {"status": "ended", "beat": 1})
        store.put(f"results/{number:08}-{'c' * 12}/rows", b"x")
    state_in(tmp_path, "d" * 12).close([], [], lambda path: None)
    assert [run.number for run in run_lookup.runs(str(tmp_path))] == [61, *range(60, 10, -1)]
    assert len(store.names("results")) == 51


def test_life_is_seen_by_changes_not_by_clocks(tmp_path: Path) -> None:
    store, name = Store(tmp_path), f"state/00000001-{'e' * 12}"
    elsewhere = {"status": "running", "host": "elsewhere", "pid": 1, "born": "x:1:2"}
    store.put_record(name, {**elsewhere, "beat": 7})
    run = run_lookup.latest(str(tmp_path))
    assert run is not None
    assert run_lookup.alive(run) is None
    assert not run_lookup.shows_life(run, 0.0)
    beats = iter([7, 7, 8])
    assert run_lookup.shows_life(run, 60.0, sleep=lambda _: store.put_record(name, {**elsewhere, "beat": next(beats)}))
    store.put_record(name, {**run.state, "host": os.uname().nodename})
    store.remove(name)
    assert not run_lookup.shows_life(run, 0.0)


def test_a_folder_without_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as found:
        run_lookup.work_folder(str(tmp_path))
    assert found.value.code is Code.NO_RUN
    Store(tmp_path / ".raydub").put_record("jobs/x", {})
    assert run_lookup.latest(run_lookup.work_folder(str(tmp_path))) is None
