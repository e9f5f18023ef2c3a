"""The metrics of a run: their names and labels (docs/metrics.md), and how they are counted from notes and items.

On Ray, one process exports them for the whole run: the one that follows it (pipeline.ray_metrics).
Everywhere their sums are in the JSON report of a run. They are for watching: notes may be lost, so the results
manifest, not a metric, says what was done.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from raydub.errors import Code
from raydub.manifests.job import Job
from raydub.pipeline.events import Assembled, Failed, Item, Note, Planned
from raydub.pipeline.registry import STAGES
from raydub.stages.types import Part

_OF_CHUNKS, _OF_OUTPUTS = ([stage.name for stage in STAGES if stage.per == per] for per in ("chunk", "output"))
# Each stage and the next one of the same kind.
_AFTER = {one.name: two.name for one, two in pairwise(STAGES) if one.per == two.per != "output"}

Labels = Mapping[str, str]
Add = Callable[[str, float, Labels], None]
"""Adds a value to the metric of this name; sets a gauge, and observes a value of a histogram."""


@dataclass(frozen=True)
class Metric:
    """labels: without `run`, which all have; says: meaning and unit; bounds: of a histogram's buckets."""

    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    says: str
    bounds: tuple[float, ...] = ()


METRICS: Mapping[str, Metric] = {
    "raydub_jobs_open": Metric("gauge", (), "jobs without an outcome"),
    "raydub_jobs": Metric("counter", ("status", "code"), "jobs with an outcome: ok, failed, quarantined"),
    "raydub_planned_frames": Metric("counter", (), "output frames of prepared jobs"),
    "raydub_reused_frames": Metric("counter", (), "output frames of parts that earlier runs made"),
    "raydub_frames": Metric("counter", ("stage",), "frames that passed a stage"),
    "raydub_faces": Metric("counter", ("stage",), "mouths, one per face and frame, that passed a stage"),
    "raydub_steps": Metric("counter", ("stage", "status", "code"), "steps that ended: ok, failed, quarantined"),
    "raydub_work_seconds": Metric("counter", ("stage",), "seconds that workers spent in steps"),
    "raydub_step_seconds": Metric(
        "histogram", ("stage",), "seconds of a step", (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)
    ),
    "raydub_attempts": Metric("counter", ("stage",), "attempts at steps that began"),
    "raydub_retries": Metric("counter", ("stage",), "attempts after a first one of the same step in this run"),
    "raydub_queue": Metric("gauge", ("stage",), "jobs or chunks that wait for a worker of a stage"),
    "raydub_cache": Metric("counter", ("cache", "result"), "look-ups: result hit or miss, cache part or object"),
    "raydub_store_bytes": Metric("counter", ("direction",), "bytes read from and written to object stores"),
    "raydub_store_requests": Metric("counter", (), "requests to object stores"),
    "raydub_store_retries": Metric("counter", (), "requests to object stores that were repeated"),
}
"""Names as in the code; counters are exported with _total, and all with Ray's prefix ray_."""

COUNTED: Mapping[str, tuple[str, Labels]] = {
    "parts": ("raydub_cache", {"cache": "part", "result": "hit"}),
    "no_parts": ("raydub_cache", {"cache": "part", "result": "miss"}),
    "hits": ("raydub_cache", {"cache": "object", "result": "hit"}),
    "misses": ("raydub_cache", {"cache": "object", "result": "miss"}),
    "bytes_read": ("raydub_store_bytes", {"direction": "read"}),
    "bytes_written": ("raydub_store_bytes", {"direction": "written"}),
    "requests": ("raydub_store_requests", {}),
    "retries": ("raydub_store_retries", {}),
}
"""The metric of each number in Note.counts."""


def count_note(note: Note, add: Add) -> None:
    """Add what a note tells."""
    stage = {"stage": note.stage}
    for name, count in note.counts.items():
        if count > 0 and name in COUNTED:
            add(COUNTED[name][0], count, COUNTED[name][1])
    if not note.done:
        if note.attempt:
            add("raydub_attempts", 1, stage)
        if note.attempt > 1:
            add("raydub_retries", 1, stage)
        return
    add("raydub_steps", 1, {**stage, "status": status_of(note.code), "code": note.code})
    add("raydub_step_seconds", note.seconds, stage)
    for name, value in (("work_seconds", note.seconds), ("frames", note.frames), ("faces", note.faces)):
        if value > 0 and (name != "frames" or note.stage != "prepare"):
            add(f"raydub_{name}", value, stage)


