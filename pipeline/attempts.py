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
import hashlib
import json
import logging
import os
import re
import secrets
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
"""Deaths of workers after which a piece of work is not tried again in this run. A single death may be unrelated."""

DEAD_RUN_DAYS = 7
"""Days without changes after which the run folder of another machine is removed; far more than clocks differ."""

_END_TRIES = 30
_RUN_ID = re.compile(r"(clean-)?[0-9a-f]{12}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One attempt at a piece of work; numbers start at 1."""

    path: str
    number: int

    def end(self) -> None:
        """Record that the work ended, with or without an error. Never raises."""
        try:
            os.rename(self.path, f"{self.path}.ended")
        except OSError as error:
            # At worst one death too many is counted. The folder of an ended run does not exist any more.
            if not isinstance(error, FileNotFoundError):
                _log.warning("cannot release %s: %s", self.path, error)

    def overran(self, seconds: float) -> None:
        """Record that the worker is killed because the work exceeded its time limit. Never raises."""
        with contextlib.suppress(OSError), open(f"{self.path}.overran", "w", encoding="utf-8") as file:
            file.write(repr(seconds))


@dataclass(frozen=True)
class Attempts:
    """The attempts of one run. work_dir is reachable from every node."""

    work_dir: str
    run_id: str

    def begin(self, job_id: str, work: str, *, worker: Mapping[str, Any]) -> Attempt:
        """Record an attempt before the work begins. worker: JSON-ready fields for the record, see this_worker().

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
        """The records of attempts in which a worker died, oldest first, each with its `attempt`, and `overran`
        (seconds) if the watchdog killed it. Excludes attempts on lost nodes (alive(record) is False), and those whose
        process is still running. Raises StageError STORAGE.
        """
        found = []
        for record in self._unended(job_id, work):
            if alive(record) and not process_lives(record):
                found.append(record)
        return found

    def left_by(self, job_id: str, pid: int) -> list[dict[str, Any]]:
        """Records of this job's attempts without an end by a dead process of this machine, with `overran` as in
        deaths()."""
        suffixes, host = (".ended", ".overran"), socket.gethostname()
        found = []
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._folder(job_id))):
                if name.endswith(suffixes):
                    continue
                with contextlib.suppress(OSError, ValueError):
                    record = json.loads((self._folder(job_id) / name).read_bytes())
                    if (record.get("host"), record.get("pid")) == (host, pid):
                        found.append({**record, **_overrun(self._folder(job_id) / name)})
        return found

    def count(self, job_id: str, work: str) -> int:
        """The number of attempts recorded, whether they ended or not."""
        folder, count = self._folder(job_id), 0
        while any((folder / f"{work}.{count + 1}{end}").exists() for end in ("", ".ended")):
            count += 1
        return count

    def somebody_works(self, alive: Callable[[Mapping[str, Any]], bool], margin: float = 0.0) -> bool:
        """Whether any work is in progress: begun, not ended, within its time limit (the record's `limit_s` plus
        `margin` seconds), on a living node, by a process that is not known to be dead. Never raises. `started` comes
        from another machine's clock: if that is wrong, a stall is detected too early or too late."""
        for path in self._all_unended():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                record = json.loads(path.read_bytes())
                here = record["host"] == socket.gethostname() and record.get("born")
                dead = here and not process_lives(record)
                if not dead and time.time() - record["started"] < record["limit_s"] + margin and alive(record):
                    return True
        return False

    def give_up(self, job_id: str) -> None:
        """Mark the job as failed for all workers of this run. Raises StageError STORAGE or DISK_FULL."""
        path = self._failed(job_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise storage_error(error, str(path)) from error

    def given_up(self, job_id: str) -> bool:
        """Whether the job is marked as failed in this run."""
        return self._failed(job_id).exists()

    def forgive(self, mine: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> None:
        """End the open attempts with mine(record), because their workers were killed for another reason. Never
        raises."""
        for path in self._all_unended():
            with contextlib.suppress(OSError, ValueError):
                if mine(json.loads(path.read_bytes())):
                    os.rename(path, f"{path}.ended")

    def _all_unended(self) -> list[Path]:
        """The attempts of the whole run without an end."""
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
                continue  # killed while writing the record, before the work began
            except OSError as error:
                raise storage_error(error, str(path)) from error
            else:
                found.append({**record, "attempt": attempt, **_overrun(path)})

    def _folder(self, job_id: str) -> Path:
        return run_dir(self.work_dir, self.run_id) / "attempts" / _short(job_id)

    def _failed(self, job_id: str) -> Path:
        return run_dir(self.work_dir, self.run_id) / "failed" / _short(job_id)


def this_worker(node: str = "") -> dict[str, Any]:
    """The record of this process: host, pid, node (Ray's node id, "" without Ray), and `born`, which distinguishes it
    from a later process with the same pid."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "node": node, "born": born(os.getpid())}


def process_lives(record: Mapping[str, Any]) -> bool:
    """Whether the process of a this_worker() record is known to be running. False if unknown: another host, no
    `born`."""
    birth = record.get("born")
    return bool(birth) and record.get("host") == socket.gethostname() and born(record["pid"]) == birth


def start_run(work_dir: str | Path, run_id: str, info: Mapping[str, Any], outputs: Iterable[str] = ()) -> None:
    """register_run() after removing leftovers of dead runs: their folders, and temporary files in the store and in the
    folders of `outputs`. Raises StageError STORAGE or DISK_FULL."""
    sweep_runs(work_dir)
    Store(work_dir).sweep({os.path.dirname(path) for path in outputs})
    register_run(work_dir, run_id, info)


def register_run(work_dir: str | Path, run_id: str, info: Mapping[str, Any]) -> None:
    """Create the folder of a run of this process. run_id: see new_run_id(); info: JSON-ready fields for info.json.
    Raises StageError STORAGE or DISK_FULL."""
    record = {**this_worker(), "started": time.time(), **info}
    write_atomic(run_dir(work_dir, run_id) / "info.json", json.dumps(record, ensure_ascii=False, default=str).encode())


def end_run(work_dir: str | Path, run_id: str) -> None:
    """Remove the folder of an ended run. Never raises. Tried again for a while: a worker of Ray may still record its
    last attempt."""
    folder = run_dir(work_dir, run_id)
    for _ in range(_END_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def sweep_runs(work_dir: str | Path) -> list[str]:
    """Remove the folders of dead runs (see is_dead) and return their names. Never raises."""
    swept = [folder for folder in run_folders(work_dir) if is_dead(folder)]
    for folder in swept:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder.name for folder in swept]


def run_folders(work_dir: str | Path) -> list[Path]:
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


def run_dir(work_dir: str | Path, run_id: str) -> Path:
    """The folder of one run."""
    return Path(work_dir) / "runs" / run_id


def is_dead(folder: Path) -> bool:
    """Whether the driver of this run ran on this machine and has ended, or is unknown and nothing has changed for
    DEAD_RUN_DAYS; without info.json, for an hour: a worker that outlived its run has made the folder again."""
    days: float = DEAD_RUN_DAYS
    try:
        info = json.loads((folder / "info.json").read_bytes())
        if info["host"] == socket.gethostname() and place_of(info["born"]) == place() != "":
            return not process_lives(info)
    except FileNotFoundError:
        days = 1 / 24
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing known about its driver: decide by age
    with contextlib.suppress(OSError):
        touched = [path.stat().st_mtime for path in [folder, *folder.glob("*"), *folder.glob("attempts/*")]]
        return time.time() - max(touched) > days * 86400
    return False


def _create(path: Path, content: bytes) -> bool:
    """False if this attempt exists."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        # Another process may have created and ended this attempt in the meantime: its number is taken.
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
