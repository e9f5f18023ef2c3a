"""Records of the attempts at each piece of work in a run, by which deaths of workers are counted.

    <work_dir>/runs/<run_id>/
        info.json                               the driver: host, process, start
        attempts/<job>/<work>.<n>               attempt n at this piece of work; created before the work begins
        attempts/<job>/<work>.<n>.ended         renamed when the work ended, with or without an error
        attempts/<job>/<work>.<n>.overran       the watchdog killed the worker; contains the seconds
        failed/<job>                            the job has failed: workers skip its remaining chunks

`<job>` is a hash of the job's id (ids may contain any characters), `<work>` is "prepare", "stitch", or a stage and a
chunk: "render.000003". An attempt without an end means that its worker died. Ray would repeat such work for ever, so
attempts are counted. They belong to one run: running again is another try, and killing the driver twice must not
quarantine a chunk.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raydub.errors import RaydubError
from raydub.objects.names import is_object
from raydub.pipeline.run_files import OVERRAN, RunFiles, run_files
from raydub.places import PathLike
from raydub.process import born, place, place_of
from raydub.store import Store

MAX_DEATHS = 2
"""Deaths of workers after which a piece of work is not tried again in this run. A single death may be unrelated."""

DEAD_RUN_DAYS = 7
"""Days without changes after which the run folder of another machine is removed; far more than clocks differ."""

_RUN_ID = re.compile(r"(clean-)?[0-9a-f]{12}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One attempt at a piece of work; numbers start at 1."""

    files: RunFiles
    name: str
    number: int

    def end(self) -> None:
        """Record that the work ended, with or without an error. Never raises."""
        try:
            self.files.end(self.name)
        except RaydubError as error:
            # At worst one death too many is counted.
            _log.warning("cannot release %s: %s", self.name, error)

    def overran(self, seconds: float) -> None:
        """Record that the worker is killed because the work exceeded its time limit. Never raises."""
        with contextlib.suppress(RaydubError):
            self.files.write(self.name + OVERRAN, repr(seconds).encode())