def status_of(code: str) -> str:
    """The status of a step or job that ended with this error, "" for none."""
    return "ok" if not code else "quarantined" if code == Code.QUARANTINED else "failed"


class Sums:
    """The sums of all counters. Not thread-safe."""

    def __init__(self) -> None:
        self._found: dict[str, Counter[tuple[tuple[str, str], ...]]] = defaultdict(Counter)

    def add(self, name: str, value: float, labels: Labels) -> None:
        """See Add."""
        if METRICS[name].kind == "counter":
            self._found[name][tuple(labels.items())] += value  # type: ignore[assignment]

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """By exported name without prefix: {**labels, "value": sum}."""
        return {
            f"{name}_total": [{**dict(labels), "value": round(value, 3)} for labels, value in found.items()]
            for name, found in sorted(self._found.items())
        }


class Meter:
    """Counts what the process that follows a run sees: notes of workers, items, and what waits. Thread-safe.

    What waits for a stage is known from the notes of the stage before and its own. Of parts that are found while their
    chunk waits there is no note, but an item. Notes may arrive before the item of their job's plan.
    """

    def __init__(self, add: Add) -> None:
        self._add = add
        self._lock = threading.Lock()
        self._open: set[str] = set()
        self._seen: set[tuple[str, int | None]] = set()  # chunks of open jobs that wait for their first stage no more
        self._waiting: dict[str, set[tuple[str, int | None]]] = {stage.name: set() for stage in STAGES}

    def begin(self, jobs: Sequence[Job]) -> None:
        """These jobs are waiting for their first stage."""
        with self._lock:
            self._open = {job.id for job in jobs}
            for job in jobs:
                first = next((stage for stage in STAGES if stage.per == "job" and stage.wanted(job)), None)
                if first is not None:
                    self._waiting[first.name].add((job.id, None))
            self._tell()

    def note(self, note: Note) -> None:
        """A worker has begun or ended a step."""
        item = (note.job_id, note.chunk)
        with self._lock:
            count_note(note, self._add)
            if note.stage in self._waiting:
                self._waiting[note.stage].discard(item)
            if note.job_id in self._open:
                if note.stage == _OF_CHUNKS[0]:
                    self._seen.add(item)
                if note.done and not note.code and note.stage in _AFTER:
                    self._waiting[_AFTER[note.stage]].add(item)
            self._tell()

    def item(self, item: Item) -> None:
        """Something has happened to a job."""
        with self._lock:
            if isinstance(item, Planned):
                self._planned(item)
            elif isinstance(item, Part):
                self._made(item)
            elif isinstance(item, Failed):
                self._ended(item.job_id, str(item.error.get("code", "")))
            elif isinstance(item, Assembled):
                self._ended(item.job_id, "")
            self._tell()

    def stitch(self, job_id: str) -> None:
        """All parts of a job are done."""
        with self._lock:
            self._waiting[_OF_OUTPUTS[0]].add((job_id, None))
            self._tell()

    def _planned(self, plan: Planned) -> None:
        if plan.finished is not None:
            self._ended(plan.job_id, "")
        elif plan.job_id in self._open and plan.n_frames:
            self._add("raydub_planned_frames", plan.n_frames, {})
            chunks = {(plan.job_id, index) for index in range(plan.n_chunks)}
            self._waiting[_OF_CHUNKS[0]] |= chunks - self._seen

    def _made(self, part: Part) -> None:
        chunk = (part.chunk.job_id, part.chunk.index)
        if part.chunk.job_id in self._open:
            self._seen.add(chunk)
        if part.reused:
            self._add("raydub_reused_frames", part.frames, {})
        for stage in _OF_CHUNKS:
            self._waiting[stage].discard(chunk)

    def _ended(self, job_id: str, code: str) -> None:
        if job_id in self._open:
            self._open.discard(job_id)
            self._add("raydub_jobs", 1, {"status": status_of(code), "code": code})
            for items in (self._seen, *self._waiting.values()):
                items.difference_update([item for item in items if item[0] == job_id])

    def _tell(self) -> None:
        self._add("raydub_jobs_open", len(self._open), {})
        for stage, waiting in self._waiting.items():
            self._add("raydub_queue", len(waiting), {"stage": stage})
