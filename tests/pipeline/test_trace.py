"""Traces: what is recorded of a run, and the events made of it."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.errors import Code
from raydub.manifests.results import JobResult, write_results
from raydub.pipeline import trace
from raydub.pipeline.clean import clean
from raydub.pipeline.events import Note
from raydub.pipeline.trace import Slice, TraceRecorder, events, traced_runs
from raydub.store import Store


def note(stage: str, chunk: int | None, at: float, seconds: float, pid: int = 1, job: str = "a", **more: Any) -> Note:
    return Note(stage, job, 10, seconds, pid, "here", 1.0, chunk=chunk, at=at, **more)


NOTES = [
    note("prepare", None, 101.0, 1.0),
    note("track", 0, 103.0, 1.5),
    note("track", 1, 104.0, 1.0, pid=2),
    note("track", 1, 104.5, 0.0, pid=2, done=False),
    note("render", 0, 104.0, 0.5),
    note("render", 1, 106.0, 1.0, code="E_STORAGE", attempt=3),
]


def record(folder: Path | str, run: str, notes: list[Note]) -> None:
    recorder = TraceRecorder(str(folder), run)
    for one in notes:
        recorder.note(one)
    recorder.close()


def checked(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The slices of trace events, after checks of the format: every event's phase and fields, all workers named, no
    overlap of slices of one thread."""
    named = {(one["pid"], one["tid"]) for one in found if one["ph"] == "M"}
    ends: dict[tuple[int, int], int] = defaultdict(int)
    for one in json.loads(json.dumps(found)):
        assert one["ph"] in "MXC"
        assert {"name", "pid", "tid"} <= set(one)
        if one["ph"] == "M":
            assert one["name"] in ("process_name", "thread_name")
            assert one["args"]["name"]
            continue
        assert isinstance(one["ts"], int)
        if one["ph"] == "C":
            assert one["args"]["items"] >= 0
            continue
        row = (one["pid"], one["tid"])
        assert row in named
        assert isinstance(one["dur"], int)
        assert one["dur"] >= 0
        assert one["ts"] >= ends[row] >= 0, "slices of a worker overlap"
        ends[row] = one["ts"] + one["dur"]
    return [one for one in found if one["ph"] == "X"]


def test_a_run_as_trace_events(tmp_path: Path) -> None:
    record(tmp_path, "a" * 12, NOTES)
    [(run, slices)] = traced_runs(Store(tmp_path)).items()
    assert run == "a" * 12
    found = events(slices)
    rows = [(one["name"], one["tid"], one["ts"], one["dur"], one["args"].get("waited_s")) for one in checked(found)]
    assert rows == [
        ("prepare", 1, 0, 1_000_000, None),
        ("track", 1, 1_500_000, 1_500_000, 0.5),
        ("track", 2, 3_000_000, 1_000_000, 2.0),
        ("render", 1, 3_500_000, 500_000, 0.5),
        ("render", 1, 5_000_000, 1_000_000, 1.0),
    ]
    assert found[-1]["name"].startswith("waiting for ")
    last = [one for one in found if one["ph"] == "X"][-1]["args"]
    assert last == {
        "job": "a", "chunk": 1, "frames": 10, "attempt": 3, "steps": 1, "error": "E_STORAGE", "waited_s": 1.0
    }  # fmt: skip
    waiting = [(one["ts"], one["args"]["items"]) for one in found if one["name"] == "waiting for track"]
    assert waiting == [(1_000_000, 1), (1_000_000, 2), (1_500_000, 1), (3_000_000, 0)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["prepare", "track", "render", "stitch", "of another list"]),
            st.none() | st.integers(0, 3),
            st.floats(0, 5),
            st.floats(0, 9),
            st.integers(1, 3),
            st.sampled_from("ab"),
        ),
        max_size=60,
    ),
    st.sampled_from([0, 5, 1000]),
    st.integers(1, 10),
)
@example([("prepare", None, 0.0, 0.0, 1, "a")] * 2, 1000, 1)
def test_no_slice_is_lost_and_none_overlap(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]], whole: int, piece: int
) -> None:
    folder, now = tmp_path_factory.mktemp("work"), 1000.0
    notes = []
    for stage, chunk, pause, seconds, pid, job in steps:
        now += pause
        notes.append(note(stage, chunk, now, seconds, pid, job))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_WHOLE", whole)
        patch.setattr(trace, "_PIECE", piece)
        record(folder, "b" * 12, notes)
    slices = traced_runs(Store(folder)).get("b" * 12, [])
    assert sum(one.steps for one in slices) == len(notes)
    assert sum(one.frames for one in slices) == 10 * len(notes)
    assert len(checked(events(slices))) == len(slices)
    if whole == 1000:
        assert len(slices) == len(notes)


