"""What a run counts, and where it is described."""

from __future__ import annotations

import json
import random
import re
import runpy
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.pipeline.events import Assembled, Failed, Item, Note, Planned
from raydub.pipeline.metrics import COUNTED, METRICS, Labels, Meter, Sums, count_note
from raydub.pipeline.notes import note_of
from raydub.stages.types import Chunk, Part, Span
from tests.conftest import REPOSITORY
from tests.pipeline.test_driver import make_job

GRAFANA = REPOSITORY / "deploy" / "grafana"


class Seen:
    """Counters as sums, gauges as last values."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], float] = defaultdict(float)

    def add(self, name: str, value: float, labels: Labels) -> None:
        about = METRICS[name]
        assert tuple(labels) == about.labels
        assert value > 0 or about.kind != "counter", "Ray refuses to add nothing"
        key = (name.removeprefix("raydub_"), *labels.values())
        self.values[key] = value if about.kind == "gauge" else self.values[key] + value

    def queues(self) -> dict[str, float]:
        return {key[1]: value for key, value in self.values.items() if key[0] == "queue" and value}


def note(
    stage: str, chunk: int | None = None, done: bool = True, job: str = "a", attempt: int = 1, **more: object
) -> Note:
    frames = 25 if done else 0
    return Note(stage, job, frames, 2.0 if done else 0.0, 1, "h", 1.0, done, chunk, attempt=attempt, **more)  # type: ignore[arg-type]


def part(index: int, reused: bool = False, job: str = "a") -> Part:
    return Part(Chunk(job, "d", index, 2, Span(index * 25, index * 25 + 25)), "p", 25, 20, 0, {}, reused=reused)


def test_what_waits_for_whom(tmp_path: Path) -> None:
    seen = Seen()
    meter = Meter(seen.add)
    meter.begin([make_job(tmp_path, "ok:2", "a"), make_job(tmp_path, "ok:2", "b")])
    assert seen.queues() == {"prepare": 2}
    steps: list[tuple[Note | Item, dict[str, float]]] = [
        (note("prepare", done=False), {"prepare": 1}),
        (note("prepare"), {"prepare": 1}),
        (Planned("a", "d", 2, 50), {"prepare": 1, "track": 2}),
        (note("track", 0, done=False), {"prepare": 1, "track": 1}),
        (note("track", 0, done=False, attempt=0), {"prepare": 1, "track": 1}),
        (note("track", 0), {"prepare": 1, "track": 1, "lipsync": 1}),
        (part(1, reused=True), {"prepare": 1, "lipsync": 1}),
        (note("lipsync", 0, done=False), {"prepare": 1}),
        (note("lipsync", 0), {"prepare": 1, "render": 1}),
        (note("render", 0, done=False, attempt=2), {"prepare": 1}),
        (note("render", 0), {"prepare": 1}),
        (part(0), {"prepare": 1}),
    ]
    for number, (one, queues) in enumerate(steps):
        (meter.note if isinstance(one, Note) else meter.item)(one)  # type: ignore[operator]
        assert seen.queues() == queues, number
    meter.stitch("a")
    assert seen.queues() == {"prepare": 1, "stitch": 1}
    meter.item(Assembled("a", "o", 50, {}))
    meter.item(Failed("b", "prepare", "InputError", {"code": "E_INPUT_MISSING"}))
    meter.item(Failed("b", "prepare", "InputError", {"code": "E_INPUT_MISSING"}))
    assert seen.queues() == {}
    found = {key: value for key, value in seen.values.items() if key[0] in ("jobs", "jobs_open", "retries")}
    assert found == {
        ("jobs_open",): 0, ("jobs", "ok", ""): 1, ("jobs", "failed", "E_INPUT_MISSING"): 1, ("retries", "render"): 1
    }  # fmt: skip
    assert (seen.values[("planned_frames",)], seen.values[("reused_frames",)]) == (50, 25)


@given(st.integers(0, 2**32), st.sets(st.integers(0, 3)), st.booleans())
def test_nothing_waits_when_all_is_done(
    tmp_path_factory: pytest.TempPathFactory, seed: int, reused: set[int], twice: bool
) -> None:
    """Whatever the order in which notes and items of different chunks and the plan arrive."""
    seen, order = Seen(), random.Random(seed)
    meter = Meter(seen.add)
    meter.begin([make_job(Path("/x"), "ok:4", "a")])
    lanes: list[list[Note | Item]] = [[note("prepare", done=False), note("prepare")], [Planned("a", "d", 4, 100)]]
    for index in range(4):
        if index in reused:
            lanes.append([part(index, reused=True)])
        else:
            steps = [note(s, index, done) for s in ("track", "lipsync", "render") for done in (False, True)]
            lanes.append([*steps * (1 + twice), part(index)])
    while any(lanes):
        one = order.choice([lane for lane in lanes if lane]).pop(0)
        (meter.note if isinstance(one, Note) else meter.item)(one)  # type: ignore[operator]
        assert all(value >= 0 for value in seen.values.values())
    assert seen.queues() in ({}, {"prepare": 1})
    meter.item(Assembled("a", "o", 100, {}))
    assert seen.queues() == {}
    assert (meter._seen, meter._open) == (set(), set())


def test_sums_of_notes() -> None:
    sums = Sums()
    for one in (
        note("prepare", counts={"parts": 3, "no_parts": 1, "unknown": 5}),
        note("track", 0, done=False),
        note("track", 0, faces=20),
        note("track", 1, done=False, attempt=2, counts={"bytes_read": 7}),
        note("track", 1, code="E_QUARANTINED"),
    ):
        count_note(one, sums.add)
    assert sums.rows() == {
        "raydub_attempts_total": [{"stage": "track", "value": 2}],
        "raydub_cache_total": [
            {"cache": "part", "result": "hit", "value": 3},
            {"cache": "part", "result": "miss", "value": 1},
        ],
        "raydub_faces_total": [{"stage": "track", "value": 20}],
        "raydub_frames_total": [{"stage": "track", "value": 50}],
        "raydub_retries_total": [{"stage": "track", "value": 1}],
        "raydub_steps_total": [
            {"stage": "prepare", "status": "ok", "code": "", "value": 1},
            {"stage": "track", "status": "ok", "code": "", "value": 1},
            {"stage": "track", "status": "quarantined", "code": "E_QUARANTINED", "value": 1},
        ],
        "raydub_store_bytes_total": [{"direction": "read", "value": 7}],
        "raydub_work_seconds_total": [{"stage": "prepare", "value": 2}, {"stage": "track", "value": 4}],
    }


def test_notes_tell_what_the_process_has_asked_of_stores_since(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Counts:
        requests: int = 0
        hits: int = 0

    now = Counts()
    monkeypatch.setattr("raydub.pipeline.notes._told", {})
    monkeypatch.delitem(sys.modules, "raydub.objects.counted", raising=False)
    assert note_of("track", "a", 1).counts == {}
    monkeypatch.setitem(sys.modules, "raydub.objects.counted", SimpleNamespace(counted=lambda: now))
    now.requests = 3
    assert note_of("track", "a", 1, counts={"parts": 1}).counts == {"requests": 3, "parts": 1}
    now.requests, now.hits = 5, 1
    assert note_of("track", "a", 1).counts == {"requests": 2, "hits": 1}
    assert note_of("track", "a", 1).counts == {}
    assert {"requests", "hits"} <= set(COUNTED)


def test_the_document_lists_all_metrics() -> None:
    text = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `ray_(\w+)` \| (\w+) \| (.*?) \|", text, re.M)
    said = {name: (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in rows}
    ours = {
        name + ("_total" if one.kind == "counter" else ""): (
            one.kind,
            [*one.labels, *(["le"] if one.kind == "histogram" else [])],
        )
        for name, one in METRICS.items()
    }
    assert said == ours
    assert not [name for name in METRICS if ":" in name]


def test_the_dashboard_is_what_its_script_writes() -> None:
    made = runpy.run_path(str(GRAFANA / "make_dashboard.py"))["dashboard"]()
    assert json.loads((GRAFANA / "raydub.json").read_text(encoding="ascii")) == made
    queries = " ".join(target["expr"] for panel in made["panels"] for target in panel["targets"])
    assert not [name for name in METRICS if f"ray_{name}" not in queries], "a metric that nobody would see"
    assert max(Counter(panel["id"] for panel in made["panels"]).values()) == 1
