"""Starts the runs of all users: `raydub run` in processes of their own, so many at once, the others in the order in
which they came. What is known of a run is in its folder (cluster.ui.seen)."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raydub.cluster.ui import seen
from raydub.cluster.ui.found import Running, left_in
from raydub.cluster.ui.settings import UiSettings
from raydub.files import write_atomic
from raydub.pipeline.attempts import this_worker
from raydub.process import born
from raydub.texts import strict_json

_LOOK_EVERY = 0.25


class Desk:
    """One for the page's process. Takes over what an earlier one has left: runs that still work, and those that wait.
    Its thread ends with close()."""

    def __init__(self, settings: UiSettings) -> None:
        self._settings = settings
        working, waiting = left_in(settings.folder)
        self._waiting: deque[Path] = deque(waiting)
        self._working: dict[Path, Running] = working
        self._reporting: dict[Path, Running] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="raydub-ui-desk", daemon=True)
        self._thread.start()

    def order(self, folder: Path, title: str, row: Mapping[str, Any]) -> None:
        """Write an order into the folder of a new run, and queue it. row: of the manifest; paths are absolute, output
        is a name. Raises OSError."""
        (folder / seen.OUT).mkdir(exist_ok=True)
        (folder / seen.MANIFEST).write_text(f"{strict_json(dict(row))}\n", encoding="utf-8")
        write_atomic(folder / seen.ORDER, strict_json({"title": title, "row": dict(row), "made": time.time()}).encode())
        self.again(folder)

    def again(self, folder: Path) -> None:
        """Queue a run, also one that has ended: finished parts are reused."""
        with self._lock:
            if folder in self._waiting or folder in self._working:
                return
            for name in (seen.PROCESS, seen.PROGRESS):
                (folder / name).unlink(missing_ok=True)
            self._waiting.append(folder)

    def place(self, folder: Path) -> int | None:
        """How many runs are before a waiting one; None if it does not wait here."""
        with self._lock:
            return self._waiting.index(folder) if folder in self._waiting else None

    def reports(self, folder: Path) -> bool:
        """Whether a report of the run is made, or will be: a run says that it has ended before its process has."""
        with self._lock:
            return folder in self._reporting or (folder in self._working and _makes_reports())

    def stop(self, folder: Path) -> None:
        """End a run in order: its results are written, finished parts are kept."""
        with self._lock:
            if folder in self._waiting:
                self._waiting.remove(folder)
                _ended(folder, "E_INTERRUPTED", "stopped before it began")
            process = self._working.get(folder)
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)

    def forget(self, folder: Path) -> None:
        """End all that works on a run, so that its folder can be removed."""
        with self._lock:
            if folder in self._waiting:
                self._waiting.remove(folder)
            found = (self._working.pop(folder, None), self._reporting.pop(folder, None))
        _end([process for process in found if process is not None], 5.0)

    def close(self) -> None:
        """Stop all runs, in order as far as ten seconds suffice."""
        self._stop.set()
        self._thread.join(5)
        with self._lock:
            working = [*self._working.values(), *self._reporting.values()]
        _end(working, 10.0)

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_EVERY):
            with self._lock:
                for folder in [folder for folder, process in self._working.items() if process.poll() is not None]:
                    if self._working.pop(folder).poll() in (0, 1) and _makes_reports() and folder.is_dir():
                        with contextlib.suppress(OSError):  # the dub is there without it
                            self._reporting[folder] = _report(folder)
                for folder in [folder for folder, process in self._reporting.items() if process.poll() is not None]:
                    del self._reporting[folder]
                while self._waiting and len(self._working) < self._settings.runs_at_once:
                    folder = self._waiting.popleft()
                    try:
                        self._working[folder] = self._start(folder)
                    except OSError as error:
                        _ended(folder, "E_STORAGE", error.strerror or str(error))

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "raydub.cluster.cli", "run", str(folder / seen.MANIFEST)]
        command += ["--output-root", str(folder / seen.OUT), "--json-progress", "--allow-scheme", "none"]
        command += self._settings.flags()
        with (folder / seen.PROGRESS).open("wb") as lines, (folder / seen.LOG).open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the page's terminal is for the page
                env={**os.environ, "TERM": "dumb"},
            )
        about = {**this_worker(), "pid": process.pid, "born": born(process.pid)}
        write_atomic(folder / seen.PROCESS, strict_json(about).encode())
        return process


def _ended(folder: Path, code: str, message: str) -> None:
    """Write that a run has ended before it had a process. One that was removed, or a full disk, must not end the desk:
    the others still wait."""
    with contextlib.suppress(OSError):
        line = {"event": "end", "error": {"code": code, "message": message}}
        (folder / seen.PROGRESS).write_text(f"{json.dumps(line)}\n")


def _end(processes: list[Running], seconds: float) -> None:
    """Ask processes to end in order, and end them where that takes longer."""
    for process in processes:
        process.send_signal(signal.SIGINT)
    until = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def _makes_reports() -> bool:
    """Whether this version has `raydub report`, and what it needs is installed."""
    return all(importlib.util.find_spec(name) for name in ("raydub.cluster.report", "plotly", "jinja2"))


def _report(folder: Path) -> subprocess.Popen[bytes]:
    (folder / seen.REPORT).mkdir(exist_ok=True)
    results = folder / seen.OUT / "jobs.results.jsonl"
    command = [sys.executable, "-m", "raydub.cluster.cli", "report", str(results)]
    command += ["--output", str(folder / seen.REPORT / seen.PAGE), "--workers", "1"]
    with (folder / seen.REPORT / seen.LOG).open("wb") as log:
        return subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


_desks: list[Desk] = []


def open_desk(settings: UiSettings) -> Desk:
    """The desk of this process, made at the first call."""
    if not _desks:
        _desks.append(Desk(settings))
    return _desks[0]
