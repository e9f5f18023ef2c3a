"""The trace of a run: what each worker did when. The driver records it in the store, in pieces, so that most of it
survives a killed driver; events() shows it in the Trace Event Format of chrome://tracing and Perfetto.

Times are the driver's: a step ends when its note arrives and begins its duration before. Clocks of nodes differ by more
than a step takes. Notes arrive in milliseconds, so steps of one worker that would overlap by that are cut.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raydub.errors import RaydubError
from raydub.pipeline.events import Note
from raydub.pipeline.notes import arrived
from raydub.pipeline.registry import STAGES
from raydub.store import Store

SEVERAL = "several"
"""The stage of a slice that stands for steps of different stages."""
_WHOLE = 50_000  # slices that are kept as they are
_PIECE, _PIECE_SECONDS = 2_000, 30.0
_FORM = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slice:
    """A step of a worker, or, with steps > 1, adjacent steps of it. begin: seconds since 1970, by the driver's clock;
    code: of the error that ended it; job "" and chunk None: of several jobs or chunks, or of the whole job."""

    stage: str
    job: str
    chunk: int | None
    host: str
    pid: int
    begin: float
    seconds: float
    frames: int = 0
    attempt: int = 1
    code: str = ""
    steps: int = 1

    @property
    def end(self) -> float:
        return self.begin + self.seconds


class TraceRecorder:
    """Records the notes of a run in the store as trace/<run>/<number>. A Reporter; thread-safe; never raises, and
    loses slices that cannot be written.

    After 50,000 slices adjacent steps of a worker are merged, over a span that doubles with every 10,000 more: 64 s at
    100,000, half a day at 200,000.
    """

    def __init__(self, work_dir: str, run_id: str, clock: Callable[[], float] = time.time) -> None:
        self._store, self._run, self._clock = Store(work_dir), run_id, clock
        self._last: dict[tuple[str, int], Slice] = {}  # by worker; not yet in _waiting
        self._waiting: list[Slice] = []
        self._count = self._pieces = 0
        self._lock = threading.Lock()
        self._written = clock()

    def note(self, note: Note) -> None:
        """Record a step that has ended."""
        if not note.done:
            return
        with self._lock:
            self._add(note)
            if len(self._waiting) >= _PIECE or self._clock() - self._written > _PIECE_SECONDS:
                self._write()

    def close(self) -> None:
        """Write the rest."""
        with self._lock:
            self._waiting += self._last.values()
            self._last.clear()
            self._write()

    def _add(self, note: Note) -> None:
        end, worker = arrived(note).at, (note.host, note.pid)
        before = self._last.get(worker)
        begin = max(end - note.seconds, before.end if before else 0.0)
        about = (note.stage, note.job_id, note.chunk, note.host, note.pid, begin, max(0.0, end - begin))
        new = Slice(*about, note.frames, max(1, note.attempt), note.code)
        span = self._span()
        if before is not None and span and new.end - before.begin <= span:
            new = _merged(before, new)
        elif before is not None:
            self._waiting.append(before)
            self._count += 1
        self._last[worker] = new

    def _span(self) -> float:
        return float(2 ** ((self._count - _WHOLE) // 10_000 + 1)) if self._count >= _WHOLE else 0.0

    def _write(self) -> None:
        self._written = self._clock()
        slices, self._waiting = self._waiting, []
        if slices:
            said = {"form": _FORM, "slices": [list(dataclasses.astuple(one)) for one in slices]}
            try:
                self._store.put_record(f"trace/{self._run}/{self._pieces:06d}", said)
                self._pieces += 1
            except (RaydubError, OSError) as error:
                _log.warning("%d steps are missing from the trace of the run: %s", len(slices), error)


def traced_runs(store: Store) -> dict[str, list[Slice]]:
    """The slices of all runs of a work folder by run id, the run that ended last at the end."""
    found: dict[str, list[Slice]] = defaultdict(list)
    for name in store.names("trace"):
        slices = _slices(store.record(name))
        if slices:
            found[name.split("/")[1]] += slices
    return dict(sorted(found.items(), key=lambda run: max(one.end for one in run[1])))


def _slices(said: Mapping[str, Any] | None) -> list[Slice]:
    """The slices of a piece; [] if it is damaged, of another version, or not ours."""
    if said is None or said.get("form") != _FORM:
        return []
    try:
        found = [Slice(*one) for one in said["slices"]]
        return found if all(isinstance(one.end, (int, float)) and isinstance(one.stage, str) for one in found) else []
    except (KeyError, TypeError):
        return []


def events(*runs: Sequence[Slice]) -> list[dict[str, Any]]:
    """Trace events of one or more runs: a process per host, a thread per worker, a complete event per slice, a counter
    of waiting items per stage. Times in microseconds since the first slice."""
    slices = [one for run in runs for one in run]
    zero = min((one.begin for one in slices), default=0.0)
    hosts = {host: number for number, host in enumerate(sorted({one.host for one in slices}), 1)}
    waits = {one: wait for run in runs for one, wait in _waits(run)}
    found = [_named("process_name", number, 0, host) for host, number in hosts.items()]
    for (host, pid), stages in sorted(_stages_of(slices).items()):
        found.append(_named("thread_name", hosts[host], pid, f"{'+'.join(stages)} {host}:{pid}"))
    for one in sorted(slices, key=lambda one: one.begin):
        args: dict[str, Any] = {
            "job": one.job,
            "chunk": one.chunk,
            "frames": one.frames,
            "attempt": one.attempt,
            "steps": one.steps,
        }
        args |= {"error": one.code} if one.code else {}
        args |= {"waited_s": round(waits[one], 3)} if one in waits else {}
        where = {"pid": hosts[one.host], "tid": one.pid, "ts": _micro(one.begin - zero)}
        # By differences of rounded times, so that neighbours do not overlap by a microsecond.
        length = _micro(one.end - zero) - where["ts"]
        found.append({"ph": "X", "name": one.stage, "cat": "step", **where, "dur": length, "args": args})
    return found + _queues(waits, zero)


def _queues(waits: dict[Slice, float], zero: float) -> list[dict[str, Any]]:
    steps = [(one.begin - wait, -1, one.stage) for one, wait in waits.items()]
    steps += [(one.begin, 1, one.stage) for one in waits]
    now: dict[str, int] = defaultdict(int)
    found = [_named("process_name", 0, 0, "waiting")] if steps else []
    for when, less, stage in sorted(steps):
        now[stage] -= less
        place = {"pid": 0, "tid": 0, "ts": _micro(when - zero)}
        found.append({"ph": "C", "name": f"waiting for {stage}", **place, "args": {"items": now[stage]}})
    return found


def _waits(slices: Iterable[Slice]) -> Iterator[tuple[Slice, float]]:
    """Seconds that items waited for steps: chunks since the stage before, a job's stitch since its last part."""
    order = {stage.name: number for number, stage in enumerate(STAGES)}
    jobs: dict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        if one.steps == 1 and one.stage in order:
            jobs[one.job].append(one)
    for steps in jobs.values():
        chunks: dict[int | None, list[Slice]] = defaultdict(list)
        for one in steps:
            chunks[one.chunk].append(one)
        for one in steps:
            near = steps if one.chunk is None else [*chunks[None], *chunks[one.chunk]]
            before = [other.end for other in near if order[other.stage] < order[one.stage]]
            if before:
                yield one, max(0.0, one.begin - max(before))


def _stages_of(slices: Iterable[Slice]) -> dict[tuple[str, int], list[str]]:
    order = [*(stage.name for stage in STAGES), SEVERAL]
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for one in slices:
        found[(one.host, one.pid)].add(one.stage)
    return {
        worker: sorted(stages, key=lambda name: order.index(name) if name in order else len(order))
        for worker, stages in found.items()
    }


def _merged(one: Slice, two: Slice) -> Slice:
    same = one.job == two.job and one.chunk == two.chunk
    return dataclasses.replace(
        one,
        stage=one.stage if one.stage == two.stage else SEVERAL,
        job=one.job if one.job == two.job else "",
        chunk=one.chunk if same else None,
        seconds=two.end - one.begin,
        frames=one.frames + two.frames,
        attempt=max(one.attempt, two.attempt),
        code=one.code or two.code,
        steps=one.steps + two.steps,
    )


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


def _micro(seconds: float) -> int:
    return round(seconds * 1e6)
