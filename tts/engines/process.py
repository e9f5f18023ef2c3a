"""One engine's child process, as seen by its parent: requests and answers, each under a limit of time.

Whatever goes wrong with an answer (the child crashes, hangs, or writes something else than it should) ends the child:
after it nobody could say what the next bytes mean.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import raydub
from raydub import errors
from raydub.bound import kill_group
from raydub.errors import Code, RaydubError, StageError
from raydub.tree import kill_below

_START = 180.0  # seconds until an engine has said hello: imports of large packages on a cold, slow disk
_LINE = 32 << 20  # bytes of an answer's line beyond which it is no answer
_TAIL = 800
_NOISE = 1 << 20  # bytes on standard error that are kept between two requests
_REAP = 5.0
_children: weakref.WeakSet[Child] = weakref.WeakSet()


class _Told(Exception):
    """The engine raised something in the child, and the child is as well as before."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        state = {key: value for key, value in answer.items() if key not in ("error", "code", "message")}
        kind = getattr(errors, str(answer["error"]), StageError)
        known = isinstance(kind, type) and issubclass(kind, RaydubError)
        self.error: RaydubError = (kind if known else StageError)(Code(answer["code"]), str(answer["message"]), **state)


class Child:
    """The process. Not for use from several threads at a time.

    Starting one raises StageError TTS_FAILED (it crashes or hangs), and what the engine raises when it is made."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._owner: int | None = os.getpid()
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        fcntl.fcntl(self._noise, fcntl.F_SETFL, fcntl.fcntl(self._noise, fcntl.F_GETFL) | os.O_APPEND)
        self._held = b""
        _children.add(self)
        try:
            self._process = self._start()
            self._input, self._output = self._process.stdin, self._process.stdout
            assert self._input is not None
            assert self._output is not None
            os.set_blocking(self._input.fileno(), False)
            self.hello = self._answer(time.monotonic() + _START, "while it started")
        except _Told as told:
            self.end()
            raise told.error from None
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Can it be asked?"""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], limit: float, most: int = 0) -> tuple[dict[str, Any], bytes]:
        """The answer, and the samples' bytes. limit: seconds; most: samples that an answer may have.

        RaydubErrors that the engine raised are raised again as they were, and the child goes on; StageError TTS_FAILED
        for a crash, a hang, and an answer that is none, which end it."""
        until = time.monotonic() + limit
        try:
            self._write(json.dumps(request).encode() + b"\n", until)
            answer = self._answer(until, f"within {limit:.0f} s")
            count = int(answer.get("samples", 0))
            if not 0 <= count <= most:
                raise self._failed(f"answered with {count} samples, and at most {most} make sense")
            body = self._read(4 * count, until, f"within {limit:.0f} s")
        except _Told as told:
            raise told.error from None
        # An interrupt leaves an answer unread, and so would any mistake of ours.
        except BaseException:
            self.end()
            raise
        self._quieten()
        return answer, body

    def end(self) -> None:
        """Kill it and all that it has started. It may have ended already."""
        # A fork of the parent has a copy of this object, and the child is not its own.
        mine, self._owner = self._owner == os.getpid(), None
        process = getattr(self, "_process", None)
        if process is not None:
            if mine:
                kill_below(process.pid)  # programs that it runs have groups of their own
                kill_group(process.pid)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_REAP)
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # what it no longer reads cannot be flushed
                    stream.close()
        self._noise.close()

    def _start(self) -> subprocess.Popen[bytes]:
        """The kernel kills a child when the thread that started it is gone, and threads come and go: so each child has
        one of its own that waits for its end."""
        command = [sys.executable, "-P", "-m", "raydub.tts.engines.child", self._engine, str(os.getpid())]
        started: list[subprocess.Popen[bytes] | OSError] = []
        ready = threading.Event()
        noise = self._noise

        def tend() -> None:
            try:
                process = subprocess.Popen(
                    command,
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=noise,
                    env=_environment(),
                    start_new_session=True,
                )
            except OSError as error:
                started.append(error)
                return
            finally:
                if started:
                    ready.set()
            started.append(process)
            ready.set()
            process.wait()

        threading.Thread(target=tend, name=f"tts-{self._engine}", daemon=True).start()
        ready.wait()
        if isinstance(started[0], OSError):
            raise self._failed(f"could not be started: {started[0]}") from started[0]
        return started[0]

    def _answer(self, until: float, when: str) -> dict[str, Any]:
        line = self._line(until, when)
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise self._failed("answered with something that is no answer") from error
        if not isinstance(answer, dict):
            raise self._failed("answered with something that is no answer")
        if "error" in answer:
            raise _Told(answer)
        return answer

    def _line(self, until: float, when: str) -> bytes:
        while b"\n" not in self._held:
            if len(self._held) > _LINE:
                raise self._failed("does not stop answering")
            self._held += self._more(until, when)
        line, _, self._held = self._held.partition(b"\n")
        return line

    def _read(self, count: int, until: float, when: str) -> bytes:
        pieces, have = [self._held], len(self._held)
        while have < count:
            pieces.append(self._more(until, when))
            have += len(pieces[-1])
        whole = b"".join(pieces)
        self._held = whole[count:]
        return whole[:count]

    def _more(self, until: float, when: str) -> bytes:
        assert self._output is not None
        self._wait(self._output.fileno(), select.POLLIN, until, when)
        block = os.read(self._output.fileno(), 1 << 20)
        if not block:
            raise self._crashed()
        return block

    def _write(self, data: bytes, until: float) -> None:
        assert self._input is not None
        view = memoryview(data)
        while view:
            self._wait(self._input.fileno(), select.POLLOUT, until, "when it was asked")
            try:
                view = view[os.write(self._input.fileno(), view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._crashed() from None

    def _wait(self, handle: int, for_what: int, until: float, when: str) -> None:
        poll = select.poll()
        poll.register(handle, for_what)
        left = until - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise self._failed(f"gave no answer {when} and was ended")

    def _crashed(self) -> StageError:
        try:
            code = self._process.wait(_REAP)
        except subprocess.TimeoutExpired:
            return self._failed("closed its end of the conversation")
        how = f"signal {-code}, {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        return self._failed(f"crashed ({how})")

    def _failed(self, how: str) -> StageError:
        with contextlib.suppress(OSError, ValueError):
            self._noise.seek(max(0, self._noise.seek(0, os.SEEK_END) - _TAIL))
            said = self._noise.read().decode("utf-8", "replace").strip()
            if said:
                return StageError(Code.TTS_FAILED, f"the engine {self._engine} {how}", hint=f"it last said: {said}")
        return StageError(Code.TTS_FAILED, f"the engine {self._engine} {how}", hint="try another engine or voice")

    def _quieten(self) -> None:
        if os.fstat(self._noise.fileno()).st_size > _NOISE:
            self._noise.truncate(0)


@atexit.register
def _end_all() -> None:
    """While the threads that wait for the children still run."""
    for child in list(_children):
        child.end()


def _environment() -> dict[str, str]:
    """The parent's, and its search path: the child finds the same modules, whatever has changed that path. -P keeps the
    current folder out of it, unless it was in it."""
    own = str(Path(raydub.__file__).resolve().parents[1])
    path = [*(os.path.abspath(entry) for entry in sys.path), own]
    usable = [entry for entry in dict.fromkeys(path) if os.pathsep not in entry and os.path.exists(entry)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(usable), "PYTHONUNBUFFERED": "1"}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
