"""A child process that runs raydub's own code, and its connection: JSON objects both ways over a socket, some followed
by bytes. Started as `python -c`, so that it shares no threads, locks or half-loaded libraries with its parent.

The plain loop, the process that talks to Ray, and speech engines run in such children.
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
    """Code for `python -c` that calls a module's main(). argv: the socket's descriptor and sys.path as JSON."""
    return _BOOT.format(module=module)


class ChildProcess:
    """boot: Python code, see boot(). hello: the first message to it; the parent's pid is added. own_session: setsid(2),
    so that everything it starts can be found and ended. noise: file descriptor for its output, by default standard
    error. tended: start it from a thread that waits for its end, because on Linux a child may bind itself to the thread
    that started it. Raises OSError if it cannot be started."""

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
        out = noise if noise is not None else _standard_error()  # stdout is for the command's own output
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
            # If it is dead already, receive() will raise.
            self.send({"parent": os.getpid(), **hello})

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message. Raises OSError if the process is dead."""
        self._line.send_bytes(json.dumps(message).encode())

    def receive(self, seconds: float | None) -> dict[str, Any] | None:
        """The next message, or None if none arrives within `seconds` (None: wait forever). Raises EOFError or OSError
        if the process is dead, ValueError for invalid JSON."""
        if seconds is not None and not self._line.poll(seconds):
            return None
        message: dict[str, Any] = json.loads(self._line.recv_bytes())
        return message

    def receive_bytes(self, most: int) -> bytes:
        """The bytes that follow a message. Raises OSError if there are more than `most`, or the process is dead."""
        return self._line.recv_bytes(most)

    def fileno(self) -> int:
        """The descriptor of the connection, for multiprocessing.connection.wait()."""
        return self._line.fileno()

    def hang_up(self) -> None:
        """Close the connection: raydub's children end then."""
        self._line.close()

    def lives(self) -> bool:
        """Whether the process is still running."""
        return not self._ended()

    def kill(self) -> None:
        """Send SIGKILL without waiting."""
        self._process.kill()

    def wait(self, seconds: float) -> int | None:
        """Its return code, or None if it still runs after `seconds`."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def end(self, seconds: float) -> str:
        """Close the connection, wait up to `seconds` for the process to end, then kill it, and its session if it has
        its own. Returns how it ended, see how_it_ended()."""
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
        """Checks without reaping it: the zombie keeps its session id from being reused."""
        if self._process.returncode is not None:
            return True
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        return True


def _tended(start: Any) -> subprocess.Popen[bytes]:
    """Start a child from a thread of its own that lives until the child ends: the kernel kills a bound child when the
    thread that started it ends."""
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
    """The descriptor of standard error, or DEVNULL if the process was started without one."""
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
