"""The state of a run, written into the work folder's store while it works, for `raydub status` and `raydub results`.

    state/<number>-<run id>             number: 8 digits, one more than the largest that was there when the run began
    results/<number>-<run id>/rows      JSON lines, one result per row; when the run has ended
    results/<number>-<run id>/failed    the rows that did not succeed, as a manifest, if there are any

Each run replaces its own record every few seconds, so two runs on one work folder do not disturb each other, and the
last name is the latest run. `beat` counts the writes: a driver whose beat does not change any more is dead, whatever
its clock says. The record's size does not grow with the number of rows: finished jobs are counts, open jobs and
failures are listed up to a number.

A run never fails because of its state: a write that fails is logged once.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Protocol

from raydub import __version__
from raydub.errors import Code, RaydubError
from raydub.manifests.results import JobResult
from raydub.pipeline.attempts import this_worker
from raydub.pipeline.events import Note
from raydub.pipeline.now import StageNow, now_of
from raydub.pipeline.registry import STAGES
from raydub.pipeline.tally import Tally
from raydub.store import Store
from raydub.texts import strict_json

STATE, RESULTS = "state", "results"
EVERY = 5.0
"""Seconds between two writes."""
OUTCOMES = ("ok", "failed", "quarantined", "skipped")
MOST_JOBS, MOST_FAILURES = 200, 200
_KEPT_RUNS = 50
_MOST_WORDS = 400
_LAST_SECONDS, _LAST_SECONDS_STOPPED = 10.0, 3.0
_log = logging.getLogger(__name__)


class Counted(Protocol):
    """What a run's progress display gives (pipeline.progress.QuietProgress)."""

    tally: Tally

    def planned(self, job_id: str, frames: int, chunks: int, work: Mapping[str, float] | None = None) -> None: ...

    def part(self, job_id: str, frames: int, reused: bool) -> None: ...

    def finished(self, result: JobResult) -> None: ...

    def note(self, note: Note) -> None: ...


class Book:
    """Counts the jobs of a run by status, from events in any order; thread-safe. closed: outcomes from before the work;
    open_ids: the other rows. The counts always sum to the number of rows."""

    def __init__(self, open_ids: Iterable[str], closed: Sequence[JobResult] = ()) -> None:
        self._open: dict[str, dict[str, Any]] = {name: {} for name in open_ids}
        self._counts: Counter[str] = Counter(result.status for result in closed)
        self._failed = [result for result in closed if result.status != "ok"]
        self.rows = len(self._open) + len(closed)
        self._lock = threading.Lock()

    def planned(self, job_id: str, frames: int, chunks: int) -> None:
        """A job was prepared: it has this many frames, in this many chunks."""
        with self._lock:
            if job_id in self._open:
                self._open[job_id].update(frames=frames, chunks=chunks)

    def part(self, job_id: str, frames: int) -> None:
        """A part with this many frames is finished."""
        with self._lock:
            state = self._open.get(job_id)
            if state is not None:
                state["done"] = state.get("done", 0) + frames
                state["parts"] = state.get("parts", 0) + 1

    def step(self, job_id: str, stage: str) -> None:
        """A stage works on the job."""
        with self._lock:
            if job_id in self._open:
                self._open[job_id]["stage"] = stage

    def finished(self, result: JobResult) -> None:
        """A job has its outcome; a second one for the same id is ignored."""
        with self._lock:
            if self._open.pop(result.id, None) is not None:
                self._counts[result.status] += 1
                self._failed += [result] if result.status != "ok" else []

    def snapshot(self) -> dict[str, Any]:
        """Counts, open jobs that have begun, and failures; JSON-ready and of bounded size."""
        with self._lock:
            begun = [(name, dict(state)) for name, state in self._open.items() if state]
            counts = {name: self._counts[name] for name in OUTCOMES}
            counts |= {"running": len(begun), "waiting": len(self._open) - len(begun)}
            jobs = [{"id": name, "frames": None, "done": 0, "chunks": None, "parts": 0, "stage": None, **state}
                    for name, state in begun[:MOST_JOBS]]  # fmt: skip
            return {
                "rows": self.rows,
                "counts": counts,
                "jobs": jobs,
                "jobs_left_out": len(begun) - len(jobs),
                **failures_of(self._failed),
            }


def failures_of(results: Iterable[JobResult]) -> dict[str, Any]:
    """The first rows that did not succeed, each with its reason, and the number of the others."""
    names = ("id", "line", "status", "error_code", "error_message", "hint")
    lost = [result for result in results if result.status != "ok"]
    shown = [{name: _short(getattr(result, name)) for name in names} for result in lost[:MOST_FAILURES]]
    return {"failures": shown, "failures_left_out": len(lost) - len(shown)}