@dataclass(frozen=True)
class Attempts:
    """The attempts of one run. work_dir is reachable from every node."""

    work_dir: str
    run_id: str

    def begin(self, job_id: str, work: str, *, worker: Mapping[str, Any]) -> Attempt:
        """Record an attempt before the work begins. worker: JSON-ready fields for the record, see this_worker().

        Raises StageError STORAGE or DISK_FULL.
        """
        record = json.dumps({"work": work, "job": job_id, "started": time.time(), **worker}).encode()
        number = 1
        while not self._files.create(f"{_work(job_id, work)}/{number}", record):
            number += 1
        return Attempt(self._files, f"{_work(job_id, work)}/{number}", number)

    def deaths(self, job_id: str, work: str, alive: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
        """The records of attempts in which a worker died, oldest first, each with its `attempt`, and `overran`
        (seconds) if the watchdog killed it. Excludes attempts on lost nodes (alive(record) is False), and those whose
        process is still running. Raises StageError STORAGE.
        """
        records = self._unended(_work(job_id, work))
        return [record for record in records if alive(record) and not process_lives(record)]

    def left_by(self, job_id: str, pid: int) -> list[dict[str, Any]]:
        """Records of this job's attempts without an end by a dead process of this machine, with `overran` as in
        deaths()."""
        with contextlib.suppress(RaydubError):
            records = self._unended(f"attempts/{_short(job_id)}")
            return [one for one in records if (one.get("host"), one.get("pid")) == (socket.gethostname(), pid)]
        return []

    def count(self, job_id: str, work: str) -> int:
        """The number of attempts recorded, whether they ended or not."""
        return len(self._files.attempts(_work(job_id, work)))

    def somebody_works(self, alive: Callable[[Mapping[str, Any]], bool], margin: float = 0.0) -> bool:
        """Whether any work is in progress: begun, not ended, within its time limit (the record's `limit_s` plus
        `margin` seconds), on a living node, by a process that is not known to be dead. Never raises. `started` comes
        from another machine's clock: if that is wrong, a stall is detected too early or too late."""
        with contextlib.suppress(RaydubError):
            for record in self._unended("attempts"):
                with contextlib.suppress(KeyError, TypeError):
                    here = record["host"] == socket.gethostname() and record.get("born")
                    dead = here and not process_lives(record)
                    if not dead and time.time() - record["started"] < record["limit_s"] + margin and alive(record):
                        return True
        return False

    def give_up(self, job_id: str) -> None:
        """Mark the job as failed for all workers of this run. Raises StageError STORAGE or DISK_FULL."""
        self._files.write(f"failed/{_short(job_id)}", b"")

    def given_up(self, job_id: str) -> bool:
        """Whether the job is marked as failed in this run."""
        return self._files.exists(f"failed/{_short(job_id)}")

    def forgive(self, mine: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> None:
        """End the open attempts with mine(record), because their workers were killed for another reason. Never
        raises."""
        with contextlib.suppress(RaydubError):
            for name, ended in self._files.attempts("attempts").items():
                with contextlib.suppress(ValueError):
                    if not ended and mine(json.loads(self._files.read(name) or b"{}")):
                        self._files.end(name)

    @functools.cached_property
    def _files(self) -> RunFiles:
        return run_files(self.work_dir, self.run_id)

    def _unended(self, below: str) -> list[dict[str, Any]]:
        """The records of attempts without an end, by work and number. Raises StageError STORAGE."""
        found: list[dict[str, Any]] = []
        known = self._files.attempts(below)
        for name in sorted((name for name, ended in known.items() if not ended), key=_order):
            data = self._files.read(name)
            with contextlib.suppress(ValueError):  # killed while writing the record, before the work began
                record = json.loads(data or b"")
                number = int(name.rpartition("/")[2])
                found.append({**record, "attempt": number, **_overrun(self._files, name)})
        return found


def _order(name: str) -> tuple[str, int]:
    work, _, number = name.rpartition("/")
    return work, int(number)


def _work(job_id: str, work: str) -> str:
    return f"attempts/{_short(job_id)}/{work}"


def this_worker(node: str = "") -> dict[str, Any]:
    """The record of this process: host, pid, node (Ray's node id, "" without Ray), and `born`, which distinguishes it
    from a later process with the same pid."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "node": node, "born": born(os.getpid())}


def process_lives(record: Mapping[str, Any]) -> bool:
    """Whether the process of a this_worker() record is known to be running. False if unknown: another host, no
    `born`."""
    birth = record.get("born")
    return bool(birth) and record.get("host") == socket.gethostname() and born(record["pid"]) == birth


def start_run(work_dir: PathLike, run_id: str, info: Mapping[str, Any], outputs: Iterable[str] = ()) -> None:
    """register_run() after removing leftovers of dead runs: their folders, and temporary files in the store and in the
    folders of `outputs`. Raises StageError STORAGE or DISK_FULL."""
    sweep_runs(work_dir)
    Store(work_dir).sweep({os.path.dirname(path) for path in outputs})
    register_run(work_dir, run_id, info)


def register_run(work_dir: PathLike, run_id: str, info: Mapping[str, Any]) -> None:
    """Create the folder of a run of this process. run_id: see new_run_id(); info: JSON-ready fields for info.json.
    Raises StageError STORAGE or DISK_FULL."""
    record = {**this_worker(), "started": time.time(), **info}
    run_files(work_dir, run_id).write("info.json", json.dumps(record, ensure_ascii=False, default=str).encode())


def end_run(work_dir: PathLike, run_id: str) -> None:
    """Remove the folder of an ended run. Never raises."""
    run_files(work_dir, run_id).remove()


def sweep_runs(work_dir: PathLike) -> list[str]:
    """Remove the folders of dead runs (see is_dead) and return their names. Never raises."""
    swept = [run for run in runs_in(work_dir) if is_dead(work_dir, run)]
    for run in swept:
        run_files(work_dir, run).remove()
    return swept


def run_info(work_dir: PathLike, run_id: str) -> dict[str, Any]:
    """What register_run() wrote, {} if there is nothing. Raises StageError STORAGE."""
    try:
        found = json.loads(run_files(work_dir, run_id).read("info.json") or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def runs_in(work_dir: PathLike) -> list[str]:
    """The names of all runs, sorted. Links, and folders that are not named by new_run_id(), belong to others: a user
    may have named a folder of his own as the work folder. Never raises."""
    if is_object(str(work_dir)):
        from raydub.objects.prefix import Prefix

        with contextlib.suppress(RaydubError):
            names = {name.partition("/")[0] for name in Prefix.at(f"{work_dir}/runs").names()}
            return sorted(name for name in names if _RUN_ID.fullmatch(name))
        return []
    return [folder.name for folder in run_folders(work_dir)]


def run_folders(work_dir: PathLike) -> list[Path]:
    """The folders of all runs, sorted. Links, and folders that are not named by new_run_id(), belong to others: a user
    may have named a folder of his own as the work folder. Never raises."""
    top = run_dir(work_dir, "")
    with contextlib.suppress(OSError):
        if not top.is_symlink():
            with os.scandir(top) as entries:
                found = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
            return [top / name for name in sorted(entry.name for entry in found) if _RUN_ID.fullmatch(name)]
    return []


def new_run_id(what: str = "") -> str:
    """A name for run_dir(): 12 hexadecimal digits, after "clean-" for a cleaning."""
    return what + secrets.token_hex(6)


def run_dir(work_dir: PathLike, run_id: str) -> Path:
    """The folder of one run; for a work folder in a bucket, what belongs to this machine only."""
    root = Store(work_dir).root if is_object(str(work_dir)) else Path(work_dir)
    return root / "runs" / run_id


def is_dead(work_dir: PathLike, run_id: str) -> bool:
    """Whether the driver of this run ran on this machine and has ended, or is unknown and nothing has changed for
    DEAD_RUN_DAYS; without info.json, for an hour: a worker that outlived its run has made the folder again."""
    days: float = DEAD_RUN_DAYS
    with contextlib.suppress(RaydubError):
        info = run_info(work_dir, run_id)
        with contextlib.suppress(KeyError, TypeError):
            if info["host"] == socket.gethostname() and place_of(info["born"]) == place() != "":
                return not process_lives(info)
        if not info:
            days = 1 / 24
        touched = run_files(work_dir, run_id).touched()
        return touched is not None and time.time() - touched > days * 86400
    return False


def _overrun(files: RunFiles, name: str) -> dict[str, float]:
    data = files.read(name + OVERRAN)
    with contextlib.suppress(ValueError):
        return {} if data is None else {"overran": float(data or 0)}
    return {}


def _short(job_id: str) -> str:
    return hashlib.sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