def test_long_runs_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_WHOLE", 100)
    record(tmp_path, "c" * 12, [note("track", n, 1e6 + n * 0.1, 0.1) for n in range(3000)])
    slices = traced_runs(Store(tmp_path))["c" * 12]
    assert 100 < len(slices) < 400
    assert slices[0].steps == 1
    assert (slices[-2].stage, slices[-2].job, slices[-2].chunk) == ("track", "a", None)
    assert slices[-2].steps > 15


def test_a_store_that_cannot_be_written_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "refs").write_text("not a folder")
    record(tmp_path, "d" * 12, NOTES)
    assert "5 steps are missing from the trace" in caplog.text


def test_the_command(tmp_path: Path) -> None:
    work, out = tmp_path / ".raydub", tmp_path / "trace.json"
    record(work, "a" * 12, NOTES)
    record(work, "b" * 12, [note("track", 0, 200.0, 1.0, job="b"), note("track", 0, 201.0, 1.0, job="a")])
    results = tmp_path / "jobs.results.jsonl"
    write_results([JobResult(id="a", status="ok", job_dir=str(work / "refs" / "jobs" / "k"))], results, None)

    def slices(*arguments: str) -> list[str]:
        done = CliRunner().invoke(app, ["trace", *arguments, "-o", str(out), "--json"])
        assert done.exit_code == 0, done.output
        said = json.loads(out.read_text())
        assert json.loads(done.stdout)["runs"] == said["otherData"]["runs"]
        return [f"{one['args']['job']} {one['name']}" for one in checked(said["traceEvents"])]

    assert slices(str(tmp_path)) == slices(str(work)) == ["b track", "a track"], "the last run"
    assert len(slices("a" * 12, "--work-dir", str(work))) == 5
    assert slices(str(results)).count("a track") == 3, "all runs of this job"
    for wrong, code in ((str(tmp_path / "none.jsonl"), Code.MANIFEST_UNREADABLE), ("f" * 12, Code.FIELD_VALUE)):
        done = CliRunner().invoke(app, ["trace", wrong, "-o", str(out), "--work-dir", str(work)])
        assert (done.exit_code, str(code) in done.output) == (2, True), done.output
    done = CliRunner().invoke(app, ["trace", str(results), "-o", str(results)])
    assert done.exit_code == 2, "its own input"
    clean(work)
    assert traced_runs(Store(work)) == {}


def test_a_slice_survives_the_store(tmp_path: Path) -> None:
    one = Slice("track", "ä\udce9", None, "h", 3, 1e9 + 0.123456, 0.25, 7, 2, "E_X", 4)
    recorder = TraceRecorder(str(tmp_path), "e" * 12)
    recorder._waiting.append(one)
    recorder.close()
    assert traced_runs(Store(tmp_path))["e" * 12] == [one]


@pytest.mark.parametrize(
    "slices", [[], [[1, 2]], 5, [["track"] * 20], [["track", "a", 0, "h", 1, "x", "y", 0, 1, "", 1]], None]
)
def test_pieces_that_are_not_ours_are_left_out(slices: object, tmp_path: Path) -> None:
    """Of a run that was killed, or of a newer version: the others are shown."""
    store = Store(tmp_path)
    store.put_record(f"trace/{'b' * 12}/000000", {"form": 1, "slices": slices})
    assert traced_runs(store) == {}
    record(str(tmp_path), "a" * 12, NOTES)
    (tmp_path / "refs" / "trace" / ("a" * 12) / "000001.json").write_text('{"form": 1, "sli')
    assert list(traced_runs(store)) == ["a" * 12]