class RunState:
    """Writes the state of one run; stands between the run and its progress display, whose events it passes on.

    about: JSON-ready facts for the record, such as the manifest's path. Nothing here raises, and only close() waits for
    the store."""

    def __init__(
        self,
        work_dir: str | PurePath,
        run_id: str,
        shown: Counted,
        open_ids: Iterable[str],
        closed: Sequence[JobResult] = (),
        about: Mapping[str, Any] | None = None,
        every: float = EVERY,
    ) -> None:
        self._store = Store(work_dir)
        self._run_id, self._shown, self._every = run_id, shown, every
        self._book = Book(open_ids, closed)
        self._about = {"run": run_id, "raydub": __version__, "every": every, **(about or {}), **this_worker()}
        self._about["ray_job"] = ray_job_id()
        self._ending: dict[str, Any] | None = None
        self._results: Sequence[JobResult] = ()
        self._failed: Callable[[Path], object] | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, name="raydub-state", daemon=True)
        self._name = ""
        self._beat = 0
        self._complained = False

    def start(self) -> RunState:
        """Begin to write."""
        self._thread.start()
        return self

    def close(
        self,
        results: Sequence[JobResult],
        written: Iterable[str | PurePath],
        failed: Callable[[Path], object],
        *,
        stopped: bool = False,
    ) -> None:
        """Write the results and the last state: ended, or interrupted if the run was stopped. results: of all rows;
        written: the files with them; failed: writes the rows that did not succeed to a file. Waits for the store, for
        at most 10 s, 3 s after a stop."""
        if self._ending is None:
            counts: Counter[str] = Counter(result.status for result in results)
            stopped = stopped or any(result.error_code == Code.INTERRUPTED for result in results)
            self._results, self._failed = results, failed
            self._ending = {
                "status": "interrupted" if stopped else "ended",
                "counts": {name: counts[name] for name in OUTCOMES} | {"running": 0, "waiting": 0},
                "jobs": [],
                "jobs_left_out": 0,
                "unplanned": 0,
                "eta": None,
                "share": 1.0 if not stopped else self._shown.tally.left().share,
                **failures_of(results),
                "files": [str(path) for path in written],
            }
            self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_SECONDS_STOPPED if stopped else _LAST_SECONDS)

    def planned(self, job_id: str, frames: int, chunks: int, work: Mapping[str, float] | None = None) -> None:
        """See pipeline.driver.Watcher."""
        self._book.planned(job_id, frames, chunks)
        self._shown.planned(job_id, frames, chunks, work)

    def part(self, job_id: str, frames: int, reused: bool) -> None:
        """See pipeline.driver.Watcher."""
        self._book.part(job_id, frames)
        self._shown.part(job_id, frames, reused)

    def finished(self, result: JobResult) -> None:
        """See pipeline.driver.Watcher."""
        self._book.finished(result)
        self._shown.finished(result)

    def note(self, note: Note) -> None:
        """See pipeline.events.Reporter."""
        self._book.step(note.job_id, note.stage)
        self._shown.note(note)

    def record(self) -> dict[str, Any]:
        """The state now, JSON-ready. Seconds and frames; eta is None while unknown."""
        tally = self._shown.tally
        now, shares = now_of(tally), tally.left().jobs
        known = {stage.stage: stage for stage in now.stages}
        book = self._book.snapshot()
        for job in book["jobs"]:
            job["share"] = round(shares.get(job["id"], 0.0), 3)
        return {
            **self._about,
            "beat": self._beat,
            "status": "running",
            **book,
            "elapsed": round(tally.elapsed, 1),
            "share": round(now.share, 3),
            "frames": {"planned": tally.planned_frames, "done": tally.done_frames, "reached": tally.reached_frames()},
            "unplanned": max(0, tally.unplanned),
            "speed": round(tally.speed, 2),
            "eta": None if now.eta is None else round(now.eta, 1),
            "stages": [(known.get(stage.name) or StageNow(stage.name, 0, 0.0, 0, None)).row() for stage in STAGES],
            **(self._ending or {}),
        }

    def _keep_writing(self) -> None:
        while True:
            last = self._ending is not None
            if last:
                self._try(self._keep_results)
            self._try(self._write)
            if last:
                return
            self._wake.wait(self._every)

    def _write(self) -> None:
        self._beat += 1
        self._store.put_record(self._named(), self.record())

    def _named(self) -> str:
        if not self._name:
            self._name = _next_name(self._store, self._run_id)
        return self._name

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, ValueError, RaydubError) as error:
            if not self._complained:
                self._complained = True
                _log.warning("the state of the run cannot be written, and the run goes on without: %s", error)
        except Exception:
            _log.debug("the state of the run is not written", exc_info=True)

    def _keep_results(self) -> None:
        name = results_name(self._named())
        rows = "".join(f"{strict_json(result.model_dump(mode='json'))}\n" for result in self._results)
        self._store.put(f"{name}/rows", rows.encode(), ".jsonl")
        if self._failed is not None and any(result.status != "ok" for result in self._results):
            temp = self._store.temp(".jsonl")
            self._failed(temp)
            self._store.put_file(f"{name}/failed", temp)


def results_name(state_name: str) -> str:
    """The prefix of the results of the run with this record."""
    return f"{RESULTS}/{state_name.rpartition('/')[2]}"


def ray_job_id() -> str:
    """The submission id of the Ray job that started this process, "" outside of one."""
    try:
        said = json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])
        return str(said["metadata"]["job_submission_id"])
    except (KeyError, ValueError, TypeError):
        return ""


def _next_name(store: Store, run_id: str) -> str:
    """The name of a new run's record. The oldest records are removed: their runs have ended long ago."""
    names = store.names(STATE)
    for name in names[:-_KEPT_RUNS]:
        for old in (name, *(f"{results_name(name)}/{what}" for what in ("rows", "failed"))):
            store.remove(old)
    return f"{STATE}/{1 + max((number_of(name) for name in names), default=0):08}-{run_id}"


def number_of(name: str) -> int:
    """The number in a record's name, 0 for others."""
    text = name.rpartition("/")[2].partition("-")[0]
    return int(text) if text.isdecimal() else 0


def _short(value: Any) -> Any:
    return value if not isinstance(value, str) or len(value) <= _MOST_WORDS else f"{value[:_MOST_WORDS]} .."
