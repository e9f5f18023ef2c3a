"""A working process and the line to it: JSON objects both ways over a socket. Started as `python -c`, so that it shares
nothing with its parent: no threads, no locks, no half-loaded libraries."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from raydub.tree import kill_session

_LOOK_EVERY = 0.02


class Offspring:
    """boot: Python code, whose sys.argv is the number of the socket and the import path as JSON. hello: its first
    message; the parent's id is added. own_session: setsid(2), so that all it starts can be found and ended, whatever
    became of it. What it prints goes to standard error. On Linux it may bind itself to the thread that started it."""

    def __init__(self, boot: str, hello: Mapping[str, Any], *, own_session: bool = False) -> None:
        ours, theirs = socket.socketpair()
        self._own_session = own_session
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", boot, str(theirs.fileno()), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=_standard_error(),  # stdout belongs to our document
                pass_fds=(theirs.fileno(),),
                start_new_session=own_session,
            )
        self.pid = self._process.pid
        self._line = Connection(ours.detach())
        with suppress(OSError):
            # One that is dead already is noticed when it is listened to.
            self.send({"parent": os.getpid(), **hello})

    def send(self, message: Mapping[str, Any]) -> None:
        """Raises OSError when the process is dead."""
        self._line.send_bytes(json.dumps(message).encode())

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """The next message; None when none came in time. Raises EOFError or OSError when the process is dead."""
        if not self._line.poll(seconds):
            return None
        message: dict[str, Any] = json.loads(self._line.recv_bytes())
        return message

    def lives(self) -> bool:
        """Has the process not ended yet?"""
        return not self._ended()

    def end(self, seconds: float) -> str:
        """Hang up, and make sure that the process is gone within about `seconds`, with its session if it has one of its
        own; says how it ended."""
        self._line.close()
        until = time.monotonic() + seconds
        while not self._ended() and time.monotonic() < until:
            time.sleep(_LOOK_EVERY)
        if not self._ended():
            self._process.kill()
        if self._own_session:
            kill_session(self.pid)
        return how_it_ended(self._process.wait())

    def _ended(self) -> bool:
        """Without taking its remains away, which hold its session's number."""
        if self._process.returncode is not None:
            return True
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        return True


def _standard_error() -> int:
    """Its descriptor; a process may have been started without one."""
    with suppress(OSError):
        os.fstat(2)
        return 2
    return subprocess.DEVNULL


def how_it_ended(code: int) -> str:
    """A process's return code in words: "exit 1", "SIGKILL"."""
    if code >= 0:
        return f"exit {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
