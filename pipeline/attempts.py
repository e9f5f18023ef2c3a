"""Who works on what in this run, and who died doing it.

    <work_dir>/runs/<run_id>/
        info.json                               the driver: host, process, start
        attempts/<job>/<work>.<n>               attempt n at this piece of work; made before the work begins
        attempts/<job>/<work>.<n>.ended         the same, after the work ended in whatever way but death
        attempts/<job>/<work>.<n>.overran       the watchdog ended the worker after so many seconds
        failed/<job>                            this run has given the job up: workers skip its remaining chunks

`<job>` is a hash of the job's id (ids may hold anything, and two jobs may share a folder), `<work>` is "prepare",
"stitch", or a stage and a chunk: "render.000003". An attempt that never ended means that its worker died in it. Ray
repeats such work for ever; here the attempts count. They belong to one run: who runs again asks for another try, and a
driver that was killed twice must not put an innocent chunk under suspicion.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raydub.files import storage_error, write_atomic
from raydub.process import born, place, place_of
from raydub.store import Store

MAX_DEATHS = 2
"""Deaths of workers after which a piece of work is not touched again in this run. One may be an accident."""

DEAD_RUN_DAYS = 7
"""After so many days without a sign the folder of a run of another machine is swept. Far beyond any clock's error."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One attempt, from 1, at a piece of work."""

    path: str
    number: int

    def end(self) -> None:
        """The work ended, well or with an error: no death. Never raises."""
        try:
            os.rename(self.path, f"{self.path}.ended")
        except OSError as error:
            # At worst one death too many is counted. A run that is over has removed its folder.
            if not isinstance(error, FileNotFoundError):
                _log.warning("cannot release %s: %s", self.path, error)

    def overran(self, seconds: float) -> None:
        """Say that the worker is killed now because the work took longer than it may. Never raises."""
        with contextlib.suppress(OSError), open(f"{self.path}.overran", "w", encoding="utf-8") as file:
            file.write(repr(seconds))


