"""A child process of raydub's own code and the line to it: JSON objects both ways over a socket, and bytes behind those
that announce some. Started as `python -c`, so that it shares nothing with its parent: no threads, no locks, no
half-loaded libraries.

The plain loop, the process that speaks to Ray and speech engines live in such children.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from raydub.tree import kill_session

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from {module} import main; main()"
_LOOK_EVERY = 0.02


def boot(module: str) -> str:
    """What `python -c` runs to call a module's main(): its argv is the number of the socket and the import path as
    JSON."""
    return _BOOT.format(module=module)


class ChildProcess:
    """boot: Python code, see boot(). hello: its first message; the parent's id is added. own_session: setsid(2), so
    that all it starts can be found and ended, whatever became of it. noise: file descriptor for all that it prints; by
    default standard error. On Linux it may bind itself to the thread that started it; tended: that is then a thread of
    its own, which waits for its end. Raises OSError when it cannot be started."""

    def __init__(
        self,
        boot: str,
        hello: Mapping[str, Any],
        *,
        own_session: bool = False,
        noise: int | None = None,
        tended: bool = False,
    ) -> None:
        ours, theirs = socket.socketpair()
        self._own_session = own_session
        out = noise if noise is not None else _standard_error()  # stdout belongs to our document
        command = [sys.executable, "-c", boot, str(theirs.fileno()), json.dumps(sys.path)]

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=noise,
                pass_fds=(theirs.fileno(),),
                start_new_session=own_session,
                env={**os.environ, "PYTHONUNBUFFERED": "1"} if noise is not None else None,
            )

        try:
            with theirs:
                self._process = _tended(start) if tended else start()
        except BaseException:
            ours.close()
            raise
        self.pid = self._process.pid
        self._line = Connection(ours.detach())
        with suppress(OSError):
            # One that is dead already is noticed when it is listened to.
            self.send({"parent": os.getpid(), **hello})

    def send(self, message: Mapping[str, Any]) -> None:
        """Raises OSError when the process is dead."""
        self._line.send_bytes(json.dumps(message).encode())

    def receive(self, seconds: float | None) -> dict[str, Any] | None:
        """The next message; None when none came in time, which has no end for None. Raises EOFError or OSError when the
        process is dead, ValueError for what is no JSON."""
        if seconds is not None and not self._line.poll(seconds):
            return None
        message: dict[str, Any] = json.loads(self._line.recv_bytes())
        return message

    def receive_bytes(self, most: int) -> bytes:
        """What follows a message. Raises OSError when there is more than `most`, or the process is dead."""
        return self._line.recv_bytes(most)

    def lives(self) -> bool:
        """Has the process not ended yet?"""
        return not self._ended()

    def kill(self) -> None:
        """SIGKILL, without waiting for its end."""
        self._process.kill()

    def wait(self, seconds: float) -> int | None:
        """Its return code, None while it lives after so long."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

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


def _tended(start: Any) -> subprocess.Popen[bytes]:
    """The kernel kills a bound child when the thread that started it is gone, and threads come and go: so it gets one
    that waits for its end."""
    started: list[subprocess.Popen[bytes] | BaseException] = []
    ready = threading.Event()

    def tend() -> None:
        try:
            started.append(start())
        except BaseException as error:
            started.append(error)
        ready.set()
        if isinstance(started[0], subprocess.Popen):
            started[0].wait()

    threading.Thread(target=tend, name="raydub-child", daemon=True).start()
    ready.wait()
    if isinstance(started[0], BaseException):
        raise started[0]
    return started[0]


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
