"""What an earlier process of the page has left in the folder: runs that still work, and runs that wait for their turn.
A page that was killed loses neither: its runs are processes of their own, and all that is known of them is in files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from raydub.cluster.ui.rooms import is_id
from raydub.cluster.ui.seen import order_of, process_of, see
from raydub.pipeline.attempts import process_lives


class Running(Protocol):
    """The part of subprocess.Popen that is needed of a run's process."""

    def poll(self) -> int | None:
        """The exit code, None while it works."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, if it still works."""

    def kill(self) -> None:
        """End it at once."""


class Found:
    """The process of a run that another process has started. Its exit code is not known: 0 stands for any."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        self._about = about

    def poll(self) -> int | None:
        """0 if it has ended, None while it works."""
        return None if process_lives(self._about) else 0

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        end = time.monotonic() + (timeout or 0.0)
        while self.poll() is None:
            if timeout is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("raydub run", timeout)
            time.sleep(0.05)
        return 0

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, if it still works."""
        if self.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(int(self._about["pid"]), sig)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def left_in(folder: Path) -> tuple[dict[Path, Running], list[Path]]:
    """The runs of all users that work, with their processes, and those that wait, in the order in which they came."""
    working: dict[Path, Running] = {}
    waiting: list[tuple[float, Path]] = []
    for run in folder.glob("rooms/*/runs/*"):
        if not is_id(run.name) or not order_of(run):
            continue
        process = process_of(run)
        if process and process_lives(process):
            working[run] = Found(process)
        elif (seen := see(run)).state == "waiting":
            waiting.append((seen.made, run))
    return working, [run for _, run in sorted(waiting)]