@dataclass(frozen=True)
class Attempts:
    """The attempts of one run. work_dir is reachable from every node."""

    work_dir: str
    run_id: str

    def begin(self, job_id: str, work: str, *, worker: Mapping[str, Any]) -> Attempt:
        """Book an attempt, before the work. `worker` goes into the record, JSON-ready: see this_worker().

        Raises StageError STORAGE or DISK_FULL.
        """
        folder = self._folder(job_id)
        record = json.dumps({"work": work, "job": job_id, "started": time.time(), **worker}).encode()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            attempt = 1
            while not _create(folder / f"{work}.{attempt}", record):
                attempt += 1
        except OSError as error:
            raise storage_error(error, str(folder)) from error
        return Attempt(str(folder / f"{work}.{attempt}"), attempt)

    def deaths(self, job_id: str, work: str, alive: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
        """The records of the attempts in which a worker died, oldest first, each with its `attempt`, and `overran`
        (seconds) where the watchdog ended it. Not charged are attempts whose node is gone (alive(record) is False: the
        machine was lost, not the work's fault) and those whose process still works on it. Raises StageError STORAGE.
        """
        found = []
        for record in self._unended(job_id, work):
            if alive(record) and not process_lives(record):
                found.append(record)
        return found

    def left_by(self, job_id: str, pid: int) -> list[dict[str, Any]]:
        """Records of the attempts at this job that a process of this machine, which is dead now, has left behind."""
        suffixes, host = (".ended", ".overran"), socket.gethostname()
        found = []
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._folder(job_id))):
                if name.endswith(suffixes):
                    continue
                with contextlib.suppress(OSError, ValueError):
                    record = json.loads((self._folder(job_id) / name).read_bytes())
                    if (record.get("host"), record.get("pid")) == (host, pid):
                        found.append(record)
        return found

    def count(self, job_id: str, work: str) -> int:
        """How many attempts were booked, of whatever end."""
        folder, count = self._folder(job_id), 0
        while any((folder / f"{work}.{count + 1}{end}").exists() for end in ("", ".ended")):
            count += 1
        return count

    def somebody_works(self, alive: Callable[[Mapping[str, Any]], bool], margin: float = 0.0) -> bool:
        """Is any piece of work under way: begun, not ended, within its time limit (the record's `limit_s`, and
        `margin` seconds for whoever ends what is over it), on a node that is there, by a process that nobody knows to
        be dead? Never raises. The limit is counted from `started` by the clock of another machine: a wrong clock costs
        patience, no work."""
        for path in self._all_unended():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                record = json.loads(path.read_bytes())
                here = record["host"] == socket.gethostname() and record.get("born")
                dead = here and not process_lives(record)
                if not dead and time.time() - record["started"] < record["limit_s"] + margin and alive(record):
                    return True
        return False

    def give_up(self, job_id: str) -> None:
        """Tell all workers of this run that the job has failed. Raises StageError STORAGE or DISK_FULL."""
        path = self._failed(job_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise storage_error(error, str(path)) from error

    def given_up(self, job_id: str) -> bool:
        """Has some worker of this run given the job up?"""
        return self._failed(job_id).exists()

    def forgive(self) -> None:
        """End every attempt that nobody ended: their workers were taken from the work, they did not die of it. Never
        raises."""
        for path in self._all_unended():
            with contextlib.suppress(OSError):
                os.rename(path, f"{path}.ended")

    def _all_unended(self) -> list[Path]:
        """The attempts of the whole run that did not end."""
        found = run_dir(self.work_dir, self.run_id).glob("attempts/*/*")
        return [path for path in found if path.name.rpartition(".")[2].isdecimal()]

    def _unended(self, job_id: str, work: str) -> list[dict[str, Any]]:
        folder, attempt = self._folder(job_id), 0
        found: list[dict[str, Any]] = []
        while True:
            attempt += 1
            path = folder / f"{work}.{attempt}"
            try:
                record = json.loads(path.read_bytes())
            except FileNotFoundError:
                if not path.with_name(f"{path.name}.ended").exists():
                    return found
            except ValueError:
                continue  # killed while it wrote the record: the work itself had not begun
            except OSError as error:
                raise storage_error(error, str(path)) from error
            else:
                found.append({**record, "attempt": attempt, **_overrun(path)})

    def _folder(self, job_id: str) -> Path:
        return run_dir(self.work_dir, self.run_id) / "attempts" / _short(job_id)

    def _failed(self, job_id: str) -> Path:
        return run_dir(self.work_dir, self.run_id) / "failed" / _short(job_id)


def this_worker(node: str = "") -> dict[str, Any]:
    """The record of this process: host, pid, node (Ray's id of the machine, "" without Ray), and `born`, which tells
    the process from a later one with the same pid."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "node": node, "born": born(os.getpid())}


def process_lives(record: Mapping[str, Any]) -> bool:
    """Is the process of a this_worker() record surely running? False where that cannot be known: another host, no
    `born`."""
    birth = record.get("born")
    return bool(birth) and record.get("host") == socket.gethostname() and born(record["pid"]) == birth


def start_run(work_dir: str | Path, run_id: str, info: Mapping[str, Any], outputs: Iterable[str] = ()) -> None:
    """Make the folder of a run of this process, and remove what dead runs left: their folders, and temporary files in
    the store and in the folders of `outputs`. info: JSON-ready, what the run is about. Raises StageError STORAGE or
    DISK_FULL."""
    sweep_runs(work_dir)
    Store(work_dir).sweep({os.path.dirname(path) for path in outputs})
    record = {**this_worker(), "started": time.time(), **info}
    write_atomic(run_dir(work_dir, run_id) / "info.json", json.dumps(record, ensure_ascii=False, default=str).encode())


def end_run(work_dir: str | Path, run_id: str) -> None:
    """Remove the folder of a run that is over. Never raises."""
    shutil.rmtree(run_dir(work_dir, run_id), ignore_errors=True)


def sweep_runs(work_dir: str | Path) -> list[str]:
    """Remove the folders of dead runs and return their names: those whose driver ran here and is gone, and those
    in which nothing happened for DEAD_RUN_DAYS. Never raises."""
    swept = []
    with contextlib.suppress(OSError):
        for folder in [path for path in run_dir(work_dir, "").iterdir() if path.is_dir()]:
            if _is_dead(folder):
                shutil.rmtree(folder, ignore_errors=True)
                swept.append(folder.name)
    return swept


def run_dir(work_dir: str | Path, run_id: str) -> Path:
    """The folder of one run."""
    return Path(work_dir) / "runs" / run_id


def _is_dead(folder: Path) -> bool:
    try:
        info = json.loads((folder / "info.json").read_bytes())
        if info["host"] == socket.gethostname() and place_of(info["born"]) == place() != "":
            return not process_lives(info)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no word of its driver: only its age can tell
    with contextlib.suppress(OSError):
        touched = [path.stat().st_mtime for path in [folder, *folder.glob("*"), *folder.glob("attempts/*")]]
        return time.time() - max(touched) > DEAD_RUN_DAYS * 86400
    return False


def _create(path: Path, content: bytes) -> bool:
    """False when this attempt was booked before."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        # Between two looks somebody may have booked and ended this very attempt: its number is taken.
        if path.with_name(f"{path.name}.ended").exists():
            path.unlink()
            return False
        os.write(handle, content)
    finally:
        os.close(handle)
    return True


def _overrun(path: Path) -> dict[str, float]:
    try:
        return {"overran": float(path.with_name(f"{path.name}.overran").read_text(encoding="utf-8") or 0)}
    except (OSError, ValueError):
        return {}


def _short(job_id: str) -> str:
    return hashlib.sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
