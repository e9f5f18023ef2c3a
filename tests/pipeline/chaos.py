"""Drivers that advance one file operation at a time, and can be killed or refused at any of them.

Each driver is a thread that waits before every operation that it does on files until it is told what becomes of it:
done, the end of its process (a write may get a part of its bytes through), or an error of the disk. What the code does
after its end (`finally`, `except`) does not happen. A power cut also takes what was written and not synced.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

GO, END_WORKER, END_DRIVER, FULL, FLAKY = "go", "end worker", "end driver", "disk full", "flaky"
_ERRORS = {FULL: errno.ENOSPC, FLAKY: errno.EIO}
_WATCHED = ("open", "write", "fsync", "replace", "rename", "unlink", "rmdir", "mkdir", "listdir")
_MAY_FAIL = ("open", "write", "fsync", "replace", "mkdir")
_WRITES = os.O_CREAT | os.O_WRONLY | os.O_RDWR


class WorkerEnded(BaseException):
    """The worker's process is gone."""


class DriverEnded(BaseException):
    """The driver's process is gone, and the worker with it."""


@dataclass
class Driver:
    """One driver's process, and the worker process that it has now."""

    body: Callable[[Driver], None]
    pid: int = 0
    worker: int | None = None  # its pid while the worker works
    ended: bool = False
    trouble: BaseException | None = None
    command: str = GO
    fraction: float = 1.0
    went: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    came: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class Chaos:
    """The file system's operations, in the hands of a test. before: called before every operation that is done, with
    the driver, its name and its path; after: when it was done."""

    def __init__(self) -> None:
        self.before: Callable[[Driver, str, str], None] = lambda *_: None
        self.after: Callable[[Driver, str, str], None] = lambda *_: None
        self.living: set[int] = set()
        self._unsynced: set[int] = set()
        self._here = threading.local()
        self._real: dict[str, Any] = {name: getattr(os, name) for name in (*_WATCHED, "getpid")}
        self._pids = iter(range(10_000_000, 20_000_000))
        self._drivers: list[tuple[Driver, threading.Thread]] = []

    @contextmanager
    def installed(self) -> Iterator[None]:
        """With this, drivers can be started."""
        with ExitStack() as stack:
            for name in _WATCHED:
                stack.enter_context(mock.patch.object(os, name, self._hook(name)))
            stack.enter_context(mock.patch.object(os, "getpid", self._getpid))
            for module in ("raydub.files", "raydub.pipeline.attempts"):
                stack.enter_context(mock.patch(f"{module}.born", self._born))
            try:
                yield
            finally:
                for driver, thread in self._drivers:
                    self.step(driver, END_DRIVER)
                    thread.join(10)

    def launch(self, driver: Driver) -> None:
        """Start a driver; it stands before its first operation."""
        driver.pid = self._born_now()
        thread = threading.Thread(target=self._run, args=(driver,), daemon=True)
        self._drivers.append((driver, thread))
        thread.start()
        self._await(driver)

    def step(self, driver: Driver, command: str = GO, fraction: float = 1.0) -> None:
        """Let its next operation happen, or something worse. fraction: of a write's bytes, where it is the last."""
        if not driver.ended:
            driver.command, driver.fraction = command, fraction
            driver.went.release()
            self._await(driver)

    def power_cut(self, root: Path, fraction: float) -> None:
        """All processes end, and every file that was not synced keeps only a part of its bytes."""
        for driver, _ in self._drivers:
            self.step(driver, END_DRIVER)
        for path in root.rglob("*"):
            if path.is_file() and path.stat().st_ino in self._unsynced:
                os.truncate(path, int(path.stat().st_size * fraction))
        self._unsynced.clear()

    @contextmanager
    def as_worker(self, driver: Driver) -> Iterator[None]:
        """What a new worker process does."""
        driver.worker = self._born_now()
        try:
            yield
        finally:
            self.living.discard(driver.worker)
            driver.worker = None

    def _await(self, driver: Driver) -> None:
        if not driver.came.acquire(timeout=60):
            raise AssertionError("a driver hangs")
        if driver.trouble is not None:
            raise driver.trouble

    def _run(self, driver: Driver) -> None:
        self._here.driver = driver
        try:
            driver.body(driver)
        except DriverEnded:
            pass
        except BaseException as error:
            driver.trouble = error
        finally:
            self._here.driver = None
            self.living.discard(driver.pid)
            driver.ended = True
            driver.came.release()

    def _hook(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(*args: Any, **more: Any) -> Any:
            driver = getattr(self._here, "driver", None)
            if driver is None or (name == "open" and not args[1] & _WRITES and not args[1] & os.O_DIRECTORY):
                return real(*args, **more)
            self._meet(driver, name, args)
            path = str(args[1] if name in ("replace", "rename") else args[0])
            self.before(driver, name, path)
            done = None if name == "fsync" else real(*args, **more)
            if name in ("write", "fsync"):
                self._note(name, args[0])
            self.after(driver, name, path)
            return done

        return call

    def _meet(self, driver: Driver, name: str, args: tuple[Any, ...]) -> None:
        """Wait for the word on this operation; returns when it is to be done."""
        if driver.command == END_DRIVER:
            raise DriverEnded  # already dead: what it would clean up stays
        if driver.command == END_WORKER and driver.worker is not None and driver.worker not in self.living:
            raise WorkerEnded
        driver.came.release()
        driver.went.acquire()
        command = driver.command
        if command in (END_DRIVER, END_WORKER):
            if name == "write":
                self._real["write"](args[0], bytes(args[1])[: int(len(args[1]) * driver.fraction)])
                self._note("write", args[0])
            if command == END_WORKER and driver.worker is not None:
                self.living.discard(driver.worker)
                raise WorkerEnded
            driver.command = END_DRIVER
            self.living -= {driver.pid, driver.worker}
            raise DriverEnded
        if command in _ERRORS and name in _MAY_FAIL:
            if name == "write":
                self._real["write"](args[0], bytes(args[1])[: len(args[1]) // 2])
            raise OSError(_ERRORS[command], os.strerror(_ERRORS[command]))

    def _note(self, name: str, handle: int) -> None:
        inode = os.fstat(handle).st_ino
        self._unsynced.discard(inode) if name == "fsync" else self._unsynced.add(inode)

    def _born_now(self) -> int:
        pid = next(self._pids)
        self.living.add(pid)
        return pid

    def _born(self, pid: int) -> str:
        from raydub.process import place

        return f"{place()}:{pid}" if pid in self.living else ""

    def _getpid(self) -> int:
        driver = getattr(self._here, "driver", None)
        if driver is None:
            return int(self._real["getpid"]())
        return driver.worker or driver.pid
